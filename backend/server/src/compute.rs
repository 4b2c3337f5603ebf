//! Threads for CPU-intensive work.

use async_trait::async_trait;
use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism};
use tidemill_services::ports::{Compute, Work};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Minimum and maximum number of concurrent computations. The rest of the blocking threads stays free for I/O.
const THREADS: (usize, usize) = (2, 16);

/// Runs work on blocking threads of the runtime, as many at a time as this machine has processors.
#[derive(Debug)]
pub struct ComputeThreads {
    permits: Arc<Semaphore>,
}

impl Default for ComputeThreads {
    fn default() -> Self {
        let processors = available_parallelism().map_or(THREADS.0, NonZeroUsize::get);
        Self::new(processors.clamp(THREADS.0, THREADS.1))
    }
}

impl ComputeThreads {
    /// Creates a pool of `threads` concurrent computations.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(threads)) }
    }
}

#[async_trait]
impl Compute for ComputeThreads {
    async fn run(&self, work: Work) {
        // The semaphore is never closed.
        let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
        let done = spawn_blocking(move || {
            work();
            // Held until the work ends, even if the caller no longer waits.
            drop(permit);
        });
        if let Err(error) = done.await {
            tracing::error!(%error, "a computation panicked");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::ComputeThreads;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
            mpsc::channel,
        },
        time::Duration,
    };
    use tidemill_services::ports::Compute;
    use tokio::time::{sleep, timeout};

    #[tokio::test]
    async fn abandoned_computations_count_toward_the_limit() {
        let compute = Arc::new(ComputeThreads::new(2));
        let started = Arc::new(AtomicUsize::new(0));
        let mut finishers = Vec::new();
        for _ in 0..2 {
            let (finish, finished) = channel::<()>();
            finishers.push(finish);
            let (compute, count) = (compute.clone(), started.clone());
            let waiting = tokio::spawn(async move {
                let work = move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = finished.recv();
                };
                compute.run(Box::new(work)).await;
            });
            let expected = finishers.len();
            while started.load(Ordering::SeqCst) < expected {
                sleep(Duration::from_millis(1)).await;
            }
            waiting.abort();
            assert!(waiting.await.unwrap_err().is_cancelled());
        }
        let count = started.clone();
        let third = Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let result = timeout(Duration::from_millis(100), compute.run(third)).await;
        assert!(result.is_err(), "both threads are still busy");
        assert_eq!(started.load(Ordering::SeqCst), 2, "an abandoned computation does not start");
        drop(finishers);
        compute.run(Box::new(|| {})).await;
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn panicking_computation_releases_its_permit() {
        let compute = ComputeThreads::new(1);
        compute.run(Box::new(|| panic!("a test"))).await;
        compute.run(Box::new(|| {})).await;
    }
}
