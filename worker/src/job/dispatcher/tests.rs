//! Tests of the decisions, with events at given times.

use super::{Dispatcher, Event, Response, StopCause};
use std::time::Duration;
use tidemill_core::execution::failure::{FailureKind, FailureReason};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn kind(responses: &[Response]) -> Option<FailureKind> {
    responses.iter().find_map(|response| match response {
        Response::Finish(end) => end.failure.as_ref().map(|reason| reason.kind),
        _ => None,
    })
}

/// The container exited after a script that was stopped.
const fn ended(exit_code: i32) -> Event {
    Event::ScriptEnded { exit_code, out_of_memory: false, completed: false }
}

const fn completed(exit_code: i32) -> Event {
    Event::ScriptEnded { exit_code, out_of_memory: false, completed: true }
}

const FAILED: Response = Response::Stop(StopCause::Failed);
const CANCELED: Response = Response::Stop(StopCause::Canceled);
const FINAL: Response = Response::Stop(StopCause::Final);
const HELD_BEFORE: Event = Event::Held { has_ended: false };
const HELD_AFTER: Event = Event::Held { has_ended: true };
/// What a script that has ended ignores.
const KILL_REST: [Response; 2] = [Response::KillScript, Response::KillAfterScript];

#[test]
fn script_that_ignores_term_is_killed_after_its_grace() {
    let mut job = Dispatcher::new(s(60), false);
    assert_eq!(job.handle(s(59), Event::Tick), []);
    assert_eq!(job.handle(s(60), Event::Tick), [FAILED]);
    assert_eq!(job.handle(s(69), Event::Tick), []);
    assert_eq!(job.handle(s(70), Event::Tick), [Response::Kill]);
    assert_eq!(kind(&job.handle(s(71), ended(137))), Some(FailureKind::TimedOut));
    assert_eq!(job.handle(s(72), Event::Canceled), [], "the end is final");
}

#[test]
fn cancel_ends_within_ten_seconds_when_the_engine_is_silent() {
    let mut job = Dispatcher::new(s(600), false);
    assert_eq!(job.handle(s(1), Event::Canceled), [CANCELED]);
    assert_eq!(job.handle(s(2), Event::Canceled), [], "terminated once");
    assert_eq!(job.handle(s(5), Event::Tick), [Response::Kill]);
    assert_eq!(kind(&job.handle(s(8), Event::Tick)), Some(FailureKind::Canceled));
}

#[test]
fn exceeded_limit_stops_job_with_own_kind() {
    let mut job = Dispatcher::new(s(600), false);
    let reason = FailureReason::new(FailureKind::WorkspaceLimit, "too much");
    assert_eq!(job.handle(s(1), Event::LimitExceeded(reason.clone())), [FINAL]);
    assert_eq!(job.handle(s(2), Event::Tick), [Response::Kill]);
    assert_eq!(kind(&job.handle(s(3), ended(0))), Some(FailureKind::WorkspaceLimit));
    let mut job = Dispatcher::new(s(600), true);
    assert_eq!(job.handle(s(1), Event::LimitExceeded(reason)), [FINAL]);
    let end = job.handle(s(1), completed(0));
    assert_eq!(kind(&end), Some(FailureKind::WorkspaceLimit), "it was exceeded before the end");
}

#[test]
fn each_end_maps_to_its_failure_kind() {
    let end = |event| kind(&Dispatcher::new(s(9), false).handle(s(1), event));
    assert_eq!(end(ended(0)), None);
    assert_eq!(end(ended(3)), Some(FailureKind::ScriptFailed));
    let oom = Event::ScriptEnded { exit_code: 137, out_of_memory: true, completed: true };
    assert_eq!(end(oom), Some(FailureKind::OutOfMemory));
    let died = |out_of_memory| Event::ContainerDied { cause: "gone".into(), out_of_memory };
    assert_eq!(end(died(false)), Some(FailureKind::EngineFailed));
    assert_eq!(end(died(true)), Some(FailureKind::OutOfMemory));
}

#[test]
fn case_real_15_timed_out_script_is_killed_and_its_after_script_has_five_minutes() {
    let mut job = Dispatcher::new(s(60), true);
    assert_eq!(job.handle(s(60), Event::Tick), [FAILED]);
    assert_eq!(job.handle(s(70), Event::Tick), [Response::KillScript]);
    assert_eq!(job.handle(s(71), Event::AfterScriptStarted), []);
    assert_eq!(job.handle(s(370), Event::Tick), []);
    assert_eq!(job.handle(s(371), Event::Tick), [Response::KillAfterScript]);
    assert_eq!(kind(&job.handle(s(372), ended(137))), Some(FailureKind::TimedOut));
}

#[test]
fn slow_after_script_does_not_change_the_result() {
    for (exit_code, failure) in [(0, None), (3, Some(FailureKind::ScriptFailed))] {
        let mut job = Dispatcher::new(s(60), true);
        job.handle(s(59), Event::AfterScriptStarted);
        // Ignored by the container, whose script has ended.
        assert_eq!(job.handle(s(60), Event::Tick), [FAILED]);
        assert_eq!(job.handle(s(70), Event::Tick), [Response::KillScript]);
        assert_eq!(job.handle(s(100), Event::Tick), []);
        assert_eq!(job.handle(s(359), Event::Tick), [Response::KillAfterScript]);
        assert_eq!(kind(&job.handle(s(360), completed(exit_code))), failure);
    }
}

#[test]
fn canceled_script_is_stopped_in_time_and_its_after_script_runs() {
    let mut job = Dispatcher::new(s(600), true);
    assert_eq!(job.handle(s(1), Event::Canceled), [CANCELED]);
    assert_eq!(job.handle(s(5), Event::Tick), [Response::KillScript]);
    assert_eq!(job.handle(s(6), Event::AfterScriptStarted), []);
    assert_eq!(job.handle(s(100), Event::Canceled), []);
    assert_eq!(job.handle(s(100), Event::Tick), []);
    assert_eq!(kind(&job.handle(s(101), ended(137))), Some(FailureKind::Canceled));
}

#[test]
fn forged_start_of_after_script_extends_no_time() {
    let mut job = Dispatcher::new(s(60), true);
    job.handle(s(1), Event::AfterScriptStarted);
    assert_eq!(job.handle(s(60), Event::Tick), [FAILED]);
    assert_eq!(job.handle(s(70), Event::Tick), [Response::KillScript]);
    assert_eq!(kind(&job.handle(s(71), ended(137))), Some(FailureKind::TimedOut));
    let mut deaf = Dispatcher::new(s(60), true);
    deaf.handle(s(1), Event::AfterScriptStarted);
    deaf.handle(s(60), Event::Tick);
    deaf.handle(s(70), Event::Tick);
    assert_eq!(deaf.handle(s(301), Event::Tick), [Response::KillAfterScript]);
    assert_eq!(deaf.handle(s(304), Event::Tick), [Response::Kill]);
    assert_eq!(kind(&deaf.handle(s(305), completed(0))), Some(FailureKind::TimedOut));
}

#[test]
fn container_that_ignores_signals_is_killed() {
    let mut job = Dispatcher::new(s(600), true);
    assert_eq!(job.handle(s(1), Event::Canceled), [CANCELED]);
    assert_eq!(job.handle(s(5), Event::Tick), [Response::KillScript]);
    assert_eq!(job.handle(s(8), Event::Tick), [Response::Kill]);
    assert_eq!(kind(&job.handle(s(11), Event::Tick)), Some(FailureKind::Canceled));
}

#[test]
fn stopping_worker_ends_after_script_and_keeps_the_result() {
    let mut job = Dispatcher::new(s(600), true);
    job.handle(s(5), Event::AfterScriptStarted);
    assert_eq!(job.handle(s(6), Event::Shutdown), [Response::KillAfterScript]);
    assert_eq!(kind(&job.handle(s(7), completed(0))), None);
    let mut job = Dispatcher::new(s(600), true);
    assert_eq!(job.handle(s(6), Event::Shutdown), [FINAL]);
    assert_eq!(job.handle(s(7), Event::Tick), [Response::Kill], "the job runs again");
    assert_eq!(kind(&job.handle(s(8), ended(137))), Some(FailureKind::GivenBack));
}

#[test]
fn held_job_has_no_time_limit_until_it_goes_on() {
    let mut job = Dispatcher::new(s(60), false);
    assert_eq!(job.handle(s(10), HELD_BEFORE), []);
    assert_eq!(job.handle(s(5_000), Event::Tick), []);
    assert_eq!(job.handle(s(5_010), Event::Released), []);
    assert_eq!(job.handle(s(5_059), Event::Tick), []);
    assert_eq!(job.handle(s(5_060), Event::Tick), [FAILED]);
    // A script that timed out is held as well.
    assert_eq!(job.handle(s(5_061), HELD_AFTER), KILL_REST);
    assert_eq!(job.handle(s(6_000), Event::Tick), []);
    job.handle(s(6_061), Event::Released);
    assert_eq!(kind(&job.handle(s(6_062), ended(143))), Some(FailureKind::TimedOut));
}

#[test]
fn cancel_of_a_held_job_kills_its_container() {
    for (event, expected) in
        [(Event::Canceled, FailureKind::Canceled), (Event::Shutdown, FailureKind::GivenBack)]
    {
        let mut job = Dispatcher::new(s(60), true);
        job.handle(s(1), HELD_BEFORE);
        assert_eq!(job.handle(s(2), event.clone()), [Response::Kill]);
        assert_eq!(job.handle(s(3), event), [], "killed once");
        assert_eq!(kind(&job.handle(s(5), Event::Tick)), Some(expected));
    }
}

#[test]
fn lost_lease_stops_the_container_and_reports_nothing() {
    let mut job = Dispatcher::new(s(9), false);
    assert_eq!(job.handle(s(1), Event::LeaseLost), [Response::Kill, Response::Abandon]);
}

#[test]
fn script_that_claims_its_end_is_killed_while_it_is_held() {
    let mut job = Dispatcher::new(s(60), true);
    assert_eq!(job.handle(s(10), HELD_AFTER), KILL_REST);
    assert_eq!(job.handle(s(11), Event::AfterScriptStarted), [Response::KillAfterScript]);
}

#[test]
fn job_whose_script_has_ended_keeps_its_result_when_the_worker_stops() {
    for (exit_code, expected) in [(0, None), (3, Some(FailureKind::ScriptFailed))] {
        let mut job = Dispatcher::new(s(60), false);
        job.handle(s(1), HELD_AFTER);
        assert_eq!(job.handle(s(2), Event::Shutdown), [Response::EndHold]);
        job.handle(s(4), Event::Released);
        assert_eq!(kind(&job.handle(s(4), completed(exit_code))), expected);
    }
    // One that does not end is given back.
    let mut job = Dispatcher::new(s(60), false);
    job.handle(s(1), HELD_AFTER);
    job.handle(s(2), Event::Shutdown);
    job.handle(s(20), Event::Released);
    assert_eq!(job.handle(s(30), Event::Tick), [Response::Kill]);
    assert_eq!(kind(&job.handle(s(31), ended(137))), Some(FailureKind::GivenBack));
    // A cancel still kills.
    let mut job = Dispatcher::new(s(60), false);
    job.handle(s(1), HELD_AFTER);
    assert_eq!(job.handle(s(2), Event::Canceled), [Response::Kill]);
    // A script that its timeout stopped has ended as well.
    let mut job = Dispatcher::new(s(60), false);
    job.handle(s(60), Event::Tick);
    job.handle(s(61), HELD_AFTER);
    assert_eq!(job.handle(s(62), Event::Shutdown), [Response::EndHold]);
    assert_eq!(kind(&job.handle(s(63), ended(143))), Some(FailureKind::TimedOut));
}
