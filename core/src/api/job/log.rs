//! Logs of jobs: times of their lines.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The maximum number of marks in a report.
pub const MAX_REPORT_MARKS: usize = 64;

/// When a position of a log was written: the bytes from here to the next mark came at this time or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogMark {
    /// Offset in the attempt's log.
    pub offset: u64,
    /// Number of line ends before it.
    pub line: u64,
    /// The time, by the clock of the worker.
    pub at: Timestamp,
}

/// Times of the lines of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogTimes {
    /// Number of stored bytes of the log.
    pub size: u64,
    /// Whether no more bytes will follow.
    pub complete: bool,
    /// Marks by ascending offset, at most 10,000: of a log with more, some are left out evenly. A running job's last seconds have
    /// none yet, and neither has a log that was written within a second.
    pub marks: Vec<LogMark>,
}
