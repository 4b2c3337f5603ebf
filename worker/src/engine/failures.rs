//! Maps errors of the container engine to failure reasons of a job.

use super::{images::LoginSearch, manager::describe};
use crate::error::disk_full_failure;
use bollard::errors::Error as EngineError;
use tidemill_core::{
    execution::{
        assignment::{Preparation, Service},
        failure::{FailureKind, FailureReason},
    },
    pipeline::RegistryScope,
};

/// Returns why an image could not be pulled with the login that `search` found: permanently if its registry rejected it;
/// otherwise another attempt may succeed.
pub(super) fn pull_failure(image: &str, search: &LoginSearch, error: &EngineError) -> FailureReason {
    let message = describe(error);
    if is_access_denied(error) {
        return access_failure(image, search, &message);
    }
    let (kind, advice) = if is_disk_full(error) {
        (FailureKind::DiskFull, "free space on the engine's machine")
    } else if is_rejected_by_registry(error) {
        (FailureKind::ImageUnavailable, "check its name")
    } else {
        (FailureKind::ImagePullFailed, "check that this machine reaches the registry")
    };
    FailureReason::new(
        kind,
        format!("the image `{image}` is not on this machine and could not be pulled: {message}; {advice}"),
    )
}

/// Returns why an image could not be pushed.
pub(super) fn push_failure(name: &str, search: &LoginSearch, error: &EngineError) -> FailureReason {
    if is_access_denied(error) {
        return access_failure(name, search, &describe(error));
    }
    let (kind, advice) = if is_disk_full(error) {
        (FailureKind::DiskFull, "free space on the engine's machine and in the registry")
    } else if is_rejected_by_registry(error) {
        (FailureKind::ImageUnavailable, "check its name and what the registry allows")
    } else {
        (FailureKind::ImagePullFailed, "check that the engine reaches the registry")
    };
    FailureReason::new(kind, format!("the image `{name}` could not be pushed: {}; {advice}", describe(error)))
}

/// Returns the failure of a pull that the registry denied, with what to do.
fn access_failure(image: &str, search: &LoginSearch, message: &str) -> FailureReason {
    let registry = RegistryScope::of_image(image).host;
    let (user, advice) = match &search.login {
        Some(login) => (
            format!("to the user `{}` (login of {})", login.user(), login.origin),
            "check the user's password and rights there, and the image's name".to_owned(),
        ),
        None => (
            "without credentials".to_owned(),
            format!(
                "run `docker login {registry}` on the worker's machine, set DOCKER_AUTH_CONFIG, or store a login on the \
                 server with `tidemill registry add {registry} --username NAME --password-stdin` (docs/registries.md); \
                 or check the image's name"
            ),
        ),
    };
    let problems = search.problems.iter().flat_map(|problem| ["; ", problem]).collect::<String>();
    FailureReason::new(
        FailureKind::RegistryAccessDenied,
        format!(
            "the registry {registry} denied access to the image `{image}` {user}: {message}{problems}; {advice}"
        ),
    )
}

/// Whether the registry denied access, so that another attempt with the same login is useless.
fn is_access_denied(error: &EngineError) -> bool {
    match error {
        EngineError::DockerResponseServerError { status_code: 401 | 403, .. } => true,
        // Docker since 20.10 answers 404 both for an image that does not exist and for one that a token's server denies.
        EngineError::DockerResponseServerError { status_code: 404 | 500, message }
        | EngineError::DockerStreamError { error: message } => is_denial(message),
        _ => false,
    }
}

/// Whether the image does not exist, so that another attempt is useless.
fn is_rejected_by_registry(error: &EngineError) -> bool {
    match error {
        // The reference is invalid, or the engine passed on the registry's status.
        EngineError::DockerResponseServerError { status_code: 400 | 404, .. } => true,
        // Docker before 23 and Podman answer 500 for any error of a registry, and an error after the first line of a pull's
        // progress has no status at all.
        EngineError::DockerResponseServerError { status_code: 500, message } => is_rejection(message),
        EngineError::DockerStreamError { error } => is_rejection(error),
        _ => false,
    }
}

/// Whether an engine's message contains a registry's denial of access. Only here and in [`is_rejection`] is a message parsed to
/// classify a pull.
///
/// - The codes `UNAUTHORIZED` and `DENIED` of the distribution specification, printed as below; moby, `distribution/errors.go`,
///   prints both as `pull access denied for %s, repository does not exist or may require 'docker login'`.
/// - Docker has no login for the registry: docker/distribution, `registry/client/auth/session.go`: `no basic auth credentials`.
/// - The token server's answer: docker/distribution, `registry/client/errors.go`: `unauthorized: %s`, and containerd,
///   `remotes/docker/auth/fetch.go` and `remotes/errors/errors.go`: `unexpected status from %s request to %s: 401 Unauthorized`.
/// - Podman: containers/image, `docker/errors.go`: `unable to retrieve auth token: invalid username/password: %s`.
fn is_denial(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let denials =
        ["unauthorized", "denied", "no basic auth credentials", "authentication required", "403 forbidden"];
    denials.iter().any(|phrase| text.contains(phrase)) && !is_local_error(&text)
}

/// Whether a message is about the network or the engine's disk, which may contain the same phrases as an answer of a registry:
/// Go prints `permission denied` for `EACCES`.
fn is_local_error(text: &str) -> bool {
    let phrases = [
        "dial tcp",
        "lookup ",
        "x509",
        "timeout",
        "connection",
        "too many requests",
        "toomanyrequests",
        "permission denied",
    ];
    phrases.iter().any(|phrase| text.contains(phrase))
}

/// Whether an engine's message contains a final error of a registry.
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
        "no matching manifest",
        "invalid reference format",
        "does not exist",
    ];
    rejections.iter().any(|phrase| text.contains(phrase)) && !is_local_error(&text)
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

/// Whether the engine answers that a container is not in the state that a request requires, such as running.
pub(super) const fn is_conflict(error: &EngineError) -> bool {
    matches!(error, EngineError::DockerResponseServerError { status_code: 409, .. })
}

/// Returns why the container of a service could not be started; `missing` says which user or group its image does not have.
pub(super) fn service_start_failure(
    service: &Service,
    missing: Option<String>,
    error: &EngineError,
) -> FailureReason {
    if let Some(missing) = missing {
        let name = service.alias.first().unwrap_or(&service.image);
        let message = format!("the service `{name}` could not be started: {missing}");
        return FailureReason::new(FailureKind::ServiceFailed, message);
    }
    // Its command is the only part of the request that the engine checks at the start.
    if is_bad_request(error) {
        let message = format!(
            "the service `{}` could not be started: {}; check its `command` and `entrypoint`",
            service.alias.first().unwrap_or(&service.image),
            describe(error)
        );
        return FailureReason::new(FailureKind::ServiceFailed, message);
    }
    engine_failure("the container of a service could not be started", error)
}

/// Returns why a container for `preparation` could not be created.
pub(super) fn creation_failure(preparation: &Preparation, error: &EngineError) -> FailureReason {
    // The platform is the only part of the request that the engine may not find.
    if let (Some(platform), true) = (&preparation.image_options.platform, is_not_found(error)) {
        let (image, message) = (&preparation.image, describe(error));
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
    use super::{EngineError, FailureKind, LoginSearch, engine_failure};

    fn pull_failure(image: &str, error: &EngineError) -> super::FailureReason {
        super::pull_failure(image, &LoginSearch::default(), error)
    }

    fn response(status_code: u16, message: &str) -> EngineError {
        EngineError::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn registry_rejection_differs_from_an_unreachable_registry() {
        use FailureKind::{DiskFull, ImagePullFailed, ImageUnavailable, RegistryAccessDenied};
        for (status, text, kind) in [
            // Recorded from Docker 20.10 with a test registry.
            (500, "manifest unknown", ImageUnavailable),
            (500, "name unknown", ImageUnavailable),
            (500, "unauthorized", RegistryAccessDenied),
            (500, "denied", RegistryAccessDenied),
            (
                500,
                "Head \"http://127.0.0.1:5077/v2/a/manifests/1\": no basic auth credentials",
                RegistryAccessDenied,
            ),
            (401, "x", RegistryAccessDenied),
            (403, "x", RegistryAccessDenied),
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
                RegistryAccessDenied,
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
