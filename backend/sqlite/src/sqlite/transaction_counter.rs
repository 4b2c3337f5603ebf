//! How many transactions were acknowledged, in a file beside the records.
//!
//! SQLite reads its log up to the first frame that is damaged and takes what follows for never written, so that the loss of acknowledged
//! transactions does not show. Here it does: each transaction counts itself within the records, and its number is written beside them once
//! it is durable there. That file is not synced: after a power failure it may be older than the records, which is no loss, and never newer.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use tidemill_services::error::{Error, Result};

/// Digits of a number, so that each write replaces all of the one before.
const NUMBER_WIDTH: usize = 20;

/// The file.
#[derive(Debug)]
pub struct TransactionCounter(File);

impl TransactionCounter {
    /// Where the number for the records at `path` is.
    pub fn path(path: &Path) -> PathBuf {
        path.with_extension("acknowledged")
    }

    /// The number that is known; `None`: none is.
    pub fn known(path: &Path) -> Option<u64> {
        let text = fs::read_to_string(Self::path(path)).ok()?;
        text.trim_ascii().parse().ok()
    }

    /// Opens the file for the records at `path`, made if there is none.
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

    /// Transaction `number` is durable.
    pub fn note(&self, number: u64) {
        let text = format!("{number:0NUMBER_WIDTH$}\n");
        // It only tells of a loss; without it, as on a full disk, there is none.
        if let Err(error) = self.0.write_all_at(text.as_bytes(), 0) {
            tracing::debug!(%error, "it is not kept how much was acknowledged");
        }
    }
}
