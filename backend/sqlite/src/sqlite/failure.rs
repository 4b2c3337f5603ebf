//! What SQLite can fail with, in words that a person can act on.

use rusqlite::{ErrorCode, ffi};
use rusqlite_migration::MigrationDefinitionError;
use std::path::Path;
use tidemill_services::error::Error;

/// An error of SQLite that many callers may have to be told of.
#[derive(Debug, Clone)]
pub struct Failure {
    full: bool,
    message: String,
}

impl Failure {
    /// Reads what went wrong.
    pub fn new(error: &rusqlite::Error) -> Self {
        let code = error.sqlite_error();
        let full = code.is_some_and(|code| {
            code.code == ErrorCode::DiskFull || code.extended_code == ffi::SQLITE_IOERR_SHMSIZE
        });
        let advice = match code.map(|code| code.code) {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                " (another process has held the records for too long; end it, or try again)"
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                " (the file is damaged; stop tidemill and restore it, or move it away to begin with none)"
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                " (this user must be able to write the file and its directory)"
            }
            _ => "",
        };
        Self { full, message: format!("{error}{advice}") }
    }

    /// SQLite took a transaction back and did not say why.
    pub fn taken_back() -> Self {
        Self { full: false, message: "the transaction was taken back".to_owned() }
    }

    /// Whether there was no space to write in.
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// The error of a service that was `doing` something.
    pub fn error(&self, doing: &str) -> Error {
        if self.full {
            Error::DiskFull(doing.to_owned())
        } else {
            Error::storage(doing, self.message.clone())
        }
    }
}

/// The error of a service that was `doing` something when SQLite failed.
pub fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| Failure::new(&error).error(doing)
}

/// The error of bringing the file at `path` to this program's schema.
pub fn migration_failed(path: &Path, error: rusqlite_migration::Error) -> Error {
    let doing = format!("opening the records in {}", path.display());
    match error {
        rusqlite_migration::Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
            Error::storage(
                doing,
                "they were written by a newer tidemill; use that one, or another data directory",
            )
        }
        rusqlite_migration::Error::RusqliteError { err, .. } => Failure::new(&err).error(&doing),
        other => Error::storage(doing, other),
    }
}
