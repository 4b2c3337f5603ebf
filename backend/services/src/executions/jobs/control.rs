//! Cancels jobs, and ends undeliverable ones.

use super::service::{JobExecutionService, MAX_ATTEMPTS};
use crate::{
    context::service_context::job_of,
    error::{Error, Result},
    ports::Node,
};
use std::slice;
use tidemill_core::execution::transition::JobEvent;
use tidemill_core::{api::CancelReply, ids::JobId, scheduler::apply_event};

impl JobExecutionService {
    /// Ends a queued job that the queue delivered too often. Returns false if it is no longer queued.
    pub async fn end_undeliverable(&self, job: JobId) -> Result<bool> {
        let Some(prefetched) = self.context.stores.records.job(job).await? else { return Ok(false) };
        let key = prefetched.key;
        let mut prefetched = Some(prefetched);
        for _ in 0..MAX_ATTEMPTS {
            let node = match prefetched.take() {
                Some(node) => node,
                None => self.context.node(key).await?,
            };
            let item = job_of(&node)?;
            let Ok(transition) = apply_event(&node, item, JobEvent::Undeliverable, self.context.now()) else {
                return Ok(false);
            };
            if self.context.commit_transition(transition, &node).await?.is_some() {
                return Ok(true);
            }
        }
        Err(Error::Conflict(format!("job {job} changes too fast to be ended; try again")))
    }

    /// Cancels a job and the execution that it started. After this returns, none of their attempts starts.
    pub async fn cancel(&self, job: JobId) -> Result<CancelReply> {
        let key = self.context.job(job).await?.key;
        for _ in 0..MAX_ATTEMPTS {
            let node = self.context.node(key).await?;
            let item = job_of(&node)?;
            let status = item.job.status;
            let Ok(transition) = apply_event(&node, item, JobEvent::Cancel, self.context.now()) else {
                if item.job.cancel_requested {
                    // An earlier cancel may have been interrupted.
                    self.cancel_child(&node).await?;
                }
                return Ok(CancelReply { canceled: false, status: status.as_str().into() });
            };
            if self.context.commit_transition(transition, &node).await?.is_some() {
                self.cancel_child(&node).await?;
                let status = job_of(&self.context.node(key).await?)?.job.status;
                return Ok(CancelReply { canceled: true, status: status.as_str().into() });
            }
        }
        Err(Error::Conflict(format!("job {job} changes too fast to be canceled; try again")))
    }

    /// Cancels the execution that a job started.
    async fn cancel_child(&self, job: &Node) -> Result<()> {
        Box::pin(self.context.cancel_children(job.key.execution, slice::from_ref(job))).await
    }
}
