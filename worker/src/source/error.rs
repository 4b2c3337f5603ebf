//! Errors of sources.

use std::io;
use tidemill_core::execution::failure::FailureKind;

/// The kind of a source error; callers decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// The sources do not exist, or git could not fetch them.
    Unavailable,
    /// An operation took too long, or its server stopped responding.
    TimedOut,
    /// The sources exceed this worker's limits.
    TooLarge,
    /// The operation was canceled.
    Canceled,
    /// No space is left on the worker's disk.
    DiskFull,
}

/// The reason why sources are not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    kind: SourceErrorKind,
    message: String,
}

impl SourceError {
    /// Creates an error of kind [`SourceErrorKind::Unavailable`].
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(SourceErrorKind::Unavailable, message)
    }

    /// Creates an error of this kind.
    pub fn of(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Wraps a failed I/O operation; `what` describes the failure.
    pub fn io(what: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SourceErrorKind::DiskFull,
            _ => SourceErrorKind::Unavailable,
        };
        Self::of(kind, format!("{what}: {error}"))
    }

    /// Returns the kind of the error.
    #[must_use]
    pub const fn kind(&self) -> SourceErrorKind {
        self.kind
    }

    /// Replaces the message.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// Returns the failure kind of an attempt that needed these sources.
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
