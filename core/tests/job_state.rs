//! The job's state machine, exhaustively over short histories.

use tidemill_core::execution::{
    cost::MAX_SLOT_PRICE,
    failure::{FailureKind, FailureReason},
    retry::{MAX_INFRASTRUCTURE_ATTEMPTS, RetryFor},
    status::JobStatus,
    transition::{
        CANCEL_GRACE_MS, CANCELED_LEASE_LIMIT_MS, JobEvent, JobRules, JobState, MAX_RECORDED_ATTEMPTS,
        TransitionError, next_state,
    },
};
use tidemill_core::{
    api::{AttemptEnd, StepView},
    ids::LeaseToken,
    time::Timestamp,
};
use uuid::Uuid;

const TTL: u64 = 1_000;
static ANY: RetryFor = RetryFor { kinds: Vec::new(), exit_codes: Vec::new(), lost_is_final: false };

fn rules(retry: u32) -> JobRules<'static> {
    JobRules { retry, retry_for: &ANY, start_in_ms: 0, seed: 7 }
}

fn token(n: u128) -> LeaseToken {
    LeaseToken(Uuid::from_u128(n))
}

fn claim(n: u128) -> JobEvent {
    JobEvent::Claim { token: token(n), worker: format!("w{n}"), ttl_ms: TTL, slot_price: 3_600 }
}

fn end(n: u128, failure: Option<FailureKind>) -> JobEvent {
    let failure = failure.map(|kind| FailureReason::new(kind, "because"));
    JobEvent::End {
        token: token(n),
        end: AttemptEnd { failure, exit_code: Some(1), ..AttemptEnd::default() },
        steps: Vec::new(),
    }
}

fn events() -> Vec<JobEvent> {
    vec![
        JobEvent::Release(None),
        JobEvent::Release(Some(FailureReason::new(FailureKind::NeedsFailed, "a need failed"))),
        claim(1),
        claim(2),
        JobEvent::Heartbeat { token: token(1), ttl_ms: TTL, phase: None, steps: Vec::new() },
        end(1, None),
        end(1, Some(FailureKind::ScriptFailed)),
        end(1, Some(FailureKind::GivenBack)),
        end(2, None),
        JobEvent::LeaseExpired,
        JobEvent::Undeliverable,
        JobEvent::Cancel,
    ]
}

/// Walks every history of `left` more events, and checks each step against the rules of the design.
fn walk(state: &JobState, now: Timestamp, left: u32, steps: &mut u64) {
    if left == 0 {
        return;
    }
    for event in events() {
        // The longer wait lets a lease run out, unless a report renewed it.
        for wait in [1, 1_001] {
            let now = now.plus_ms(wait);
            *steps += 1;
            let Ok(next) = next_state(state, rules(1), event.clone(), now) else { continue };
            assert!(!state.status.is_terminal(), "{event:?} changed a job that is {}", state.status);
            assert!(
                next.status == state.status || state.status.can_become(next.status),
                "{} to {} by {event:?}",
                state.status,
                next.status
            );
            assert_eq!(
                next.lease.is_some(),
                next.status == JobStatus::Running,
                "a lease is held while running"
            );
            let claimed = matches!(event, JobEvent::Claim { .. });
            assert_eq!(next.attempt, state.attempt + u32::from(claimed));
            assert!(!(claimed && next.cancel_requested), "an attempt started after a cancel");
            if let JobEvent::Heartbeat { token, .. } | JobEvent::End { token, .. } = &event {
                assert!(
                    state.is_leased_to(*token),
                    "a report without the valid lease was accepted: {event:?}"
                );
            }
            assert_eq!(next.ended_at.is_some(), next.status.is_terminal());
            walk(&next, now, left - 1, steps);
        }
    }
}

#[test]
fn histories_of_six_events_keep_invariants() {
    let mut steps = 0;
    walk(&JobState::default(), Timestamp(0), 6, &mut steps);
    assert!(steps > 10_000, "only {steps} steps were walked");
}

fn after(events: Vec<(i64, JobEvent)>, retry: u32) -> JobState {
    events.into_iter().fold(JobState::default(), |state, (at, event)| {
        next_state(&state, rules(retry), event, Timestamp(at)).unwrap()
    })
}

#[test]
fn lost_worker_costs_attempt_and_after_three_job() {
    let mut history = vec![(0, JobEvent::Release(None))];
    for n in 1..=MAX_INFRASTRUCTURE_ATTEMPTS {
        history.push((i64::from(n) * 10_000, claim(n.into())));
        history.push((i64::from(n) * 10_000 + 5_000, JobEvent::LeaseExpired));
    }
    let state = after(history, 0);
    assert_eq!(state.status, JobStatus::Failed);
    assert_eq!(state.attempt, MAX_INFRASTRUCTURE_ATTEMPTS);
    assert_eq!(state.failure.unwrap().kind, FailureKind::WorkerLost);
    assert_eq!(state.attempts.len(), 2);
}

#[test]
fn stale_lease_is_rejected_after_reassignment() {
    let state = after(
        vec![(0, JobEvent::Release(None)), (1, claim(1)), (5_000, JobEvent::LeaseExpired), (5_001, claim(2))],
        0,
    );
    let result = next_state(&state, rules(0), end(1, None), Timestamp(5_002));
    assert_eq!(result, Err(TransitionError::LeaseLost));
}

#[test]
fn given_back_job_costs_no_attempt() {
    let mut history = vec![(0, JobEvent::Release(None))];
    for n in 1..=10_u8 {
        history.push((n.into(), claim(n.into())));
        history.push((n.into(), end(n.into(), Some(FailureKind::GivenBack))));
    }
    let state = after(history, 0);
    assert_eq!(state.status, JobStatus::Queued);
    assert_eq!((state.infrastructure_tries, state.failed_tries), (0, 0));
}

#[test]
fn retry_adds_attempts() {
    let failed = |n| end(n, Some(FailureKind::ScriptFailed));
    let once = vec![(0, JobEvent::Release(None)), (1, claim(1)), (2, failed(1))];
    assert_eq!(after(once.clone(), 0).status, JobStatus::Failed);
    assert_eq!(after(once.clone(), 1).status, JobStatus::Queued);
    let twice = [once, vec![(3, claim(2)), (4, failed(2))]].concat();
    assert_eq!(after(twice, 1).status, JobStatus::Failed);
}

#[test]
fn cancel_of_running_job_waits_for_worker_or_lease() {
    let requested = vec![(0, JobEvent::Release(None)), (1, claim(1)), (2, JobEvent::Cancel)];
    assert_eq!(after(requested.clone(), 3).status, JobStatus::Running);
    let notified = [requested.clone(), vec![(3, end(1, Some(FailureKind::Canceled)))]].concat();
    assert_eq!(after(notified, 3).status, JobStatus::Canceled);
    let lost = [requested, vec![(9_000, JobEvent::LeaseExpired)]].concat();
    assert_eq!(after(lost, 3).status, JobStatus::Canceled);
}

#[test]
fn attempts_of_a_job_cost_their_time_also_when_they_are_lost_or_canceled() {
    // At the price of these claims, a millisecond costs a billionth of a dollar.
    let lost = vec![(0, JobEvent::Release(None)), (100, claim(1)), (5_000, JobEvent::LeaseExpired)];
    assert_eq!(after(lost[..2].to_vec(), 3).cost_nano_usd, 0, "while it runs");
    assert_eq!(after(lost.clone(), 3).cost_nano_usd, 4_900);
    let failed = [lost, vec![(6_000, claim(2)), (6_010, end(2, Some(FailureKind::ScriptFailed)))]].concat();
    assert_eq!(after(failed.clone(), 3).cost_nano_usd, 4_910);
    let canceled =
        vec![(7_000, claim(3)), (7_001, JobEvent::Cancel), (7_005, end(3, Some(FailureKind::Canceled)))];
    assert_eq!(after([failed.clone(), canceled].concat(), 3).cost_nano_usd, 4_915);
    let free = JobEvent::Claim { token: token(3), worker: "w".into(), ttl_ms: TTL, slot_price: 0 };
    assert_eq!(after([failed, vec![(7_000, free), (8_000, end(3, None))]].concat(), 3).cost_nano_usd, 4_910);
    // The highest price for a longer time than there is does not overflow.
    let dear =
        JobEvent::Claim { token: token(3), worker: "w".into(), ttl_ms: TTL, slot_price: MAX_SLOT_PRICE };
    let long = vec![(0, JobEvent::Release(None)), (0, dear), (i64::MAX, end(3, None))];
    assert_eq!(after(long, 3).cost_nano_usd, u64::MAX / 3_600);
}

#[test]
fn canceled_job_ends_at_its_limit_despite_reports() {
    let long = 60_000;
    let claim = JobEvent::Claim { token: token(1), worker: "w".into(), ttl_ms: long, slot_price: 0 };
    let beat = JobEvent::Heartbeat { token: token(1), ttl_ms: long, phase: None, steps: Vec::new() };
    let grace = i64::try_from(CANCEL_GRACE_MS).unwrap();
    let limit = i64::try_from(CANCELED_LEASE_LIMIT_MS).unwrap();
    let expires_at = |history: &[(i64, JobEvent)]| after(history.to_vec(), 0).lease.unwrap().expires_at;
    let mut history = vec![(0, JobEvent::Release(None)), (1, claim), (2, JobEvent::Cancel)];
    assert_eq!(expires_at(&history), Timestamp(2 + grace), "a silent worker has ten seconds");
    history.push((9_000, beat.clone()));
    assert_eq!(expires_at(&history), Timestamp(9_000 + 60_000), "a worker that reports may store artifacts");
    history.push((limit - 1_000, beat));
    assert_eq!(expires_at(&history), Timestamp(2 + limit));
    history.push((2 + limit, JobEvent::LeaseExpired));
    assert_eq!(after(history, 0).status, JobStatus::Canceled);
}

#[test]
fn infrastructure_failures_back_off() {
    let mut history = vec![(0, JobEvent::Release(None))];
    let mut pauses = Vec::new();
    for n in 1..MAX_INFRASTRUCTURE_ATTEMPTS {
        history.push((i64::from(n) * 100_000, claim(n.into())));
        history.push((i64::from(n) * 100_000 + 1, end(n.into(), Some(FailureKind::EngineFailed))));
        let state = after(history.clone(), 0);
        assert_eq!(state.status, JobStatus::Queued);
        pauses.push(state.not_before.unwrap().0 - i64::from(n) * 100_000 - 1);
    }
    assert!((1_000..=2_000).contains(&pauses[0]) && (2_000..=4_000).contains(&pauses[1]), "{pauses:?}");
    history.push((900_000, claim(9)));
    assert_eq!(after(history, 0).not_before, None, "an attempt that began waits no more");
}

#[test]
fn named_infrastructure_failures_get_more_attempts() {
    let by_name = RetryFor { kinds: vec![FailureKind::WorkerLost], ..RetryFor::default() };
    for (retry_for, tries) in
        [(&ANY, MAX_INFRASTRUCTURE_ATTEMPTS), (&by_name, MAX_INFRASTRUCTURE_ATTEMPTS + 2)]
    {
        let mut state =
            next_state(&JobState::default(), rules(2), JobEvent::Release(None), Timestamp(0)).unwrap();
        let rules = JobRules { retry: 2, retry_for, start_in_ms: 0, seed: 7 };
        let mut at = 0;
        while state.status == JobStatus::Queued {
            at += 100_000;
            state = next_state(&state, rules, claim(1), Timestamp(at)).unwrap();
            state = next_state(&state, rules, JobEvent::LeaseExpired, Timestamp(at + 50_000)).unwrap();
        }
        assert_eq!((state.status, state.attempt), (JobStatus::Failed, tries));
    }
}

#[test]
fn script_is_retried_after_listed_exit_codes() {
    let retry_for = RetryFor { exit_codes: vec![1], ..RetryFor::default() };
    let ended = |exit_code| {
        let failure = Some(FailureReason::new(FailureKind::ScriptFailed, "because"));
        let end = AttemptEnd { failure, exit_code: Some(exit_code), ..AttemptEnd::default() };
        JobEvent::End { token: token(1), end, steps: Vec::new() }
    };
    let rules = JobRules { retry: 1, retry_for: &retry_for, start_in_ms: 0, seed: 7 };
    for (exit_code, status) in [(1, JobStatus::Queued), (2, JobStatus::Failed)] {
        let state = next_state(&JobState::default(), rules, JobEvent::Release(None), Timestamp(0)).unwrap();
        let state = next_state(&state, rules, claim(1), Timestamp(1)).unwrap();
        let state = next_state(&state, rules, ended(exit_code), Timestamp(2)).unwrap();
        assert_eq!((state.status, state.not_before), (status, None));
    }
}

#[test]
fn repeated_give_backs_are_bounded() {
    let mut state =
        next_state(&JobState::default(), rules(1), JobEvent::Release(None), Timestamp(0)).unwrap();
    for n in 1..=200_u32 {
        let at = Timestamp(i64::from(n) * 100_000);
        state = next_state(&state, rules(1), claim(n.into()), at).unwrap();
        // The second attempt is lost for a reason of its own, which is never forgotten.
        let kind = if n == 2 { FailureKind::ScriptFailed } else { FailureKind::GivenBack };
        state = next_state(&state, rules(1), end(n.into(), Some(kind)), at).unwrap();
        assert_eq!(state.status, JobStatus::Queued);
        assert!(state.attempts.len() <= MAX_RECORDED_ATTEMPTS);
        assert_eq!(state.not_before.is_some(), n > 5, "released {n} times");
    }
    assert!(state.attempts.iter().any(|attempt| attempt.attempt == 2));
    assert_eq!(state.attempts.last().unwrap().attempt, 200);
}

#[test]
fn lost_job_that_is_not_interruptible_fails_unless_it_did_not_start() {
    let once = RetryFor { lost_is_final: true, ..RetryFor::default() };
    let rules = JobRules { retry: 3, retry_for: &once, start_in_ms: 0, seed: 7 };
    let ended = |steps: Vec<StepView>, kind| {
        let end = AttemptEnd {
            failure: Some(FailureReason::new(kind, "lost")),
            exit_code: None,
            ..AttemptEnd::default()
        };
        JobEvent::End { token: token(1), end, steps }
    };
    let started = || vec![StepView::running(0)];
    for (event, status) in [
        (JobEvent::LeaseExpired, JobStatus::Failed),
        (ended(started(), FailureKind::GivenBack), JobStatus::Failed),
        (ended(started(), FailureKind::EngineFailed), JobStatus::Failed),
        (ended(Vec::new(), FailureKind::GivenBack), JobStatus::Queued),
        (ended(Vec::new(), FailureKind::EngineFailed), JobStatus::Queued),
        (ended(started(), FailureKind::ScriptFailed), JobStatus::Queued),
    ] {
        let state = next_state(&JobState::default(), rules, JobEvent::Release(None), Timestamp(0)).unwrap();
        let state = next_state(&state, rules, claim(1), Timestamp(1)).unwrap();
        let state = next_state(&state, rules, event.clone(), Timestamp(60_000)).unwrap();
        assert_eq!(state.status, status, "{event:?}");
        if status == JobStatus::Failed {
            assert!(state.failure.unwrap().message.contains("`interruptible: false`"), "{event:?}");
        }
    }
}

#[test]
fn lease_that_expired_during_suspension_of_the_server_is_renewed() {
    let held = vec![(0, JobEvent::Release(None)), (1, claim(1))];
    let resumed =
        |suspended_at| JobEvent::ServerResumed { suspended_at: Timestamp(suspended_at), ttl_ms: TTL };
    let ttl = i64::try_from(TTL).unwrap();
    let renewed = after([held.clone(), vec![(90_000, resumed(ttl))]].concat(), 0);
    assert_eq!(renewed.lease.unwrap().expires_at, Timestamp(90_000 + ttl));
    let state = after(held, 0);
    let late = next_state(&state, rules(0), resumed(1 + ttl), Timestamp(90_000));
    assert_eq!(late, Err(TransitionError::LeaseLost), "it had expired before");
    let idle = next_state(&JobState::default(), rules(0), resumed(0), Timestamp(90_000));
    assert_eq!(idle, Err(TransitionError::Status(JobStatus::Pending)));
}
