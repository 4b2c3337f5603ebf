//! Errors of sources.

use std::io;
use tidemill_core::execution::failure::FailureKind;

/// The kind of a source error; decisions depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// They are not there, or git could not get them.
    Unavailable,
    /// An operation took too long, or its server stopped answering.
    TimedOut,
    /// They are larger than this worker takes.
    TooLarge,
    /// Nobody waits for them any more.
    Canceled,
    /// No space is left on the worker's disk.
    DiskFull,
}

/// Why sources are not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    kind: SourceErrorKind,
    message: String,
}

impl SourceError {
    /// Unavailable sources, with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(SourceErrorKind::Unavailable, message)
    }

    /// An error of this kind with this message.
    pub fn of(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A failed input or output operation on `what`.
    pub fn io(what: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SourceErrorKind::DiskFull,
            _ => SourceErrorKind::Unavailable,
        };
        Self::of(kind, format!("{what}: {error}"))
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> SourceErrorKind {
        self.kind
    }

    /// The same kind with another message.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// How an attempt fails that needed these sources.
    #[must_use]
    pub const fn failure_kind(&self) -> FailureKind {
        match self.kind {
            SourceErrorKind::DiskFull => FailureKind::DiskFull,
            SourceErrorKind::Canceled => FailureKind::Internal,
            SourceErrorKind::Unavailable | SourceErrorKind::TimedOut | SourceErrorKind::TooLarge => {
                FailureKind::SourceUnavailable
            }
        }
    }
}
