//! Decides a worker's claim of a job: a pure function of the records.

use super::next_step::{Transition, apply_event};
use crate::execution::{
    status::ExecutionStatus,
    transition::{JobEvent, JobState},
};
use crate::pipeline::labels::{Labels, matches, queue_name};
use crate::{
    guarded,
    ids::LeaseToken,
    records::{ExecutionState, JobRecord, Node, NodeBody, Write},
    time::Timestamp,
};

/// A claim: the worker, and the lease to grant.
#[derive(Debug, Clone, Copy)]
pub struct ClaimRequest<'a> {
    /// The worker's name.
    pub worker: &'a str,
    /// The value that the token is derived from. The worker creates it, so that it can repeat the request; otherwise
    /// the server does.
    pub token: LeaseToken,
    /// Duration of a new lease, in milliseconds.
    pub ttl_ms: u64,
    /// The worker's labels.
    pub labels: &'a Labels,
    /// What a slot of the worker costs, in millionths of a dollar for an hour; 0 if it has no price.
    pub slot_price: u64,
}

/// The decision about a claim.
#[derive(Debug, Clone)]
pub enum ClaimDecision {
    /// The lease of the previous holder has expired: expire it first, then decide the claim again.
    ExpireFirst,
    /// The worker already holds the job under this token: the earlier reply was lost.
    AlreadyHeld(LeaseToken),
    /// Commit these writes in one batch; the worker then holds the job under this token.
    Grant(Transition, LeaseToken),
    /// The job cannot be claimed, for this reason.
    NotClaimable(String),
}

/// Milliseconds before the end of its `start_in` at which a job may be claimed: the clocks of queue and servers differ.
const CLOCK_TOLERANCE_MS: u64 = 1_000;

/// Whether the first attempt of a job is claimed before its `start_in` is over. The sweep sends its message again.
fn is_too_early(job: &JobState, now: Timestamp) -> bool {
    job.attempt == 0 && job.not_before.is_some_and(|at| at.since_ms(now) > CLOCK_TOLERANCE_MS)
}

/// Decides a claim of the job of `node`, which requires the labels `demands`. Its execution has this state at this
/// version.
#[must_use]
pub fn claim(
    node: &Node,
    (state, if_version): (&ExecutionState, u64),
    required: Option<&Labels>,
    request: ClaimRequest<'_>,
    now: Timestamp,
) -> ClaimDecision {
    let NodeBody::Job(record) = &node.state.body else {
        return ClaimDecision::NotClaimable("not a job".into());
    };
    if record.job.lease.as_ref().is_some_and(|lease| lease.is_expired(now)) {
        return ClaimDecision::ExpireFirst;
    }
    // No guarantee depends on this check: a cancel reaches every job before it is acknowledged. It saves an attempt
    // that would be stopped at once.
    if state.cancel_requested {
        return ClaimDecision::NotClaimable("the execution was canceled".into());
    }
    if state.unplanned {
        return ClaimDecision::NotClaimable("the jobs of the execution are not recorded yet".into());
    }
    if is_too_early(&record.job, now) {
        return ClaimDecision::NotClaimable("its `start_in` is not over".into());
    }
    let held = request.token.for_attempt(record.job.attempt);
    if record.job.is_leased_to(held) {
        return ClaimDecision::AlreadyHeld(held);
    }
    let none = Labels::new();
    let required = required.unwrap_or(&none);
    if !guarded!(LabelsMatch, matches(required, request.labels)) {
        return ClaimDecision::NotClaimable(if required.is_empty() {
            "the worker takes only jobs that ask for plain processes".to_owned()
        } else {
            format!("the job requires a worker with the labels {}", queue_name(required))
        });
    }
    // A new attempt has its own log.
    let record = JobRecord { log_bytes: 0, ..(**record).clone() };
    let ClaimRequest { worker, token, ttl_ms, slot_price, .. } = request;
    let token = token.for_attempt(record.job.attempt + 1);
    let event = JobEvent::Claim { token, worker: worker.to_owned(), ttl_ms, slot_price };
    let mut transition = match apply_event(node, &record, event, now) {
        Ok(transition) => transition,
        Err(error) => return ClaimDecision::NotClaimable(error.to_string()),
    };
    if state.status == ExecutionStatus::Pending {
        let state =
            ExecutionState { status: ExecutionStatus::Running, start_time: Some(now), ..state.clone() };
        transition.writes.push(Write::PutExecution { id: node.key.execution, if_version, state });
    }
    ClaimDecision::Grant(transition, token)
}
