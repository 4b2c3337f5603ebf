//! Counts every call to AWS and its consumption, and attributes it to an execution.
//!
//! Usage is recorded with the next write to its execution, so that counting costs no extra write. Until then the process
//! keeps it in memory; if the process ends first, that usage (of an execution's last calls) is lost.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tidemill_core::execution::cost::Usage;

/// Maximum executions whose unrecorded usage is kept.
const MAX_PENDING_EXECUTIONS: usize = 10_000;

tokio::task_local! {
    static CURRENT_REQUEST: Arc<Mutex<Request>>;
}

/// The usage of one request, and its execution.
#[derive(Debug, Default)]
struct Request {
    usage: Usage,
    home: Option<String>,
}

/// The usage of one process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    shared: Arc<MeterState>,
}

#[derive(Debug, Default)]
struct MeterState {
    total: Mutex<Usage>,
    unrecorded: Mutex<HashMap<String, Usage>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// Returns the total usage of this process.
    #[must_use]
    pub fn total(&self) -> Usage {
        *lock(&self.shared.total)
    }

    /// Adds usage to the current request and to the total.
    pub fn count(&self, usage: Usage) {
        *lock(&self.shared.total) += usage;
        // Outside of a request (look-ups of the sweep) the usage belongs to no execution.
        let _ = CURRENT_REQUEST.try_with(|request| lock(request).usage += usage);
    }

    /// Runs the work of one request, and attributes its usage to the request's execution.
    pub async fn request<T>(&self, work: impl Future<Output = T>) -> T {
        let request = Arc::new(Mutex::new(Request::default()));
        let output = CURRENT_REQUEST.scope(request.clone(), work).await;
        self.keep(&request);
        output
    }

    /// Attributes the request to the execution at `home`.
    pub(super) fn attribute_to(&self, home: &str) {
        let _ = CURRENT_REQUEST.try_with(|request| {
            let mut request = lock(request);
            if request.home.is_none() {
                request.home = Some(home.to_owned());
            }
            if request.home.as_deref() == Some(home) {
                return;
            }
            // A sweep handles one execution after another.
            let previous = Request { usage: std::mem::take(&mut request.usage), home: request.home.take() };
            request.home = Some(home.to_owned());
            drop(request);
            self.keep(&Mutex::new(previous));
        });
    }

    /// Takes the unrecorded usage of the execution at `home`. The caller records it, or passes it to [`Self::put_back`].
    pub(super) fn take(&self, home: &str) -> Usage {
        self.attribute_to(home);
        let current =
            CURRENT_REQUEST.try_with(|request| std::mem::take(&mut lock(request).usage)).unwrap_or_default();
        current + lock(&self.shared.unrecorded).remove(home).unwrap_or_default()
    }

    /// Returns usage that could not be recorded.
    pub(super) fn put_back(&self, home: &str, usage: Usage) {
        if usage.is_empty() {
            return;
        }
        let mut unrecorded = lock(&self.shared.unrecorded);
        if unrecorded.len() < MAX_PENDING_EXECUTIONS || unrecorded.contains_key(home) {
            *unrecorded.entry(home.to_owned()).or_default() += usage;
        }
    }

    fn keep(&self, request: &Mutex<Request>) {
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
                meter.attribute_to("a");
                meter.count(reads(3));
                assert_eq!(meter.take("a"), reads(5));
                meter.put_back("a", reads(5));
                meter.count(reads(4));
                meter.attribute_to("b");
                meter.count(reads(10));
            })
            .await;
        assert_eq!(meter.take("a"), reads(9));
        assert_eq!(meter.take("a"), Usage::default());
        assert_eq!(meter.take("b"), reads(10));
        assert_eq!(meter.total(), reads(20));
    }
}
