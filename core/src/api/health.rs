//! Health of a server.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// In a word.
    pub status: HealthStatus,
    /// Version of the server.
    pub version: String,
    /// What is wrong.
    #[serde(default)]
    pub problems: Vec<HealthProblem>,
    /// More of it, for callers with a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<HealthDetails>,
}

/// How a server is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It takes work and carries it on.
    Ok,
    /// It does, but somebody should look.
    Degraded,
    /// It cannot take work: 503.
    Failing,
}

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthProblem {
    /// The store answers slowly.
    StoreSlow,
    /// The store cannot be written or read.
    StoreFailed,
    /// Soon there is too little space for new work.
    DiskLow,
    /// There is too little space for new work.
    DiskFull,
    /// What is late has not been looked at for a while.
    SweepLate,
    /// The records are damaged.
    RecordsDamaged,
}

impl HealthProblem {
    /// How bad it is.
    #[must_use]
    pub const fn status(self) -> HealthStatus {
        match self {
            Self::StoreSlow | Self::DiskLow | Self::SweepLate => HealthStatus::Degraded,
            Self::StoreFailed | Self::DiskFull | Self::RecordsDamaged => HealthStatus::Failing,
        }
    }
}

/// How a server is, in numbers. What it does not know of itself is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthDetails {
    /// Milliseconds that it took to write to the store and read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ms: Option<u64>,
    /// Free bytes where the data is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    /// Free bytes below which no new work is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_low_bytes: Option<u64>,
    /// Bytes that are kept for the records, and whether they are in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_reserve_bytes: Option<u64>,
    /// Whether they are in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_reserve_spent: Option<bool>,
    /// When what is late was last looked at with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sweep_at: Option<Timestamp>,
    /// How far the check of all records is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordsCheck>,
}

/// How far the check of all records is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordsCheck {
    /// It is under way.
    Running,
    /// They are whole.
    Whole,
    /// They are not.
    Damaged,
    /// It was given up: there are too many for the time that it may take.
    Unfinished,
}
