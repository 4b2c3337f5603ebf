//! Errors of SQLite, with advice for the operator.

use rusqlite::{ErrorCode, ffi};
use rusqlite_migration::MigrationDefinitionError;
use std::path::Path;
use tidemill_services::error::Error;

/// An error of SQLite that can be returned to several callers.
#[derive(Debug, Clone)]
pub struct Failure {
    full: bool,
    message: String,
}

impl Failure {
    /// Converts an error of SQLite.
    pub fn new(error: &rusqlite::Error) -> Self {
        let code = error.sqlite_error();
        let full = code.is_some_and(|code| {
            code.code == ErrorCode::DiskFull || code.extended_code == ffi::SQLITE_IOERR_SHMSIZE
        });
        let advice = match code.map(|code| code.code) {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                " (another process locked the database for too long; stop it, or try again)"
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                " (the file is damaged; stop tidemill and restore a backup, or move the file away to start with an empty database)"
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                " (the user that runs tidemill needs write access to the file and its directory)"
            }
            _ => "",
        };
        Self { full, message: format!("{error}{advice}") }
    }

    /// SQLite rolled a transaction back without an error.
    pub fn rolled_back() -> Self {
        Self { full: false, message: "the transaction was rolled back".to_owned() }
    }

    /// Whether the disk was full.
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// Converts the failure to the error of `operation`.
    pub fn to_error(&self, operation: &str) -> Error {
        if self.full {
            Error::DiskFull(operation.to_owned())
        } else {
            Error::storage(operation, self.message.clone())
        }
    }
}

/// Returns a function that converts an error of SQLite to the error of `operation`.
pub fn error_of(operation: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| Failure::new(&error).to_error(operation)
}

/// Converts an error of migrating the file at `path` to the current schema.
pub fn migration_error(path: &Path, error: rusqlite_migration::Error) -> Error {
    let operation = format!("opening the database {}", path.display());
    match error {
        rusqlite_migration::Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
            Error::storage(
                operation,
                "it was written by a newer tidemill; run that version, or use another data directory",
            )
        }
        rusqlite_migration::Error::RusqliteError { err, .. } => Failure::new(&err).to_error(&operation),
        other => Error::storage(operation, other),
    }
}
