//! The port through which a worker gets its jobs.

use async_trait::async_trait;
use std::{convert::Infallible, fmt};
use tidemill_core::api::WorkerInfo;
use tidemill_core::execution::assignment::{Assignment, Preparation};
use tidemill_core::pipeline::labels::Labels;
use tokio_util::sync::CancellationToken;

/// A request for a job.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// The worker.
    pub worker: WorkerInfo,
    /// Its labels.
    pub labels: Labels,
    /// How many likely next jobs to return with the job.
    pub lookahead: u32,
    /// What one of its slots costs, in millionths of a dollar for an hour; 0 if it has no price.
    pub slot_price: u64,
    /// Whether to return immediately if no job is ready.
    pub no_wait: bool,
}

/// A job for this worker, which holds its lease.
#[derive(Debug)]
pub struct JobOffer {
    /// What to run.
    pub assignment: Box<Assignment>,
    /// Jobs of the same execution that will likely be ready next.
    pub upcoming: Vec<Preparation>,
    /// For [`JobSource::hold`] and [`JobSource::settle`].
    pub receipt: Receipt,
}

/// Identifies an offered job for its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(pub(crate) Option<String>);

/// An error of a job source.
#[derive(Debug, thiserror::Error)]
pub enum JobSourceError {
    /// A later request may succeed.
    #[error("{0}")]
    Transient(String),
    /// The server rejects this worker.
    #[error("{0}")]
    Rejected(String),
    /// The queue never answered this worker.
    #[error("{0}")]
    Unusable(String),
}

/// Provides a worker with jobs.
///
/// # Contract
/// For each job: [`Self::next`] once, [`Self::hold`] while it runs, [`Self::settle`] once its reports have ended. Calls for
/// different jobs may overlap, but of [`Self::next`] at most [`Self::max_concurrent_requests`].
///
/// 1. The worker holds the lease of a job that `next` returns, and must run it or give it back by a report.
/// 2. `next` returns `None` if there was no job for a while, and soon after `stop`. It takes no job that it does not return: a
///    job that could not be claimed is available to the next request after a while.
/// 3. A job that is running, canceled or ended according to the records is not offered, and its message is deleted.
/// 4. A job that is held is offered to no other worker as long as its lease is renewed.
/// 5. A settled job is not offered again unless the records queue it again: they decide on a job, and a source only delivers
///    it. So `settle` is the same for a job that ended, was given back, or lost its lease.
#[async_trait]
pub trait JobSource: fmt::Debug + Send + Sync {
    /// Returns the maximum useful number of concurrent calls of [`Self::next`], each of which is a waiting request.
    fn max_concurrent_requests(&self) -> usize;

    /// Waits for the next job for `request`.
    async fn next(
        &self,
        request: &JobRequest,
        stop: &CancellationToken,
    ) -> Result<Option<JobOffer>, JobSourceError>;

    /// Keeps the job from other workers while this is polled. Never returns; failures are retried.
    async fn hold(&self, receipt: &Receipt) -> Infallible;

    /// Releases a job whose reports have ended. If that fails, the job is offered at most once more, and the records then reject
    /// the claim.
    async fn settle(&self, receipt: Receipt);
}
