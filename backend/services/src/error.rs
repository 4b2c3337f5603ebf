//! What can go wrong in a service, as kinds that the API turns into problem documents.

use thiserror::Error;
use uuid::Uuid;

/// A service could not do what it was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// What should prove who asks does not. Callers are not shown why.
    #[error("{reason}")]
    Unproven {
        /// The repository that was named, known or not.
        repository: String,
        /// What is wrong, for the server's log.
        reason: String,
    },
    /// The lease named in a report is not, or no longer, the job's.
    #[error("{0}")]
    LeaseLost(String),
    /// The request does not fit what is recorded.
    #[error("{0}")]
    Conflict(String),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// An object has more bytes than are kept.
    #[error("{0}")]
    TooLarge(String),
    /// A text of the request may not be as it is.
    #[error("{0}")]
    Unprocessable(String),
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
    /// Records are missing or damaged, and what to do about it.
    #[error("{0}")]
    Damaged(String),
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

/// What people are told of an error who are not the server's operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReport {
    /// What went wrong, and what to do next.
    pub words: String,
    /// Names the line of the server's log that says more; absent where the words say all.
    pub log_id: Option<Uuid>,
}

impl Error {
    /// What to tell those who are not the server's operator. What a store says of itself (paths, buckets, accounts, queries) goes to
    /// the server's log, under an id that the words name.
    #[must_use]
    pub fn report(&self) -> ErrorReport {
        let words = match self {
            Self::Unproven { .. } => {
                return ErrorReport {
                    words: "this is not signed with the webhook secret of a repository that is known here; compare its address with \
                            `tidemill repo list`, and the secret at the provider with that of `tidemill repo add`"
                        .into(),
                    log_id: None,
                };
            }
            Self::DiskFull(_) => {
                "no space is left on the server; its operator has to free some, then try again"
            }
            Self::Damaged(_) => "the server's records are damaged; its operator has to restore them",
            Self::Storage { .. } => "the server's store failed; try again later",
            Self::NotFound(_)
            | Self::Forbidden(_)
            | Self::LeaseLost(_)
            | Self::Conflict(_)
            | Self::Invalid(_)
            | Self::TooLarge(_)
            | Self::OverBudget(_)
            | Self::Unprocessable(_)
            | Self::KeyReused(_)
            | Self::NoSecret(_)
            | Self::Sealed(_)
            | Self::InvalidPipeline(_) => return ErrorReport { words: self.to_string(), log_id: None },
        };
        let id = Uuid::new_v4();
        tracing::error!(%id, error = %self, "the store failed");
        ErrorReport { words: format!("{words} (the server's log says more under {id})"), log_id: Some(id) }
    }

    /// A failure of the store while `doing` something.
    pub fn storage(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Storage { doing: doing.into(), source: source.into() }
    }

    /// Bytes arrived that are not those which were to arrive.
    #[must_use]
    pub fn other_bytes(got: &str, wanted: &str) -> Self {
        Self::Invalid(format!(
            "the bytes that arrived have the SHA-256 {got}, not {wanted}: nothing is stored; send them again"
        ))
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
