//! What becomes of a worker's request for a job: a pure function of what is recorded.

use super::next_step::{Transition, apply_event};
use crate::execution::{status::ExecutionStatus, transition::JobEvent};
use crate::pipeline::labels::{Labels, fits, queue_name};
use crate::{
    guarded,
    ids::LeaseToken,
    records::{ExecutionState, JobRecord, Node, NodeBody, Write},
    time::Timestamp,
};

/// Who asks, and the lease that is to be given.
#[derive(Debug, Clone, Copy)]
pub struct ClaimRequest<'a> {
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
pub enum ClaimDecision {
    /// The lease of whoever had the job ran out: it moves on first, and then the request is decided again.
    ExpireFirst,
    /// The job is the worker's already under this token; the reply that said so was lost.
    AlreadyHeld(LeaseToken),
    /// Make these writes, in one batch; the job is then the worker's under this token.
    Grant(Transition, LeaseToken),
    /// There is nothing to do for the worker, for this reason.
    Nothing(String),
}

/// What becomes of the request for the job of `node`, whose execution is in `state` of this version, and which demands
/// these labels.
#[must_use]
pub fn claim(
    node: &Node,
    (state, if_version): (&ExecutionState, u64),
    demands: Option<&Labels>,
    request: ClaimRequest<'_>,
    now: Timestamp,
) -> ClaimDecision {
    let NodeBody::Job(item) = &node.state.body else { return ClaimDecision::Nothing("not a job".into()) };
    if item.job.lease.as_ref().is_some_and(|lease| lease.has_run_out(now)) {
        return ClaimDecision::ExpireFirst;
    }
    // No promise rests on this: a cancel reaches every job before it is acknowledged. It saves an attempt that would be
    // stopped at once.
    if state.cancel_requested {
        return ClaimDecision::Nothing("the execution was canceled".into());
    }
    if state.unplanned {
        return ClaimDecision::Nothing("nobody approved the execution".into());
    }
    let held = request.token.of_attempt(item.job.attempt);
    if item.job.holds(held) {
        return ClaimDecision::AlreadyHeld(held);
    }
    if let Some(demands) = demands
        && !guarded!(LabelsFit, fits(demands, request.labels))
    {
        return ClaimDecision::Nothing(format!("it is for workers with {}", queue_name(demands)));
    }
    // A new attempt has a log of its own.
    let item = JobRecord { log_bytes: 0, ..(**item).clone() };
    let ClaimRequest { worker, token, ttl_ms, .. } = request;
    let token = token.of_attempt(item.job.attempt + 1);
    let event = JobEvent::Claim { token, worker: worker.to_owned(), ttl_ms };
    let mut transition = match apply_event(node, &item, event, now) {
        Ok(transition) => transition,
        Err(refusal) => return ClaimDecision::Nothing(refusal.to_string()),
    };
    if state.status == ExecutionStatus::Pending {
        let state =
            ExecutionState { status: ExecutionStatus::Running, start_time: Some(now), ..state.clone() };
        transition.writes.push(Write::PutExecution { id: node.key.execution, if_version, state });
    }
    ClaimDecision::Grant(transition, token)
}
