//! Why an artifact could not be moved, and how often it is tried.

use crate::{
    client::{ApiError, exponential},
    error::no_space,
    limits::SizeLimitExceeded,
};
use backon::Retryable;
use std::{io, time::Duration};
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// The status with which a server says that its disk is full.
const INSUFFICIENT_STORAGE: u16 = 507;
/// And that it takes no object of this size.
const CONTENT_TOO_LARGE: u16 = 413;
/// Attempts at a move while the server is away or busy: about half a minute, should it refuse at once each time.
const MAX_ATTEMPTS: usize = 8;
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The result of `once`, which is called again while the server is out of reach or busy; its effects may happen twice.
pub(super) async fn with_retries<T, F: Future<Output = Result<T, TransferError>>>(
    once: impl FnMut() -> F,
) -> Result<T, TransferError> {
    once.retry(exponential(INITIAL_BACKOFF, MAX_PAUSE).with_max_times(MAX_ATTEMPTS - 1))
        .when(|error| matches!(error, TransferError::Transient(_)))
        .notify(|error, pause| tracing::info!(?error, ?pause, "the artifact is moved again"))
        .await
}

/// Why an artifact could not be moved.
#[derive(Debug)]
pub(super) enum TransferError {
    Io(io::Error),
    /// The server was away, or busy, or the connection broke.
    Transient(String),
    /// The server has no space left.
    ServerFull(String),
    /// The engine or the server gave the reason.
    Reason(FailureReason),
    /// There is more than there may be.
    TooLarge(SizeLimitExceeded),
    Other(String),
}

impl TransferError {
    pub fn reason(self, what: &str) -> FailureReason {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => no_space(what),
            Self::Io(error) => FailureReason::new(FailureKind::ArtifactFailed, format!("{what}: {error}")),
            Self::ServerFull(words) => FailureReason::new(FailureKind::DiskFull, format!("{what}: {words}")),
            Self::Reason(reason) => FailureReason::new(reason.kind, format!("{what}: {}", reason.message)),
            Self::TooLarge(error) => {
                let advice = "leave less, or use a worker that takes more";
                FailureReason::new(FailureKind::ArtifactLimit, format!("{what}: {error}; {advice}"))
            }
            Self::Transient(words) | Self::Other(words) => {
                FailureReason::new(FailureKind::ArtifactFailed, format!("{what}: {words}"))
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
        let words = error.to_string();
        match error {
            ApiError::Refused { status: INSUFFICIENT_STORAGE, .. } => Self::ServerFull(words),
            ApiError::Refused { status: CONTENT_TOO_LARGE, .. } => {
                Self::Reason(FailureReason::new(FailureKind::ArtifactLimit, words))
            }
            error if error.is_transient() => Self::Transient(words),
            _ => Self::Other(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiError, FailureKind, SizeLimitExceeded, TransferError};
    use std::io;

    #[test]
    fn full_busy_and_refusing_servers_are_distinguished() {
        let refused = |status| {
            let error = ApiError::Refused { url: "/put".into(), status, message: "no".into() };
            TransferError::from(error)
        };
        assert!(matches!(refused(503), TransferError::Transient(_)));
        assert!(matches!(refused(409), TransferError::Other(_)));
        let full = refused(507);
        assert!(matches!(full, TransferError::ServerFull(_)), "no use in asking again at once");
        assert_eq!(full.reason("x").kind, FailureKind::DiskFull);
    }

    #[test]
    fn size_limit_is_recognized_by_the_errors_type() {
        let too_large = TransferError::from(io::Error::from(SizeLimitExceeded { max: 1 << 20 }));
        let reason = too_large.reason("artifacts could not be stored");
        assert_eq!(reason.kind, FailureKind::ArtifactLimit);
        assert!(reason.message.contains("1 MiB"), "{}", reason.message);
        let other =
            TransferError::from(io::Error::other("it has more than 1 MiB, 404, No space left on device"));
        assert_eq!(other.reason("x").kind, FailureKind::ArtifactFailed);
    }
}
