//! A clock for tests.

use std::sync::atomic::{AtomicI64, Ordering};
use tidemill_core::time::Timestamp;
use tidemill_services::ports::Clock;

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock at this time.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Turns it on (back when negative) by milliseconds.
    pub fn turn(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// A clock somewhere in 2026.
    fn default() -> Self {
        Self::new(Timestamp(1_780_000_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
