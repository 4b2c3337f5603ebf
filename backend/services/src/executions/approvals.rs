//! Approves executions and manual jobs.

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
    scheduler::condition_holds,
};

/// Service for approvals.
#[derive(Debug, Clone)]
pub struct ApprovalService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
}

impl ApprovalService {
    pub(crate) fn new(context: Arc<Context>, pipelines: PipelineExecutionService) -> Self {
        Self { context, pipelines }
    }

    /// Approves a held execution.
    pub async fn approve_execution(&self, id: ExecutionId) -> Result<ApproveReply> {
        let execution = self.context.execution(id).await?;
        let gate = gate_of(&execution, None)
            .ok_or_else(|| Error::Conflict(format!("execution {id} does not wait for an approval")))?;
        // The jobs still wait for the gate. After a crash before it opens, another approval opens it.
        self.pipelines.record_held_jobs(&execution).await?;
        self.approve(&execution, gate).await
    }

    /// Approves a manual job; it runs once its needs have succeeded too.
    pub async fn approve_job(&self, job: JobId) -> Result<ApproveReply> {
        let node = self.context.job(job).await?;
        let execution = self.context.execution(node.key.execution).await?;
        if execution.state.unplanned {
            return Err(Error::Conflict(format!(
                "execution {} waits for an approval as a whole; approve it first",
                execution.spec.id
            )));
        }
        let gate = gate_of(&execution, Some(node.key.ix)).ok_or_else(|| {
            Error::Conflict(format!("job `{}` does not wait for an approval", node.spec.name))
        })?;
        if node.state.status().is_some_and(JobStatus::is_terminal) {
            return Err(Error::Conflict(format!(
                "job `{}` has ended; it is too late to approve it",
                node.spec.name
            )));
        }
        let planned = self.context.spec(node.key.execution, node.key.ix).await?.planned;
        if planned.condition.is_some() {
            let read = self.context.deciding_nodes(node.key.execution, &[&planned]).await?;
            if condition_holds(&planned, &read) != Some(true) {
                return Err(Error::Conflict(format!(
                    "the condition of job `{}` is decided once the jobs that it waits for have ended; approve it then",
                    node.spec.name
                )));
            }
        }
        self.approve(&execution, gate).await
    }

    async fn approve(&self, execution: &ExecutionRecord, gate: ApprovalGate) -> Result<ApproveReply> {
        let id = execution.spec.id;
        if execution.state.status.is_terminal() || execution.state.cancel_requested {
            return Err(Error::Conflict(format!(
                "execution {id} has ended or was canceled; it is too late to approve it"
            )));
        }
        let node = NodeKey { execution: id, ix: gate.gate };
        let approved = self.context.open_gate(node, true, "approval").await?;
        if !approved && self.context.node(node).await?.failed > 0 {
            return Err(Error::Conflict(format!(
                "it is too late to approve this: all other jobs of execution {id} have ended, or a need failed; to run it, \
                 retry with `approve`"
            )));
        }
        // The group may have reached this execution before the approval.
        let position = execution.spec.group.as_ref().and_then(|group| group.after);
        let gates = [gate.gate].into_iter().chain(position.map(|(_, gate)| gate)).collect();
        if approved && let Err(error) = self.context.advance(id, gates).await {
            tracing::warn!(execution = %id, %error, "cannot advance the approved execution; the sweep does");
        }
        Ok(ApproveReply { approved })
    }
}

fn gate_of(execution: &ExecutionRecord, job: Option<u32>) -> Option<ApprovalGate> {
    execution.spec.approvals.iter().find(|approval| approval.job == job).copied()
}
