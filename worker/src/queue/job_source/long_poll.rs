//! Jobs from the server itself: it holds the request until one is ready.

use super::port::{JobOffer, JobRequest, JobSource, JobSourceError, Receipt};
use crate::client::{ApiClient, ApiError};
use async_trait::async_trait;
use std::convert::Infallible;
use tidemill_core::{
    api::{JobExecuteReply, JobExecuteRequest},
    ids::ExecutionId,
};
use tokio_util::sync::CancellationToken;

/// Milliseconds that the server is asked to hold a request.
const LONG_POLL_MS: u64 = 20_000;

/// The server's long poll. The server has the queue, so that nothing needs to be held or settled here.
#[derive(Debug, Clone)]
pub struct LongPoll {
    api: ApiClient,
    only_execution: Option<ExecutionId>,
}

impl LongPoll {
    /// Jobs of the server behind `api`; only of one execution if it is named.
    #[must_use]
    pub const fn new(api: ApiClient, only_execution: Option<ExecutionId>) -> Self {
        Self { api, only_execution }
    }
}

#[async_trait]
impl JobSource for LongPoll {
    /// A request that waits costs a server nothing, and two jobs that are ready at once should start at once.
    fn asks_at_once(&self) -> usize {
        usize::MAX
    }

    async fn next(
        &self,
        ask: &JobRequest,
        stop: &CancellationToken,
    ) -> Result<Option<JobOffer>, JobSourceError> {
        let request = JobExecuteRequest {
            labels: ask.labels.clone(),
            worker: ask.worker.clone(),
            job_id: None,
            execution_id: self.only_execution,
            lease: None,
            wait_ms: if ask.glance { 0 } else { LONG_POLL_MS },
            lookahead: ask.lookahead,
        };
        let reply = tokio::select! {
            biased;
            // The server sees that the connection is gone, and queues again what it was about to give.
            () = stop.cancelled() => return Ok(None),
            reply = self.api.execute(&request) => reply,
        };
        match reply {
            Ok(JobExecuteReply::Assigned { assignment, upcoming }) => {
                Ok(Some(JobOffer { assignment, upcoming, receipt: Receipt(None) }))
            }
            Ok(JobExecuteReply::Nothing { reason }) => {
                tracing::trace!(%reason, "nothing to run");
                Ok(None)
            }
            Err(ApiError::Refused { status: 401 | 403, message, .. }) => {
                Err(JobSourceError::Refused(message))
            }
            Err(error @ ApiError::Address(_)) => Err(JobSourceError::Refused(error.to_string())),
            Err(error) => Err(JobSourceError::Passing(error.to_string())),
        }
    }

    async fn hold(&self, _: &Receipt) -> Infallible {
        std::future::pending().await
    }

    async fn settle(&self, _: Receipt) {}
}
