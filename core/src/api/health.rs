//! Health of a server.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Health of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Overall status.
    pub status: HealthStatus,
    /// Version of the server.
    pub version: String,
    /// Current problems.
    #[serde(default)]
    pub problems: Vec<HealthProblem>,
    /// Details, for callers with a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<HealthDetails>,
}

/// Overall status of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// The server accepts and processes work.
    Ok,
    /// The server works, but needs attention.
    Degraded,
    /// The server cannot accept work; the HTTP status is 503.
    Failing,
}

/// A problem of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthProblem {
    /// The store answers slowly.
    StoreSlow,
    /// The store cannot be read or written.
    StoreFailed,
    /// Disk space is getting low.
    DiskLow,
    /// There is too little disk space for new work.
    DiskFull,
    /// The last sweep was too long ago.
    SweepLate,
    /// The records are damaged.
    RecordsDamaged,
}

impl HealthProblem {
    /// Returns the status that the problem causes.
    #[must_use]
    pub const fn status(self) -> HealthStatus {
        match self {
            Self::StoreSlow | Self::DiskLow | Self::SweepLate => HealthStatus::Degraded,
            Self::StoreFailed | Self::DiskFull | Self::RecordsDamaged => HealthStatus::Failing,
        }
    }
}

/// Measurements of a server. Unknown values are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthDetails {
    /// Milliseconds for a write to the store and a read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ms: Option<u64>,
    /// Free bytes on the disk of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    /// Free bytes below which no new work is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_low_bytes: Option<u64>,
    /// Bytes reserved on disk for the records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_reserve_bytes: Option<u64>,
    /// Whether the reserve is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_reserve_spent: Option<bool>,
    /// When the last sweep succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sweep_at: Option<Timestamp>,
    /// Progress of the check of all records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordsCheck>,
}

/// Progress of the check of all records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordsCheck {
    /// The check is running.
    Running,
    /// The records are intact.
    Whole,
    /// The records are damaged.
    Damaged,
    /// The check was stopped: there are too many records for its time limit.
    Unfinished,
}
