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

/// Milliseconds between two reports of a job that prints, where a report costs nothing.
pub const EACH_SECOND_MS: u64 = 1_000;
/// Milliseconds after which a job counts as unwatched if nobody reads its log again.
pub const WATCH_MS: i64 = 60_000;
/// Milliseconds that are left of a watch when a reader extends it, so that few reads of a log write.
const MIN_WATCH_MS: u64 = 20_000;
/// The longest time without a request, where a report costs nothing.
const MAX_HEARTBEAT_MS: u64 = 4_000;
/// The same where it costs something.
const MAX_BATCHED_HEARTBEAT_MS: u64 = 5_000;

/// How often the worker of a running job reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportPace {
    /// Milliseconds for which log bytes, phases and steps are collected.
    pub interval_ms: u64,
    /// The same while a user reads the log.
    pub watched_interval_ms: u64,
}

impl ReportPace {
    /// Where a report costs nothing: each second, whether anybody watches or not.
    pub const EACH_SECOND: Self = Self { interval_ms: EACH_SECOND_MS, watched_interval_ms: EACH_SECOND_MS };
    /// Where a report costs money.
    pub const BATCHED: Self = Self { interval_ms: 20_000, watched_interval_ms: 4_000 };

    /// Whether reports are fewer while nobody watches.
    #[must_use]
    pub const fn is_batched(self) -> bool {
        self.interval_ms > self.watched_interval_ms
    }

    /// Returns the milliseconds between the reports of a job that is watched until then: at most a third of its lease, as each renewal
    /// writes its record anyway.
    #[must_use]
    pub fn interval_ms(self, lease_ttl_ms: u64, watched_until: Option<Timestamp>, now: Timestamp) -> u64 {
        let is_watched = watched_until.is_some_and(|until| until > now);
        let interval_ms = if is_watched { self.watched_interval_ms } else { self.interval_ms };
        interval_ms.min(lease_ttl_ms / 3).max(EACH_SECOND_MS)
    }

    /// Returns until when a job whose log is read at `now` is watched; `None`: its record says so already, or it makes no difference.
    #[must_use]
    pub fn extended_watch(self, watched_until: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let left_ms = watched_until.map_or(0, |until| until.since_ms(now));
        (self.is_batched() && left_ms <= MIN_WATCH_MS).then(|| now.plus_ms(WATCH_MS))
    }
}

/// Returns the longest time between two requests of a worker about a job, in milliseconds: a cancel arrives with a reply, and the script
/// is killed four seconds later, so that it is stopped within ten seconds.
#[must_use]
pub fn heartbeat_ms(lease_ttl_ms: u64, report_interval_ms: u64) -> u64 {
    let max = if report_interval_ms > EACH_SECOND_MS { MAX_BATCHED_HEARTBEAT_MS } else { MAX_HEARTBEAT_MS };
    max.min(lease_ttl_ms / 3)
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

#[cfg(test)]
mod tests {
    use super::{EACH_SECOND_MS, ReportPace, WATCH_MS, heartbeat_ms};
    use crate::time::Timestamp;

    #[test]
    fn reports_are_few_unless_a_user_reads_the_log() {
        let (pace, now) = (ReportPace::BATCHED, Timestamp(1_000_000));
        assert!(pace.is_batched() && !ReportPace::EACH_SECOND.is_batched());
        assert_eq!(pace.interval_ms(60_000, None, now), pace.interval_ms);
        let until = pace.extended_watch(None, now);
        assert_eq!(until, Some(now.plus_ms(WATCH_MS)));
        assert_eq!(pace.interval_ms(60_000, until, now), pace.watched_interval_ms);
        assert_eq!(
            pace.interval_ms(60_000, until, now.plus_ms(WATCH_MS)),
            pace.interval_ms,
            "the reader left"
        );
        assert_eq!(
            pace.extended_watch(until, now.plus_ms(10_000)),
            None,
            "one write is enough for many reads"
        );
        assert!(pace.extended_watch(until, now.plus_ms(50_000)).is_some());
        assert_eq!(ReportPace::EACH_SECOND.extended_watch(None, now), None, "it makes no difference");
    }

    #[test]
    fn cancel_is_seen_six_seconds_before_its_limit_at_the_latest() {
        let batched = ReportPace::BATCHED;
        let lease =
            [(60_000, EACH_SECOND_MS), (60_000, batched.interval_ms), (60_000, batched.watched_interval_ms)];
        for (ttl, interval) in lease {
            assert!((4_000..=5_000).contains(&heartbeat_ms(ttl, interval)), "{ttl} {interval}");
        }
        assert_eq!(heartbeat_ms(3_000, batched.interval_ms), 1_000, "at least each third of the lease");
    }
}
