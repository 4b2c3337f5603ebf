//! What becomes of a worker's request for a job: a pure function of what is recorded.

use super::turn::{Move, happen};
use crate::ports::{ExecutionState, JobItem, Node, NodeBody, Write};
use tidemill_core::{
    guard::{Guard, holds},
    ids::LeaseToken,
    labels::{Labels, fits, queue_name},
    status::ExecutionStatus,
    time::Timestamp,
    transition::JobEvent,
};

/// Who asks, and the lease that is to be given.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The worker's name.
    pub worker: &'a str,
    /// What the token is made from: by the worker for this request, so that it can be sent again, or here.
    pub token: LeaseToken,
    /// Milliseconds that a new lease lasts.
    pub ttl_ms: u64,
    /// The worker's labels.
    pub labels: &'a Labels,
}

/// What to do about the request.
#[derive(Debug, Clone)]
pub enum Claim {
    /// The lease of whoever had the job ran out: it moves on first, and then it is asked again.
    TakeOver,
    /// The job is the worker's already under this token; the reply that said so was lost.
    Held(LeaseToken),
    /// Make these writes, in one batch; the job is then the worker's under this token.
    Take(Move, LeaseToken),
    /// There is nothing to do for the worker.
    Nothing(String),
}

/// What becomes of the request for the job of `node`, whose execution is in `state` of this version, and which demands
/// these labels.
#[must_use]
pub fn claim(
    node: &Node,
    (state, if_version): (&ExecutionState, u64),
    demands: Option<&Labels>,
    asked: Asked<'_>,
    now: Timestamp,
) -> Claim {
    let NodeBody::Job(item) = &node.state.body else { return Claim::Nothing("not a job".into()) };
    if item.job.lease.as_ref().is_some_and(|lease| lease.has_run_out(now)) {
        return Claim::TakeOver;
    }
    // No promise rests on this: a cancel reaches every job before it is acknowledged. It saves an attempt that would be
    // stopped at once.
    if state.cancel_requested {
        return Claim::Nothing("the execution was canceled".into());
    }
    if state.unplanned {
        return Claim::Nothing("nobody approved the execution".into());
    }
    let held = asked.token.of_attempt(item.job.attempt);
    if item.job.holds(held) {
        return Claim::Held(held);
    }
    if let Some(demands) = demands.filter(|demands| !holds(Guard::LabelsFit, fits(demands, asked.labels))) {
        return Claim::Nothing(format!("it is for workers with {}", queue_name(demands)));
    }
    // A new attempt has a log of its own.
    let item = JobItem { log_bytes: 0, ..(**item).clone() };
    let Asked { worker, token, ttl_ms, .. } = asked;
    let token = token.of_attempt(item.job.attempt + 1);
    let event = JobEvent::Claim { token, worker: worker.to_owned(), ttl_ms };
    let mut moved = match happen(node, &item, event, now) {
        Ok(moved) => moved,
        Err(refusal) => return Claim::Nothing(refusal.to_string()),
    };
    if state.status == ExecutionStatus::Pending {
        let state =
            ExecutionState { status: ExecutionStatus::Running, start_time: Some(now), ..state.clone() };
        moved.writes.push(Write::PutExecution { id: node.key.execution, if_version, state });
    }
    Claim::Take(moved, token)
}
