//! The steps of an operation in flight.

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
        end_step, finish, next_step, precompute, queued_jobs, ready_nodes, request_cancel,
    },
    time::Timestamp,
};
use tidemill_services::ports::{CommitResult, Node, NodeBody, Write};

impl Protocol {
    fn commit(&self, state: &mut State, op: &mut Operation, mut writes: Vec<Write>) -> Option<CommitResult> {
        // What the writes lead to is precomputed from what was read.
        let read = op.read.as_ref()?;
        let end = self.shape.spec.end_node;
        let nodes = read.nodes(&self.shape).into_iter().filter(|node| node.key.ix != end);
        precompute(&mut writes, &nodes.map(|node| (node.key.ix, node)).collect(), &mut 90, NOW);
        let before = state.records.clone();
        let done = state.records.commit(&writes)?;
        state.broken = state.broken.or(self.judge(state, &before, op));
        Some(done)
    }

    /// Makes a move; whether it was committed.
    fn make(&self, state: &mut State, op: &mut Operation, ix: usize, moved: Transition) -> bool {
        let Transition { writes, send_after, more } = moved;
        let Some(done) = self.commit(state, op, writes) else {
            op.read = None;
            return false;
        };
        op.sends |= queued_jobs(&done).fold(0, |bits, message| bits | 1 << message.node.ix);
        op.due |= ready_nodes(&done).iter().fold(0, |bits, node| bits | 1 << node);
        if send_after.is_some() {
            op.sends |= 1 << ix;
        }
        if more {
            op.due |= 1 << ix;
        }
        true
    }

    /// The next step of an operation; `None`: it is over, and its reply has been given.
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
        let moved = match op.what {
            OperationKind::Execute => {
                if read.made == 0 {
                    let Some(()) = state.records.create(false) else {
                        op.read = None;
                        return Some(op);
                    };
                    let made = state.records.made > 1;
                    state.broken = state.broken.or(made.then_some(Promise::OneExecution));
                    op.sends = self.bits(|cell| cell.status == JobStatus::Queued, &self.cells);
                }
                op.stage = OperationStage::Settle;
                op.read = None;
                return Some(op);
            }
            OperationKind::Claim { worker, job } => {
                let labels = tidemill_core::pipeline::labels::Labels::new();
                let asked = ClaimRequest {
                    worker: "",
                    token: token((worker + 1) << 4),
                    ttl_ms: TTL_MS,
                    labels: &labels,
                };
                match claim(&node(job), (&read.state(), read.version.into()), None, asked, NOW) {
                    ClaimDecision::ExpireFirst => {
                        // The claim is asked again after the job has moved on, by another delivery.
                        (op.stage, op.due, op.read) = (OperationStage::Settle, 1 << job, None);
                        return Some(op);
                    }
                    ClaimDecision::AlreadyHeld(_) => {
                        Self::reply(state, &op, true);
                        return None;
                    }
                    ClaimDecision::Nothing(_) => {
                        Self::reply(state, &op, false);
                        return None;
                    }
                    ClaimDecision::Grant(moved, _) => (job, moved),
                }
            }
            OperationKind::Report { job, token: small, said, .. } => {
                let node = node(job);
                let NodeBody::Job(item) = &node.state.body else { unreachable!("a job is a job") };
                if !item.job.holds(token(small)) {
                    Self::reply(state, &op, false);
                    return None;
                }
                let lease = item.job.lease.as_ref();
                if said == ReportState::Alive && !lease.is_some_and(|lease| lease.is_renewal_due(TTL_MS, NOW))
                {
                    Self::reply(state, &op, true);
                    return None;
                }
                let Ok(moved) = apply_event(&node, item, event(token(small), said), NOW) else {
                    Self::reply(state, &op, false);
                    return None;
                };
                (job, moved)
            }
            OperationKind::CancelJob { job } | OperationKind::GiveUp { job } => {
                let node = node(job);
                let NodeBody::Job(item) = &node.state.body else { unreachable!("a job is a job") };
                let is_cancel = matches!(op.what, OperationKind::CancelJob { .. });
                let event = if is_cancel { JobEvent::Cancel } else { JobEvent::Undeliverable };
                let Ok(moved) = apply_event(&node, item, event, NOW) else {
                    Self::reply(state, &op, true);
                    return None;
                };
                (job, moved)
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
        let (job, moved) = moved;
        if self.make(state, &mut op, usize::from(job), moved) {
            (op.stage, op.read) = (OperationStage::Settle, None);
        }
        Some(op)
    }

    /// Cancels the next job; after the last, all again if others were in the way.
    fn cancel_next(&self, state: &mut State, mut op: Operation, read: &Records) -> Operation {
        let jobs = self.shape.jobs();
        while usize::from(op.at) < jobs {
            let ix = usize::from(op.at);
            let node = read.cells[ix].node(&self.shape, ix);
            op.at += 1;
            let NodeBody::Job(item) = &node.state.body else { continue };
            let Ok(moved) = apply_event(&node, item, JobEvent::Cancel, NOW) else { continue };
            let same = op.read.clone();
            if !self.make(state, &mut op, ix, moved) {
                op.conflict = true;
                // The others of the batch go on from what was read.
                op.read = same;
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

    /// The step of the next node that is due.
    fn settle_next(&self, state: &mut State, mut op: Operation, read: &Records) -> Operation {
        let ix = op.due.trailing_zeros() as usize;
        let node = read.cells[ix].node(&self.shape, ix);
        let bit = 1 << ix;
        match next_step(&node, NOW) {
            NextStep::Apply(moved) => {
                op.due &= !bit;
                if !self.make(state, &mut op, ix, moved) {
                    op.due |= bit;
                }
            }
            rest @ (NextStep::Rest | NextStep::Wait(_)) => {
                let due_at = if let NextStep::Wait(at) = rest { Some(at) } else { None };
                if node.due_at == due_at || self.set_due(state, &mut op, &node, due_at) {
                    op.due &= !bit;
                }
            }
            // No job of the model is manual.
            NextStep::CloseApprovals { .. } => unreachable!(),
            NextStep::CheckEnd => match end_step(&read.state(), None, &node, NOW) {
                EndStep::Wait { cancel: true } if !op.canceled => {
                    (op.stage, op.at) = (OperationStage::CancelJobs, 0);
                }
                EndStep::Wait { .. } => {
                    let later = Some(NOW.plus_ms(30_000));
                    // Whether or not it is made: nobody looks at what it comes to.
                    if node.due_at.is_some() {
                        self.set_due(state, &mut op, &node, later);
                    }
                    op.due &= !bit;
                }
                // The model's executions have no deadline.
                EndStep::TimeOut => op.due &= !bit,
                EndStep::Rest => {
                    self.set_due(state, &mut op, &node, None);
                    op.due &= !bit;
                }
                EndStep::Finish => {
                    let nodes = read.nodes(&self.shape);
                    let writes =
                        finish(&read.execution(&self.shape), &node, &nodes, NextInGroup::Starts, NOW);
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

    /// The reply arrives; `well`: what was asked for was done.
    fn reply(state: &mut State, op: &Operation, well: bool) {
        match op.what {
            OperationKind::Claim { worker, job } => {
                let cell = &state.records.cells[usize::from(job)];
                let of_worker = cell.token >> 4 == worker + 1;
                let runs = Worker::Runs { job, attempt: cell.attempt, token: cell.token };
                let now = if well && of_worker { runs } else { Worker::Idle };
                let asking = &mut state.workers[usize::from(worker)];
                if *asking == Worker::Asks {
                    *asking = now;
                }
            }
            OperationKind::Report { worker, job, attempt, token, said } => {
                if well && said == ReportState::Succeeded {
                    state.succeeded |= 1 << job;
                }
                let telling = &mut state.workers[usize::from(worker)];
                if *telling == (Worker::Tells { job, attempt, token }) {
                    let goes_on = well && said == ReportState::Alive;
                    *telling = if goes_on { Worker::Runs { job, attempt, token } } else { Worker::Idle };
                }
            }
            OperationKind::CancelJob { job } => state.canceled |= 1 << job,
            OperationKind::CancelExecution if well => state.cancel_acknowledged = true,
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
    JobEvent::End { token, end: AttemptEnd { failure, exit_code: None }, steps: Vec::new() }
}
