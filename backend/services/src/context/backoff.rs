//! Pauses for what fails again and again, so that it does not keep the rest waiting.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tidemill_core::time::Timestamp;

/// The first pause, in milliseconds; each further one is twice as long.
const INITIAL_BACKOFF_MS: i64 = 2_000;
const MAX_BACKOFF_MS: i64 = 15 * 60_000;
/// What is counted at most; beyond this, what is to be tried again first is forgotten and begins with short pauses.
const MAX_TRACKED: usize = 10_000;

/// Failures in a row, by what failed. They are counted in this process only: another one begins with short pauses.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    failures: u32,
    retry_at: Timestamp,
}

impl Backoff {
    /// Counts a failure of `what`, and gives the time of its next attempt.
    pub fn failed(&self, what: &str, now: Timestamp) -> Timestamp {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.len() >= MAX_TRACKED && !counted.contains_key(what) {
            // Those that are due were not tried again, or did well elsewhere.
            counted.retain(|_, setback| setback.retry_at > now);
            if counted.len() >= MAX_TRACKED {
                counted.clear();
            }
        }
        let setback = counted.entry(what.to_owned()).or_insert(Failures { failures: 0, retry_at: now });
        let pause = INITIAL_BACKOFF_MS.saturating_mul(1 << setback.failures.min(20)).min(MAX_BACKOFF_MS);
        setback.failures = setback.failures.saturating_add(1);
        setback.retry_at = now.plus_ms(pause);
        setback.retry_at
    }

    /// Forgets the failures of `what`: it went well.
    pub fn succeeded(&self, what: &str) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !counted.is_empty() {
            counted.remove(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, MAX_BACKOFF_MS, MAX_TRACKED};
    use tidemill_core::time::Timestamp;

    #[test]
    fn backoff_doubles_and_resets_after_success() {
        let (backoff, now) = (Backoff::default(), Timestamp(1_000));
        let pauses: Vec<i64> = (0..12).map(|_| backoff.failed("a", now).0 - now.0).collect();
        assert_eq!(pauses[..4], [2_000, 4_000, 8_000, 16_000]);
        assert_eq!(pauses[9..], [MAX_BACKOFF_MS; 3]);
        assert_eq!(backoff.failed("b", now).0 - now.0, 2_000, "others are not touched");
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a", now).0 - now.0, 2_000);
    }

    #[test]
    fn tracked_failures_are_bounded() {
        let backoff = Backoff::default();
        for number in 0..3 * MAX_TRACKED {
            backoff.failed(&number.to_string(), Timestamp(0));
        }
        assert!(backoff.0.lock().is_ok_and(|counted| counted.len() <= MAX_TRACKED));
    }
}
