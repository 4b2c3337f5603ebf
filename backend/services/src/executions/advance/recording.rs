//! Records the nodes of executions that were created without most of them: held ones get them with their approval, and large ones
//! after the reply to the request that created or approved them.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    executions::{children::gate_key, planning::recorded_plan_of},
    ports::{
        Commit, Deadline, ExecutionRecord, ExecutionSpec, ExecutionState, JobRecord, KeyRecord, NewNode,
        Node, NodeBody, NodeKey, NodeState, QueuedJob, Write,
    },
};
use futures_util::future::try_join_all;
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::{
    execution::status::JobStatus,
    guarded,
    ids::ExecutionId,
    plan::Plan,
    scheduler::{CarriedJob, StartConditions, new_execution},
    time::Timestamp,
};

/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 100;
/// Number of carried-over jobs that are read at the same time.
const CONCURRENT_READS: usize = 32;

/// What follows from recording nodes.
#[derive(Debug, Default)]
pub(crate) struct RecordedNodes {
    /// The jobs that are queued.
    pub queued: Vec<QueuedJob>,
    /// The nodes whose step is due at once.
    pub due: Vec<u32>,
}

impl RecordedNodes {
    /// Returns what follows from recording these nodes of an execution.
    pub fn of<'n>(
        execution: ExecutionId,
        nodes: impl IntoIterator<Item = (u32, &'n NewNode)>,
        now: Timestamp,
    ) -> Self {
        let mut follows = Self::default();
        for (ix, node) in nodes {
            let status = node.state.status();
            follows.queued.extend(QueuedJob::of(NodeKey { execution, ix }, &node.state, now));
            // Jobs that are queued are due too, but need only their messages.
            if node.due_at.is_some() && status.is_none_or(|status| status == JobStatus::Pending) {
                follows.due.push(ix);
            }
        }
        follows
    }
}

/// Outcome of recording the nodes of an execution.
#[derive(Debug)]
pub(crate) enum Recording {
    /// They are recorded now.
    Recorded(RecordedNodes),
    /// They were recorded before.
    Known,
    /// The execution has ended or was canceled: they are never recorded.
    Canceled,
}

/// Whether a node is recorded with its execution, if most of them are not.
pub(crate) fn is_recorded_first(spec: &ExecutionSpec, group_gate: Option<u32>, ix: u32) -> bool {
    let is_approval_gate =
        spec.approvals.iter().any(|approval| approval.job.is_none() && approval.gate == ix);
    is_approval_gate || group_gate == Some(ix) || spec.end_node == ix
}

/// Returns when the end node of an execution is due, given when it would be without a deadline.
pub(crate) fn end_due_at(due_at: Option<Timestamp>, deadline: Option<Deadline>) -> Option<Timestamp> {
    let limit = guarded!(DeadlineMakesDue, deadline, without None);
    due_at.into_iter().chain(limit.map(|limit| limit.at)).min()
}

impl Context {
    /// Whether an execution has so many jobs that they are recorded, and canceled, after the reply to a request.
    pub fn is_large(&self, jobs: u32) -> bool {
        jobs > self.settings.max_jobs_per_request
    }

    /// Returns the state of an execution whose jobs are not recorded yet; `None` if they are.
    pub(super) async fn unplanned_state(&self, execution: ExecutionId) -> Result<Option<ExecutionState>> {
        let cached = self.cached_execution(execution).await?;
        if !cached.state.unplanned {
            return Ok(None);
        }
        let state = self.stores.records.execution_state(execution).await?;
        let Some((state, version)) = state else { return Ok(None) };
        if state.unplanned {
            return Ok(Some(state));
        }
        // They stay recorded, so the state need not be read again.
        let known = ExecutionRecord { state, version, ..(*cached).clone() };
        self.cache_execution(Arc::new(known));
        Ok(None)
    }

    /// If the jobs of a large execution are not recorded yet, records them, and sends the ids of those that can start. The nodes that
    /// are `due` are then those with a step.
    pub(super) async fn record_deferred(&self, execution: ExecutionId, due: &mut Vec<u32>) -> Result<()> {
        let Some(state) = self.unplanned_state(execution).await? else { return Ok(()) };
        let cached = self.cached_execution(execution).await?;
        if cached.spec.held && state.approved_at.is_none() {
            return Ok(());
        }
        let Recording::Recorded(nodes) = self.record_nodes(execution).await? else { return Ok(()) };
        // The nodes are durable. If this fails, the sweep sends the queued jobs.
        if let Err(error) = self.send(execution, &nodes.queued).await {
            tracing::warn!(%execution, %error, "cannot send the jobs of the execution; the sweep does");
        }
        if cached.spec.held {
            // The gate of the approval was due so that this happens.
            due.extend(cached.spec.approval_gate(None).map(|approval| approval.gate));
            due.extend(cached.spec.group.as_ref().and_then(|group| group.after).map(|(_, gate)| gate));
        } else {
            // The end node was due so that this happens.
            due.retain(|ix| *ix != cached.spec.end_node);
        }
        due.extend(nodes.due);
        Ok(())
    }

    /// Records that a held execution is approved: opens the gate of the approval, whose step records the jobs. Returns false if the
    /// gate was open already.
    pub(crate) async fn approve_held(&self, gate: NodeKey) -> Result<bool> {
        let id = gate.execution;
        let key = gate_key(gate);
        for _ in 0..MAX_ATTEMPTS {
            let execution = self.execution(id).await?;
            let ExecutionRecord { version, state, .. } = &execution;
            if state.status.is_terminal() || state.cancel_requested {
                return Err(Error::Conflict(format!(
                    "execution {id} has ended or was canceled; it is too late to approve it"
                )));
            }
            if self.stores.records.key(&key).await?.is_some() {
                return Ok(false);
            }
            let approved = ExecutionState { approved_at: Some(self.now()), ..state.clone() };
            let record = KeyRecord { execution: id, request: String::new() };
            let writes = vec![
                Write::PutExecution { id, if_version: *version, state: approved },
                Write::PutKey { key: key.clone(), if_execution: None, record },
                Write::Arrive {
                    key: gate,
                    ok: true,
                    from: "approval".into(),
                    now: self.now(),
                    continuation: None,
                },
            ];
            if let Commit::Done(_) = self.stores.records.commit(writes).await? {
                return Ok(true);
            }
        }
        Err(Error::Conflict(format!("execution {id} changes too fast to be approved; try again")))
    }

    /// Returns the jobs that an execution carries over, as they ended. One whose record was removed runs again.
    async fn carried_jobs(&self, spec: &ExecutionSpec, plan: &Plan) -> Result<BTreeMap<String, CarriedJob>> {
        let mut carried = BTreeMap::new();
        for jobs in spec.carried.chunks(CONCURRENT_READS) {
            let reads = jobs.iter().map(|(_, from)| self.stores.records.job(*from));
            for ((ix, from), node) in jobs.iter().zip(try_join_all(reads).await?) {
                let Some(Node { state: NodeState { body: NodeBody::Job(item), .. }, .. }) = node else {
                    continue;
                };
                let Some(planned) = plan.jobs.get(*ix as usize) else { continue };
                let JobRecord { job: state, log_bytes, child, .. } = *item;
                let job = CarriedJob { from: *from, attempt: state.attempt, log_bytes, state, child };
                carried.insert(planned.name.clone(), job);
            }
        }
        Ok(carried)
    }

    /// Records the nodes of an execution that was created without most of them.
    pub(crate) async fn record_nodes(&self, id: ExecutionId) -> Result<Recording> {
        let mut carried = None;
        for _ in 0..MAX_ATTEMPTS {
            let execution = self.execution(id).await?;
            if !execution.state.unplanned {
                return Ok(Recording::Known);
            }
            if execution.state.status.is_terminal() || execution.state.cancel_requested {
                return Ok(Recording::Canceled);
            }
            let plan = move || {
                let planned = recorded_plan_of(&execution.spec);
                (execution, planned)
            };
            let (execution, planned) = self.compute("planning an execution", plan).await?;
            let (_, plan) = planned?;
            let spec = &execution.spec;
            let waits_for_group = spec.group.as_ref().is_some_and(|group| group.after.is_some());
            // The nodes are those of the time when it was created, whatever rules there are by now.
            let gated: Vec<u32> = spec.approvals.iter().filter_map(|approval| approval.job).collect();
            let conditions = StartConditions {
                needs_approval: spec.held,
                waits_for_group,
                approved: &spec.approved,
                protected: &gated,
            };
            // They have ended, so that a conflict changes nothing about them.
            let carried = match &mut carried {
                Some(known) => known,
                none => none.insert(self.carried_jobs(spec, &plan).await?),
            };
            let new = new_execution(&plan, id, carried, conditions, spec.created_at);
            let group_gate = new.group_gate;
            let end_due = new.nodes.last().and_then(|end| end.due_at);
            let missing = |(ix, _): &(u32, NewNode)| !is_recorded_first(spec, group_gate, *ix);
            let nodes: Vec<(u32, NewNode)> = (0..).zip(new.nodes).filter(missing).collect();
            let mut follows = RecordedNodes::of(id, nodes.iter().map(|(ix, node)| (*ix, node)), self.now());
            let state = ExecutionState { unplanned: false, ..execution.state.clone() };
            let mut writes = vec![Write::AddNodes { id, if_version: execution.version, state, nodes }];
            if !spec.held {
                let end = self.node(NodeKey { execution: id, ix: spec.end_node }).await?;
                let due_at = end_due_at(end_due, spec.deadline);
                writes.push(Write::SetDue { key: end.key, if_version: end.version, due_at });
                follows.due.extend(group_gate);
                follows.due.extend(end_due.map(|_| spec.end_node));
            }
            if let Commit::Done(_) = self.stores.records.commit(writes).await? {
                self.cache_specs(id, plan);
                return Ok(Recording::Recorded(follows));
            }
        }
        Err(Error::Conflict(format!("execution {id} changes too fast to record its jobs; try again")))
    }
}
