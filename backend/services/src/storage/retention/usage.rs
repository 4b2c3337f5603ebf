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
    last: Arc<Mutex<Option<(Instant, DiskUsage)>>>,
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
        let mut last = self.last.clone().lock_owned().await;
        if let Some((at, usage)) = &*last
            && at.elapsed() < TTL
        {
            return Ok(usage.clone());
        }
        // The measurement holds the lock: it goes on when its caller goes away.
        let measured = tokio::task::spawn_blocking(move || {
            let usage = DiskUsage { measured_at: Some(now), ..meter.measure()? };
            *last = Some((Instant::now(), usage.clone()));
            Ok(usage)
        });
        measured.await.map_err(|error| Error::storage("measuring the use of the disk", error))?
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CachedMeter, DiskMeter, TTL};
    use crate::error::Result;
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
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

    /// A meter that says when a measurement begins, and ends it when the test says so.
    #[derive(Debug)]
    struct Slow {
        begun: tokio::sync::mpsc::UnboundedSender<()>,
        end: Mutex<mpsc::Receiver<()>>,
    }

    impl DiskMeter for Slow {
        fn measure(&self) -> Result<DiskUsage> {
            self.begun.send(()).unwrap();
            self.end.lock().unwrap().recv().unwrap();
            Ok(DiskUsage { log_bytes: 1, ..DiskUsage::default() })
        }
    }

    #[tokio::test]
    async fn measurement_without_its_caller_goes_on_and_starts_no_other() {
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let (finish, end) = mpsc::channel();
        let cached = Arc::new(CachedMeter::default());
        cached.set(Arc::new(Slow { begun, end: Mutex::new(end) }));
        let usage = |now| {
            let cached = cached.clone();
            tokio::spawn(async move { cached.usage(Timestamp(now)).await })
        };
        let first = usage(1);
        has_begun.recv().await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert!(cached.last.try_lock().is_err(), "the measurement goes on");
        let second = usage(2);
        finish.send(()).unwrap();
        assert_eq!(second.await.unwrap().unwrap().measured_at, Some(Timestamp(1)), "the first one's");
        assert!(has_begun.try_recv().is_err(), "there was no second one");
    }
}
