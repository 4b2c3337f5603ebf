//! The state machine of a job alone: every history of a few events, those that nobody should send among them.

use super::judge::Promise;
use tidemill_core::{
    api::AttemptEnd,
    failure::{FailureKind, FailureReason},
    ids::LeaseToken,
    retry::RetryFor,
    status::JobStatus,
    time::Timestamp,
    transition::{JobEvent, JobRules, JobState, step},
};
use uuid::Uuid;

const TTL_MS: u64 = 1_000;
static ANY: RetryFor = RetryFor { kinds: Vec::new(), exit_codes: Vec::new() };

fn token(n: u128) -> LeaseToken {
    LeaseToken(Uuid::from_u128(n))
}

fn events() -> Vec<JobEvent> {
    let end = |n, kind: Option<FailureKind>| JobEvent::End {
        token: token(n),
        end: AttemptEnd { failure: kind.map(|kind| FailureReason::new(kind, "")), exit_code: None },
        steps: Vec::new(),
    };
    let claim = |n| JobEvent::Claim { token: token(n), worker: String::new(), ttl_ms: TTL_MS };
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
    let began_again = old.cancel_requested && new.status == JobStatus::Queued;
    began_again.then_some(Promise::CancelHolds)
}

/// The first broken promise among all histories of `left` more events, and the number of its event.
fn walk(state: &JobState, now: Timestamp, left: u32, steps: &mut u64) -> Option<Promise> {
    if left == 0 {
        return None;
    }
    for event in events() {
        for wait in [1, 1_001] {
            let now = now.plus_ms(wait);
            *steps += 1;
            let rules = JobRules { retry: 1, retry_for: &ANY, seed: 0 };
            let Ok(next) = step(state, rules, event.clone(), now) else { continue };
            let broken = judge(state, &next, &event, now).or_else(|| walk(&next, now, left - 1, steps));
            if broken.is_some() {
                return broken;
            }
        }
    }
    None
}

/// The promise that breaks first in histories of up to five events, and their length.
pub fn first_broken() -> Option<(Promise, u32)> {
    (1..=5).find_map(|length| {
        let broken = walk(&JobState::default(), Timestamp(0), length, &mut 0);
        broken.map(|promise| (promise, length))
    })
}
