//! What a container engine's errors mean for a job.

use crate::{client::causes, error::no_space};
use bollard::errors::Error as EngineError;
use tidemill_core::failure::{FailureKind, FailureReason};

/// Why an image could not be pulled: for good, when its registry said so; else it may go well the next time.
pub(super) fn pull_failure(image: &str, words: &str) -> FailureReason {
    let (kind, advice) = if is_refusal(words) {
        (FailureKind::ImageUnavailable, "check its name and the registry's login")
    } else {
        (FailureKind::ImagePullFailed, "check that this machine reaches the registry")
    };
    FailureReason::new(
        kind,
        format!("the image `{image}` is not on this machine and could not be pulled: {words}; {advice}"),
    )
}

/// Whether a registry's (or the engine's) words say that the image does not exist, or may not be had. Engines pass on
/// the codes of the distribution specification ("Error Codes") in words of their own.
fn is_refusal(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let refusals = [
        "not found",
        "unknown",
        "denied",
        "unauthorized",
        "no matching manifest",
        "invalid",
        "does not exist",
    ];
    // An unknown host or authority is a matter of the network, not of the image.
    let trouble =
        ["dial tcp", "lookup ", "x509", "timeout", "connection", "too many requests", "toomanyrequests"];
    refusals.iter().any(|word| words.contains(word)) && !trouble.iter().any(|word| words.contains(word))
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
    if words.contains("no space left") {
        return FailureReason::new(
            FailureKind::DiskFull,
            format!("{what}: {words}; free space on the engine's machine"),
        );
    }
    FailureReason::new(FailureKind::EngineFailed, format!("{what}: {words}"))
}

#[cfg(test)]
mod tests {
    use super::{FailureKind, pull_failure};

    #[test]
    fn a_registry_that_refuses_is_told_from_one_that_does_not_answer() {
        for (words, kind) in [
            ("manifest unknown: manifest unknown", FailureKind::ImageUnavailable),
            ("manifest for busybox:none not found: manifest unknown", FailureKind::ImageUnavailable),
            (
                "pull access denied for none, repository does not exist or may require 'docker login': denied",
                FailureKind::ImageUnavailable,
            ),
            ("Error response from daemon: unauthorized", FailureKind::ImageUnavailable),
            (
                "no matching manifest for linux/arm64 in the manifest list entries",
                FailureKind::ImageUnavailable,
            ),
            ("invalid reference format", FailureKind::ImageUnavailable),
            (
                "Get \"https://registry/v2/\": dial tcp: lookup registry on 10.0.0.2:53: no such host",
                FailureKind::ImagePullFailed,
            ),
            (
                "Get \"https://registry/v2/\": x509: certificate signed by unknown authority",
                FailureKind::ImagePullFailed,
            ),
            ("received unexpected HTTP status: 503 Service Unavailable", FailureKind::ImagePullFailed),
            ("toomanyrequests: You have reached your pull rate limit", FailureKind::ImagePullFailed),
            ("net/http: TLS handshake timeout", FailureKind::ImagePullFailed),
            ("unexpected EOF", FailureKind::ImagePullFailed),
        ] {
            assert_eq!(pull_failure("none:1", words).kind, kind, "{words}");
        }
    }
}
