//! Why an artifact could not be moved, and how often it is tried.

use crate::{
    client::{ApiError, BackOff},
    error::no_space,
    limits::TooLarge,
};
use std::{io, time::Duration};
use tidemill_core::failure::{FailureKind, FailureReason};

/// The status with which a server says that its disk is full.
const INSUFFICIENT_STORAGE: u16 = 507;
/// And that it takes no object of this size.
const CONTENT_TOO_LARGE: u16 = 413;
/// Tries of a move while the server is away or busy: about half a minute, should it refuse at once each time.
const MOST_TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What `once` gives at last; it is called again while the server is away for a moment, or busy. What it does may happen
/// twice.
pub(super) async fn until_it_passes<T, F>(once: impl Fn() -> F) -> Result<T, MoveError>
where
    F: Future<Output = Result<T, MoveError>>,
{
    let mut pauses = BackOff::new(FIRST_PAUSE, LONGEST_PAUSE);
    for _ in 1..MOST_TRIES {
        match once().await {
            Err(MoveError::Passing(words)) => {
                tracing::info!(reason = %words, "the artifact is moved again");
                tokio::time::sleep(pauses.pause()).await;
            }
            done => return done,
        }
    }
    once().await
}

/// Why an artifact could not be moved.
#[derive(Debug)]
pub(super) enum MoveError {
    Io(io::Error),
    /// The server was away, or busy, or the connection broke.
    Passing(String),
    /// The server has no space left.
    ServerFull(String),
    /// Somebody else says why: the engine that lost the container, or the server that takes no more.
    Because(FailureReason),
    /// There is more than there may be.
    TooLarge(TooLarge),
    Other(String),
}

impl MoveError {
    pub fn reason(self, what: &str) -> FailureReason {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => no_space(what),
            Self::Io(error) => FailureReason::new(FailureKind::ArtifactFailed, format!("{what}: {error}")),
            Self::ServerFull(words) => FailureReason::new(FailureKind::DiskFull, format!("{what}: {words}")),
            Self::Because(reason) => FailureReason::new(reason.kind, format!("{what}: {}", reason.message)),
            Self::TooLarge(error) => {
                let advice = "leave less, or use a worker that takes more";
                FailureReason::new(FailureKind::ArtifactLimit, format!("{what}: {error}; {advice}"))
            }
            Self::Passing(words) | Self::Other(words) => {
                FailureReason::new(FailureKind::ArtifactFailed, format!("{what}: {words}"))
            }
        }
    }
}

impl From<io::Error> for MoveError {
    fn from(error: io::Error) -> Self {
        let too_large = error.get_ref().and_then(|cause| cause.downcast_ref::<TooLarge>()).copied();
        too_large.map_or(Self::Io(error), Self::TooLarge)
    }
}

impl From<ApiError> for MoveError {
    fn from(error: ApiError) -> Self {
        let words = error.to_string();
        match error {
            ApiError::Refused { status: INSUFFICIENT_STORAGE, .. } => Self::ServerFull(words),
            ApiError::Refused { status: CONTENT_TOO_LARGE, .. } => {
                Self::Because(FailureReason::new(FailureKind::ArtifactLimit, words))
            }
            error if error.is_passing() => Self::Passing(words),
            _ => Self::Other(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiError, FailureKind, MoveError, TooLarge};
    use std::io;

    #[test]
    fn a_server_without_space_is_told_from_one_that_is_busy_and_from_one_that_refuses() {
        let refused = |status| {
            let error = ApiError::Refused { url: "/put".into(), status, message: "no".into() };
            MoveError::from(error)
        };
        assert!(matches!(refused(503), MoveError::Passing(_)));
        assert!(matches!(refused(409), MoveError::Other(_)));
        let full = refused(507);
        assert!(matches!(full, MoveError::ServerFull(_)), "no use in asking again at once");
        assert_eq!(full.reason("x").kind, FailureKind::DiskFull);
    }

    #[test]
    fn what_is_too_large_is_told_by_its_type_and_not_by_words() {
        let too_large = MoveError::from(io::Error::from(TooLarge { max: 1 << 20 }));
        let reason = too_large.reason("artifacts could not be stored");
        assert_eq!(reason.kind, FailureKind::ArtifactLimit);
        assert!(reason.message.contains("1 MiB"), "{}", reason.message);
        let other = MoveError::from(io::Error::other("it has more than 1 MiB, 404, No space left on device"));
        assert_eq!(other.reason("x").kind, FailureKind::ArtifactFailed);
    }
}
