//! CPU-bound work.

use async_trait::async_trait;
use std::fmt;

/// A computation that never waits.
pub type Work = Box<dyn FnOnce() + Send>;

/// Runs CPU-bound work, such as parsing a hostile pipeline file, on a bounded number of threads that serve no requests.
#[async_trait]
pub trait Compute: fmt::Debug + Send + Sync {
    /// Runs `work` when a thread is free, and waits for its end. If the caller stops waiting, work that has started runs to its end and
    /// counts against the bound until then; work that has not started never runs.
    async fn run(&self, work: Work);
}
