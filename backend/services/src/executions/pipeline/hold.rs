//! Held executions: until approval, only the end node and the gates of approval and group are recorded.

use super::service::PipelineExecutionService;
use crate::{
    error::{Error, Result},
    executions::planning::recorded_plan_of,
    ports::{Commit, ExecutionRecord, ExecutionSpec, ExecutionState, NewNode, Write},
};
use std::collections::BTreeMap;
use tidemill_core::scheduler::{StartConditions, new_execution};

/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 100;

impl PipelineExecutionService {
    /// Records the jobs of a held execution, unless they are recorded already. They still wait for the gate of the approval.
    pub(crate) async fn record_held_jobs(&self, held: &ExecutionRecord) -> Result<()> {
        let id = held.spec.id;
        if !held.spec.held {
            return Ok(());
        }
        for _ in 0..MAX_ATTEMPTS {
            let execution = self.context.execution(id).await?;
            if !execution.state.unplanned {
                return Ok(());
            }
            if execution.state.status.is_terminal() || execution.state.cancel_requested {
                return Err(Error::Conflict(format!(
                    "execution {id} has ended or was canceled; it is too late to approve it"
                )));
            }
            let plan = move || {
                let planned = recorded_plan_of(&execution.spec);
                (execution, planned)
            };
            let (execution, planned) = self.context.compute("planning an execution", plan).await?;
            let (_, plan) = planned?;
            let spec = &execution.spec;
            let waits_for_group = spec.group.as_ref().is_some_and(|group| group.after.is_some());
            // The nodes are those of the time when it was created, whatever rules there are by now.
            let gated: Vec<u32> = spec.approvals.iter().filter_map(|approval| approval.job).collect();
            let conditions =
                StartConditions { needs_approval: true, waits_for_group, approved: &[], protected: &gated };
            let new = new_execution(&plan, id, &BTreeMap::new(), conditions, spec.created_at);
            let group_gate = new.group_gate;
            let missing = |(ix, _): &(u32, NewNode)| !is_recorded_while_held(spec, group_gate, *ix);
            let nodes = (0..).zip(new.nodes).filter(missing).collect();
            let state = ExecutionState { unplanned: false, ..execution.state.clone() };
            let add = Write::AddNodes { id, if_version: execution.version, state, nodes };
            if let Commit::Done(_) = self.context.stores.records.commit(vec![add]).await? {
                self.context.cache_specs(id, plan);
                return Ok(());
            }
        }
        Err(Error::Conflict(format!("execution {id} changes too fast to be approved; try again")))
    }
}

/// Whether a node of a held execution is recorded before the approval.
pub(super) fn is_recorded_while_held(spec: &ExecutionSpec, group_gate: Option<u32>, ix: u32) -> bool {
    let is_approval_gate =
        spec.approvals.iter().any(|approval| approval.job.is_none() && approval.gate == ix);
    is_approval_gate || group_gate == Some(ix) || spec.end_node == ix
}
