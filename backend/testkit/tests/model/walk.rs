//! The state machine of a job alone: every history of a few events, those that nobody should send among them.

use super::promise::Promise;
use tidemill_core::execution::{
    failure::{FailureKind, FailureReason},
    retry::{MAX_INFRASTRUCTURE_ATTEMPTS, RetryFor},
    status::JobStatus,
    transition::{CANCEL_GRACE_MS, JobEvent, JobRules, JobState, step},
};
use tidemill_core::{api::AttemptEnd, ids::LeaseToken, time::Timestamp};
use uuid::Uuid;

/// More than a cancel leaves.
const TTL_MS: u64 = 30_000;
const RETRIES: u32 = 1;
/// Up to so long, histories of all events; beyond, up to so long, of those that end an attempt badly.
const MAX_HISTORY_LEN: u32 = 5;
const MAX_ATTEMPT_HISTORY_LEN: u32 = 8;
static ANY: RetryFor = RetryFor { kinds: Vec::new(), exit_codes: Vec::new() };

fn token(n: u128) -> LeaseToken {
    LeaseToken(Uuid::from_u128(n))
}

fn claim(n: u128) -> JobEvent {
    JobEvent::Claim { token: token(n), worker: String::new(), ttl_ms: TTL_MS }
}

fn end(n: u128, kind: Option<FailureKind>) -> JobEvent {
    let failure = kind.map(|kind| FailureReason::new(kind, ""));
    JobEvent::End { token: token(n), end: AttemptEnd { failure, exit_code: None }, steps: Vec::new() }
}

fn events() -> Vec<JobEvent> {
    vec![
        JobEvent::Release(None),
        JobEvent::Release(Some(FailureReason::new(FailureKind::NeedsFailed, ""))),
        claim(1),
        claim(2),
        JobEvent::Heartbeat { token: token(1), ttl_ms: TTL_MS, phase: None, steps: Vec::new() },
        end(1, None),
        end(1, Some(FailureKind::ScriptFailed)),
        end(2, None),
        JobEvent::LeaseExpired,
        JobEvent::Undeliverable,
        JobEvent::Cancel,
    ]
}

/// What attempts that end badly are made of.
fn tries() -> Vec<JobEvent> {
    let failed = end(1, Some(FailureKind::ScriptFailed));
    vec![JobEvent::Release(None), claim(1), failed, JobEvent::LeaseExpired]
}

/// Whether a job that is queued again had its tries already, counted by the attempts themselves.
fn had_its_tries(new: &JobState) -> bool {
    let ended_by = |kind: FailureKind| {
        let ended = new
            .attempts
            .iter()
            .filter(|attempt| attempt.failure.as_ref().is_some_and(|reason| reason.kind == kind));
        u32::try_from(ended.count()).unwrap()
    };
    ended_by(FailureKind::ScriptFailed) > RETRIES
        || ended_by(FailureKind::WorkerLost) >= MAX_INFRASTRUCTURE_ATTEMPTS
}

/// What an event breaks, if anything.
fn judge(old: &JobState, new: &JobState, event: &JobEvent, now: Timestamp) -> Option<Promise> {
    if old.status.is_terminal() {
        return Some(Promise::TerminalStays);
    }
    let valid = old.lease.as_ref().filter(|lease| lease.expires_at > now).map(|lease| lease.token);
    match event {
        JobEvent::Heartbeat { token, .. } | JobEvent::End { token, .. } => {
            let own = old.lease.as_ref().is_some_and(|lease| lease.token == *token);
            if !own {
                return Some(Promise::OneLease);
            }
        }
        JobEvent::Cancel => {}
        _ if valid.is_some() => return Some(Promise::OneLease),
        _ => {}
    }
    if old.cancel_requested && new.status == JobStatus::Queued {
        return Some(Promise::CancelHolds);
    }
    // What a cancel leaves is counted from the cancel, and nothing adds to it.
    let ends_at = |job: &JobState| job.lease.as_ref().map(|lease| lease.expires_at);
    let canceled_now = new.cancel_requested && !old.cancel_requested;
    let most_ms = i64::try_from(CANCEL_GRACE_MS).unwrap();
    if (canceled_now && ends_at(new) > Some(now.plus_ms(most_ms)))
        || (old.cancel_requested && ends_at(new) > ends_at(old))
    {
        return Some(Promise::CancelInTime);
    }
    (new.status == JobStatus::Queued && had_its_tries(new)).then_some(Promise::Ends)
}

/// The first broken promise among all histories of `left` more of `events`.
fn walk(state: &JobState, now: Timestamp, left: u32, events: &[JobEvent]) -> Option<Promise> {
    if left == 0 {
        return None;
    }
    for event in events {
        // The longer wait lets a lease run out.
        for wait in [1, 30_001] {
            let now = now.plus_ms(wait);
            let rules = JobRules { retry: RETRIES, retry_for: &ANY, seed: 0 };
            let Ok(next) = step(state, rules, event.clone(), now) else { continue };
            let broken = judge(state, &next, event, now).or_else(|| walk(&next, now, left - 1, events));
            if broken.is_some() {
                return broken;
            }
        }
    }
    None
}

/// The promise that breaks first in short histories, and their length.
pub fn first_broken() -> Option<(Promise, u32)> {
    let walk = |length, events: &[JobEvent]| {
        let broken = walk(&JobState::default(), Timestamp(0), length, events);
        broken.map(|promise| (promise, length))
    };
    let (all, tries) = (events(), tries());
    let short = (1..=MAX_HISTORY_LEN).find_map(|length| walk(length, &all));
    short.or_else(|| (MAX_HISTORY_LEN + 1..=MAX_ATTEMPT_HISTORY_LEN).find_map(|length| walk(length, &tries)))
}
