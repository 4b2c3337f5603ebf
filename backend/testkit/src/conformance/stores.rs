//! The stores that a check runs against.

use super::clock::ManualClock;
use futures_util::future::BoxFuture;
use std::{fmt, sync::Arc};
use tidemill_services::Stores;

type OpenStores = Box<dyn Fn(Arc<ManualClock>) -> BoxFuture<'static, Stores> + Send + Sync>;

/// The stores that are checked, which can be opened repeatedly.
pub struct StoresUnderTest {
    /// The clock of all opened stores.
    pub clock: Arc<ManualClock>,
    /// Whether the queue uses real time instead of `clock`.
    real_time: bool,
    open: OpenStores,
}

impl StoresUnderTest {
    /// Creates a subject whose stores `open` opens, each time as another process would.
    pub fn new(
        open: impl Fn(Arc<ManualClock>) -> BoxFuture<'static, Stores> + Send + Sync + 'static,
    ) -> Self {
        Self { clock: Arc::default(), real_time: false, open: Box::new(open) }
    }

    /// Declares that the queue is a service that uses real time.
    #[must_use]
    pub fn in_real_time(self) -> Self {
        Self { real_time: true, ..self }
    }

    /// Returns the visibility timeout of the checks, in milliseconds.
    #[must_use]
    pub const fn hide_ms(&self) -> u64 {
        if self.real_time { 3_000 } else { 30_000 }
    }

    /// Lets milliseconds pass: advances the clock, or waits if the queue uses real time. The wait is a second longer, because
    /// a queue service makes messages visible again with a delay.
    pub async fn let_pass(&self, ms: u64) {
        if self.real_time {
            tokio::time::sleep(std::time::Duration::from_millis(ms + 1_000)).await;
        } else {
            self.clock.advance(i64::try_from(ms).unwrap_or(i64::MAX));
        }
    }

    /// Opens the stores.
    pub async fn open(&self) -> Stores {
        (self.open)(Arc::clone(&self.clock)).await
    }
}

impl fmt::Debug for StoresUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoresUnderTest").field("clock", &self.clock).finish_non_exhaustive()
    }
}
