//! Advances an execution after one of its nodes ended: opens gates, queues and skips jobs, and ends the execution.

pub(super) mod batch;
mod cancel;
pub(crate) mod recording;

use super::children::gate_key;
use super::job_groups::JobsByGroup;
use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    ports::{
        ApprovalGate, Commit, DeadLetter, Deadline, ExecutionRecord, KeyRecord, Node, NodeBody, NodeKey,
        QueuedJob, Write,
    },
};
use batch::{MAX_BATCH, MAX_CONFLICTS, MAX_WRITES, Outcome};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    guarded,
    ids::{ExecutionId, JobId},
    scheduler::{
        EndStep, FIRST_RESEND_MS, NextInGroup, NextStep, ParentGate, Transition, continued_jobs, end_step,
        ended_status, finish, open_parent_gate, precompute, queued_jobs, ready_nodes, time_out,
    },
};

/// Interval at which the gates of an unapproved execution that wait for nothing else are checked.
const HELD_RECHECK_INTERVAL_MS: i64 = 15 * 60_000;

/// Maximum number of attempts to open a gate.
const MAX_ATTEMPTS: u32 = 100;

impl Context {
    /// Runs the next steps of `nodes` of an execution, and all steps that follow from them.
    pub async fn advance(&self, execution: ExecutionId, nodes: Vec<u32>) -> Result<()> {
        let mut due = nodes;
        if !due.is_empty() {
            self.record_deferred(execution, &mut due).await?;
        }
        let mut conflicts = 0;
        while !due.is_empty() {
            due.sort_unstable();
            due.dedup();
            let outcome = self.step_nodes(execution, &due, conflicts > 0).await?;
            conflicts = if outcome.conflicts == 0 { 0 } else { conflicts + outcome.conflicts };
            if conflicts > MAX_CONFLICTS {
                tracing::warn!(%execution, "too many concurrent writers; the sweep advances the execution");
                return Ok(());
            }
            self.send(execution, &outcome.messages).await?;
            due = outcome.nodes;
        }
        Ok(())
    }

    /// Runs the next steps of `nodes` after the reply to this request. The nodes are due: if the process ends before, another one does
    /// it, or the sweep.
    pub fn advance_later(&self, execution: ExecutionId, nodes: Vec<u32>) {
        let Some(context) = self.after_reply() else { return };
        tokio::spawn(async move {
            let work = Box::pin(context.advance(execution, nodes));
            if let Some(Err(error)) = context.shutdown.run_until_cancelled(work).await {
                tracing::warn!(%execution, %error, "cannot advance the execution; the sweep does");
            }
        });
    }

    /// Runs one step of each node, in batches; one by one after a conflict.
    async fn step_nodes(&self, execution: ExecutionId, due: &[u32], singly: bool) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut batch: Vec<(u32, Transition)> = Vec::new();
        let mut size = 0;
        let mut lost = Vec::new();
        let mut waiting = Vec::new();
        let unplanned = self.unplanned_state(execution).await?;
        let nodes = self.stores.records.nodes(execution, due).await?;
        // What conditions decide is not recorded before the nodes of the execution are.
        let steps = self.next_steps(execution, &nodes, unplanned.is_none()).await?;
        for (node, step) in nodes.into_iter().zip(steps) {
            let now = self.now();
            let next = match (step, &unplanned) {
                // The nodes it would release are not recorded yet, or never will be.
                (step, Some(state)) if needs_plan(&step) && state.status.is_terminal() => NextStep::Idle,
                (step, Some(_)) if needs_plan(&step) => NextStep::Wait(now.plus_ms(HELD_RECHECK_INTERVAL_MS)),
                (next, _) => next,
            };
            let transition = match next {
                NextStep::Apply(transition) => {
                    lost.extend(lost_log(&node));
                    transition
                }
                NextStep::CheckEnd => {
                    self.end_execution(&node).await?;
                    continue;
                }
                NextStep::RequestPlace => {
                    waiting.push(node);
                    continue;
                }
                NextStep::CloseApprovals { gates, from, transition } => {
                    // The node stays due until it is written, so a crash between the two steps loses nothing.
                    self.close_approvals(execution, &gates, &from).await?;
                    outcome.nodes.extend(gates);
                    transition
                }
                rest @ (NextStep::Idle | NextStep::Wait(_) | NextStep::Decide { .. }) => {
                    let due_at = if let NextStep::Wait(at) = rest { Some(at) } else { None };
                    if node.due_at == due_at {
                        continue;
                    }
                    let writes = vec![Write::SetDue { key: node.key, if_version: node.version, due_at }];
                    Transition { writes, send_after: None, more: false, releases: None }
                }
            };
            if size + transition.writes.len() > MAX_WRITES || singly {
                self.flush(execution, &mut batch, &mut outcome).await?;
                size = 0;
            }
            size += transition.writes.len();
            batch.push((node.key.ix, transition));
        }
        self.flush(execution, &mut batch, &mut outcome).await?;
        if !waiting.is_empty() {
            Box::pin(self.step_waiting(execution, waiting, singly, &mut outcome)).await?;
        }
        for (job, attempt) in lost {
            self.finish_log(job, attempt).await;
        }
        Ok(outcome)
    }

    /// Requests places in concurrency groups for jobs that need nothing else, and queues those that get one.
    async fn step_waiting(
        &self,
        execution: ExecutionId,
        nodes: Vec<Node>,
        singly: bool,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let requested: Vec<NodeKey> = nodes.iter().map(|node| node.key).collect();
        let conflicts = outcome.conflicts;
        let mut batch = Vec::new();
        for (node, transition) in self.request_places(execution, nodes).await? {
            if batch.len() >= MAX_WRITES || singly {
                self.flush(execution, &mut batch, outcome).await?;
            }
            batch.push((node.key.ix, transition));
        }
        self.flush(execution, &mut batch, outcome).await?;
        if outcome.conflicts > conflicts {
            // A job may have been canceled before it got its place.
            self.release_ended(requested).await?;
        }
        Ok(())
    }

    /// Opens the gates of approvals that were not given, as failed.
    async fn close_approvals(&self, execution: ExecutionId, gates: &[u32], from: &str) -> Result<()> {
        for ix in gates {
            self.open_gate(NodeKey { execution, ix: *ix }, false, from).await?;
        }
        Ok(())
    }

    /// Opens the gate of an approval, as given or as expired. Returns false if it was open already.
    pub async fn open_gate(&self, gate: NodeKey, ok: bool, from: &str) -> Result<bool> {
        let execution = gate.execution;
        let key = gate_key(gate);
        for _ in 0..MAX_ATTEMPTS {
            if self.stores.records.key(&key).await?.is_some() {
                return Ok(false);
            }
            // The key and the arrival are one batch, so that the gate opens once.
            let record = KeyRecord { execution, request: String::new() };
            let taken = Write::PutKey { key: key.clone(), if_execution: None, record };
            let arrival =
                Write::Arrive { key: gate, ok, from: from.into(), now: self.now(), continuation: None };
            if let Commit::Done(_) = self.stores.records.commit(vec![taken, arrival]).await? {
                return Ok(true);
            }
        }
        Err(Error::Conflict(format!("execution {execution} changes too fast to be approved; try again")))
    }

    /// Marks the log of an ended attempt as complete, so that the store can move it to cheaper storage.
    pub async fn finish_log(&self, job: JobId, attempt: u32) {
        if let Err(error) = self.stores.logs.finish(job, attempt).await {
            tracing::warn!(%job, attempt, %error, "cannot move the log to cheaper storage");
        }
    }

    async fn flush(
        &self,
        execution: ExecutionId,
        batch: &mut Vec<(u32, Transition)>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut writes = Vec::with_capacity(batch.len());
        for (_, transition) in batch.iter_mut() {
            writes.append(&mut transition.writes);
        }
        let (commit, queued) = self.commit_precomputed(execution, writes).await?;
        match commit {
            Commit::Done(done) => {
                outcome.nodes.extend(ready_nodes(&done));
                outcome.messages.extend(queued);
                outcome
                    .nodes
                    .extend(batch.iter().filter(|(_, transition)| transition.more).map(|(ix, _)| *ix));
                let sent = batch.iter().filter_map(|(ix, transition)| {
                    let node = NodeKey { execution, ix: *ix };
                    transition.send_after.map(|delay_ms| QueuedJob::delayed(node, delay_ms))
                });
                outcome.messages.extend(sent);
                let mut released = JobsByGroup::new();
                for (ix, transition) in batch.iter_mut() {
                    if let Some(group) = transition.releases.take() {
                        released.entry(group).or_default().push(JobId::of(execution, *ix));
                    }
                }
                // The jobs have ended, whatever becomes of their places.
                Box::pin(self.release_places(execution, released)).await;
            }
            Commit::Conflict => {
                outcome.conflicts += 1;
                outcome.nodes.extend(batch.iter().map(|(ix, _)| *ix));
            }
        }
        batch.clear();
        Ok(())
    }

    /// Commits the transition of a job. Returns `Ok(None)` if another writer was faster; read the node again then.
    pub async fn commit_transition(&self, transition: Transition, node: &Node) -> Result<Option<()>> {
        let Transition { writes, send_after, more, releases } = transition;
        let execution = node.key.execution;
        let (Commit::Done(done), mut messages) = self.commit_precomputed(execution, writes).await? else {
            return Ok(None);
        };
        messages.extend(send_after.map(|delay_ms| QueuedJob::delayed(node.key, delay_ms)));
        self.send(execution, &messages).await?;
        let mut next = ready_nodes(&done);
        if more {
            next.push(node.key.ix);
        }
        if let Some(group) = releases {
            let released = JobsByGroup::from([(group, vec![JobId::of(execution, node.key.ix)])]);
            Box::pin(self.release_places(execution, released)).await;
        }
        // The transition is durable. If a step that follows fails here, the sweep runs it.
        if let Err(error) = Box::pin(self.advance(node.key.execution, next)).await {
            tracing::warn!(execution = %node.key.execution, %error, "cannot advance the execution; the sweep does");
        }
        Ok(Some(()))
    }

    /// Commits `writes` to one execution, together with the steps of nodes for which they contain the last arrival. Also returns the
    /// messages of the jobs that these steps queued.
    async fn commit_precomputed(
        &self,
        execution: ExecutionId,
        mut writes: Vec<Write>,
    ) -> Result<(Commit, Vec<QueuedJob>)> {
        // Every job arrives at the end node, which is advanced in a step of its own.
        let end = self.cached_execution(execution).await?.spec.end_node;
        let arrived_at = |write: &Write| match write {
            Write::Arrive { key, .. } => Some(key.ix).filter(|ix| *ix != end),
            _ => None,
        };
        let targets: Vec<u32> = writes.iter().filter_map(arrived_at).collect();
        let mut room = MAX_BATCH.saturating_sub(writes.len());
        if !targets.is_empty() && room > 0 {
            let mut known = self.stores.records.nodes(execution, &targets).await?;
            let opens = |node: &&Node| {
                matches!(node.state.body, NodeBody::Gate { open: false })
                    && node.waits_for == 1
                    && node.spec.links.len() <= room
            };
            let behind: Vec<u32> =
                known.iter().filter(opens).flat_map(|gate| gate.spec.links.iter().copied()).collect();
            known.extend(self.stores.records.nodes(execution, &behind).await?);
            let known = known.into_iter().map(|node| (node.key.ix, node)).collect();
            precompute(&mut writes, &known, &mut room, self.now());
        }
        let letter = |write: &Write| match write {
            Write::PutDeadLetter(letter) => Some(*letter),
            _ => None,
        };
        let letters: Vec<DeadLetter> = writes.iter().filter_map(letter).collect();
        let jobs = continued_jobs(&writes);
        let commit = self.stores.records.commit(writes).await?;
        let Commit::Done(done) = &commit else { return Ok((commit, Vec::new())) };
        for letter in letters {
            let job = JobId::of(execution, letter.ix);
            tracing::warn!(%execution, %job, "a job ended for a reason that was not its own; it is a dead letter");
        }
        let queued = queued_jobs(done, &jobs);
        Ok((commit, queued))
    }

    /// Runs the step of the end node: ends the execution if every job has ended, and resumes an interrupted cancel.
    async fn end_execution(&self, end: &Node) -> Result<()> {
        let id = end.key.execution;
        for _ in 0..MAX_CONFLICTS {
            let execution = self.execution(id).await?;
            let node = self.node(end.key).await?;
            let deadline = self.deadline(&execution).await?;
            match end_step(&execution.state, deadline, &node, self.now()) {
                EndStep::Wait { cancel } => {
                    if cancel {
                        Box::pin(self.cancel_jobs(id)).await?;
                    }
                    if node.due_at.is_some() {
                        // Postponed, not cleared: the last arrival may have made it due since it was read.
                        let soon = self.now().plus_ms(FIRST_RESEND_MS);
                        let deadline = deadline.filter(|_| !execution.state.cancel_requested);
                        let due_at = Some(deadline.map_or(soon, |deadline| deadline.at.min(soon)));
                        let later = Write::SetDue { key: node.key, if_version: node.version, due_at };
                        self.stores.records.commit(vec![later]).await?;
                    }
                    return Ok(());
                }
                EndStep::AlreadyEnded => {
                    let rest = Write::SetDue { key: node.key, if_version: node.version, due_at: None };
                    self.stores.records.commit(vec![rest]).await?;
                    return Ok(());
                }
                EndStep::TimeOut => {
                    let writes = time_out(&execution, &node, self.now());
                    if let Commit::Done(_) = self.stores.records.commit(writes.into()).await? {
                        tracing::warn!(execution = %id, "the execution timed out and is canceled");
                        Box::pin(self.cancel_jobs(id)).await?;
                    }
                    continue;
                }
                EndStep::Finish => {}
            }
            let next = self.next_of_group(&execution).await?;
            let starts = execution.state.followed_by.filter(|_| matches!(next, NextInGroup::Start));
            let nodes = self.stores.records.all_nodes(id).await?;
            if execution.state.cancel_requested {
                // The cancel may have been interrupted before it reached the children for which no job waits.
                Box::pin(self.cancel_children(id, &nodes)).await?;
            }
            let parent = self.parent_gate(&execution).await?;
            // Before the end is recorded: this step is repeated if the process dies in between.
            let status = ended_status(&execution, &nodes);
            Box::pin(self.count_ended(&execution, &nodes, status)).await;
            let now = self.now();
            let mut writes = finish(&execution, &node, &nodes, next, now);
            if let Some(gate) = parent.clone() {
                writes.extend(open_parent_gate(gate, status, now));
            }
            if let Commit::Done(_) = self.stores.records.commit(writes).await? {
                tracing::info!(execution = %id, %status, "an execution ended");
                self.metrics.execution_ended(&execution, &nodes, status, now);
                self.notify_ended(id);
                if let Some((next, gate)) = starts
                    && let Err(error) = Box::pin(self.advance(next, vec![gate])).await
                {
                    tracing::warn!(execution = %next, %error, "cannot start the next execution of the group; the sweep does");
                }
                if let Some(ParentGate { gate, .. }) = parent
                    && let Err(error) = Box::pin(self.advance(gate.execution, vec![gate.ix])).await
                {
                    tracing::warn!(execution = %gate.execution, %error, "cannot advance the parent of an ended execution; the sweep does");
                }
                return Ok(());
            }
        }
        Err(Error::Conflict(format!("execution {id} changes too fast to be ended")))
    }

    /// Returns when an execution is canceled; `None` if never, including when all approvals were given in time.
    async fn deadline(&self, execution: &ExecutionRecord) -> Result<Option<Deadline>> {
        let spec = &execution.spec;
        let Some(deadline) = spec.deadline else { return Ok(None) };
        let approvals_count =
            guarded!(ApprovedIsNotCanceled, !deadline.is_timeout && deadline.at <= self.now(), without false);
        if !approvals_count {
            return Ok(Some(deadline));
        }
        let ixs: Vec<u32> = spec
            .approvals
            .iter()
            .flat_map(|approval| [Some(approval.gate), approval.job])
            .flatten()
            .collect();
        let nodes = self.stores.records.nodes(spec.id, &ixs).await?;
        let node = |ix: u32| nodes.iter().find(|node| node.key.ix == ix);
        let is_waiting = |approval: &ApprovalGate| {
            let status = approval.job.and_then(node).and_then(|job| job.state.status());
            node(approval.gate).is_some_and(|gate| gate.waits_for > 0)
                && !status.is_some_and(JobStatus::is_terminal)
        };
        Ok(Some(deadline).filter(|_| spec.approvals.iter().any(is_waiting)))
    }

    /// Returns what the end of an execution means for the next one of its group.
    async fn next_of_group(&self, execution: &ExecutionRecord) -> Result<NextInGroup> {
        // An execution that supersedes others waits for none, and the next one may wait for it.
        let Some((before, gate)) = predecessor(execution) else { return Ok(NextInGroup::Start) };
        let id = execution.spec.id;
        for _ in 0..MAX_CONFLICTS {
            let gate = self.node(NodeKey { execution: id, ix: gate }).await?;
            if guarded!(GroupPositionPassedOn, gate.waits_for == 0) {
                return Ok(NextInGroup::Start);
            }
            // If there is none, its end opened the gate in the same write; read the gate again.
            if let Some(older) = self.live_before(before).await? {
                let group = execution.spec.group.as_ref().map_or("", |position| position.group.as_str());
                let newest = self.stores.records.key(group).await?.map(|record| record.execution);
                return Ok(NextInGroup::WaitFor { older: Box::new(older), is_newest: newest == Some(id) });
            }
        }
        Err(Error::Conflict(format!(
            "execution {id} follows an ended execution of its group, but its gate is closed"
        )))
    }

    /// Returns `id` if it is live. If it ended before its gate opened, returns the live one among those that it waited for. `None` if the
    /// one whose gate was open has ended.
    async fn live_before(&self, mut id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        loop {
            let older = self.execution(id).await?;
            if !older.state.status.is_terminal() {
                return Ok(Some(older));
            }
            let Some((before, gate)) = predecessor(&older) else { return Ok(None) };
            if self.node(NodeKey { execution: id, ix: gate }).await?.waits_for == 0 {
                return Ok(None);
            }
            id = before;
        }
    }
}

/// Whether a step writes to nodes that an unapproved execution does not have.
const fn needs_plan(step: &NextStep) -> bool {
    use NextStep::{Apply, CloseApprovals, Decide, RequestPlace};
    matches!(step, Apply(_) | CloseApprovals { .. } | Decide { .. } | RequestPlace)
}

/// Returns the execution that this one waits for, and the gate of this one that the end of the other opens.
fn predecessor(execution: &ExecutionRecord) -> Option<(ExecutionId, u32)> {
    execution.spec.group.as_ref()?.after
}

/// Returns the log of a running attempt whose lease has expired and that the next step ends.
fn lost_log(node: &Node) -> Option<(JobId, u32)> {
    let item = job_of(node).ok()?;
    // Its log may be longer than the record says.
    let may_have_log = item.job.status == JobStatus::Running;
    Some((node.spec.job?, item.job.attempt)).filter(|_| may_have_log)
}
