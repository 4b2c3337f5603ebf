//! Held executions: until approval, only the end node and the gates of approval and group are recorded.

use super::service::PipelineExecutionService;
use crate::{
    error::{Error, Result},
    executions::advance::recording::Recording,
    ports::ExecutionRecord,
};

impl PipelineExecutionService {
    /// Records the jobs of a held execution, unless they are recorded already. They still wait for the gate of the approval.
    pub(crate) async fn record_held_jobs(&self, held: &ExecutionRecord) -> Result<()> {
        let id = held.spec.id;
        if !held.spec.held {
            return Ok(());
        }
        match self.context.record_nodes(id).await? {
            Recording::Recorded(_) | Recording::Known => Ok(()),
            Recording::Canceled => Err(Error::Conflict(format!(
                "execution {id} has ended or was canceled; it is too late to approve it"
            ))),
        }
    }
}
