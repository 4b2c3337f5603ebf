//! Executions that jobs of others started: their view with the job, their cancel with the parent, and the gate that their end
//! opens.

use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    ports::{Commit, ExecutionRecord, JobRecord, Node, NodeBody, NodeKey, NodeState, ParentLink, Write},
};
use futures_util::future::{join_all, try_join_all};
use std::{collections::HashMap, fmt::Write as _};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::{
    api::CancelReply,
    ids::{ExecutionId, digest::sha256_hex},
    scheduler::{ParentGate, request_cancel},
};

/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 100;
/// Number of children that are canceled at the same time.
const CANCEL_BATCH: usize = 16;
/// Number of children that are read at the same time.
const READ_BATCH: usize = 16;

/// Statuses of the children of an execution. One that is not recorded has none.
pub(crate) type ChildStatuses = HashMap<ExecutionId, ExecutionStatus>;

/// Returns the ids of the executions that these jobs started, in order.
fn child_ids(nodes: &[Node]) -> Vec<ExecutionId> {
    let mut ids: Vec<ExecutionId> = nodes.iter().filter_map(|node| job_of(node).ok()?.child).collect();
    ids.sort_unstable();
    ids
}

/// Returns a number that changes with the statuses of the executions that these jobs started; 0 if they started none.
pub(crate) fn revision_of_children(nodes: &[Node], statuses: &ChildStatuses) -> u64 {
    let ids = child_ids(nodes);
    if ids.is_empty() {
        return 0;
    }
    let mut text = String::new();
    for id in ids {
        let status = statuses.get(&id).map_or("", |status| status.as_str());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{id} {status}");
    }
    let digest = sha256_hex(text.as_bytes());
    digest.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// Returns the key that is taken when a gate is opened from outside the plan, so that it opens once.
pub(crate) fn gate_key(gate: NodeKey) -> String {
    format!("approve:{}:{}", gate.execution, gate.ix)
}

impl Context {
    /// Returns the executions that these jobs started, as far as they are recorded.
    pub async fn children(&self, nodes: &[Node]) -> Result<HashMap<ExecutionId, ExecutionRecord>> {
        let mut children = HashMap::new();
        for batch in child_ids(nodes).chunks(READ_BATCH) {
            let read = try_join_all(batch.iter().map(|id| self.stores.records.execution(*id))).await?;
            children.extend(read.into_iter().flatten().map(|child| (child.spec.id, child)));
        }
        Ok(children)
    }

    /// Returns the live executions below `id`; `None` if none of its jobs starts one.
    pub async fn live_descendants(&self, id: ExecutionId) -> Result<Option<Vec<ExecutionId>>> {
        let (mut live, mut starts_any, mut pending) = (Vec::new(), false, vec![id]);
        while let Some(id) = pending.pop() {
            let Ok(specs) = self.specs(id).await else { continue };
            let starting =
                (0..).zip(specs.iter()).filter(|(_, spec)| spec.planned.surroundings.child.is_some());
            let starting: Vec<u32> = starting.map(|(ix, _)| ix).collect();
            if starting.is_empty() {
                continue;
            }
            starts_any = true;
            let nodes = self.stores.records.nodes(id, &starting).await?;
            for (child, record) in self.children(&nodes).await? {
                if !record.state.status.is_terminal() {
                    live.push(child);
                }
                pending.push(child);
            }
        }
        Ok(starts_any.then_some(live))
    }

    /// Returns the gate that the end of `child` opens; `None` if there is none, or if it is open already.
    pub async fn parent_gate(&self, child: &ExecutionRecord) -> Result<Option<ParentGate>> {
        let Some(parent) = &child.spec.parent else { return Ok(None) };
        let Some(ix) = parent.gate else { return Ok(None) };
        let gate = NodeKey { execution: parent.execution, ix };
        let key = gate_key(gate);
        let is_open = self.stores.records.key(&key).await?.is_some();
        if is_open || self.stores.records.execution_state(parent.execution).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(ParentGate { gate, key, job: parent.name.clone() }))
    }

    /// Returns the write that records the child in the job that starts it. Conflict: the job was changed, for example by a
    /// cancel.
    pub async fn record_child(&self, parent: &ParentLink, child: ExecutionId) -> Result<Write> {
        let key = NodeKey { execution: parent.execution, ix: parent.job };
        let node = self.node(key).await?;
        let item = job_of(&node)?;
        if item.job.status != JobStatus::Running || item.job.cancel_requested {
            return Err(Error::Conflict(format!(
                "job `{}` has ended or was canceled; it starts no pipeline",
                parent.name
            )));
        }
        let body = NodeBody::Job(Box::new(JobRecord { child: Some(child), ..item.clone() }));
        let state = NodeState { notified: node.state.notified, body, approvals: Vec::new() };
        Ok(Write::PutNode { key, if_version: node.version, state, due_at: node.due_at })
    }

    /// Cancels the executions that these jobs of `parent` started: several at a time, unless `parent` is a child itself.
    pub async fn cancel_children(&self, parent: ExecutionId, nodes: &[Node]) -> Result<()> {
        let is_own = |child: &ExecutionRecord| {
            child.spec.parent.as_ref().is_some_and(|link| link.execution == parent)
                && !child.state.status.is_terminal()
        };
        let live: Vec<ExecutionId> =
            self.children(nodes).await?.into_values().filter(is_own).map(|child| child.spec.id).collect();
        if live.is_empty() {
            return Ok(());
        }
        let is_child = self.cached_execution(parent).await?.spec.parent.is_some();
        for batch in live.chunks(if is_child { 1 } else { CANCEL_BATCH }) {
            let canceled = join_all(batch.iter().map(|id| Box::pin(self.cancel_execution(*id)))).await;
            canceled.into_iter().collect::<Result<Vec<_>>>()?;
        }
        Ok(())
    }

    /// Returns a number that changes with the statuses of the executions that jobs of `id` started; 0 if none started one. Those
    /// that are `known` to have ended are not read again.
    pub async fn children_revision(&self, id: ExecutionId, known: &mut ChildStatuses) -> Result<u64> {
        let Ok(specs) = self.specs(id).await else { return Ok(0) };
        let starting = (0..).zip(specs.iter()).filter(|(_, spec)| spec.planned.surroundings.child.is_some());
        let starting: Vec<u32> = starting.map(|(ix, _)| ix).collect();
        if starting.is_empty() {
            return Ok(0);
        }
        let nodes = self.stores.records.nodes(id, &starting).await?;
        let has_ended = |id: &ExecutionId| known.get(id).is_some_and(|status| status.is_terminal());
        let mut unknown = child_ids(&nodes);
        unknown.retain(|id| !has_ended(id));
        for batch in unknown.chunks(READ_BATCH) {
            let read = batch.iter().map(|id| self.stores.records.execution_state(*id));
            for (id, state) in batch.iter().zip(try_join_all(read).await?) {
                if let Some((state, _)) = state {
                    known.insert(*id, state.status);
                }
            }
        }
        Ok(revision_of_children(&nodes, known))
    }

    /// Cancels an execution and its children. After this returns, none of their attempts starts.
    pub async fn cancel_execution(&self, id: ExecutionId) -> Result<CancelReply> {
        for _ in 0..MAX_ATTEMPTS {
            let execution = self.execution(id).await?;
            let state = &execution.state;
            if state.status.is_terminal() {
                return Ok(CancelReply { canceled: false, status: state.status.as_str().into() });
            }
            let first = !state.cancel_requested;
            if first {
                let writes = self.cancel_writes(&execution, None).await?;
                if let Commit::Conflict = self.stores.records.commit(writes.into()).await? {
                    continue;
                }
            }
            self.cancel_jobs_of(&execution).await?;
            let status = self.execution(id).await?.state.status;
            return Ok(CancelReply { canceled: first, status: status.as_str().into() });
        }
        Err(Error::Conflict(format!("execution {id} changes too fast to be canceled; try again")))
    }

    /// Returns the writes that request the cancel of a live execution.
    pub async fn cancel_writes(&self, of: &ExecutionRecord, by: Option<ExecutionId>) -> Result<[Write; 2]> {
        let end = self.node(NodeKey { execution: of.spec.id, ix: of.spec.end_node }).await?;
        Ok(request_cancel(of, &end, by, self.now()))
    }

    /// Cancels the jobs of an execution whose cancel is recorded: those of a large one after the reply.
    pub async fn cancel_jobs_of(&self, of: &ExecutionRecord) -> Result<()> {
        if self.is_large(of.spec.jobs) && !of.state.unplanned {
            // The end node is due, and its step cancels the jobs. Until then, no claim succeeds.
            self.advance_later(of.spec.id, vec![of.spec.end_node]);
            return Ok(());
        }
        self.cancel_jobs(of.spec.id).await?;
        self.advance(of.spec.id, vec![of.spec.end_node]).await
    }
}
