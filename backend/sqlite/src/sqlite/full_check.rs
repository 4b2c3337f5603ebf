//! The integrity check of the whole database.

use super::database::Database;
use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};
use tidemill_core::api::RecordsCheck;

impl Database {
    /// Checks the whole database, for at most `limit`: the write-ahead log cannot be truncated meanwhile. Blocks, and logs
    /// the result.
    pub fn check_records(&self, limit: Duration) -> RecordsCheck {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let (begun, handle) = channel();
        let (done, finished) = channel::<()>();
        thread::spawn(move || {
            let Ok(handle): Result<rusqlite::InterruptHandle, _> = handle.recv() else { return };
            if finished.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                handle.interrupt();
            }
        });
        let checked = self.check(|handle| drop(begun.send(handle)));
        drop(done);
        let damaged = |detail: &str| {
            tracing::error!(%detail, "the database is damaged; stop the server and restore a backup");
            RecordsCheck::Damaged
        };
        match checked {
            Ok(None) => RecordsCheck::Whole,
            Ok(Some(detail)) => damaged(&detail),
            Err(error) if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) => {
                damaged(&error.to_string())
            }
            Err(error) => {
                tracing::warn!(%error, "the integrity check did not finish");
                RecordsCheck::Unfinished
            }
        }
    }
}
