//! Errors and retries of artifact transfers.

use crate::{
    client::{ApiError, exponential},
    error::disk_full_failure,
    policy::SizeLimitExceeded,
};
use backon::Retryable;
use std::{io, time::Duration};
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// HTTP status of a server whose disk is full.
const INSUFFICIENT_STORAGE: u16 = 507;
/// HTTP status of a server that rejects an object of this size.
const CONTENT_TOO_LARGE: u16 = 413;
/// Maximum attempts at a transfer while the server is unreachable or busy: about half a minute if each attempt fails
/// immediately.
const MAX_ATTEMPTS: usize = 8;
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Calls `once` until it succeeds, while the server is unreachable or busy; its effects may occur twice.
pub(super) async fn with_retries<T, F: Future<Output = Result<T, TransferError>>>(
    once: impl FnMut() -> F,
) -> Result<T, TransferError> {
    once.retry(exponential(INITIAL_BACKOFF, MAX_PAUSE).with_max_times(MAX_ATTEMPTS - 1))
        .when(|error| matches!(error, TransferError::Transient(_)))
        .notify(|error, pause| tracing::info!(?error, ?pause, "retrying the artifact transfer"))
        .await
}

/// The reason why an artifact could not be transferred.
#[derive(Debug)]
pub(super) enum TransferError {
    Io(io::Error),
    /// The server was unreachable or busy, or the connection failed.
    Transient(String),
    /// The server has no space left.
    ServerFull(String),
    /// A failure with a reason from the engine or the server.
    Reason(FailureReason),
    /// The files exceed a size limit.
    TooLarge(SizeLimitExceeded),
    Other(String),
}

impl TransferError {
    pub fn into_reason(self, what: &str) -> FailureReason {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => disk_full_failure(what),
            Self::Io(error) => FailureReason::new(FailureKind::ArtifactFailed, format!("{what}: {error}")),
            Self::ServerFull(message) => {
                FailureReason::new(FailureKind::DiskFull, format!("{what}: {message}"))
            }
            Self::Reason(reason) => FailureReason::new(reason.kind, format!("{what}: {}", reason.message)),
            Self::TooLarge(error) => {
                let advice = "store fewer or smaller files, or use a worker with a higher limit";
                FailureReason::new(FailureKind::ArtifactLimit, format!("{what}: {error}; {advice}"))
            }
            Self::Transient(message) | Self::Other(message) => {
                FailureReason::new(FailureKind::ArtifactFailed, format!("{what}: {message}"))
            }
        }
    }
}

impl From<io::Error> for TransferError {
    fn from(error: io::Error) -> Self {
        let too_large = error.get_ref().and_then(|cause| cause.downcast_ref::<SizeLimitExceeded>()).copied();
        too_large.map_or(Self::Io(error), Self::TooLarge)
    }
}

impl From<ApiError> for TransferError {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        match error {
            ApiError::Rejected { status: INSUFFICIENT_STORAGE, .. } => Self::ServerFull(message),
            ApiError::Rejected { status: CONTENT_TOO_LARGE, .. } => {
                Self::Reason(FailureReason::new(FailureKind::ArtifactLimit, message))
            }
            error if error.is_transient() => Self::Transient(message),
            _ => Self::Other(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiError, FailureKind, SizeLimitExceeded, TransferError};
    use std::io;

    #[test]
    fn full_busy_and_rejecting_servers_are_distinguished() {
        let error_for = |status| {
            let error = ApiError::Rejected { url: "/put".into(), status, message: "no".into() };
            TransferError::from(error)
        };
        assert!(matches!(error_for(503), TransferError::Transient(_)));
        assert!(matches!(error_for(409), TransferError::Other(_)));
        let full = error_for(507);
        assert!(matches!(full, TransferError::ServerFull(_)), "an immediate retry is useless");
        assert_eq!(full.into_reason("x").kind, FailureKind::DiskFull);
    }

    #[test]
    fn size_limit_is_recognized_by_the_errors_type() {
        let too_large = TransferError::from(io::Error::from(SizeLimitExceeded { max: 1 << 20 }));
        let reason = too_large.into_reason("artifacts could not be stored");
        assert_eq!(reason.kind, FailureKind::ArtifactLimit);
        assert!(reason.message.contains("1 MiB"), "{}", reason.message);
        let other =
            TransferError::from(io::Error::other("it has more than 1 MiB, 404, No space left on device"));
        assert_eq!(other.into_reason("x").kind, FailureKind::ArtifactFailed);
    }
}
