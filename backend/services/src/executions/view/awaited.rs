//! What a live execution waits for people to approve.

use crate::{
    context::service_context::Context,
    error::Result,
    ports::{ApprovalGate, ExecutionRecord, Node},
};
use tidemill_core::{execution::status::JobStatus, scheduler::condition_holds};

/// An approval that was not given yet.
#[derive(Debug)]
pub(crate) struct AwaitedGate {
    /// The gate that it opens.
    pub approval: ApprovalGate,
    /// That gate; a held execution has no nodes yet.
    pub gate: Option<Node>,
    /// The job behind it; `None`: the whole execution.
    pub job: Option<Node>,
}

impl Context {
    /// Returns the approvals that a live execution waits for. If one of them is for the whole execution, those for its jobs are omitted.
    pub(crate) async fn awaited_approvals(&self, execution: &ExecutionRecord) -> Result<Vec<AwaitedGate>> {
        let approvals = &execution.spec.approvals;
        let ixs: Vec<u32> =
            approvals.iter().flat_map(|approval| [Some(approval.gate), approval.job]).flatten().collect();
        let nodes = self.stores.records.nodes(execution.spec.id, &ixs).await?;
        let node = |ix: u32| nodes.iter().find(|node| node.key.ix == ix).cloned();
        // A gate fails if the approval came too late.
        let is_awaited =
            |gate: &Option<Node>| gate.as_ref().is_none_or(|gate| gate.waits_for > 0 && gate.failed == 0);
        let mut awaited = Vec::new();
        for approval in approvals {
            let gate = node(approval.gate);
            if is_awaited(&gate) {
                awaited.push(AwaitedGate { approval: *approval, gate, job: approval.job.and_then(node) });
            }
        }
        if awaited.iter().any(|one| one.approval.job.is_none()) {
            awaited.retain(|one| one.approval.job.is_none());
            return Ok(awaited);
        }
        let mut approvable = Vec::with_capacity(awaited.len());
        for one in awaited {
            if let Some(job) = &one.job
                && self.can_be_approved(job).await?
            {
                approvable.push(one);
            }
        }
        Ok(approvable)
    }

    /// Whether a manual job has not ended, and its condition on outputs, if it has one, holds.
    async fn can_be_approved(&self, job: &Node) -> Result<bool> {
        if job.state.status().is_none_or(JobStatus::is_terminal) {
            return Ok(false);
        }
        let planned = self.spec(job.key.execution, job.key.ix).await?.planned;
        if planned.condition.is_none() {
            return Ok(true);
        }
        let read = self.deciding_nodes(job.key.execution, &[&planned]).await?;
        Ok(condition_holds(&planned, &read) == Some(true))
    }
}
