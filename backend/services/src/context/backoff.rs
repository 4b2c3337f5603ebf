//! Exponential backoff for repeated failures, so that one item does not delay the others.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tidemill_core::time::Timestamp;

/// First pause, in milliseconds; each further one is twice as long.
const INITIAL_BACKOFF_MS: i64 = 2_000;
const MAX_BACKOFF_MS: i64 = 15 * 60_000;
/// Maximum number of tracked items; beyond it, those that are due are dropped and start with short pauses again.
const MAX_TRACKED: usize = 10_000;

/// Consecutive failures by item. They are counted in this process only; another process starts with short pauses.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    failures: u32,
    retry_at: Timestamp,
}

impl Backoff {
    /// Counts a failure of `item`, and returns the time of its next attempt.
    pub fn failed(&self, item: &str, now: Timestamp) -> Timestamp {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.len() >= MAX_TRACKED && !counted.contains_key(item) {
            // Items that are due were not retried, or succeeded in another process.
            counted.retain(|_, entry| entry.retry_at > now);
            if counted.len() >= MAX_TRACKED {
                counted.clear();
            }
        }
        let entry = counted.entry(item.to_owned()).or_insert(Failures { failures: 0, retry_at: now });
        let pause = INITIAL_BACKOFF_MS.saturating_mul(1 << entry.failures.min(20)).min(MAX_BACKOFF_MS);
        entry.failures = entry.failures.saturating_add(1);
        entry.retry_at = now.plus_ms(pause);
        entry.retry_at
    }

    /// Resets the failures of `item` after a success.
    pub fn succeeded(&self, item: &str) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !counted.is_empty() {
            counted.remove(item);
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
        assert_eq!(backoff.failed("b", now).0 - now.0, 2_000, "other items are not affected");
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
