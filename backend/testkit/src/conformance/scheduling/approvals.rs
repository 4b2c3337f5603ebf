//! Checks of approvals of manual jobs and of held executions.

use super::fixture::{self, claim, job, request, run, services, start_execution, statuses, view};
use crate::conformance::StoresUnderTest;
use crate::conformance::samples;
use futures_util::future::join_all;
use tidemill_core::api::Approval;
use tidemill_core::api::RetryRequest;
use tidemill_core::execution::failure::FailureKind;
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::execution::status::JobStatus::{Canceled, Failed, Pending, Queued, Skipped, Success};
use tidemill_core::ids::JobId;
use tidemill_services::{Error, InternalStart, Services};

/// Returns what the approval of a job that has ended is answered.
async fn too_late(server: &Services, job: JobId) -> String {
    match server.approvals.approve_job(job).await {
        Err(Error::Conflict(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// A manual job runs once its needs hold and it is approved, in either order. Concurrent approvals count once.
pub async fn manual_job_waits_for_approval_and_needs(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let server = &servers[0];
    let jobs = "a: { stage: one }\n b: { stage: two, when: manual }\n c: { stage: three }\n";
    let request = request(&samples::repo(), "", jobs);
    for approve_first in [true, false] {
        let id = start_execution(server, &request).await;
        let manual = job(server, id, "b").await;
        assert_eq!((manual.status, manual.approval), (Pending, Some(Approval::Awaited)));
        if !approve_first {
            run(server, id, "a", 0).await;
            assert!(claim(server, manual.id).await.is_none(), "it is not approved");
            assert_eq!(statuses(server, id).await, [Success, Pending, Pending]);
        }
        let replies = join_all((0..8).map(|n| servers[n % 2].approvals.approve_job(manual.id))).await;
        assert_eq!(replies.into_iter().filter(|reply| reply.as_ref().unwrap().approved).count(), 1);
        assert_eq!(job(server, id, "b").await.approval, Some(Approval::Given));
        if approve_first {
            assert!(claim(server, manual.id).await.is_none(), "its need has not ended");
            run(server, id, "a", 0).await;
        }
        run(server, id, "b", 0).await;
        run(server, id, "c", 0).await;
        assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Success);
        let late = too_late(server, manual.id).await;
        assert!(late.contains("it has run and succeeded. To run it, retry it: tidemill retry"), "{late}");
    }
    let id = start_execution(server, &request).await;
    let automatic = job(server, id, "a").await.id;
    assert!(matches!(server.approvals.approve_job(automatic).await, Err(Error::Conflict(_))));
    assert!(matches!(server.approvals.approve_execution(id).await, Err(Error::Conflict(_))));
    run(server, id, "a", 1).await;
    assert_eq!(
        statuses(server, id).await,
        [Failed, Skipped, Skipped],
        "a job that cannot run needs no approval"
    );
    let skipped = job(server, id, "b").await;
    assert_eq!((skipped.approval, skipped.failure_reason.unwrap().kind), (None, FailureKind::NeedsFailed));
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Failed);
    let late = too_late(server, skipped.id).await;
    assert!(late.contains("it was skipped: `a` did not succeed. To run it, retry it:"), "{late}");
    // A retry carries over successful jobs; a manual job needs a new approval.
    let retried = server.pipelines.retry(id, RetryRequest::default(), None).await.unwrap().execution_id;
    assert_eq!(job(server, retried, "b").await.approval, Some(Approval::Awaited));
}

/// A manual job that is allowed to fail blocks no other job. It can be approved until all other jobs have ended, and then by a
/// retry.
pub async fn optional_manual_job_blocks_no_other_job(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let server = &servers[0];
    let jobs = "a: { stage: one }\n b: { stage: two, when: manual, allow_failure: true }\n c: { stage: three }\n \
                d: { stage: three, needs: [b] }\n e: { stage: three, when: manual, allow_failure: true, needs: [b] }\n";
    let request = request(&samples::repo(), "", jobs);
    let id = start_execution(server, &request).await;
    run(server, id, "a", 0).await;
    assert_eq!(
        statuses(server, id).await,
        [Success, Pending, Queued, Pending, Pending],
        "stage three starts"
    );
    run(server, id, "c", 0).await;
    assert_eq!(statuses(server, id).await, [Success, Skipped, Success, Skipped, Skipped]);
    let end = view(server, id).await;
    assert_eq!(end.execution.status, ExecutionStatus::Success);
    assert!(end.jobs.iter().all(|job| job.tolerated == (job.status == Skipped)), "{:?}", end.jobs);
    let unapproved = job(server, id, "b").await;
    assert_eq!(
        (unapproved.approval, unapproved.failure_reason.unwrap().kind),
        (None, FailureKind::NotApproved)
    );
    assert_eq!(job(server, id, "d").await.failure_reason.unwrap().kind, FailureKind::NeedsFailed);
    let late = too_late(server, unapproved.id).await;
    assert!(late.contains("nobody approved it before all other jobs had ended, so it was skipped"), "{late}");
    assert!(late.ends_with(&format!("tidemill retry {id} 'b' --alone")), "{late}");
    let rejected = server.pipelines.retry(id, RetryRequest::default(), None).await;
    assert!(matches!(rejected, Err(Error::Invalid(_))), "{rejected:?}");
    let approving = |name: &str| RetryRequest { approve: vec![name.into()], ..RetryRequest::default() };
    assert!(matches!(server.pipelines.retry(id, approving("c"), None).await, Err(Error::Invalid(_))));
    let retried = server.pipelines.retry(id, approving("b"), None).await.unwrap().execution_id;
    assert_eq!(statuses(server, retried).await, [Success, Queued, Success, Pending, Pending]);
    run(server, retried, "b", 0).await;
    assert_eq!(statuses(server, retried).await, [Success, Success, Success, Queued, Pending]);
    run(server, retried, "d", 0).await;
    assert_eq!(statuses(server, retried).await, [Success, Success, Success, Success, Skipped]);
    assert_eq!(view(server, retried).await.execution.status, ExecutionStatus::Success);

    // If it is approved in time, it runs, and the execution's end waits for it and its dependents.
    let id = start_execution(server, &request).await;
    let manual = job(server, id, "b").await.id;
    let replies = join_all((0..8).map(|n| servers[n % 2].approvals.approve_job(manual))).await;
    assert_eq!(replies.into_iter().filter(|reply| reply.as_ref().unwrap().approved).count(), 1);
    run(server, id, "a", 0).await;
    run(server, id, "c", 0).await;
    assert_eq!(statuses(server, id).await, [Success, Queued, Success, Pending, Pending]);
    assert_eq!(job(server, id, "b").await.approval, Some(Approval::Given));
    run(server, id, "b", 1).await;
    // Its failure is tolerated; `e` was not approved.
    assert_eq!(statuses(server, id).await, [Success, Failed, Success, Queued, Skipped]);
    let late = too_late(server, manual).await;
    assert!(
        late.contains("it has failed: ") && late.contains("when the execution has ended, retry"),
        "{late}"
    );
    run(server, id, "d", 0).await;
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Success);

    // A failure ends the execution, although the job was not approved.
    let id = start_execution(server, &request).await;
    run(server, id, "a", 1).await;
    assert_eq!(statuses(server, id).await, [Failed, Skipped, Skipped, Skipped, Skipped]);
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Failed);

    // Without other jobs, the execution ends when it is created.
    let only = "b: { stage: one, when: manual, allow_failure: true }\n d: { stage: two, needs: [b] }\n e: { stage: three, needs: [d] }\n";
    let id = start_execution(server, &fixture::request(&samples::repo(), "", only)).await;
    assert_eq!(statuses(server, id).await, [Skipped; 3]);
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Success);
    let retried = server.pipelines.retry(id, approving("b"), None).await.unwrap().execution_id;
    run(server, retried, "b", 0).await;
    run(server, retried, "d", 0).await;
    run(server, retried, "e", 0).await;
    assert_eq!(view(server, retried).await.execution.status, ExecutionStatus::Success);
}

/// An execution is canceled after 30 days without a required approval.
pub async fn execution_without_approval_is_canceled(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let request = request(
        &samples::repo(),
        "",
        "a: { stage: one }\n b: { stage: two, when: manual }\n c: { stage: three }\n",
    );
    let id = start_execution(&services, &request).await;
    run(&services, id, "a", 0).await;
    subject.clock.advance(30 * 86_400_000 - 120_000);
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, id).await, [Success, Pending, Pending]);
    subject.clock.advance(240_000);
    services.sweep.run().await.unwrap();
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, id).await, [Success, Canceled, Canceled]);
    let execution = view(&services, id).await.execution;
    assert_eq!((execution.status, execution.timed_out), (ExecutionStatus::Canceled, false));
}

/// An `always` job does not run before its execution starts, although other jobs were canceled.
pub async fn held_execution_runs_nothing(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one }\n cleanup: { stage: two, when: always }\n c: { stage: three }\n";
    let repo = samples::repo();
    let ordered = request(&repo, "concurrency: { group: deploy }", jobs);
    let (first, second) =
        (start_execution(&services, &ordered).await, start_execution(&services, &ordered).await);
    let start = InternalStart { hold: true, ..InternalStart::default() };
    let held = services.pipelines.start(request(&repo, "", jobs), start, None, None).await.unwrap();
    let held = held.execution_id;
    services.jobs.cancel(job(&services, second, "a").await.id).await.unwrap();
    assert_eq!(statuses(&services, second).await, [Canceled, Pending, Pending]);
    // Its jobs are recorded only when it is approved.
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

/// A held execution is shown with its jobs, can be canceled, and is retried from its request.
pub async fn held_execution_records_jobs_on_approval(subject: &StoresUnderTest) {
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
        (start_execution(&services, &request(&repo, group, jobs)).await, hold(group).await, hold("").await);
    for id in [held, canceled] {
        let shown = view(&services, id).await;
        assert_eq!(shown.approval, Some(Approval::Awaited));
        let names: Vec<_> =
            shown.jobs.iter().map(|job| (job.job_name.as_str(), job.status, job.approval)).collect();
        assert_eq!(names, [("a", Pending, None), ("b", Pending, None), ("c", Pending, None)]);
        assert!(records.job(shown.jobs[0].id).await.unwrap().is_none());
        assert!(services.approvals.approve_job(shown.jobs[1].id).await.is_err());
    }
    // It becomes first in its group before it is approved, and starts when it is approved.
    services.pipelines.cancel(before).await.unwrap();
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, held).await, [Pending; 3]);
    for approved in [true, false] {
        assert_eq!(services.approvals.approve_execution(held).await.unwrap().approved, approved);
        assert_eq!(statuses(&services, held).await, [Queued, Pending, Pending]);
    }
    let shown = view(&services, held).await;
    assert_eq!((shown.approval, shown.jobs[1].approval), (Some(Approval::Given), Some(Approval::Awaited)));
    run(&services, held, "a", 0).await;
    services.approvals.approve_job(shown.jobs[1].id).await.unwrap();
    run(&services, held, "b", 0).await;
    run(&services, held, "c", 0).await;
    assert_eq!(view(&services, held).await.execution.status, ExecutionStatus::Success);

    assert!(services.pipelines.cancel(canceled).await.unwrap().canceled);
    assert_eq!(view(&services, canceled).await.execution.status, ExecutionStatus::Canceled);
    assert!(services.approvals.approve_execution(canceled).await.is_err());
    let retried = services.pipelines.retry(canceled, RetryRequest::default(), None).await.unwrap();
    assert_eq!(statuses(&services, retried.execution_id).await, [Queued, Pending, Pending]);

    let expired = hold("").await;
    subject.clock.advance(31 * 86_400_000);
    services.sweep.run().await.unwrap();
    assert_eq!(view(&services, expired).await.execution.status, ExecutionStatus::Canceled);
}

/// An execution that was approved in time may last longer than 30 days.
pub async fn approved_execution_has_no_approval_deadline(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one, when: manual }\n b: { stage: two, when: manual }\n c: { stage: three }\n";
    let request = request(&samples::repo(), "", jobs);
    let (fully_approved, partly_approved) =
        (start_execution(&services, &request).await, start_execution(&services, &request).await);
    for (id, name) in [(fully_approved, "a"), (fully_approved, "b"), (partly_approved, "a")] {
        services.approvals.approve_job(job(&services, id, name).await.id).await.unwrap();
    }
    for _ in 0..3 {
        subject.clock.advance(15 * 86_400_000 + 60_000);
        services.sweep.run().await.unwrap();
        services.sweep.run().await.unwrap();
    }
    assert_eq!(view(&services, partly_approved).await.execution.status, ExecutionStatus::Canceled);
    assert_eq!(statuses(&services, fully_approved).await, [Queued, Pending, Pending]);
    for name in ["a", "b", "c"] {
        run(&services, fully_approved, name, 0).await;
    }
    assert_eq!(view(&services, fully_approved).await.execution.status, ExecutionStatus::Success);
}
