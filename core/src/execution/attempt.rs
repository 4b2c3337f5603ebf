//! Attempts of a job: their commands and outcomes.

use crate::execution::failure::FailureReason;
use crate::time::Timestamp;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The result of one command of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Position in the script, from 0.
    pub index: u32,
    /// Exit code; absent while it runs or if it was stopped.
    pub exit_code: Option<i32>,
    /// Duration in milliseconds.
    pub duration_ms: Option<u64>,
    /// When it started, by the clock of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Offset of its first line in the attempt's log, which shows the command. Absent if the log was cut before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_offset: Option<u64>,
}

impl StepView {
    /// Creates a step that is running, without its time and place in the log.
    #[must_use]
    pub const fn running(index: u32) -> Self {
        Self { index, exit_code: None, duration_ms: None, started_at: None, log_offset: None }
    }
}

/// Replaces the commands that have changed, and adds the new ones.
pub(super) fn merge_steps(steps: &mut Vec<StepView>, changed: Vec<StepView>) {
    for step in changed {
        match steps.iter_mut().find(|existing| existing.index == step.index) {
            Some(existing) => *existing = step,
            None => steps.push(step),
        }
    }
}

/// One finished attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// Number, from 1.
    pub attempt: u32,
    /// When the worker claimed it.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Exit code, if the script ended.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub failure: Option<FailureReason>,
    /// Name of the worker.
    pub worker: Option<String>,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptEnd {
    /// The failure; `None`: success.
    pub failure: Option<FailureReason>,
    /// Exit code of the script, if it ended.
    pub exit_code: Option<i32>,
    /// Variables for the jobs that need this one.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub outputs: IndexMap<String, String>,
}
