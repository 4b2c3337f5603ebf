//! Attempts at a job: their commands and their ends.

use crate::execution::failure::FailureReason;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One command of a script, as it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Its place in the script, from 0.
    pub index: u32,
    /// Exit code; absent while it runs or when it never ended by itself.
    pub exit_code: Option<i32>,
    /// Milliseconds it took.
    pub duration_ms: Option<u64>,
}

/// One finished attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// From 1.
    pub attempt: u32,
    /// When the lease was given.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Exit code, if the script ended.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub failure: Option<FailureReason>,
    /// Worker's name.
    pub worker: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptEnd {
    /// `None`: success.
    pub failure: Option<FailureReason>,
    /// Exit code of the script, if it ended.
    pub exit_code: Option<i32>,
}
