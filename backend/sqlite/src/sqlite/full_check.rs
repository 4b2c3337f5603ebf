//! Reads all records once and says whether they are intact.

use super::database::Database;
use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};
use tidemill_core::api::RecordsCheck;

impl Database {
    /// Checks all records, for at most `limit`: meanwhile the write-ahead log cannot be shortened. Blocks; what is found is logged.
    pub fn check_records(&self, limit: Duration) -> RecordsCheck {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let (begun, handle) = channel();
        let (done, over) = channel::<()>();
        thread::spawn(move || {
            let Ok(handle): Result<rusqlite::InterruptHandle, _> = handle.recv() else { return };
            if over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                handle.interrupt();
            }
        });
        let checked = self.check(|handle| drop(begun.send(handle)));
        drop(done);
        let damaged = |found: &str| {
            tracing::error!(%found, "the records are damaged: stop the server and restore a backup");
            RecordsCheck::Damaged
        };
        match checked {
            Ok(None) => RecordsCheck::Whole,
            Ok(Some(found)) => damaged(&found),
            Err(error) if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) => {
                damaged(&error.to_string())
            }
            Err(error) => {
                tracing::warn!(%error, "not all records were checked");
                RecordsCheck::Unfinished
            }
        }
    }
}
