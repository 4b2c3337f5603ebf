//! Cancels executions, and resumes what requests have left.

use super::service::PipelineExecutionService;
use crate::error::Result;
use tidemill_core::{api::CancelReply, ids::ExecutionId};

impl PipelineExecutionService {
    /// Does what a request has left to others: records the jobs of a large execution, or cancels them.
    pub async fn resume(&self, id: ExecutionId) -> Result<()> {
        let Some((state, _)) = self.context.stores.records.execution_state(id).await? else {
            return Ok(());
        };
        let execution = self.context.cached_execution(id).await?;
        let is_large = self.context.is_large(execution.spec.jobs);
        let is_left = state.cancel_requested
            || (state.unplanned && (!execution.spec.held || state.approved_at.is_some()));
        if is_large && is_left && !state.status.is_terminal() {
            Box::pin(self.context.advance(id, vec![execution.spec.end_node])).await?;
        }
        Ok(())
    }

    /// Cancels an execution and its children. After this returns, none of their attempts starts; the jobs of a large execution are
    /// canceled after it.
    pub async fn cancel(&self, id: ExecutionId) -> Result<CancelReply> {
        Box::pin(self.context.cancel_execution(id)).await
    }
}
