//! Errors of the services. The API turns each kind into a problem document.

use thiserror::Error;
use uuid::Uuid;

/// An error of a service.
#[derive(Debug, Error)]
pub enum Error {
    /// The item does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The caller is not allowed to do this.
    #[error("{0}")]
    Forbidden(String),
    /// The signature of a webhook is missing or wrong. The caller does not see the reason.
    #[error("{reason}")]
    InvalidSignature {
        /// The repository that the request names, registered or not.
        repository: String,
        /// Its name, if it is registered.
        registered: Option<String>,
        /// The reason, for the server's log.
        reason: String,
    },
    /// The lease is not, or no longer, valid for the job.
    #[error("{0}")]
    LeaseLost(String),
    /// The request conflicts with the recorded state.
    #[error("{0}")]
    Conflict(String),
    /// The request is invalid.
    #[error("{0}")]
    Invalid(String),
    /// An object exceeds the size limit.
    #[error("{0}")]
    TooLarge(String),
    /// A text in the request has an invalid length or invalid characters.
    #[error("{0}")]
    Unprocessable(String),
    /// The request would store more than its budget.
    #[error("{0}")]
    OverBudget(String),
    /// The idempotency key was used before with another request.
    #[error("{0}")]
    KeyReused(String),
    /// A secret that a job names does not exist or is not available to the job.
    #[error("{0}")]
    SecretUnavailable(String),
    /// A job lacks approvals that its environment requires.
    #[error("{0}")]
    NotApproved(String),
    /// A sealed value cannot be opened, and a retry cannot help: its key is missing, or the value was changed or moved.
    #[error("{0}")]
    CannotOpen(String),
    /// The pipeline file is invalid; holds the diagnostics.
    #[error("the pipeline file has {} mistake(s)", .0.len())]
    InvalidPipeline(Vec<serde_json::Value>),
    /// Records are missing or damaged; says what to do.
    #[error("{0}")]
    Damaged(String),
    /// No disk space is left for records, logs or artifacts.
    #[error("no space is left on the server while {0}; free some and try again")]
    DiskFull(String),
    /// The server does as much of this as it can at the same time.
    #[error("{0}")]
    Busy(String),
    /// A store failed.
    #[error("{doing}: {source}")]
    Storage {
        /// The operation that failed.
        doing: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Result of a service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The description of an error for clients, without internal details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReport {
    /// What failed, and what to do next.
    pub message: String,
    /// Id of the entry in the server's log that has the details, if there is one.
    pub log_id: Option<Uuid>,
}

impl Error {
    /// Describes the error for clients. Details of a store (paths, buckets, accounts, queries) go to the server's log only, under an
    /// id that the description names.
    #[must_use]
    pub fn report(&self) -> ErrorReport {
        let message = match self {
            Self::InvalidSignature { .. } => {
                return ErrorReport {
                    message: "the signature does not match the webhook secret of a registered repository; compare the repository's address \
                            with `tidemill repo list`, and the secret at the provider with the one of `tidemill repo add`"
                        .into(),
                    log_id: None,
                };
            }
            Self::DiskFull(_) => {
                "no space is left on the server; ask its operator to free some, then try again"
            }
            Self::Damaged(_) => "the server's records are damaged; ask its operator to restore them",
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
            | Self::SecretUnavailable(_)
            | Self::NotApproved(_)
            | Self::CannotOpen(_)
            | Self::Busy(_)
            | Self::InvalidPipeline(_) => return ErrorReport { message: self.to_string(), log_id: None },
        };
        let id = Uuid::new_v4();
        tracing::error!(%id, error = %self, "the store failed");
        ErrorReport {
            message: format!("{message} (details are in the server's log under {id})"),
            log_id: Some(id),
        }
    }

    /// Creates an error for a store that failed while `doing` something.
    pub fn storage(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Storage { doing: doing.into(), source: source.into() }
    }

    /// Creates an error for a cursor of a listing that no page has returned.
    #[must_use]
    pub fn invalid_cursor(cursor: &str) -> Self {
        Self::Invalid(format!(
            "`{cursor}` is not a valid cursor; pass `next_cursor` of the previous page unchanged"
        ))
    }

    /// Creates an error for received bytes whose SHA-256 differs from the announced one.
    #[must_use]
    pub fn checksum_mismatch(actual: &str, expected: &str) -> Self {
        Self::Invalid(format!(
            "the received bytes have the SHA-256 {actual} instead of {expected}; nothing was stored, send them again"
        ))
    }

    /// Creates an error for an object that does not exist.
    #[must_use]
    pub fn object_not_found(key: &str) -> Self {
        Self::NotFound(format!("object {key} does not exist"))
    }

    /// Creates an error for an upload whose stream ended before its last byte.
    #[must_use]
    pub fn upload_interrupted(cause: &std::io::Error) -> Self {
        Self::Invalid(format!("the upload ended before its last byte: {cause}; send it again"))
    }

    /// Converts an I/O error that occurred while `doing` something. A full disk becomes [`Error::DiskFull`].
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded => Self::DiskFull(doing.into()),
            _ => Self::storage(doing, source),
        }
    }
}
