//! Checks of what decides when a job runs, over the adapters: approvals, failures, groups that run in turn, time-outs.

use super::{StoresUnderTest, claims, samples};
use futures_util::future::join_all;
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
    status::{ExecutionStatus, JobStatus},
};
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::{
    api::{Approval, AttemptEnd, ExecuteRequest, ExecutionView, JobReport, JobView, RetryRequest},
    ids::{ExecutionId, JobId},
};
use tidemill_services::Error;
use tidemill_services::Stores;
use tidemill_services::{InternalStart, Services, Settings};
use tokio_util::sync::CancellationToken;

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

/// A request for these keys of a pipeline, one job to a line.
fn request(repo: &str, top: &str, jobs: &str) -> ExecuteRequest {
    let jobs = jobs.trim().lines().map(|job| {
        let (name, rest) = job.trim().split_once(": {").unwrap();
        format!("  {name}: {{ image: i, script: x, {rest}\n")
    });
    let pipeline =
        format!("name: check\nstages: [one, two, three]\n{top}\njobs:\n{}", jobs.collect::<String>());
    ExecuteRequest {
        pipeline,
        repo: repo.into(),
        branch: Some("main".into()),
        force: true,
        ..ExecuteRequest::default()
    }
}

async fn begin(services: &Services, request: &ExecuteRequest) -> ExecutionId {
    services.pipelines.execute(request.clone(), None, None).await.unwrap().execution_id
}

async fn view(services: &Services, id: ExecutionId) -> ExecutionView {
    services.pipelines.view(id, None, 0).await.unwrap().view.unwrap()
}

async fn job(services: &Services, id: ExecutionId, name: &str) -> JobView {
    let found = view(services, id).await.jobs.into_iter().find(|job| job.job_name == name);
    found.unwrap()
}

async fn claim_with(services: &Services, job: JobId, labels: &str) -> Option<Assignment> {
    claims::claim(services, job, tidemill_core::pipeline::labels::parse(labels).unwrap()).await.ok()
}

async fn claim(services: &Services, job: JobId) -> Option<Assignment> {
    claim_with(services, job, "").await
}

/// Runs a job: to this exit code.
async fn run(services: &Services, id: ExecutionId, name: &str, exit_code: i32) {
    let assignment = claim(services, job(services, id, name).await.id).await;
    let assignment = assignment.unwrap_or_else(|| panic!("`{name}` does not run"));
    let failure = (exit_code != 0).then(|| FailureReason::new(FailureKind::ScriptFailed, "because"));
    let end = Some(AttemptEnd { failure, exit_code: Some(exit_code) });
    let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.token);
    let report = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end };
    services.jobs.report(report).await.unwrap();
}

async fn statuses(services: &Services, id: ExecutionId) -> Vec<JobStatus> {
    view(services, id).await.jobs.iter().map(|job| job.status).collect()
}

use JobStatus::{Canceled, Failed, Pending, Queued, Skipped, Success};

/// A job for failures runs after one and is spared without, which counts as well; one that always runs does.
pub async fn job_runs_according_to_when(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one }\n b: { stage: two }\n mend: { stage: two, when: on_failure }\n tidy: { stage: three, when: always }\n";
    let request = request(&samples::repo(), "", jobs);
    let well = begin(&services, &request).await;
    run(&services, well, "a", 0).await;
    assert_eq!(statuses(&services, well).await, [Success, Queued, Skipped, Pending]);
    let spared = job(&services, well, "mend").await;
    assert!(spared.tolerated && spared.failure_reason.unwrap().kind == FailureKind::NotNeeded);
    run(&services, well, "b", 0).await;
    run(&services, well, "tidy", 0).await;
    assert_eq!(view(&services, well).await.execution.status, ExecutionStatus::Success);

    let badly = begin(&services, &request).await;
    run(&services, badly, "a", 1).await;
    assert_eq!(statuses(&services, badly).await, [Failed, Skipped, Queued, Pending]);
    run(&services, badly, "mend", 0).await;
    assert_eq!(statuses(&services, badly).await, [Failed, Skipped, Success, Queued]);
    run(&services, badly, "tidy", 0).await;
    assert_eq!(view(&services, badly).await.execution.status, ExecutionStatus::Failed);

    let canceled = begin(&services, &request).await;
    services.pipelines.cancel(canceled).await.unwrap();
    assert_eq!(statuses(&services, canceled).await, [Canceled; 4]);
}

/// An exit code that is allowed fails the job and nothing else.
pub async fn allowed_exit_code_is_tolerated(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs =
        "a: { stage: one, allow_failure: { exit_codes: [75] } }\n b: { stage: two }\n c: { stage: three }\n";
    let request = request(&samples::repo(), "", jobs);
    let allowed = begin(&services, &request).await;
    run(&services, allowed, "a", 75).await;
    assert_eq!(statuses(&services, allowed).await, [Failed, Queued, Pending]);
    assert!(job(&services, allowed, "a").await.tolerated);
    run(&services, allowed, "b", 0).await;
    run(&services, allowed, "c", 0).await;
    assert_eq!(view(&services, allowed).await.execution.status, ExecutionStatus::Success);
    let other = begin(&services, &request).await;
    run(&services, other, "a", 1).await;
    assert_eq!(view(&services, other).await.execution.status, ExecutionStatus::Failed);
}

/// A manual job runs once its needs hold and somebody approved it, whichever comes first; however many say so at once.
pub async fn manual_job_waits_for_approval_and_needs(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let one = &servers[0];
    let jobs = "a: { stage: one }\n b: { stage: two, when: manual }\n c: { stage: three }\n";
    let request = request(&samples::repo(), "", jobs);
    for approve_first in [true, false] {
        let id = begin(one, &request).await;
        let manual = job(one, id, "b").await;
        assert_eq!((manual.status, manual.approval), (Pending, Some(Approval::Awaited)));
        if !approve_first {
            run(one, id, "a", 0).await;
            assert!(claim(one, manual.id).await.is_none(), "nobody said so");
            assert_eq!(statuses(one, id).await, [Success, Pending, Pending]);
        }
        let asked = join_all((0..8).map(|n| servers[n % 2].approvals.approve_job(manual.id))).await;
        assert_eq!(asked.into_iter().filter(|reply| reply.as_ref().unwrap().approved).count(), 1);
        assert_eq!(job(one, id, "b").await.approval, Some(Approval::Given));
        if approve_first {
            assert!(claim(one, manual.id).await.is_none(), "its need is not over");
            run(one, id, "a", 0).await;
        }
        run(one, id, "b", 0).await;
        run(one, id, "c", 0).await;
        assert_eq!(view(one, id).await.execution.status, ExecutionStatus::Success);
        assert!(matches!(one.approvals.approve_job(manual.id).await, Err(Error::Conflict(_))), "too late");
    }
    let id = begin(one, &request).await;
    let plain = job(one, id, "a").await.id;
    assert!(matches!(one.approvals.approve_job(plain).await, Err(Error::Conflict(_))));
    assert!(matches!(one.approvals.approve_execution(id).await, Err(Error::Conflict(_))));
    run(one, id, "a", 1).await;
    assert_eq!(statuses(one, id).await, [Failed, Skipped, Skipped], "nobody has to approve what cannot run");
    let skipped = job(one, id, "b").await;
    assert_eq!((skipped.approval, skipped.failure_reason.unwrap().kind), (None, FailureKind::NeedsFailed));
    assert_eq!(view(one, id).await.execution.status, ExecutionStatus::Failed);
    assert!(matches!(one.approvals.approve_job(skipped.id).await, Err(Error::Conflict(_))), "too late");
    // What succeeded is kept by a retry; the rest waits for a person again.
    let again = one.pipelines.retry(id, RetryRequest::default(), None).await.unwrap().execution_id;
    assert_eq!(job(one, again, "b").await.approval, Some(Approval::Awaited));
}

/// A manual job that is allowed to fail holds nobody up, and can be approved until all the others are over; after that by a retry.
pub async fn a_manual_job_that_is_optional_holds_nobody_up(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let one = &servers[0];
    let jobs = "a: { stage: one }\n b: { stage: two, when: manual, allow_failure: true }\n c: { stage: three }\n \
                d: { stage: three, needs: [b] }\n e: { stage: three, when: manual, allow_failure: true, needs: [b] }\n";
    let request = request(&samples::repo(), "", jobs);
    let id = begin(one, &request).await;
    run(one, id, "a", 0).await;
    assert_eq!(statuses(one, id).await, [Success, Pending, Queued, Pending, Pending], "stage three goes on");
    run(one, id, "c", 0).await;
    assert_eq!(statuses(one, id).await, [Success, Skipped, Success, Skipped, Skipped]);
    let end = view(one, id).await;
    assert_eq!(end.execution.status, ExecutionStatus::Success);
    assert!(end.jobs.iter().all(|job| job.tolerated == (job.status == Skipped)), "{:?}", end.jobs);
    let undone = job(one, id, "b").await;
    assert_eq!((undone.approval, undone.failure_reason.unwrap().kind), (None, FailureKind::NotApproved));
    assert_eq!(job(one, id, "d").await.failure_reason.unwrap().kind, FailureKind::NeedsFailed);
    assert!(matches!(one.approvals.approve_job(undone.id).await, Err(Error::Conflict(_))), "too late");
    let nothing = one.pipelines.retry(id, RetryRequest::default(), None).await;
    assert!(matches!(nothing, Err(Error::Invalid(_))), "{nothing:?}");
    let asks = |name: &str| RetryRequest { approve: vec![name.into()], ..RetryRequest::default() };
    assert!(matches!(one.pipelines.retry(id, asks("c"), None).await, Err(Error::Invalid(_))));
    let late = one.pipelines.retry(id, asks("b"), None).await.unwrap().execution_id;
    assert_eq!(statuses(one, late).await, [Success, Queued, Success, Pending, Pending]);
    run(one, late, "b", 0).await;
    assert_eq!(statuses(one, late).await, [Success, Success, Success, Queued, Pending]);
    run(one, late, "d", 0).await;
    assert_eq!(statuses(one, late).await, [Success, Success, Success, Success, Skipped]);
    assert_eq!(view(one, late).await.execution.status, ExecutionStatus::Success);

    // Approved in time, by one of several, it runs, and the end waits for it and for what needs it.
    let id = begin(one, &request).await;
    let manual = job(one, id, "b").await.id;
    let asked = join_all((0..8).map(|n| servers[n % 2].approvals.approve_job(manual))).await;
    assert_eq!(asked.into_iter().filter(|reply| reply.as_ref().unwrap().approved).count(), 1);
    run(one, id, "a", 0).await;
    run(one, id, "c", 0).await;
    assert_eq!(statuses(one, id).await, [Success, Queued, Success, Pending, Pending]);
    assert_eq!(job(one, id, "b").await.approval, Some(Approval::Given));
    run(one, id, "b", 1).await;
    // Its failure is allowed, as far as others go; nobody approved the other one meanwhile.
    assert_eq!(statuses(one, id).await, [Success, Failed, Success, Queued, Skipped]);
    run(one, id, "d", 0).await;
    assert_eq!(view(one, id).await.execution.status, ExecutionStatus::Success);

    // A failure ends it, whatever nobody did.
    let id = begin(one, &request).await;
    run(one, id, "a", 1).await;
    assert_eq!(statuses(one, id).await, [Failed, Skipped, Skipped, Skipped, Skipped]);
    assert_eq!(view(one, id).await.execution.status, ExecutionStatus::Failed);

    // With nothing else in it, it is over at once.
    let only = "b: { stage: one, when: manual, allow_failure: true }\n d: { stage: two, needs: [b] }\n e: { stage: three, needs: [d] }\n";
    let id = begin(one, &super::scheduling::request(&samples::repo(), "", only)).await;
    assert_eq!(statuses(one, id).await, [Skipped; 3]);
    assert_eq!(view(one, id).await.execution.status, ExecutionStatus::Success);
    let late = one.pipelines.retry(id, asks("b"), None).await.unwrap().execution_id;
    run(one, late, "b", 0).await;
    run(one, late, "d", 0).await;
    run(one, late, "e", 0).await;
    assert_eq!(view(one, late).await.execution.status, ExecutionStatus::Success);
}

/// Nobody waits for ever: 30 days without an approval cancel an execution.
pub async fn execution_without_approval_is_canceled(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let request = request(
        &samples::repo(),
        "",
        "a: { stage: one }\n b: { stage: two, when: manual }\n c: { stage: three }\n",
    );
    let id = begin(&services, &request).await;
    run(&services, id, "a", 0).await;
    subject.clock.turn(30 * 86_400_000 - 120_000);
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, id).await, [Success, Pending, Pending]);
    subject.clock.turn(240_000);
    services.sweep.run().await.unwrap();
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, id).await, [Success, Canceled, Canceled]);
    let seen = view(&services, id).await.execution;
    assert_eq!((seen.status, seen.timed_out), (ExecutionStatus::Canceled, false));
}

/// An execution that lasts longer than its pipeline allows is canceled, which is a failure.
pub async fn execution_over_timeout_fails(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one }\n b: { stage: two }\n c: { stage: three, when: always }\n";
    let request = request(&samples::repo(), "timeout: 10m", jobs);
    let late = begin(&services, &request).await;
    let in_time = begin(&services, &request).await;
    for name in ["a", "b", "c"] {
        run(&services, in_time, name, 0).await;
    }
    run(&services, late, "a", 0).await;
    subject.clock.turn(9 * 60_000);
    services.sweep.run().await.unwrap();
    assert_eq!(view(&services, late).await.execution.status, ExecutionStatus::Running);
    subject.clock.turn(2 * 60_000);
    services.sweep.run().await.unwrap();
    services.sweep.run().await.unwrap();
    let seen = view(&services, late).await.execution;
    assert_eq!((seen.status, seen.timed_out, seen.cancel_requested), (ExecutionStatus::Failed, true, true));
    let seen = view(&services, in_time).await.execution;
    assert_eq!((seen.status, seen.timed_out), (ExecutionStatus::Success, false));
}

/// Executions of a group without `cancel_superseded` run one after the other, in the order in which they were made; one that
/// is canceled while it waits lets nobody past.
pub async fn executions_of_group_run_in_order(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let request = request(
        &samples::repo(),
        "concurrency: { group: deploy }",
        "a: { stage: one }\n b: { stage: two }\n c: { stage: three }\n",
    );
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(begin(&services, &request).await);
    }
    assert_eq!(statuses(&services, ids[0]).await, [Queued, Pending, Pending]);
    for (before, id) in ids.iter().zip(&ids[1..]) {
        let seen = view(&services, *id).await;
        assert_eq!((seen.waits_for, seen.jobs[0].status), (Some(*before), Pending));
    }
    // The second never gets its turn; the third still waits for the first.
    services.pipelines.cancel(ids[1]).await.unwrap();
    assert_eq!(view(&services, ids[1]).await.execution.status, ExecutionStatus::Canceled);
    assert_eq!(statuses(&services, ids[2]).await, [Pending; 3]);
    services.pipelines.cancel(ids[3]).await.unwrap();
    let last = begin(&services, &request).await;
    assert_eq!(statuses(&services, last).await, [Pending; 3]);
    for name in ["a", "b", "c"] {
        run(&services, ids[0], name, 0).await;
    }
    assert_eq!(statuses(&services, ids[2]).await, [Queued, Pending, Pending]);
    assert_eq!(statuses(&services, last).await, [Pending; 3]);
    run(&services, ids[2], "a", 1).await;
    assert_eq!(view(&services, ids[2]).await.execution.status, ExecutionStatus::Failed);
    assert_eq!(
        statuses(&services, last).await,
        [Queued, Pending, Pending],
        "whatever became of the one before"
    );
    services.pipelines.cancel(last).await.unwrap();
    assert_eq!(statuses(&services, begin(&services, &request).await).await[0], Queued, "nothing is live");
}

/// However many are asked for at once, they form one line.
pub async fn concurrent_executions_of_group_run_in_order(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let request = request(
        &samples::repo(),
        "concurrency: { group: deploy }",
        "a: { stage: one }\n b: { stage: two }\n c: { stage: three }\n",
    );
    let made = join_all((0..6).map(|n| begin(&servers[n % 2], &request))).await;
    let mut left = made.len();
    while left > 0 {
        let mut begun = Vec::new();
        for id in &made {
            if statuses(&servers[0], *id).await[0] == Queued {
                begun.push(*id);
            }
        }
        let [only] = begun.as_slice() else { panic!("{} run at the same time", begun.len()) };
        if left % 2 == 0 {
            servers[left % 2].pipelines.cancel(*only).await.unwrap();
        } else {
            run(&servers[left % 2], *only, "a", 1).await;
        }
        left -= 1;
    }
}

/// One that supersedes others waits for nobody, and whoever comes after it waits for it.
pub async fn execution_after_superseding_one_waits(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let (repo, jobs) = (samples::repo(), "a: { stage: one }\n b: { stage: two }\n c: { stage: three }\n");
    let waits = request(&repo, "concurrency: { group: deploy }", jobs);
    let supersedes = request(&repo, "concurrency: { group: deploy, cancel_superseded: true }", jobs);
    let (first, second) = (begin(&services, &waits).await, begin(&services, &waits).await);
    let third = begin(&services, &supersedes).await;
    assert_eq!(statuses(&services, second).await, [Canceled; 3]);
    assert_eq!(statuses(&services, third).await[0], Queued, "it waits for nobody");
    let last = begin(&services, &waits).await;
    assert_eq!(statuses(&services, last).await, [Pending; 3]);
    run(&services, first, "a", 1).await;
    assert_eq!(statuses(&services, last).await, [Pending; 3], "the newest before it lives");
    run(&services, third, "a", 1).await;
    assert_eq!(statuses(&services, last).await[0], Queued);
}

/// However many of those that wait are canceled, in whatever order, the next waits for what runs.
pub async fn canceled_group_members_keep_order(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one }\n b: { stage: two }\n c: { stage: three }\n";
    for order in [[1, 2], [2, 1]] {
        let request = request(&samples::repo(), "concurrency: { group: deploy }", jobs);
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(begin(&services, &request).await);
        }
        for ix in order {
            services.pipelines.cancel(ids[ix]).await.unwrap();
            assert_eq!(view(&services, ids[ix]).await.execution.status, ExecutionStatus::Canceled);
        }
        assert_eq!(statuses(&services, ids[3]).await, [Pending; 3]);
        run(&services, ids[0], "a", 1).await;
        assert_eq!(statuses(&services, ids[3]).await[0], Queued);
    }
}

/// A job for failures that waits for nothing, or only for what a retry keeps, is spared at once; so is all that follows.
pub async fn on_failure_job_without_needs_is_skipped(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "mend: { stage: one, when: on_failure }\n a: { stage: one }\n b: { stage: two }\n\
        look: { stage: two, when: on_failure }\n c: { stage: three }\n";
    let request = request(&samples::repo(), "", jobs);
    let first = begin(&services, &request).await;
    assert_eq!(statuses(&services, first).await, [Skipped, Queued, Pending, Pending, Pending]);
    let spared = job(&services, first, "mend").await;
    assert!(spared.tolerated && spared.failure_reason.unwrap().kind == FailureKind::NotNeeded);
    run(&services, first, "a", 0).await;
    run(&services, first, "b", 1).await;
    assert_eq!(view(&services, first).await.execution.status, ExecutionStatus::Failed);
    let again = services.pipelines.retry(first, RetryRequest::default(), None).await.unwrap().execution_id;
    assert_eq!(statuses(&services, again).await, [Skipped, Success, Queued, Skipped, Pending]);
    run(&services, again, "b", 0).await;
    run(&services, again, "c", 0).await;
    assert_eq!(view(&services, again).await.execution.status, ExecutionStatus::Success);
}

/// An execution of which nothing is to run is over at once.
pub async fn execution_without_runnable_jobs_ends(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one, when: on_failure }\n b: { stage: two, when: on_failure }\n c: { stage: three, when: on_failure }\n";
    for top in ["", "concurrency: { group: deploy }"] {
        let request = request(&samples::repo(), top, jobs);
        for _ in 0..2 {
            let id = begin(&services, &request).await;
            assert_eq!(statuses(&services, id).await, [Skipped; 3]);
            assert_eq!(view(&services, id).await.execution.status, ExecutionStatus::Success);
        }
    }
}

/// A job that runs whatever becomes of others does not run before the execution may, though these were canceled.
pub async fn held_execution_runs_nothing(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one }\n tidy: { stage: two, when: always }\n c: { stage: three }\n";
    let repo = samples::repo();
    let waits = request(&repo, "concurrency: { group: deploy }", jobs);
    let (first, second) = (begin(&services, &waits).await, begin(&services, &waits).await);
    let start = InternalStart { hold: true, ..InternalStart::default() };
    let held = services.pipelines.start(request(&repo, "", jobs), start, None, None).await.unwrap();
    let held = held.execution_id;
    services.jobs.cancel(job(&services, second, "a").await.id).await.unwrap();
    assert_eq!(statuses(&services, second).await, [Canceled, Pending, Pending]);
    // None of its jobs is recorded before somebody approves it.
    assert_eq!(statuses(&services, held).await, [Pending; 3]);
    assert!(services.jobs.cancel(job(&services, held, "a").await.id).await.is_err());
    services.approvals.approve_execution(held).await.unwrap();
    assert_eq!(statuses(&services, held).await, [Queued, Pending, Pending]);
    services.jobs.cancel(job(&services, held, "a").await.id).await.unwrap();
    services.pipelines.cancel(first).await.unwrap();
    for id in [second, held] {
        assert_eq!(statuses(&services, id).await, [Canceled, Queued, Pending]);
    }
}

/// What nobody approved is seen with its jobs, may be canceled, and is retried from its request.
pub async fn held_execution_records_its_jobs_when_it_is_approved(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let records = stores.records.clone();
    let services = services(stores);
    let repo = samples::repo();
    let jobs = "a: { stage: one }\n b: { stage: two, when: manual }\n c: { stage: three, when: always }\n";
    let hold = async |top: &str| {
        let start = InternalStart { hold: true, ..InternalStart::default() };
        services.pipelines.start(request(&repo, top, jobs), start, None, None).await.unwrap().execution_id
    };
    let group = "concurrency: { group: deploy }";
    let (before, held, canceled) =
        (begin(&services, &request(&repo, group, jobs)).await, hold(group).await, hold("").await);
    for id in [held, canceled] {
        let seen = view(&services, id).await;
        assert_eq!(seen.approval, Some(Approval::Awaited));
        let names: Vec<_> =
            seen.jobs.iter().map(|job| (job.job_name.as_str(), job.status, job.approval)).collect();
        assert_eq!(names, [("a", Pending, None), ("b", Pending, None), ("c", Pending, None)]);
        assert!(records.job(seen.jobs[0].id).await.unwrap().is_none());
        assert!(services.approvals.approve_job(seen.jobs[1].id).await.is_err());
    }
    // Its turn comes while nobody has approved it, and again once somebody has.
    services.pipelines.cancel(before).await.unwrap();
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, held).await, [Pending; 3]);
    for approved in [true, false] {
        assert_eq!(services.approvals.approve_execution(held).await.unwrap().approved, approved);
        assert_eq!(statuses(&services, held).await, [Queued, Pending, Pending]);
    }
    let seen = view(&services, held).await;
    assert_eq!((seen.approval, seen.jobs[1].approval), (Some(Approval::Given), Some(Approval::Awaited)));
    run(&services, held, "a", 0).await;
    services.approvals.approve_job(seen.jobs[1].id).await.unwrap();
    run(&services, held, "b", 0).await;
    run(&services, held, "c", 0).await;
    assert_eq!(view(&services, held).await.execution.status, ExecutionStatus::Success);

    assert!(services.pipelines.cancel(canceled).await.unwrap().canceled);
    assert_eq!(view(&services, canceled).await.execution.status, ExecutionStatus::Canceled);
    assert!(services.approvals.approve_execution(canceled).await.is_err());
    let again = services.pipelines.retry(canceled, RetryRequest::default(), None).await.unwrap();
    assert_eq!(statuses(&services, again.execution_id).await, [Queued, Pending, Pending]);

    let late = hold("").await;
    subject.clock.turn(31 * 86_400_000);
    services.sweep.run().await.unwrap();
    assert_eq!(view(&services, late).await.execution.status, ExecutionStatus::Canceled);
}

/// What was approved in time may last longer than an approval is waited for.
pub async fn approved_execution_has_no_approval_deadline(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one, when: manual }\n b: { stage: two, when: manual }\n c: { stage: three }\n";
    let request = request(&samples::repo(), "", jobs);
    let (all, some) = (begin(&services, &request).await, begin(&services, &request).await);
    for (id, name) in [(all, "a"), (all, "b"), (some, "a")] {
        services.approvals.approve_job(job(&services, id, name).await.id).await.unwrap();
    }
    for _ in 0..3 {
        subject.clock.turn(15 * 86_400_000 + 60_000);
        services.sweep.run().await.unwrap();
        services.sweep.run().await.unwrap();
    }
    assert_eq!(view(&services, some).await.execution.status, ExecutionStatus::Canceled);
    assert_eq!(statuses(&services, all).await, [Queued, Pending, Pending]);
    for name in ["a", "b", "c"] {
        run(&services, all, name, 0).await;
    }
    assert_eq!(view(&services, all).await.execution.status, ExecutionStatus::Success);
}

/// Who names a job gets it only with the labels that the job demands.
pub async fn job_is_assigned_only_to_worker_with_labels(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    if !stores.queue.serves(&tidemill_core::pipeline::labels::parse("gpu=true").unwrap()) {
        // Where there is no queue for them, the request is refused, so that nothing waits for ever.
        let services = services(stores);
        let request = request(
            &samples::repo(),
            "",
            "a: { stage: one, runs_on: { gpu: true } }\n b: { stage: two }\n c: { stage: three }\n",
        );
        let refused = services.pipelines.execute(request, None, None).await.unwrap_err();
        assert!(refused.to_string().contains("gpu=true"), "{refused}");
        return;
    }
    let services = services(stores);
    let request = request(
        &samples::repo(),
        "",
        "a: { stage: one, runs_on: { gpu: true } }\n b: { stage: two }\n c: { stage: three }\n",
    );
    let id = begin(&services, &request).await;
    let wanted = job(&services, id, "a").await;
    assert_eq!(wanted.runs_on, Labels::from([("gpu".to_owned(), "true".to_owned())]));
    assert!(claim_with(&services, wanted.id, "gpu=false").await.is_none());
    assert!(claim_with(&services, wanted.id, "gpu=true,os=linux").await.is_some());
}
