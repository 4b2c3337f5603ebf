//! The steps of an operation.

use super::{
    promise::Promise,
    protocol::{Protocol, TTL_MS},
    records::{NOW, Records, token},
    state::{Operation, OperationKind, OperationStage, ReportState, State, Worker},
};
use tidemill_core::execution::{
    failure::{FailureKind, FailureReason},
    status::JobStatus,
    transition::JobEvent,
};
use tidemill_core::{
    api::AttemptEnd,
    ids::LeaseToken,
    scheduler::{
        ClaimDecision, ClaimRequest, EndStep, NextInGroup, NextStep, Transition, apply_event, claim,
        continued_jobs, end_step, finish, next_step, precompute, queued_jobs, ready_nodes, request_cancel,
    },
    time::Timestamp,
};
use tidemill_services::ports::{CommitResult, Node, NodeBody, QueuedJob, Write};

impl Protocol {
    fn commit(
        &self,
        state: &mut State,
        op: &mut Operation,
        mut writes: Vec<Write>,
    ) -> Option<(CommitResult, Vec<QueuedJob>)> {
        // Continuations are precomputed from the records that were read.
        let read = op.read.as_ref()?;
        let end = self.shape.spec.end_node;
        let nodes = read.nodes(&self.shape).into_iter().filter(|node| node.key.ix != end);
        precompute(&mut writes, &nodes.map(|node| (node.key.ix, node)).collect(), &mut 90, NOW);
        let before = state.records.clone();
        let result = state.records.commit(&writes)?;
        state.violation = state.violation.or(self.check_commit(state, &before, op));
        let queued = queued_jobs(&result, &continued_jobs(&writes));
        Some((result, queued))
    }

    /// Commits a transition; false: it conflicted.
    fn apply(&self, state: &mut State, op: &mut Operation, ix: usize, transition: Transition) -> bool {
        // No job of the model is in a concurrency group.
        let Transition { writes, send_after, more, releases: _ } = transition;
        let Some((result, queued)) = self.commit(state, op, writes) else {
            op.read = None;
            return false;
        };
        op.sends |= queued.iter().fold(0, |bits, message| bits | 1 << message.node.ix);
        op.due |= ready_nodes(&result).iter().fold(0, |bits, node| bits | 1 << node);
        if send_after.is_some() {
            op.sends |= 1 << ix;
        }
        if more {
            op.due |= 1 << ix;
        }
        true
    }

    /// Runs the next step of an operation; `None`: it has ended and replied.
    pub fn step(&self, state: &mut State, mut op: Operation) -> Option<Operation> {
        if op.sends != 0 {
            state.queue |= op.sends;
            op.sends = 0;
            return Some(op);
        }
        if op.stage == OperationStage::Settle && op.due == 0 {
            Self::reply(state, &op, true);
            return None;
        }
        let Some(read) = op.read.clone() else {
            op.read = Some(Box::new(state.records.clone()));
            return Some(op);
        };
        match op.stage {
            OperationStage::Main => self.main(state, op, &read),
            OperationStage::CancelJobs => Some(self.cancel_next(state, op, &read)),
            OperationStage::Settle => Some(self.settle_next(state, op, &read)),
        }
    }

    fn main(&self, state: &mut State, mut op: Operation, read: &Records) -> Option<Operation> {
        let node = |job: u8| read.cells[usize::from(job)].node(&self.shape, usize::from(job));
        let (job, transition) = match op.kind {
            OperationKind::Execute => {
                if read.created == 0 {
                    let Some(()) = state.records.create(false) else {
                        op.read = None;
                        return Some(op);
                    };
                    let is_duplicate = state.records.created > 1;
                    state.violation = state.violation.or(is_duplicate.then_some(Promise::OneExecution));
                    op.sends = self.bits(|cell| cell.status == JobStatus::Queued, &self.cells);
                }
                op.stage = OperationStage::Settle;
                op.read = None;
                return Some(op);
            }
            OperationKind::Claim { worker, job } => {
                let labels = tidemill_core::pipeline::labels::Labels::new();
                let request = ClaimRequest {
                    worker: "",
                    token: token((worker + 1) << 4),
                    ttl_ms: TTL_MS,
                    labels: &labels,
                    slot_price: 0,
                };
                match claim(&node(job), (&read.state(), read.version.into()), None, request, NOW) {
                    ClaimDecision::ExpireFirst => {
                        // Another delivery claims the job after its lease expired.
                        (op.stage, op.due, op.read) = (OperationStage::Settle, 1 << job, None);
                        return Some(op);
                    }
                    ClaimDecision::AlreadyHeld(_) => {
                        Self::reply(state, &op, true);
                        return None;
                    }
                    ClaimDecision::NotClaimable(_) => {
                        Self::reply(state, &op, false);
                        return None;
                    }
                    ClaimDecision::Grant(transition, _) => (job, transition),
                }
            }
            OperationKind::Report { job, token: small, said, .. } => {
                let node = node(job);
                let NodeBody::Job(item) = &node.state.body else { unreachable!("the node is a job") };
                if !item.job.is_leased_to(token(small)) {
                    Self::reply(state, &op, false);
                    return None;
                }
                let lease = item.job.lease.as_ref();
                if said == ReportState::Alive && !lease.is_some_and(|lease| lease.is_renewal_due(TTL_MS, NOW))
                {
                    Self::reply(state, &op, true);
                    return None;
                }
                let Ok(transition) = apply_event(&node, item, event(token(small), said), NOW) else {
                    Self::reply(state, &op, false);
                    return None;
                };
                (job, transition)
            }
            OperationKind::CancelJob { job } | OperationKind::GiveUp { job } => {
                let node = node(job);
                let NodeBody::Job(item) = &node.state.body else { unreachable!("the node is a job") };
                let is_cancel = matches!(op.kind, OperationKind::CancelJob { .. });
                let event = if is_cancel { JobEvent::Cancel } else { JobEvent::Undeliverable };
                let Ok(transition) = apply_event(&node, item, event, NOW) else {
                    Self::reply(state, &op, true);
                    return None;
                };
                (job, transition)
            }
            OperationKind::CancelExecution => {
                if read.status.is_terminal() {
                    Self::reply(state, &op, false);
                    return None;
                }
                if !read.cancel {
                    let end = read.cells[self.shape.end()].node(&self.shape, self.shape.end());
                    let writes = request_cancel(&read.execution(&self.shape), &end, None, NOW);
                    if self.commit(state, &mut op, writes.into()).is_none() {
                        op.read = None;
                        return Some(op);
                    }
                }
                (op.stage, op.at, op.read) = (OperationStage::CancelJobs, 0, None);
                return Some(op);
            }
            OperationKind::Sweep => unreachable!("a sweep only settles"),
        };
        if self.apply(state, &mut op, usize::from(job), transition) {
            (op.stage, op.read) = (OperationStage::Settle, None);
        }
        Some(op)
    }

    /// Cancels the next job. After the last one, starts again if there was a conflict.
    fn cancel_next(&self, state: &mut State, mut op: Operation, read: &Records) -> Operation {
        let jobs = self.shape.jobs();
        while usize::from(op.at) < jobs {
            let ix = usize::from(op.at);
            let node = read.cells[ix].node(&self.shape, ix);
            op.at += 1;
            let NodeBody::Job(item) = &node.state.body else { continue };
            let Ok(transition) = apply_event(&node, item, JobEvent::Cancel, NOW) else { continue };
            let read_before = op.read.clone();
            if !self.apply(state, &mut op, ix, transition) {
                op.conflict = true;
                // The other jobs of the batch use the same records.
                op.read = read_before;
            }
            return op;
        }
        op.read = None;
        op.at = 0;
        if std::mem::take(&mut op.conflict) {
            return op;
        }
        op.stage = OperationStage::Settle;
        op.canceled = true;
        op.due |= 1 << self.shape.end();
        op
    }

    /// Runs the next step of a due node.
    fn settle_next(&self, state: &mut State, mut op: Operation, read: &Records) -> Operation {
        let ix = op.due.trailing_zeros() as usize;
        let node = read.cells[ix].node(&self.shape, ix);
        let bit = 1 << ix;
        match next_step(&node, NOW) {
            NextStep::Apply(transition) => {
                op.due &= !bit;
                if !self.apply(state, &mut op, ix, transition) {
                    op.due |= bit;
                }
            }
            rest @ (NextStep::Idle | NextStep::Wait(_)) => {
                let due_at = if let NextStep::Wait(at) = rest { Some(at) } else { None };
                if node.due_at == due_at || self.set_due(state, &mut op, &node, due_at) {
                    op.due &= !bit;
                }
            }
            // No job of the model is manual, in a concurrency group, or has a condition on outputs.
            NextStep::CloseApprovals { .. } | NextStep::RequestPlace | NextStep::Decide { .. } => {
                unreachable!()
            }
            NextStep::CheckEnd => match end_step(&read.state(), None, &node, NOW) {
                EndStep::Wait { cancel: true } if !op.canceled => {
                    (op.stage, op.at) = (OperationStage::CancelJobs, 0);
                }
                EndStep::Wait { .. } => {
                    let later = Some(NOW.plus_ms(30_000));
                    // Its result is ignored.
                    if node.due_at.is_some() {
                        self.set_due(state, &mut op, &node, later);
                    }
                    op.due &= !bit;
                }
                // The model's executions have no deadline.
                EndStep::TimeOut => op.due &= !bit,
                EndStep::AlreadyEnded => {
                    self.set_due(state, &mut op, &node, None);
                    op.due &= !bit;
                }
                EndStep::Finish => {
                    let nodes = read.nodes(&self.shape);
                    let writes = finish(&read.execution(&self.shape), &node, &nodes, NextInGroup::Start, NOW);
                    if self.commit(state, &mut op, writes).is_some() {
                        op.due &= !bit;
                    }
                }
            },
        }
        op.read = None;
        op
    }

    fn set_due(&self, state: &mut State, op: &mut Operation, node: &Node, due_at: Option<Timestamp>) -> bool {
        let write = Write::SetDue { key: node.key, if_version: node.version, due_at };
        self.commit(state, op, vec![write]).is_some()
    }

    /// Delivers the reply; `success`: the request had its effect.
    fn reply(state: &mut State, op: &Operation, success: bool) {
        match op.kind {
            OperationKind::Claim { worker, job } => {
                let cell = &state.records.cells[usize::from(job)];
                let of_worker = cell.token >> 4 == worker + 1;
                let runs = Worker::Running { job, attempt: cell.attempt, token: cell.token };
                let next = if success && of_worker { runs } else { Worker::Idle };
                let claiming = &mut state.workers[usize::from(worker)];
                if *claiming == Worker::Claiming {
                    *claiming = next;
                }
            }
            OperationKind::Report { worker, job, attempt, token, said } => {
                if success && said == ReportState::Succeeded {
                    state.succeeded |= 1 << job;
                }
                let reporting = &mut state.workers[usize::from(worker)];
                if *reporting == (Worker::Reporting { job, attempt, token }) {
                    let continues = success && said == ReportState::Alive;
                    *reporting =
                        if continues { Worker::Running { job, attempt, token } } else { Worker::Idle };
                }
            }
            OperationKind::CancelJob { job } => state.canceled |= 1 << job,
            OperationKind::CancelExecution if success => state.cancel_acknowledged = true,
            _ => {}
        }
    }
}

fn event(token: LeaseToken, said: ReportState) -> JobEvent {
    let kind = match said {
        ReportState::Alive => {
            return JobEvent::Heartbeat { token, ttl_ms: TTL_MS, phase: None, steps: Vec::new() };
        }
        ReportState::Succeeded => None,
        ReportState::Failed => Some(FailureKind::ScriptFailed),
        ReportState::GivenBack => Some(FailureKind::GivenBack),
    };
    let failure = kind.map(|kind| FailureReason::new(kind, ""));
    JobEvent::End {
        token,
        end: AttemptEnd { failure, exit_code: None, ..AttemptEnd::default() },
        steps: Vec::new(),
    }
}
