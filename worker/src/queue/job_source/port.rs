//! The port through which a worker gets its jobs.

use async_trait::async_trait;
use std::{convert::Infallible, fmt};
use tidemill_core::api::WorkerInfo;
use tidemill_core::execution::assignment::{Assignment, Preparation};
use tidemill_core::pipeline::labels::Labels;
use tokio_util::sync::CancellationToken;

/// Who asks for a job.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// The worker.
    pub worker: WorkerInfo,
    /// Its labels.
    pub labels: Labels,
    /// How many likely next jobs are to be named with the job.
    pub lookahead: u32,
    /// Only what is there already is wanted: the answer is not waited for.
    pub glance: bool,
}

/// A job for this worker: its lease is held.
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

/// Why a source has no job.
#[derive(Debug, thiserror::Error)]
pub enum JobSourceError {
    /// A later request may succeed.
    #[error("{0}")]
    Passing(String),
    /// The server refuses this worker.
    #[error("{0}")]
    Refused(String),
    /// The queue never answered this worker.
    #[error("{0}")]
    Unusable(String),
}

/// Gives a worker its jobs.
///
/// # Contract
/// For each job: [`Self::next`] once, [`Self::hold`] while it runs, [`Self::settle`] once its reports are over. Calls for
/// different jobs may overlap; of [`Self::next`] at most [`Self::asks_at_once`] are under way.
///
/// 1. A job that `next` returns has its lease: it must be run, or be given back by a report.
/// 2. `next` returns `None` when there was nothing to run for a while, and soon after `stop`. It takes nothing that
///    it does not return: a job for which the lease could not be had is there for the next who asks, after a while.
/// 3. What the records say is taken, canceled or over is not offered, and is forgotten.
/// 4. A job that is held is offered to nobody else, for as long as its lease is renewed.
/// 5. What was settled is not offered again, unless the records have it queued again: they say what a job's fate is, and
///    a source only carries it. So `settle` is the same for a job that ended, was given back, or lost its lease.
#[async_trait]
pub trait JobSource: fmt::Debug + Send + Sync {
    /// How many calls of [`Self::next`] are worth having at the same time: each is a request that waits.
    fn asks_at_once(&self) -> usize;

    /// The next job for whoever asks, once there is one.
    async fn next(
        &self,
        ask: &JobRequest,
        stop: &CancellationToken,
    ) -> Result<Option<JobOffer>, JobSourceError>;

    /// Keeps the job from others while this is polled. It never ends, and what fails in it is tried again.
    async fn hold(&self, receipt: &Receipt) -> Infallible;

    /// Lets go of a job whose reports are over. Should that fail, the job is offered once more at most, and the records
    /// then refuse it.
    async fn settle(&self, receipt: Receipt);
}
