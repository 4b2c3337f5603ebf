//! The record of an environment: every order of its writes, its state, and how it is stopped.

use JobStatus::{Canceled, Failed, Running, Success};
use tidemill_core::{
    api::{Deployment, EnvironmentState},
    execution::{facts::Trigger, status::JobStatus},
    ids::{ExecutionId, JobId},
    pipeline::EnvironmentAction,
    records::{
        AutoStopExtension, EnvironmentRecord, MAX_DEPLOYMENTS, StopRequest, StopStep, UNSETTLED_RECHECK_MS,
    },
    time::Timestamp,
};
use uuid::Uuid;

/// What is known of the job of this number, which started at `start`.
fn known(
    number: u128,
    action: EnvironmentAction,
    (start, attempt): (i64, u32),
    status: JobStatus,
) -> Deployment {
    Deployment {
        job_id: JobId(Uuid::from_u128(number)),
        job_name: "deploy".into(),
        execution_id: ExecutionId(Uuid::from_u128(number)),
        pipeline_name: "ci".into(),
        run_number: 1,
        action,
        status,
        attempt,
        branch: None,
        tag: None,
        commit: None,
        uncommitted: false,
        trigger: Trigger::Manual,
        requested_by: None,
        start_time: Timestamp(start),
        end_time: status.is_terminal().then_some(Timestamp(start + 10)),
        url: None,
        on_stop: Some("stop".into()),
        auto_stop_in_s: Some(1),
    }
}

fn start(number: u128, at: i64, status: JobStatus) -> Deployment {
    known(number, EnvironmentAction::Start, (at, 1), status)
}

fn stop(number: u128, at: i64, status: JobStatus) -> Deployment {
    known(number, EnvironmentAction::Stop, (at, 1), status)
}

/// Applies writes in order; those that change nothing are skipped.
fn after(writes: &[Deployment]) -> EnvironmentRecord {
    writes.iter().fold(EnvironmentRecord::new("r", "production"), |record, write| {
        record.with_deployment(write.clone(), None).unwrap_or(record)
    })
}

/// A deployment from its start on.
fn ended(number: u128, at: i64, action: EnvironmentAction, status: JobStatus) -> [Deployment; 2] {
    [known(number, action, (at, 1), Running), known(number, action, (at, 1), status)]
}

fn shown(record: &EnvironmentRecord) -> Vec<(u128, u32, JobStatus)> {
    record.deployments.iter().map(|one| (one.job_id.0.as_u128(), one.attempt, one.status)).collect()
}

fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let [first, rest @ ..] = items else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for tail in permutations(rest) {
        for at in 0..=tail.len() {
            let mut order = tail.clone();
            order.insert(at, first.clone());
            all.push(order);
        }
    }
    all
}

#[test]
fn late_and_repeated_writes_give_the_same_record_in_every_order() {
    let action = EnvironmentAction::Start;
    let [older, newer] = [1, 2].map(|number| {
        let at = i64::try_from(number).unwrap_or_default() * 100;
        [
            known(number, action, (at, 1), Running),
            known(number, action, (at, 2), Running),
            known(number, action, (at, 2), if number == 1 { Success } else { Failed }),
        ]
    });
    let expected = after(&[older.clone(), newer.clone()].concat());
    assert_eq!(shown(&expected), [(2, 2, Failed), (1, 2, Success)]);
    assert_eq!(expected.current().map(|one| one.job_id.0.as_u128()), Some(1));
    // The ends in any order, and every write again at any place.
    let writes = [&older[..], &newer[..]].concat();
    for order in permutations(&writes) {
        let begun = [older[0].clone(), newer[0].clone()];
        let all = [&begun[..], &order[..], &order[..]].concat();
        assert_eq!(after(&all), expected, "{order:?}");
    }
    for write in writes {
        assert_eq!(expected.with_deployment(write, None), None, "a repeated write changes nothing");
    }
}

#[test]
fn end_is_final_and_needs_a_start() {
    let record = after(&[]);
    assert_eq!(record.with_deployment(start(1, 100, Success), None), None, "it did not start");
    for status in [Success, Failed, Canceled] {
        let record = after(&ended(1, 100, EnvironmentAction::Start, status));
        for other in [Running, Success, Failed, Canceled] {
            for attempt in 1..4 {
                let write = known(1, EnvironmentAction::Start, (100, attempt), other);
                assert_eq!(record.with_deployment(write, None), None);
            }
        }
    }
    let again = after(&[
        known(1, EnvironmentAction::Start, (100, 1), Running),
        known(1, EnvironmentAction::Start, (200, 2), Running),
    ]);
    assert_eq!(again.deployments[0].start_time, Timestamp(100), "the first attempt counts");
}

#[test]
fn end_of_an_older_deployment_does_not_replace_a_newer_one() {
    let [first, first_end] = ended(1, 100, EnvironmentAction::Start, Success);
    let [second, second_end] = ended(2, 200, EnvironmentAction::Start, Success);
    let record = after(&[second, first, second_end, first_end]);
    assert_eq!(shown(&record), [(2, 1, Success), (1, 1, Success)]);
    assert_eq!(record.current().map(|one| one.job_id.0.as_u128()), Some(2));
}

#[test]
fn history_is_bounded_and_keeps_what_is_deployed() {
    let mut writes = ended(1, 1, EnvironmentAction::Start, Success).to_vec();
    for number in 2..60 {
        let at = i64::try_from(number).unwrap_or_default();
        writes.extend(ended(number, at, EnvironmentAction::Start, Failed));
    }
    let record = after(&writes);
    assert_eq!(record.deployments.len(), MAX_DEPLOYMENTS);
    assert_eq!(record.current().map(|one| one.job_id.0.as_u128()), Some(1));
    assert_eq!(shown(&record)[0].0, 59);
    assert_eq!(record.with_deployment(start(60, 3, Running), None), None, "older than the history");
}

#[test]
fn state_and_next_step_follow_from_the_newest_jobs() {
    use EnvironmentAction::{Start, Stop};
    let deployed = |status| ended(1, 100, Start, status).to_vec();
    let then = |first: Vec<Deployment>, next: &[Deployment]| after(&[&first[..], next].concat());
    let state = |record: &EnvironmentRecord| {
        let step = match record.stop_step() {
            StopStep::AlreadyStopped => "none",
            StopStep::Stopping(_) => "stopping",
            StopStep::Deploying(_) => "deploying",
            StopStep::Mark => "mark",
            StopStep::RunJob(..) => "run",
        };
        (record.state() == EnvironmentState::Available, step, record.auto_stop_at().map(|at| at.0))
    };
    assert_eq!(state(&after(&[start(1, 100, Running)])), (true, "deploying", None));
    assert_eq!(state(&after(&deployed(Success))), (true, "run", Some(1_110)));
    assert_eq!(state(&after(&deployed(Failed))), (true, "run", None), "nothing was deployed yet");
    // While another deployment runs, nothing stops the environment; if it fails, the time of the first one counts.
    assert_eq!(state(&then(deployed(Success), &[start(2, 200, Running)])), (true, "deploying", None));
    assert_eq!(state(&then(deployed(Success), &ended(2, 200, Start, Failed))), (true, "run", Some(1_110)));
    assert_eq!(state(&then(deployed(Success), &ended(2, 200, Start, Success))), (true, "run", Some(1_210)));
    assert_eq!(state(&then(deployed(Success), &[stop(2, 200, Running)])), (true, "stopping", None));
    assert_eq!(state(&then(deployed(Success), &ended(2, 200, Stop, Failed))), (true, "run", None));
    let stopped = [deployed(Success), ended(2, 200, Stop, Success).to_vec()].concat();
    assert_eq!(state(&after(&stopped)), (false, "none", None));
    assert_eq!(state(&then(stopped.clone(), &[start(3, 300, Running)])), (true, "deploying", None));
    // A stop of an older deployment that ends late stops nothing newer.
    let late = [deployed(Success), vec![stop(2, 200, Running), start(3, 300, Running)]].concat();
    assert_eq!(state(&then(late, &[stop(2, 200, Success)])), (true, "deploying", None));
    let without_job = Deployment { on_stop: None, ..start(1, 100, Success) };
    let record = after(&[start(1, 100, Running), without_job]);
    assert_eq!(state(&record), (true, "mark", Some(1_110)));
    let marked = EnvironmentRecord { marked_stopped_at: Some(Timestamp(150)), ..record };
    assert_eq!((state(&marked), marked.stopped_at()), ((false, "none", None), Some(Timestamp(150))));
    let again = marked.with_deployment(start(2, 200, Running), None).map(|again| state(&again));
    assert_eq!(again, Some((true, "deploying", None)));
}

#[test]
fn environment_is_stopped_by_itself_once_for_each_deployment() {
    let record = after(&ended(1, 100, EnvironmentAction::Start, Success));
    assert_eq!(record.due_at(Timestamp(0)), Some(Timestamp(1_110)));
    let job = record.deployments[0].job_id;
    let number = record.next_stop_number();
    let stop = StopRequest { deployment: job, execution: record.deployments[0].execution_id, number };
    let requested = EnvironmentRecord { stop: Some(stop), ..record.clone() };
    assert_eq!((requested.due_at(Timestamp(0)), requested.next_stop_number()), (None, 2));
    let failed = EnvironmentRecord { stop_failure: Some((job, "no job".into())), ..record.clone() };
    assert_eq!(failed.due_at(Timestamp(0)), None);
    assert_eq!(failed.view(false).stop_failure.as_deref(), Some("no job"));
    for older in [requested, failed] {
        let [begun, end] = ended(2, 200, EnvironmentAction::Start, Success);
        let newer = older.with_deployment(begun, None).and_then(|record| record.with_deployment(end, None));
        let newer = newer.unwrap_or_else(|| panic!("{older:?}"));
        assert_eq!(newer.due_at(Timestamp(0)), Some(Timestamp(1_210)), "a new deployment resets it");
        assert_eq!(newer.view(true).stop_failure, None);
    }
    // A job that uses the environment moves the time, once for each attempt, and a later job wins.
    let by = |number, attempt, at| AutoStopExtension {
        job_id: JobId(Uuid::from_u128(number)),
        attempt,
        at: Timestamp(at),
        until: Timestamp(at + 5_000),
    };
    let Some(moved) = record.with_extension(by(7, 1, 500)) else { panic!("it moves the time") };
    assert_eq!(moved.auto_stop_at(), Some(Timestamp(5_500)));
    assert_eq!(moved.with_extension(by(7, 1, 600)), None, "the same attempt again");
    assert_eq!(moved.with_extension(by(8, 1, 400)), None, "an older job");
    assert!(moved.with_extension(by(7, 2, 700)).is_some());
    let running = after(&[start(1, 100, Running)]);
    assert_eq!(running.due_at(Timestamp(0)), Some(Timestamp(UNSETTLED_RECHECK_MS)));
}

#[test]
fn roll_back_runs_the_newest_successful_deployment_before_the_newest_one() {
    use EnvironmentAction::{Start, Stop};
    let target = |writes: Vec<[Deployment; 2]>| {
        let view = after(&writes.concat()).view(true);
        view.rollback_target().map(|one| one.job_id.0.as_u128())
    };
    assert_eq!(target(vec![]), None);
    assert_eq!(target(vec![ended(1, 1, Start, Success)]), None);
    assert_eq!(target(vec![ended(1, 1, Start, Success), ended(2, 2, Start, Success)]), Some(1));
    assert_eq!(target(vec![ended(1, 1, Start, Success), ended(2, 2, Start, Failed)]), Some(1));
    assert_eq!(
        target(vec![
            ended(1, 1, Start, Success),
            ended(2, 2, Start, Failed),
            ended(3, 3, Start, Success),
            ended(4, 4, Stop, Success),
        ]),
        Some(1)
    );
}
