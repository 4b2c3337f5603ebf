//! Counts every call to AWS with what it consumed, in this one place, and says of which execution it was.
//!
//! What was used is recorded with the next write to the execution that it was used for, so that counting costs no write
//! of its own. What a process has counted since is carried in its memory until then; should it end before, that is lost
//! (an execution's very last calls).

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tidemill_core::execution::cost::Usage;

/// Executions whose use is carried at most.
const MAX_PENDING_EXECUTIONS: usize = 10_000;

tokio::task_local! {
    static CURRENT_REQUEST: Arc<Mutex<Request>>;
}

/// What one request used, and for which execution.
#[derive(Debug, Default)]
struct Request {
    usage: Usage,
    home: Option<String>,
}

/// The counts of one process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    shared: Arc<MeterState>,
}

#[derive(Debug, Default)]
struct MeterState {
    total: Mutex<Usage>,
    carried: Mutex<HashMap<String, Usage>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// All that this process used.
    #[must_use]
    pub fn total(&self) -> Usage {
        *lock(&self.shared.total)
    }

    /// Counts something that was used.
    pub fn count(&self, usage: Usage) {
        *lock(&self.shared.total) += usage;
        // Outside of a request (the sweep's own look-ups) it is of no execution.
        let _ = CURRENT_REQUEST.try_with(|request| lock(request).usage += usage);
    }

    /// Does the work of one request; what it uses is counted for the execution that it is about.
    pub async fn request<T>(&self, work: impl Future<Output = T>) -> T {
        let request = Arc::new(Mutex::new(Request::default()));
        let done = CURRENT_REQUEST.scope(request.clone(), work).await;
        self.carry(&request);
        done
    }

    /// Says that the request is about the execution at `home`.
    pub(super) fn about(&self, home: &str) {
        let _ = CURRENT_REQUEST.try_with(|request| {
            let mut request = lock(request);
            if request.home.is_none() {
                request.home = Some(home.to_owned());
            }
            if request.home.as_deref() == Some(home) {
                return;
            }
            // A sweep goes from one execution to the next.
            let before = Request { usage: std::mem::take(&mut request.usage), home: request.home.take() };
            request.home = Some(home.to_owned());
            drop(request);
            self.carry(&Mutex::new(before));
        });
    }

    /// What was used for the execution at `home` and is not recorded yet; who takes it records it, or puts it back.
    pub(super) fn take(&self, home: &str) -> Usage {
        self.about(home);
        let here =
            CURRENT_REQUEST.try_with(|request| std::mem::take(&mut lock(request).usage)).unwrap_or_default();
        here + lock(&self.shared.carried).remove(home).unwrap_or_default()
    }

    /// Gives back what was taken and could not be recorded.
    pub(super) fn put_back(&self, home: &str, usage: Usage) {
        if usage.is_nothing() {
            return;
        }
        let mut carried = lock(&self.shared.carried);
        if carried.len() < MAX_PENDING_EXECUTIONS || carried.contains_key(home) {
            *carried.entry(home.to_owned()).or_default() += usage;
        }
    }

    fn carry(&self, request: &Mutex<Request>) {
        let Request { usage, home } = std::mem::take(&mut *lock(request));
        if let Some(home) = home {
            self.put_back(&home, usage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Meter;
    use tidemill_core::execution::cost::Usage;

    fn reads(count: u64) -> Usage {
        Usage { table_read_halves: count, ..Usage::default() }
    }

    #[tokio::test]
    async fn usage_is_recorded_once_for_its_execution() {
        let meter = Meter::default();
        meter.count(reads(1));
        meter
            .request(async {
                meter.count(reads(2));
                meter.about("a");
                meter.count(reads(3));
                assert_eq!(meter.take("a"), reads(5));
                meter.put_back("a", reads(5));
                meter.count(reads(4));
                meter.about("b");
                meter.count(reads(10));
            })
            .await;
        assert_eq!(meter.take("a"), reads(9));
        assert_eq!(meter.take("a"), Usage::default());
        assert_eq!(meter.take("b"), reads(10));
        assert_eq!(meter.total(), reads(20));
    }
}
