//! ApprovalService: opens the gates that wait for a person.

use super::pipeline::service::PipelineExecutionService;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{ApprovalGate, ExecutionRecord, NodeKey},
};
use std::sync::Arc;
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    api::ApproveReply,
    ids::{ExecutionId, JobId},
};

/// Approvals.
#[derive(Debug, Clone)]
pub struct ApprovalService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
}

impl ApprovalService {
    pub(crate) fn new(context: Arc<Context>, pipelines: PipelineExecutionService) -> Self {
        Self { context, pipelines }
    }

    /// Approves an execution of which nothing runs before that.
    pub async fn approve_execution(&self, id: ExecutionId) -> Result<ApproveReply> {
        let execution = self.context.execution(id).await?;
        let gate = gate_of(&execution, None)
            .ok_or_else(|| Error::Conflict(format!("execution {id} waits for no approval")))?;
        // Its jobs still wait for the gate; should this process die before that opens, whoever approves it again opens it.
        self.pipelines.plan_held(&execution).await?;
        self.approve(&execution, gate).await
    }

    /// Approves a job whose `when` is manual; it runs once its needs hold, too.
    pub async fn approve_job(&self, job: JobId) -> Result<ApproveReply> {
        let node = self.context.job(job).await?;
        let execution = self.context.execution(node.key.execution).await?;
        if execution.state.unplanned {
            return Err(Error::Conflict(format!(
                "execution {} waits for an approval as a whole: give that first",
                execution.spec.id
            )));
        }
        let gate = gate_of(&execution, Some(node.key.ix))
            .ok_or_else(|| Error::Conflict(format!("job `{}` waits for no approval", node.spec.name)))?;
        if node.state.status().is_some_and(JobStatus::is_terminal) {
            return Err(Error::Conflict(format!(
                "job `{}` is over: it is too late to approve it",
                node.spec.name
            )));
        }
        self.approve(&execution, gate).await
    }

    async fn approve(&self, execution: &ExecutionRecord, gate: ApprovalGate) -> Result<ApproveReply> {
        let id = execution.spec.id;
        if execution.state.status.is_terminal() || execution.state.cancel_requested {
            return Err(Error::Conflict(format!(
                "execution {id} is over or canceled: it is too late to approve it"
            )));
        }
        let node = NodeKey { execution: id, ix: gate.gate };
        let approved = self.context.open_gate(node, true, "approval").await?;
        if !approved && self.context.node(node).await?.failed > 0 {
            return Err(Error::Conflict(format!(
                "it is too late to approve this: all else of execution {id} is over, or what it needs failed; a retry with \
                 `approve` runs it"
            )));
        }
        // Its turn in a group may have come while nobody had approved it.
        let position = execution.spec.group.as_ref().and_then(|group| group.after);
        let gates = [gate.gate].into_iter().chain(position.map(|(_, gate)| gate)).collect();
        if approved && let Err(error) = self.context.advance(id, gates).await {
            tracing::warn!(execution = %id, %error, "the sweep goes on with what was approved");
        }
        Ok(ApproveReply { approved })
    }
}

fn gate_of(execution: &ExecutionRecord, job: Option<u32>) -> Option<ApprovalGate> {
    execution.spec.approvals.iter().find(|approval| approval.job == job).copied()
}
