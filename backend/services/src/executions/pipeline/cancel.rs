//! Cancels executions.

use super::service::PipelineExecutionService;
use crate::error::Result;
use tidemill_core::{api::CancelReply, ids::ExecutionId};

impl PipelineExecutionService {
    /// Cancels an execution and its children. After this returns, none of their attempts starts.
    pub async fn cancel(&self, id: ExecutionId) -> Result<CancelReply> {
        Box::pin(self.context.cancel_execution(id)).await
    }
}
