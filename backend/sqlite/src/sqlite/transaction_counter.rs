//! The number of acknowledged transactions, in a file next to the database.
//!
//! SQLite reads its write-ahead log up to the first damaged frame and ignores the rest, so the loss of acknowledged
//! transactions goes unnoticed. This file detects it: each transaction increments a counter in the database, and the
//! new number is written to the file once the transaction is durable. The file is not synced: after a power failure it
//! may be older than the database, which is harmless, but never newer.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use tidemill_services::error::{Error, Result};

/// Digits of the number. The width is fixed, so that each write replaces the whole previous number.
const NUMBER_WIDTH: usize = 20;

/// The open file.
#[derive(Debug)]
pub struct TransactionCounter(File);

impl TransactionCounter {
    /// Returns the path of the file for the database at `path`.
    pub fn path(path: &Path) -> PathBuf {
        path.with_extension("acknowledged")
    }

    /// Reads the number; `None` if there is none.
    pub fn read(path: &Path) -> Option<u64> {
        let text = fs::read_to_string(Self::path(path)).ok()?;
        text.trim_ascii().parse().ok()
    }

    /// Opens the file for the database at `path`, and creates it if it does not exist.
    pub fn open(path: &Path) -> Result<Self> {
        let path = Self::path(path);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map(Self)
            .map_err(|error| Error::io(format!("opening {}", path.display()), error))
    }

    /// Writes that transaction `number` is durable.
    pub fn store(&self, number: u64) {
        let text = format!("{number:0NUMBER_WIDTH$}\n");
        // The number only serves to detect a loss; a full disk must not fail the transaction.
        if let Err(error) = self.0.write_all_at(text.as_bytes(), 0) {
            tracing::debug!(%error, "cannot store the number of acknowledged transactions");
        }
    }
}
