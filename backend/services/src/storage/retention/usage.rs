//! What the stores use of the disk.

use crate::error::{Error, Result};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tidemill_core::{retention::api::DiskUsage, time::Timestamp};
use tokio::{sync::Mutex, time::Instant};

/// How long a measurement is cached.
const TTL: Duration = Duration::from_secs(60);

/// Measures what the stores use of their disk.
pub trait DiskMeter: fmt::Debug + Send + Sync {
    /// Measures it, without the time. Blocks the thread, for some seconds at most.
    fn measure(&self) -> Result<DiskUsage>;
}

/// The meter, with its last measurement. Locked during a measurement, so that only one runs at a time.
#[derive(Debug, Default)]
pub(super) struct CachedMeter {
    meter: OnceLock<Arc<dyn DiskMeter>>,
    last: Mutex<Option<(Instant, DiskUsage)>>,
}

impl CachedMeter {
    /// Sets the meter; only the first call has an effect.
    pub(super) fn set(&self, meter: Arc<dyn DiskMeter>) {
        // A second meter would measure the same.
        let _ = self.meter.set(meter);
    }

    /// Returns the last measurement, or makes one, with the time `now`. Without a meter, the reply has no time.
    pub(super) async fn usage(&self, now: Timestamp) -> Result<DiskUsage> {
        let Some(meter) = self.meter.get().cloned() else { return Ok(DiskUsage::default()) };
        let mut last = self.last.lock().await;
        if let Some((at, usage)) = &*last
            && at.elapsed() < TTL
        {
            return Ok(usage.clone());
        }
        let measured = tokio::task::spawn_blocking(move || meter.measure()).await;
        let measured = measured.map_err(|error| Error::storage("measuring the use of the disk", error))??;
        let usage = DiskUsage { measured_at: Some(now), ..measured };
        *last = Some((Instant::now(), usage.clone()));
        Ok(usage)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CachedMeter, DiskMeter, TTL};
    use crate::error::Result;
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };
    use tidemill_core::{retention::api::DiskUsage, time::Timestamp};

    #[derive(Debug, Default)]
    struct Counter(AtomicU64);

    impl DiskMeter for Counter {
        fn measure(&self) -> Result<DiskUsage> {
            let log_bytes = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            Ok(DiskUsage { log_bytes, ..DiskUsage::default() })
        }
    }

    #[tokio::test]
    async fn measurement_is_cached_for_a_minute() {
        let cached = CachedMeter::default();
        assert_eq!(cached.usage(Timestamp(1)).await.unwrap(), DiskUsage::default());
        cached.set(Arc::new(Counter::default()));
        let (first, second) = tokio::join!(cached.usage(Timestamp(1)), cached.usage(Timestamp(2)));
        let first = first.unwrap();
        assert_eq!((first.log_bytes, first.measured_at), (1, Some(Timestamp(1))));
        assert_eq!(second.unwrap(), first);
        let mut last = cached.last.lock().await;
        let (at, usage) = last.take().unwrap();
        *last = Some((at.checked_sub(TTL).unwrap(), usage));
        drop(last);
        let later = cached.usage(Timestamp(3)).await.unwrap();
        assert_eq!((later.log_bytes, later.measured_at), (2, Some(Timestamp(3))));
    }
}
