//! Carries an execution on after something in it ended: opens gates, queues and skips jobs, ends it.

use super::{
    context::{Context, job_of},
    ending::{EndTurn, Next, end_turn, finish, time_out},
    turn::{MOST_ARRIVALS, Move, RESEND_FIRST_MS, Turn, foresee, happen, queued_by, released, turn},
};
use crate::{
    error::{Error, Result},
    ports::{
        ApprovalGate, Commit, DeadLetter, Deadline, ExecutionRecord, ExecutionState, KeyRecord, Node,
        NodeBody, NodeKey, Outgoing, Write,
    },
};
use tidemill_core::{
    guard::{Guard, holds},
    ids::{ExecutionId, JobId},
    status::JobStatus,
    transition::JobEvent,
};

/// The most writes of one batch: DynamoDB writes at most 100 items in one transaction.
const MOST_WRITES: usize = 90;
/// What they may lead to in the same batch comes on top.
const MOST_IN_BATCH: usize = 98;
/// Others write to the same nodes at most so often before this call leaves the rest to the sweep.
const MOST_CONFLICTS: u32 = 1_000;

/// Gates of an execution that nobody approved, which wait for nothing else, are looked at so often.
const UNPLANNED_LOOK_MS: i64 = 15 * 60_000;

/// Somebody else opens the same gate at most so often.
const MOST_TRIES: u32 = 100;

/// Nodes to look at next, and what goes to the queue.
#[derive(Debug, Default)]
struct Wave {
    nodes: Vec<u32>,
    messages: Vec<Outgoing>,
    conflicts: u32,
}

impl Context {
    /// Lets `nodes` of an execution take their turns, and all that follows from them.
    pub async fn settle(&self, execution: ExecutionId, nodes: Vec<u32>) -> Result<()> {
        let mut due = nodes;
        let mut conflicts = 0;
        while !due.is_empty() {
            due.sort_unstable();
            due.dedup();
            let wave = self.turns(execution, &due, conflicts > 0).await?;
            conflicts = if wave.conflicts == 0 { 0 } else { conflicts + wave.conflicts };
            if conflicts > MOST_CONFLICTS {
                tracing::warn!(%execution, "too many writers; the sweep goes on with it");
                return Ok(());
            }
            self.send(execution, &wave.messages).await?;
            due = wave.nodes;
        }
        Ok(())
    }

    /// One turn of each node, as many to a batch as fit; one by one after a conflict.
    async fn turns(&self, execution: ExecutionId, due: &[u32], singly: bool) -> Result<Wave> {
        let mut wave = Wave::default();
        let mut batch: Vec<(u32, Move)> = Vec::new();
        let mut size = 0;
        let mut lost = Vec::new();
        let unplanned = self.unplanned(execution).await?;
        for node in self.stores.records.nodes(execution, due).await? {
            let now = self.now();
            let next = match (turn(&node, now), &unplanned) {
                // What it would release is not recorded yet, or never will be.
                (Turn::Move(_) | Turn::Close { .. }, Some(state)) if state.status.is_terminal() => Turn::Rest,
                (Turn::Move(_) | Turn::Close { .. }, Some(_)) => Turn::Later(now.plus_ms(UNPLANNED_LOOK_MS)),
                (next, _) => next,
            };
            let moved = match next {
                Turn::Move(moved) => {
                    lost.extend(lost_log(&node));
                    moved
                }
                Turn::End => {
                    self.end(&node).await?;
                    continue;
                }
                Turn::Close { gates, from, then } => {
                    // Until this node is written it stays due, so that a crash between the two loses nothing.
                    self.close(execution, &gates, &from).await?;
                    wave.nodes.extend(gates);
                    then
                }
                rest @ (Turn::Rest | Turn::Later(_)) => {
                    let due_at = if let Turn::Later(at) = rest { Some(at) } else { None };
                    if node.due_at == due_at {
                        continue;
                    }
                    let writes = vec![Write::SetDue { key: node.key, if_version: node.version, due_at }];
                    Move { writes, send_after: None, more: false }
                }
            };
            if size + moved.writes.len() > MOST_WRITES || singly {
                self.flush(execution, &mut batch, &mut wave).await?;
                size = 0;
            }
            size += moved.writes.len();
            batch.push((node.key.ix, moved));
        }
        self.flush(execution, &mut batch, &mut wave).await?;
        for (job, attempt) in lost {
            self.finish_log(job, attempt).await;
        }
        Ok(wave)
    }

    /// Opens the gates of approvals that nobody gave, as what failed would.
    async fn close(&self, execution: ExecutionId, gates: &[u32], from: &str) -> Result<()> {
        for ix in gates {
            self.open_gate(NodeKey { execution, ix: *ix }, false, from).await?;
        }
        Ok(())
    }

    /// Opens the gate of an approval, for the one who approves, or since it is too late; gives whether nobody did so before.
    pub async fn open_gate(&self, gate: NodeKey, ok: bool, from: &str) -> Result<bool> {
        let NodeKey { execution, ix } = gate;
        let key = format!("approve:{execution}:{ix}");
        for _ in 0..MOST_TRIES {
            if self.stores.records.key(&key).await?.is_some() {
                return Ok(false);
            }
            // The key is taken in the same write as the gate is told, so that it is told once.
            let record = KeyRecord { execution, request: String::new() };
            let taken = Write::PutKey { key: key.clone(), if_execution: None, record };
            let told = Write::Arrive { key: gate, ok, from: from.into(), now: self.now(), then: None };
            if let Commit::Done(_) = self.stores.records.commit(vec![taken, told]).await? {
                return Ok(true);
            }
        }
        Err(Error::Conflict(format!("execution {execution} changes too fast to be approved; try again")))
    }

    /// Has the log of an attempt that is over moved to where it is kept cheapest.
    pub async fn finish_log(&self, job: JobId, attempt: u32) {
        if let Err(error) = self.stores.logs.finish(job, attempt).await {
            tracing::warn!(%job, attempt, %error, "the log stays where it was written");
        }
    }

    async fn flush(
        &self,
        execution: ExecutionId,
        batch: &mut Vec<(u32, Move)>,
        wave: &mut Wave,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut writes = Vec::with_capacity(batch.len());
        for (_, moved) in batch.iter_mut() {
            writes.append(&mut moved.writes);
        }
        match self.commit_foreseen(execution, writes).await? {
            Commit::Done(done) => {
                wave.nodes.extend(released(&done));
                wave.messages.extend(queued_by(&done));
                wave.nodes.extend(batch.iter().filter(|(_, moved)| moved.more).map(|(ix, _)| *ix));
                let sent = batch.iter().filter_map(|(ix, moved)| {
                    let node = NodeKey { execution, ix: *ix };
                    moved.send_after.map(|delay_ms| Outgoing::after(node, delay_ms))
                });
                wave.messages.extend(sent);
            }
            Commit::Conflict => {
                wave.conflicts += 1;
                wave.nodes.extend(batch.iter().map(|(ix, _)| *ix));
            }
        }
        batch.clear();
        Ok(())
    }

    /// Makes `event` happen to a job. `Ok(None)`: somebody else wrote to it first, read it again.
    pub async fn commit_event(&self, moved: Move, node: &Node) -> Result<Option<()>> {
        let Move { writes, send_after, more } = moved;
        let execution = node.key.execution;
        let Commit::Done(done) = self.commit_foreseen(execution, writes).await? else { return Ok(None) };
        let own = send_after.map(|delay_ms| Outgoing::after(node.key, delay_ms));
        let messages: Vec<Outgoing> = queued_by(&done).chain(own).collect();
        self.send(execution, &messages).await?;
        let mut next = released(&done);
        if more {
            next.push(node.key.ix);
        }
        // What was asked is recorded; what follows from it is found by the sweep should it fail here.
        if let Err(error) = Box::pin(self.settle(node.key.execution, next)).await {
            tracing::warn!(execution = %node.key.execution, %error, "the sweep goes on with it");
        }
        Ok(Some(()))
    }

    /// Commits `writes` to one execution, and with them what the last arrivals among them lead to.
    async fn commit_foreseen(&self, execution: ExecutionId, mut writes: Vec<Write>) -> Result<Commit> {
        // Every job arrives at the end, which takes a turn of its own.
        let end = self.shape(execution).await?.spec.end_node;
        let arrived_at = |write: &Write| match write {
            Write::Arrive { key, .. } => Some(key.ix).filter(|ix| *ix != end),
            _ => None,
        };
        let targets: Vec<u32> = writes.iter().filter_map(arrived_at).collect();
        let mut room = MOST_IN_BATCH.saturating_sub(writes.len());
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
            foresee(&mut writes, &known, &mut room, self.now());
        }
        let letter = |write: &Write| match write {
            Write::PutDeadLetter(letter) => Some(*letter),
            _ => None,
        };
        let letters: Vec<DeadLetter> = writes.iter().filter_map(letter).collect();
        let commit = self.stores.records.commit(writes).await?;
        if let Commit::Done(_) = commit {
            for letter in letters {
                let job = JobId::of(execution, letter.ix);
                tracing::warn!(%execution, %job, "a job ended for a reason not its own: it is a dead letter");
            }
        }
        Ok(commit)
    }

    /// The state of an execution that nobody approved yet, so that its jobs are not recorded; `None`: they are.
    async fn unplanned(&self, execution: ExecutionId) -> Result<Option<ExecutionState>> {
        if !self.shape(execution).await?.spec.held {
            return Ok(None);
        }
        let state = self.stores.records.execution_state(execution).await?;
        Ok(state.map(|(state, _)| state).filter(|state| state.unplanned))
    }

    /// Cancels every job of an execution that is not over.
    pub async fn cancel_jobs(&self, execution: ExecutionId) -> Result<()> {
        // Once a cancel is recorded, nobody plans it any more.
        if self.unplanned(execution).await?.is_some() {
            return Ok(());
        }
        let mut singly = false;
        for _ in 0..MOST_CONFLICTS {
            let mut wave = Wave::default();
            let mut batch = Vec::new();
            let mut size = 0;
            for node in self.stores.records.all_nodes(execution).await? {
                let Ok(item) = job_of(&node) else { continue };
                let Ok(moved) = happen(&node, item, JobEvent::Cancel, self.now()) else { continue };
                if singly || size + moved.writes.len() > MOST_WRITES.max(MOST_ARRIVALS + 1) {
                    self.flush(execution, &mut batch, &mut wave).await?;
                    size = 0;
                }
                size += moved.writes.len();
                batch.push((node.key.ix, moved));
            }
            self.flush(execution, &mut batch, &mut wave).await?;
            let conflicts = wave.conflicts;
            self.settle(execution, wave.nodes).await?;
            if conflicts == 0 {
                return Ok(());
            }
            singly = true;
        }
        Err(Error::Conflict(format!("execution {execution} changes too fast to be canceled; try again")))
    }

    /// The end node's turn: ends the execution if every job is over, and carries on a cancel that was cut short.
    async fn end(&self, end: &Node) -> Result<()> {
        let id = end.key.execution;
        for _ in 0..MOST_CONFLICTS {
            let execution = self.execution(id).await?;
            let node = self.node(end.key).await?;
            let deadline = self.deadline(&execution).await?;
            match end_turn(&execution.state, deadline, &node, self.now()) {
                EndTurn::Wait { cancel } => {
                    if cancel {
                        Box::pin(self.cancel_jobs(id)).await?;
                    }
                    if node.due_at.is_some() {
                        // Later, not never: the last arrival may have made it due since it was read.
                        let soon = self.now().plus_ms(RESEND_FIRST_MS);
                        let deadline = deadline.filter(|_| !execution.state.cancel_requested);
                        let due_at = Some(deadline.map_or(soon, |deadline| deadline.at.min(soon)));
                        let later = Write::SetDue { key: node.key, if_version: node.version, due_at };
                        self.stores.records.commit(vec![later]).await?;
                    }
                    return Ok(());
                }
                EndTurn::Rest => {
                    let rest = Write::SetDue { key: node.key, if_version: node.version, due_at: None };
                    self.stores.records.commit(vec![rest]).await?;
                    return Ok(());
                }
                EndTurn::TimeOut => {
                    let writes = time_out(&execution, &node, self.now());
                    if let Commit::Done(_) = self.stores.records.commit(writes.into()).await? {
                        tracing::warn!(execution = %id, "its time is over: it is canceled");
                        Box::pin(self.cancel_jobs(id)).await?;
                    }
                    continue;
                }
                EndTurn::Finish => {}
            }
            let next = self.next_of_group(&execution).await?;
            let begins = execution.state.followed_by.filter(|_| matches!(next, Next::Begins));
            let nodes = self.stores.records.all_nodes(id).await?;
            let writes = finish(&execution, &node, &nodes, next, self.now());
            if let Commit::Done(_) = self.stores.records.commit(writes).await? {
                if let Some((next, gate)) = begins
                    && let Err(error) = Box::pin(self.settle(next, vec![gate])).await
                {
                    tracing::warn!(execution = %next, %error, "the sweep begins it");
                }
                return Ok(());
            }
        }
        Err(Error::Conflict(format!("execution {id} changes too fast to be ended")))
    }

    /// When an execution is canceled. `None`: never, also where all that had to be approved was, before it was too late.
    async fn deadline(&self, execution: &ExecutionRecord) -> Result<Option<Deadline>> {
        let spec = &execution.spec;
        let Some(deadline) = spec.deadline else { return Ok(None) };
        if deadline.is_timeout || deadline.at > self.now() || holds(Guard::ApprovedStays, false) {
            return Ok(Some(deadline));
        }
        let asked: Vec<u32> = spec
            .approvals
            .iter()
            .flat_map(|approval| [Some(approval.gate), approval.job])
            .flatten()
            .collect();
        let nodes = self.stores.records.nodes(spec.id, &asked).await?;
        let node = |ix: u32| nodes.iter().find(|node| node.key.ix == ix);
        let waits = |approval: &ApprovalGate| {
            let over = approval.job.and_then(node).and_then(|job| job.state.status());
            node(approval.gate).is_some_and(|gate| gate.waits_for > 0)
                && !over.is_some_and(JobStatus::is_terminal)
        };
        Ok(Some(deadline).filter(|_| spec.approvals.iter().any(waits)))
    }

    /// What the end of an execution does to the next of its group.
    async fn next_of_group(&self, execution: &ExecutionRecord) -> Result<Next> {
        // One that supersedes others waits for nobody, and the next may wait for it.
        let Some((before, gate)) = waits_on(execution) else { return Ok(Next::Begins) };
        let id = execution.spec.id;
        for _ in 0..MOST_CONFLICTS {
            let gate = self.node(NodeKey { execution: id, ix: gate }).await?;
            if holds(Guard::PlaceHandedOn, gate.waits_for == 0) {
                return Ok(Next::Begins);
            }
            // If there is none, its end opened the gate in the same write: then it is to be read again.
            if let Some(older) = self.live_before(before).await? {
                let group = execution.spec.turn.as_ref().map_or("", |turn| turn.group.as_str());
                let newest = self.stores.records.key(group).await?.map(|record| record.execution);
                return Ok(Next::WaitsOn { older: Box::new(older), is_newest: newest == Some(id) });
            }
        }
        Err(Error::Conflict(format!("execution {id} is after one that is over, and never had its turn")))
    }

    /// `id`, or the one that it waited for when it ended without having had its turn, and so on. `None`: what had the turn is over.
    async fn live_before(&self, mut id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        loop {
            let older = self.execution(id).await?;
            if !older.state.status.is_terminal() {
                return Ok(Some(older));
            }
            let Some((before, gate)) = waits_on(&older) else { return Ok(None) };
            if self.node(NodeKey { execution: id, ix: gate }).await?.waits_for == 0 {
                return Ok(None);
            }
            id = before;
        }
    }
}

/// The execution that this one was made to wait for, and the gate here that its end opens.
fn waits_on(execution: &ExecutionRecord) -> Option<(ExecutionId, u32)> {
    execution.spec.turn.as_ref()?.after
}

/// The log of a running attempt whose turn ends it: its lease ran out.
fn lost_log(node: &Node) -> Option<(JobId, u32)> {
    let item = job_of(node).ok()?;
    let runs = item.job.status == JobStatus::Running && item.log_bytes > 0;
    Some((node.spec.job?, item.job.attempt)).filter(|_| runs)
}
