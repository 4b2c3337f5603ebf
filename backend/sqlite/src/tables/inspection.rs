//! What a check of a server's health wants to know of its records.

use crate::sqlite::Database;
use rusqlite::params;
use tidemill_core::time::Timestamp;
use tidemill_services::error::Result;

const OPERATION: &str = "inspecting the records";

/// The state of the queue, and of what the sweep should have processed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Number of messages that wait for a worker.
    pub waiting: u64,
    /// Since when the first of them waits.
    pub oldest: Option<Timestamp>,
    /// Number of nodes that have been due for a minute or longer.
    pub overdue: u64,
    /// Number of executions that have not ended.
    pub live: u64,
}

/// How long a node may be due.
const MAX_DUE_MS: i64 = 60_000;

impl Database {
    /// Returns the state of the queue at `now`.
    pub fn queue_state(&self, now: Timestamp) -> Result<QueueState> {
        let count = |number: i64| number.unsigned_abs();
        self.read(OPERATION, |conn| {
            let (waiting, oldest): (i64, Option<i64>) = conn.query_row(
                "SELECT count(*), min(visible_at) FROM queue WHERE visible_at <= ?1",
                params![now.0],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let overdue: i64 = conn.query_row(
                "SELECT count(*) FROM nodes INDEXED BY nodes_due WHERE due_at IS NOT NULL AND due_at <= ?1",
                params![now.0.saturating_sub(MAX_DUE_MS)],
                |row| row.get(0),
            )?;
            let live: i64 = conn.query_row(
                "SELECT count(*) FROM executions INDEXED BY executions_live WHERE over = 0",
                [],
                |row| row.get(0),
            )?;
            let oldest = oldest.map(Timestamp);
            Ok(QueueState { waiting: count(waiting), oldest, overdue: count(overdue), live: count(live) })
        })
    }
}
