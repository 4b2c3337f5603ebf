//! Jobs from the server itself, which holds the request until a job is ready.

use super::port::{JobOffer, JobRequest, JobSource, JobSourceError, Receipt};
use crate::client::{ApiClient, ApiError};
use async_trait::async_trait;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tidemill_core::{
    api::{JobExecuteReply, JobExecuteRequest},
    ids::ExecutionId,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Milliseconds for which the server holds a request.
const LONG_POLL_MS: u64 = 20_000;
/// A request without a job that takes less time was not held.
const MIN_HELD: Duration = Duration::from_millis(250);
/// Requests in a row that are not held before the worker pauses. A server that is stopping holds none, either.
const MAX_UNHELD: u32 = 10;
/// Pause after a request that was not held.
const UNHELD_PAUSE: Duration = Duration::from_secs(5);

/// The server's long poll. The server has the queue, so nothing needs to be held or settled here.
#[derive(Debug, Clone)]
pub struct LongPoll {
    api: ApiClient,
    only_execution: Option<ExecutionId>,
    /// Number of requests in a row that were not held.
    unheld: Arc<AtomicU32>,
}

impl LongPoll {
    /// Creates a source of jobs of the server behind `api`, only of `only_execution` if given.
    #[must_use]
    pub fn new(api: ApiClient, only_execution: Option<ExecutionId>) -> Self {
        Self { api, only_execution, unheld: Arc::default() }
    }

    /// Waits before the next request to a deployment that holds none, since holding them costs money there.
    async fn pause_if_unheld(&self, took: Duration, stop: &CancellationToken) {
        if took >= MIN_HELD {
            self.unheld.store(0, Ordering::Relaxed);
            return;
        }
        let before = self.unheld.fetch_add(1, Ordering::Relaxed);
        if before < MAX_UNHELD {
            return;
        }
        if before == MAX_UNHELD {
            tracing::warn!(
                "the server does not hold requests for jobs, so this worker asks it every {} s; start it with --queue to get jobs at once",
                UNHELD_PAUSE.as_secs()
            );
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(UNHELD_PAUSE) => {}
        }
    }
}

#[async_trait]
impl JobSource for LongPoll {
    /// Unlimited: a waiting request costs the server nothing, and two jobs that are ready should start at the same time.
    fn max_concurrent_requests(&self) -> usize {
        usize::MAX
    }

    async fn next(
        &self,
        request: &JobRequest,
        stop: &CancellationToken,
    ) -> Result<Option<JobOffer>, JobSourceError> {
        let execute = JobExecuteRequest {
            labels: request.labels.clone(),
            worker: request.worker.clone(),
            job_id: None,
            execution_id: self.only_execution,
            lease: None,
            wait_ms: if request.no_wait { 0 } else { LONG_POLL_MS },
            lookahead: request.lookahead,
            slot_price: request.slot_price,
        };
        let asked_at = Instant::now();
        let reply = tokio::select! {
            biased;
            // The server detects the closed connection and queues the job again that it was about to assign.
            () = stop.cancelled() => return Ok(None),
            reply = self.api.execute(&execute) => reply,
        };
        match reply {
            Ok(JobExecuteReply::Assigned { assignment, upcoming }) => {
                Ok(Some(JobOffer { assignment, upcoming, receipt: Receipt(None) }))
            }
            Ok(JobExecuteReply::Nothing { reason }) => {
                tracing::trace!(%reason, "no job to run");
                if !request.no_wait {
                    self.pause_if_unheld(asked_at.elapsed(), stop).await;
                }
                Ok(None)
            }
            Err(ApiError::Rejected { status: 401 | 403, message, .. }) => {
                Err(JobSourceError::Rejected(message))
            }
            Err(error @ ApiError::Address(_)) => Err(JobSourceError::Rejected(error.to_string())),
            Err(error) => Err(JobSourceError::Transient(error.to_string())),
        }
    }

    async fn hold(&self, _: &Receipt) -> Infallible {
        std::future::pending().await
    }

    async fn settle(&self, _: Receipt) {}
}
