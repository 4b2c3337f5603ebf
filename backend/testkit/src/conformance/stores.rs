//! The stores that a check runs against.

use super::clock::ManualClock;
use futures_util::future::BoxFuture;
use std::{fmt, sync::Arc};
use tidemill_services::Stores;

type OpenStores = Box<dyn Fn(Arc<ManualClock>) -> BoxFuture<'static, Stores> + Send + Sync>;

/// What is checked: a place where stores are, which can be opened again and again.
pub struct StoresUnderTest {
    /// The clock of all its stores.
    pub clock: Arc<ManualClock>,
    /// Whether its queue goes by a clock of its own, which nobody can turn.
    real_time: bool,
    open: OpenStores,
}

impl StoresUnderTest {
    /// A place that `open` opens, each time as another process would.
    pub fn new(
        open: impl Fn(Arc<ManualClock>) -> BoxFuture<'static, Stores> + Send + Sync + 'static,
    ) -> Self {
        Self { clock: Arc::default(), real_time: false, open: Box::new(open) }
    }

    /// The same, of a place whose queue is a service that keeps its own time.
    #[must_use]
    pub fn in_real_time(self) -> Self {
        Self { real_time: true, ..self }
    }

    /// For how long the checks hide a message.
    #[must_use]
    pub const fn hide_ms(&self) -> u64 {
        if self.real_time { 3_000 } else { 30_000 }
    }

    /// Lets milliseconds pass: by turning the clock, or by waiting, then a second longer, since a queue that many use
    /// looks only now and then for what is visible again.
    pub async fn pass(&self, ms: u64) {
        if self.real_time {
            tokio::time::sleep(std::time::Duration::from_millis(ms + 1_000)).await;
        } else {
            self.clock.turn(i64::try_from(ms).unwrap_or(i64::MAX));
        }
    }

    /// Opens the place.
    pub async fn open(&self) -> Stores {
        (self.open)(Arc::clone(&self.clock)).await
    }
}

impl fmt::Debug for StoresUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("clock", &self.clock).finish_non_exhaustive()
    }
}
