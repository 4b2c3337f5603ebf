//! Maps errors of the container engine to failure reasons of a job.

use super::manager::describe;
use crate::error::disk_full_failure;
use bollard::errors::Error as EngineError;
use tidemill_core::execution::{
    assignment::Preparation,
    failure::{FailureKind, FailureReason},
};

/// Returns why an image could not be pulled: permanently if its registry rejected it; otherwise another attempt may succeed.
pub(super) fn pull_failure(image: &str, error: &EngineError) -> FailureReason {
    let message = describe(error);
    let (kind, advice) = if is_disk_full(error) {
        (FailureKind::DiskFull, "free space on the engine's machine")
    } else if is_rejected_by_registry(error) {
        (FailureKind::ImageUnavailable, "check its name and the registry's login")
    } else {
        (FailureKind::ImagePullFailed, "check that this machine reaches the registry")
    };
    FailureReason::new(
        kind,
        format!("the image `{image}` is not on this machine and could not be pulled: {message}; {advice}"),
    )
}

/// Whether the image does not exist or access to it is denied, so that another attempt is useless.
fn is_rejected_by_registry(error: &EngineError) -> bool {
    match error {
        // The reference is invalid, or the engine passed on the registry's status.
        EngineError::DockerResponseServerError { status_code: 400 | 401 | 403 | 404, .. } => true,
        // Docker before 23 and Podman answer 500 for any error of a registry, and an error after the first line of a pull's
        // progress has no status at all.
        EngineError::DockerResponseServerError { status_code: 500, message } => is_rejection(message),
        EngineError::DockerStreamError { error } => is_rejection(error),
        _ => false,
    }
}

/// Whether an engine's message contains a final error of a registry. Only here is a message parsed to classify a pull.
///
/// - Docker prints the codes of the distribution specification in lower case, as `MANIFEST_UNKNOWN` -> `manifest unknown`
///   (docker/distribution, `registry/api/errcode/errors.go`: `strings.ToLower(strings.Replace(ec.String(), "_", " ", -1))`), and
///   some within longer messages (moby, `distribution/errors.go`: `pull access denied for %s, repository does not exist or may
///   require 'docker login': %s`, `manifest for %s not found: %s`, `repository %s not found: %s`).
/// - An image without a variant for the machine's platform: moby, `distribution/pull_v2_unix.go`: `no matching
///   manifest for %s in the manifest list entries`.
/// - containerd's image store: `%s: not found` (`core/remotes/docker/resolver.go`), Podman: `reading manifest %s in %s: manifest
///   unknown` (containers/image, `docker/docker_image_src.go`), `invalid reference format` (`docker/reference`).
fn is_rejection(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let rejections = [
        "manifest unknown",
        "name unknown",
        "not found",
        "denied",
        "unauthorized",
        "no matching manifest",
        "invalid reference format",
        "does not exist",
    ];
    // A network error may contain the same phrases.
    let network_errors =
        ["dial tcp", "lookup ", "x509", "timeout", "connection", "too many requests", "toomanyrequests"];
    let contains_any = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    contains_any(&rejections) && !contains_any(&network_errors)
}

/// Whether a disk of the engine's machine is full. The engine has no status for it (500), so its message is parsed, only here:
/// Go programs (Docker, containerd, Podman) print the system's error as `no space left on device` (Go,
/// `syscall/zerrors_linux_amd64.go`: `28: "no space left on device"`), other programs as `strerror` does, capitalized.
fn is_disk_full(error: &EngineError) -> bool {
    let (EngineError::DockerResponseServerError { status_code: 500, message: text }
    | EngineError::DockerStreamError { error: text }) = error
    else {
        return false;
    };
    text.to_ascii_lowercase().contains("no space left on device")
}

/// Whether the engine answers that a container, or a path in it, does not exist.
pub(crate) const fn is_not_found(error: &EngineError) -> bool {
    matches!(error, EngineError::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine rejects a request as invalid.
pub(crate) const fn is_bad_request(error: &EngineError) -> bool {
    matches!(error, EngineError::DockerResponseServerError { status_code: 400, .. })
}

/// Returns why a container for `preparation` could not be created.
pub(super) fn creation_failure(preparation: &Preparation, error: &EngineError) -> FailureReason {
    // The platform is the only part of the request that the engine may not find.
    if let (Some(platform), true) = (&preparation.image_options.platform, is_not_found(error)) {
        let (image, message) = (&preparation.image, format_causes(error));
        return FailureReason::new(
            FailureKind::ImageUnavailable,
            format!(
                "the engine has no variant of the image `{image}` for `{platform}` ({message}); change `platform`"
            ),
        );
    }
    engine_failure("the container could not be created", error)
}

/// Returns why a container of `image` could not be started.
pub(super) fn start_failure(image: &str, error: &EngineError) -> FailureReason {
    // The command is the only part of the request that depends on the image.
    if is_bad_request(error) {
        let message = describe(error);
        return FailureReason::new(
            FailureKind::ImageUnavailable,
            format!(
                "the image `{image}` has no shell: a job's script needs `sh` or `bash` on its PATH, in /bin, /usr/bin or \
                 /usr/local/bin ({message}); use a variant of the image with a shell, such as `debug` of distroless images"
            ),
        );
    }
    engine_failure("the container could not be started", error)
}

/// Returns why `subject` could not be prepared on the worker's disk.
pub(super) fn disk_failure(subject: &str, error: &std::io::Error) -> FailureReason {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return disk_full_failure(&format!("{subject} could not be prepared"));
    }
    FailureReason::new(FailureKind::Internal, format!("{subject} could not be prepared: {error}"))
}

/// Returns a failure of the engine; `context` describes the failed operation.
pub fn engine_failure(context: &str, error: &EngineError) -> FailureReason {
    let message = describe(error);
    if is_disk_full(error) {
        return FailureReason::new(
            FailureKind::DiskFull,
            format!("{context}: {message}; free space on the engine's machine"),
        );
    }
    FailureReason::new(FailureKind::EngineFailed, format!("{context}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::{EngineError, FailureKind, engine_failure, pull_failure};

    fn response(status_code: u16, message: &str) -> EngineError {
        EngineError::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn registry_rejection_differs_from_an_unreachable_registry() {
        use FailureKind::{DiskFull, ImagePullFailed, ImageUnavailable};
        for (status, text, kind) in [
            // Recorded from Docker 20.10 with a test registry.
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
            // From the source code of other engines.
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
            assert_eq!(pull_failure("none:1", &response(status, text)).kind, kind, "{status} {text}");
        }
        let stream = |text: &str| EngineError::DockerStreamError { error: text.to_owned() };
        let variant = "no matching manifest for linux/amd64 in the manifest list entries";
        assert_eq!(pull_failure("none:1", &stream(variant)).kind, ImageUnavailable);
        assert_eq!(pull_failure("none:1", &stream("unexpected EOF")).kind, ImagePullFailed);
        assert_eq!(pull_failure("none:1", &EngineError::RequestTimeoutError).kind, ImagePullFailed);
    }

    #[test]
    fn disk_full_requires_an_engine_error() {
        let text = "open /var/lib/docker/x: no space left on device";
        assert_eq!(engine_failure("it", &response(500, text)).kind, FailureKind::DiskFull);
        assert_eq!(engine_failure("it", &response(404, text)).kind, FailureKind::EngineFailed);
    }
}
