//! Checks the state machine of a job with every short sequence of events, including invalid ones.

use super::promise::Promise;
use tidemill_core::execution::{
    failure::{FailureKind, FailureReason},
    retry::{MAX_INFRASTRUCTURE_ATTEMPTS, RetryFor},
    status::JobStatus,
    transition::{CANCEL_GRACE_MS, CANCELED_LEASE_LIMIT_MS, JobEvent, JobRules, JobState, next_state},
};
use tidemill_core::{api::AttemptEnd, ids::LeaseToken, time::Timestamp};
use uuid::Uuid;

/// Longer than the grace period of a cancel.
const TTL_MS: u64 = 30_000;
const RETRIES: u32 = 1;
/// Maximum length of sequences of all events, and of those of failing attempts.
const MAX_HISTORY_LEN: u32 = 5;
const MAX_ATTEMPT_HISTORY_LEN: u32 = 8;
static ANY: RetryFor = RetryFor { kinds: Vec::new(), exit_codes: Vec::new(), lost_is_final: false };

fn token(n: u128) -> LeaseToken {
    LeaseToken(Uuid::from_u128(n))
}

fn claim(n: u128) -> JobEvent {
    JobEvent::Claim { token: token(n), worker: String::new(), ttl_ms: TTL_MS, slot_price: 0 }
}

fn end(n: u128, kind: Option<FailureKind>) -> JobEvent {
    let failure = kind.map(|kind| FailureReason::new(kind, ""));
    JobEvent::End {
        token: token(n),
        end: AttemptEnd { failure, exit_code: None, ..AttemptEnd::default() },
        steps: Vec::new(),
    }
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

/// Returns the events of failing attempts.
fn failing_attempt_events() -> Vec<JobEvent> {
    let failed = end(1, Some(FailureKind::ScriptFailed));
    vec![JobEvent::Release(None), claim(1), failed, JobEvent::LeaseExpired]
}

/// Whether a job has used all its attempts, counted from the attempts.
fn has_used_attempts(new: &JobState) -> bool {
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

/// Returns the promise that an event breaks, if any.
fn judge(old: &JobState, new: &JobState, event: &JobEvent, now: Timestamp) -> Option<Promise> {
    if old.status.is_terminal() {
        return Some(Promise::TerminalStays);
    }
    let valid = old.lease.as_ref().filter(|lease| lease.expires_at > now).map(|lease| lease.token);
    match event {
        JobEvent::Heartbeat { token, .. } | JobEvent::End { token, .. } => {
            let is_current = old.lease.as_ref().is_some_and(|lease| lease.token == *token);
            if !is_current {
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
    // The grace period starts with the cancel; reports extend it up to a limit.
    let ends_at = |job: &JobState| job.lease.as_ref().map(|lease| lease.expires_at);
    let canceled_now = new.cancel_requested && !old.cancel_requested;
    let max_ms = i64::try_from(CANCEL_GRACE_MS).unwrap();
    let limit_ms = i64::try_from(CANCELED_LEASE_LIMIT_MS).unwrap();
    let limit = old.cancel_requested_at.map(|at| at.plus_ms(limit_ms));
    if (canceled_now && ends_at(new) > Some(now.plus_ms(max_ms)))
        || (old.cancel_requested && ends_at(new) > ends_at(old).max(limit))
    {
        return Some(Promise::CancelInTime);
    }
    (new.status == JobStatus::Queued && has_used_attempts(new)).then_some(Promise::Ends)
}

/// Returns the first broken promise in all sequences of `left` more of `events`.
fn walk(state: &JobState, now: Timestamp, left: u32, events: &[JobEvent]) -> Option<Promise> {
    if left == 0 {
        return None;
    }
    for event in events {
        // The longer wait lets a lease expire, and is close to the limit for canceled attempts.
        for wait in [1, 590_000] {
            let now = now.plus_ms(wait);
            let rules = JobRules { retry: RETRIES, retry_for: &ANY, start_in_ms: 0, seed: 0 };
            let Ok(next) = next_state(state, rules, event.clone(), now) else { continue };
            let broken = judge(state, &next, event, now).or_else(|| walk(&next, now, left - 1, events));
            if broken.is_some() {
                return broken;
            }
        }
    }
    None
}

/// Returns the promise that breaks in the shortest sequence, and its length.
pub fn first_violation() -> Option<(Promise, u32)> {
    let walk = |length, events: &[JobEvent]| {
        let broken = walk(&JobState::default(), Timestamp(0), length, events);
        broken.map(|promise| (promise, length))
    };
    let (all, failing) = (events(), failing_attempt_events());
    let short = (1..=MAX_HISTORY_LEN).find_map(|length| walk(length, &all));
    short
        .or_else(|| (MAX_HISTORY_LEN + 1..=MAX_ATTEMPT_HISTORY_LEN).find_map(|length| walk(length, &failing)))
}
