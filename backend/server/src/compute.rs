//! Threads for work that takes the processor for long.

use async_trait::async_trait;
use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism};
use tidemill_services::ports::{Compute, Work};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Threads that compute at the same time, at least and at most: others that block must go on meanwhile.
const THREADS: (usize, usize) = (2, 16);

/// Runs work on threads of the runtime that may block, as many as this machine has processors.
#[derive(Debug)]
pub struct ComputeThreads {
    turns: Arc<Semaphore>,
}

impl Default for ComputeThreads {
    fn default() -> Self {
        let processors = available_parallelism().map_or(THREADS.0, NonZeroUsize::get);
        Self::new(processors.clamp(THREADS.0, THREADS.1))
    }
}

impl ComputeThreads {
    /// So many at the same time.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(threads)) }
    }
}

#[async_trait]
impl Compute for ComputeThreads {
    async fn run(&self, work: Work) {
        // It is never closed.
        let Ok(turn) = self.turns.clone().acquire_owned().await else { return };
        let done = spawn_blocking(move || {
            work();
            // Only now, even if nobody waits for it any more.
            drop(turn);
        });
        if let Err(error) = done.await {
            tracing::error!(%error, "a computation broke off");
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
    async fn computations_are_bounded_in_number_even_when_nobody_waits_for_them() {
        let compute = Arc::new(ComputeThreads::new(2));
        let begun = Arc::new(AtomicUsize::new(0));
        let mut ends = Vec::new();
        for _ in 0..2 {
            let (end, ended) = channel::<()>();
            ends.push(end);
            let (compute, count) = (compute.clone(), begun.clone());
            let waiting = tokio::spawn(async move {
                let work = move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = ended.recv();
                };
                compute.run(Box::new(work)).await;
            });
            let before = ends.len();
            while begun.load(Ordering::SeqCst) < before {
                sleep(Duration::from_millis(1)).await;
            }
            waiting.abort();
            assert!(waiting.await.unwrap_err().is_cancelled());
        }
        let count = begun.clone();
        let third = Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let waited = timeout(Duration::from_millis(100), compute.run(third)).await;
        assert!(waited.is_err(), "both threads are still used");
        assert_eq!(begun.load(Ordering::SeqCst), 2, "what nobody waits for any more does not begin");
        drop(ends);
        compute.run(Box::new(|| {})).await;
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn computation_that_panics_gives_its_turn_back() {
        let compute = ComputeThreads::new(1);
        compute.run(Box::new(|| panic!("a test"))).await;
        compute.run(Box::new(|| {})).await;
    }
}
