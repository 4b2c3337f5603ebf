//! Attempts of a job: the right to run one, their commands and outcomes.

use crate::execution::failure::FailureReason;
use crate::{guarded, ids::LeaseToken, time::Timestamp};
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

/// The right to run one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Fencing token.
    pub token: LeaseToken,
    /// Name of the worker that holds it.
    pub worker: String,
    /// When it expires unless a report renews it.
    pub expires_at: Timestamp,
    /// What the worker's slot costs, in millionths of a dollar for an hour; 0 if it has no price.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slot_price: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Lease {
    /// Whether `token` is the token of this lease.
    #[must_use]
    pub fn is_held_by(&self, token: LeaseToken) -> bool {
        guarded!(ReportNeedsLease, self.token.constant_time_eq(token))
    }

    /// Whether it has expired.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// Returns the remaining milliseconds at `now`.
    #[must_use]
    pub fn remaining_ms(&self, now: Timestamp) -> u64 {
        self.expires_at.since_ms(now)
    }

    /// Returns what the worker's slot has cost since `started_at`, in billionths of a dollar.
    #[must_use]
    pub fn cost_nano_usd(&self, started_at: Timestamp, now: Timestamp) -> u64 {
        now.since_ms(started_at).saturating_mul(self.slot_price) / 3_600
    }

    /// Whether a report without news renews it: during the first third of `ttl_ms` the lease is not rewritten.
    #[must_use]
    pub fn is_renewal_due(&self, ttl_ms: u64, now: Timestamp) -> bool {
        self.remaining_ms(now) <= ttl_ms / 3 * 2
    }
}
