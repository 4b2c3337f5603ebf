//! Cancels executions.

use super::service::PipelineExecutionService;
use crate::{
    error::{Error, Result},
    ports::{Commit, ExecutionRecord, NodeKey, Write},
};
use tidemill_core::{api::CancelReply, ids::ExecutionId, scheduler::request_cancel};

/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 100;

impl PipelineExecutionService {
    /// Cancels an execution. After this returns, none of its attempts starts.
    pub async fn cancel(&self, id: ExecutionId) -> Result<CancelReply> {
        for _ in 0..MAX_ATTEMPTS {
            let execution = self.context.execution(id).await?;
            let state = &execution.state;
            if state.status.is_terminal() {
                return Ok(CancelReply { canceled: false, status: state.status.as_str().into() });
            }
            let first = !state.cancel_requested;
            if first {
                let writes = self.cancel_writes(&execution, None).await?;
                if let Commit::Conflict = self.context.stores.records.commit(writes.into()).await? {
                    continue;
                }
            }
            self.cancel_jobs_of(&execution).await?;
            let status = self.context.execution(id).await?.state.status;
            return Ok(CancelReply { canceled: first, status: status.as_str().into() });
        }
        Err(Error::Conflict(format!("execution {id} changes too fast to be canceled; try again")))
    }

    /// Returns the writes that request the cancel of a live execution.
    pub(super) async fn cancel_writes(
        &self,
        of: &ExecutionRecord,
        by: Option<ExecutionId>,
    ) -> Result<[Write; 2]> {
        let key = NodeKey { execution: of.spec.id, ix: of.spec.end_node };
        let end = self.context.node(key).await?;
        Ok(request_cancel(of, &end, by, self.context.now()))
    }

    /// Cancels the jobs of an execution whose cancel is recorded.
    pub(super) async fn cancel_jobs_of(&self, of: &ExecutionRecord) -> Result<()> {
        self.context.cancel_jobs(of.spec.id).await?;
        self.context.advance(of.spec.id, vec![of.spec.end_node]).await
    }
}
