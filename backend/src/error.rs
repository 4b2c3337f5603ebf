//! What can go wrong in a service, as kinds that the API turns into problem documents.

use thiserror::Error;

/// A service could not do what it was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// What should prove who asks does not.
    #[error("{0}")]
    Unproven(String),
    /// The lease named in a report is not, or no longer, the job's.
    #[error("{0}")]
    LeaseLost(String),
    /// The request does not fit what is recorded.
    #[error("{0}")]
    Conflict(String),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// More would be stored for the request than it may have.
    #[error("{0}")]
    OverBudget(String),
    /// An idempotency key was used before with another request.
    #[error("{0}")]
    KeyReused(String),
    /// A secret that a job names is not there, or is not for it.
    #[error("{0}")]
    NoSecret(String),
    /// What was sealed cannot be opened, and never will be as it is: its key is gone, or it was changed or moved.
    #[error("{0}")]
    Sealed(String),
    /// The pipeline file has mistakes; these are they.
    #[error("the pipeline file has {} mistake(s)", .0.len())]
    InvalidPipeline(Vec<serde_json::Value>),
    /// No space is left where records, logs or artifacts are kept.
    #[error("no space is left on the server while {0}; free some and try again")]
    DiskFull(String),
    /// The store failed.
    #[error("{doing}: {source}")]
    Storage {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The result of a service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of the store while `doing` something.
    pub fn storage(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Storage { doing: doing.into(), source: source.into() }
    }

    /// An I/O failure while `doing` something; a full disk keeps its own kind.
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded => Self::DiskFull(doing.into()),
            _ => Self::storage(doing, source),
        }
    }
}
