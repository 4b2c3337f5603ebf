//! What a container engine's errors mean for a job.

use crate::{client::causes, error::no_space};
use bollard::errors::Error as EngineError;
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// Why an image could not be pulled: for good, when its registry said so; else it may go well the next time.
pub(super) fn pull_failure(image: &str, error: &EngineError) -> FailureReason {
    let words = causes(error);
    let (kind, advice) = if is_disk_full(error) {
        (FailureKind::DiskFull, "free space on the engine's machine")
    } else if is_refused_by_registry(error) {
        (FailureKind::ImageUnavailable, "check its name and the registry's login")
    } else {
        (FailureKind::ImagePullFailed, "check that this machine reaches the registry")
    };
    FailureReason::new(
        kind,
        format!("the image `{image}` is not on this machine and could not be pulled: {words}; {advice}"),
    )
}

/// Whether the image does not exist, or may not be had, so that another attempt would not change anything.
fn is_refused_by_registry(error: &EngineError) -> bool {
    match error {
        // The reference is invalid; or the registry refused, and the engine passed on what that means.
        EngineError::DockerResponseServerError { status_code: 400 | 401 | 403 | 404, .. } => true,
        // Docker before 23 and Podman answer 500 to whatever a registry said, and what fails after the first line of a pull's
        // progress has no status at all.
        EngineError::DockerResponseServerError { status_code: 500, message } => names_refusal(message),
        EngineError::DockerStreamError { error } => names_refusal(error),
        _ => false,
    }
}

/// Whether an engine's text names an answer of a registry that is final. The only place in which a text decides about pulls.
///
/// - Docker prints the codes of the distribution specification in lower case, as `MANIFEST_UNKNOWN` -> `manifest unknown`
///   (docker/distribution, `registry/api/errcode/errors.go`: `strings.ToLower(strings.Replace(ec.String(), "_", " ", -1))`), and
///   some with more around them (moby, `distribution/errors.go`: `pull access denied for %s, repository does not exist or may
///   require 'docker login': %s`, `manifest for %s not found: %s`, `repository %s not found: %s`).
/// - An image without a variant for the machine: moby, `distribution/pull_v2_unix.go`: `no matching manifest for %s in the manifest
///   list entries`.
/// - containerd's image store: `%s: not found` (`core/remotes/docker/resolver.go`), Podman: `reading manifest %s in %s: manifest
///   unknown` (containers/image, `docker/docker_image_src.go`), `invalid reference format` (`docker/reference`).
fn names_refusal(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let refusals = [
        "manifest unknown",
        "name unknown",
        "not found",
        "denied",
        "unauthorized",
        "no matching manifest",
        "invalid reference format",
        "does not exist",
    ];
    // What the network does to the request may be told with the same words.
    let network =
        ["dial tcp", "lookup ", "x509", "timeout", "connection", "too many requests", "toomanyrequests"];
    refusals.iter().any(|words| text.contains(words)) && !network.iter().any(|words| text.contains(words))
}

/// Whether a disk of the engine's machine is full. The engine has no status for it (500), so its text decides, here only: that of the
/// system's error, which Go programs (Docker, containerd, Podman) print as `no space left on device` (Go,
/// `syscall/zerrors_linux_amd64.go`: `28: "no space left on device"`), and others as `strerror` has it, with a capital.
fn is_disk_full(error: &EngineError) -> bool {
    let (EngineError::DockerResponseServerError { status_code: 500, message: text }
    | EngineError::DockerStreamError { error: text }) = error
    else {
        return false;
    };
    text.to_ascii_lowercase().contains("no space left on device")
}

/// Whether the engine says that something is not there: a container, or a path in it.
pub(crate) const fn is_no_such_thing(error: &EngineError) -> bool {
    matches!(error, EngineError::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine says that it cannot do what it was told, because of what it was told.
pub(crate) const fn is_bad_request(error: &EngineError) -> bool {
    matches!(error, EngineError::DockerResponseServerError { status_code: 400, .. })
}

pub(super) fn start_failure(image: &str, error: &EngineError) -> FailureReason {
    // The command is the only part of it that depends on the image.
    if is_bad_request(error) {
        let words = causes(error);
        return FailureReason::new(
            FailureKind::ImageUnavailable,
            format!("the image `{image}` has no shell: a job's script needs `sh` on its PATH ({words})"),
        );
    }
    failure("the container could not be started", error)
}

pub(super) fn disk(what: &str, error: &std::io::Error) -> FailureReason {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return no_space(&format!("{what} could not be prepared"));
    }
    FailureReason::new(FailureKind::Internal, format!("{what} could not be prepared: {error}"))
}

/// A failure of the engine, with what was being done.
pub fn failure(what: &str, error: &EngineError) -> FailureReason {
    let words = causes(error);
    if is_disk_full(error) {
        return FailureReason::new(
            FailureKind::DiskFull,
            format!("{what}: {words}; free space on the engine's machine"),
        );
    }
    FailureReason::new(FailureKind::EngineFailed, format!("{what}: {words}"))
}

#[cfg(test)]
mod tests {
    use super::{EngineError, FailureKind, failure, pull_failure};

    fn answer(status_code: u16, message: &str) -> EngineError {
        EngineError::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn refusal_of_a_registry_differs_from_a_registry_that_does_not_answer() {
        use FailureKind::{DiskFull, ImagePullFailed, ImageUnavailable};
        for (status, text, kind) in [
            // Docker 20.10, as it answered to a registry of a test.
            (500, "manifest unknown", ImageUnavailable),
            (500, "name unknown", ImageUnavailable),
            (500, "unauthorized", ImageUnavailable),
            (500, "denied", ImageUnavailable),
            (500, "toomanyrequests: You have reached your pull rate limit", ImagePullFailed),
            (500, "received unexpected HTTP status: 503 Service Unavailable", ImagePullFailed),
            (500, "Head \"http://127.0.0.1:35385/v2/hang/manifests/1\": EOF", ImagePullFailed),
            (
                500,
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                ImagePullFailed,
            ),
            (
                500,
                "Get \"https://registry/v2/\": dial tcp: lookup registry on 10.0.0.2:53: no such host",
                ImagePullFailed,
            ),
            (400, "invalid reference format: repository name must be lowercase", ImageUnavailable),
            // Others, from their source.
            (
                404,
                "manifest for busybox:none not found: manifest unknown: manifest unknown",
                ImageUnavailable,
            ),
            (
                404,
                "pull access denied for none, repository does not exist or may require 'docker login': denied",
                ImageUnavailable,
            ),
            (
                500,
                "initializing source docker://x:1: reading manifest 1 in x: manifest unknown",
                ImageUnavailable,
            ),
            (
                500,
                "Get \"https://registry/v2/\": x509: certificate signed by unknown authority",
                ImagePullFailed,
            ),
            (500, "net/http: TLS handshake timeout", ImagePullFailed),
            (503, "manifest unknown", ImagePullFailed),
            (500, "write /var/lib/docker/tmp/GetImageBlob1: no space left on device", DiskFull),
        ] {
            assert_eq!(pull_failure("none:1", &answer(status, text)).kind, kind, "{status} {text}");
        }
        let stream = |text: &str| EngineError::DockerStreamError { error: text.to_owned() };
        let variant = "no matching manifest for linux/amd64 in the manifest list entries";
        assert_eq!(pull_failure("none:1", &stream(variant)).kind, ImageUnavailable);
        assert_eq!(pull_failure("none:1", &stream("unexpected EOF")).kind, ImagePullFailed);
        assert_eq!(pull_failure("none:1", &EngineError::RequestTimeoutError).kind, ImagePullFailed);
    }

    #[test]
    fn disk_is_full_only_where_the_engine_failed() {
        let text = "open /var/lib/docker/x: no space left on device";
        assert_eq!(failure("it", &answer(500, text)).kind, FailureKind::DiskFull);
        assert_eq!(failure("it", &answer(404, text)).kind, FailureKind::EngineFailed);
    }
}
