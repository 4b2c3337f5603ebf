//! Work that takes the processor for long.

use async_trait::async_trait;
use std::fmt;

/// Something to compute: it waits for nobody.
pub type Work = Box<dyn FnOnce() + Send>;

/// Where work runs that takes the processor for long, such as reading a hostile pipeline file: away from the threads that answer
/// requests, and on a bounded number of others.
#[async_trait]
pub trait Compute: fmt::Debug + Send + Sync {
    /// Runs `work` once it has its turn, and waits for its end. Work that has begun ends even if nobody waits for it any more, and counts
    /// against the bound until then; work that has not begun by then never does.
    async fn run(&self, work: Work);
}
