//! Which failed attempts are retried, and after which delay.

use crate::execution::failure::FailureKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of attempts that are lost to infrastructure failures, independent of the job's `retry`.
pub const MAX_INFRASTRUCTURE_ATTEMPTS: u32 = 3;
/// Number of consecutive give-backs after which the job is delayed, each time longer.
pub const MAX_IMMEDIATE_GIVE_BACKS: u32 = 3;
/// Delay before the second attempt, in milliseconds; it doubles with each further one.
const INITIAL_BACKOFF_MS: u64 = 2_000;
const MAX_BACKOFF_MS: u64 = 60_000;

/// The failures that a job's `retry` applies to. If both lists are empty: every failure of the job's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryFor {
    /// Kinds of failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<FailureKind>,
    /// Exit codes of the script. If not empty, a script that failed with another code is not retried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exit_codes: Vec<i32>,
    /// Whether an attempt that was lost (with its worker, say) after its script may have started ends the job, which is
    /// otherwise repeated: what the script does may not be done twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost_is_final: bool,
}

impl RetryFor {
    /// Whether it is the default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it applies to every failure of the job's own.
    fn matches_all(&self) -> bool {
        self.kinds.is_empty() && self.exit_codes.is_empty()
    }

    /// Whether an attempt that was lost in this way is repeated without a `retry`.
    #[must_use]
    pub fn repeats_lost(&self, kind: FailureKind, may_have_started: bool) -> bool {
        kind.is_infrastructure() && !(self.lost_is_final && may_have_started)
    }

    /// Whether it applies to an attempt that ended this way.
    #[must_use]
    pub fn matches(&self, kind: FailureKind, exit_code: Option<i32>) -> bool {
        if kind == FailureKind::ScriptFailed && !self.exit_codes.is_empty() {
            return exit_code.is_some_and(|code| self.exit_codes.contains(&code));
        }
        if kind.is_infrastructure() {
            // These are retried anyway; `retry` adds attempts only if the kind is named.
            return self.kinds.contains(&kind);
        }
        kind.is_retryable() && (self.matches_all() || self.kinds.contains(&kind))
    }
}

/// Returns the delay in milliseconds before the next attempt after `tries` failed ones (from 1). It doubles, and `seed`
/// reduces each delay by up to half, so that jobs that failed together are not retried at the same time.
///
/// "Equal jitter" of M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[must_use]
pub fn backoff_ms(tries: u32, seed: u64) -> u64 {
    let times = 1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX);
    let delay = INITIAL_BACKOFF_MS.saturating_mul(times).min(MAX_BACKOFF_MS);
    delay - mix(seed ^ u64::from(tries)) % (delay / 2 + 1)
}

/// One step of SplitMix64 (S. Vigna), so that close seeds give unrelated values.
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{MAX_BACKOFF_MS, RetryFor, backoff_ms};
    use crate::execution::failure::FailureKind;

    #[test]
    fn backoff_doubles_to_a_minute_with_jitter() {
        for tries in 1..200 {
            let full = 2_000_u64.saturating_mul(1 << tries.min(10_u32).saturating_sub(1)).min(MAX_BACKOFF_MS);
            let mut seen = std::collections::HashSet::new();
            for seed in 0..100 {
                let delay = backoff_ms(tries, seed);
                assert!((full / 2..=full).contains(&delay), "{tries} {seed}: {delay}");
                seen.insert(delay);
            }
            assert!(seen.len() > 50, "only {} different delays after {tries} tries", seen.len());
        }
    }

    #[test]
    fn retry_matches_named_failures() {
        use FailureKind::{Canceled, ScriptFailed, TimedOut, WorkerLost};
        let any = RetryFor::default();
        assert!(any.matches(ScriptFailed, Some(1)) && any.matches(TimedOut, None));
        assert!(!any.matches(Canceled, None) && !any.matches(WorkerLost, None));
        let codes = RetryFor { exit_codes: vec![75], ..any.clone() };
        assert!(codes.matches(ScriptFailed, Some(75)) && !codes.matches(ScriptFailed, Some(1)));
        assert!(!codes.matches(TimedOut, None) && !codes.matches(ScriptFailed, None));
        let both = RetryFor { kinds: vec![TimedOut, WorkerLost], exit_codes: vec![75], ..any.clone() };
        assert!(both.matches(TimedOut, None) && both.matches(WorkerLost, None));
        assert!(both.matches(ScriptFailed, Some(75)) && !both.matches(ScriptFailed, Some(76)));
        let kinds = RetryFor { kinds: vec![TimedOut], ..any.clone() };
        assert!(!kinds.matches(ScriptFailed, Some(1)) && !kinds.matches(FailureKind::OutOfMemory, None));
        let cancel = RetryFor { kinds: vec![Canceled], ..any };
        assert!(!cancel.matches(Canceled, None), "a canceled job is never retried");
    }
}
