//! A clock for tests.

use std::sync::atomic::{AtomicI64, Ordering};
use tidemill_core::time::Timestamp;
use tidemill_services::ports::Clock;

/// A clock that changes only when it is advanced.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Creates a clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Advances the clock by milliseconds, or sets it back if `ms` is negative.
    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Creates a clock that shows a time in 2026.
    fn default() -> Self {
        Self::new(Timestamp(1_780_000_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
