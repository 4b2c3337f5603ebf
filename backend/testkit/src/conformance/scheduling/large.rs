//! Checks of executions with so many jobs that they are recorded and canceled after the reply to a request.

use super::fixture::{claim, end, job, request, run, start_execution, statuses, view};
use crate::conformance::{StoresUnderTest, samples};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::execution::status::JobStatus::{Canceled, Pending, Queued, Running, Success};
use tidemill_core::{
    api::{Approval, JobReport, RetryRequest},
    ids::ExecutionId,
};
use tidemill_services::{InternalStart, Services, Settings, Stores};
use tokio_util::sync::CancellationToken;

/// Two jobs that start at once, and one after them.
const JOBS: &str = "a: { stage: one }\n b: { stage: two, needs: [] }\n c: { stage: three }\n";

/// Creates services for which three jobs are many, and which do nothing after a reply.
fn services(stores: Stores) -> Services {
    let settings = Settings { max_jobs_per_request: 2, continues_after_reply: false, ..Settings::default() };
    Services::new(stores, settings, CancellationToken::new())
}

async fn recorded_nodes(subject: &StoresUnderTest, id: ExecutionId) -> usize {
    subject.open().await.records.all_nodes(id).await.unwrap().len()
}

/// A request about a large execution records only what is asked; the next step of the execution does the rest, once.
pub async fn large_execution_is_recorded_and_canceled_after_the_reply(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let id = start_execution(&services, &request(&samples::repo(), "", JOBS)).await;
    assert_eq!(recorded_nodes(subject, id).await, 1, "only the end node");
    assert_eq!(statuses(&services, id).await, [Pending; 3]);
    let (first, second) = (job(&services, id, "a").await.id, job(&services, id, "b").await.id);
    assert!(claim(&services, first).await.is_none(), "it is not recorded");
    for _ in 0..2 {
        services.pipelines.resume(id).await.unwrap();
        assert_eq!(statuses(&services, id).await, [Queued, Queued, Pending]);
    }
    let running = claim(&services, first).await.unwrap();

    let reply = services.pipelines.cancel(id).await.unwrap();
    assert_eq!((reply.canceled, reply.status.as_str()), (true, "RUNNING"));
    assert_eq!(
        statuses(&services, id).await,
        [Running, Queued, Pending],
        "nothing but the intent is recorded"
    );
    assert!(claim(&services, second).await.is_none(), "no attempt starts after the reply");
    assert!(!services.pipelines.cancel(id).await.unwrap().canceled, "it was canceled before");
    services.pipelines.resume(id).await.unwrap();
    assert_eq!(statuses(&services, id).await, [Running, Canceled, Canceled]);
    let (job_id, lease) = (running.preparation.job_id, running.lease.token);
    let heartbeat = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end: None };
    assert!(services.jobs.report(heartbeat).await.unwrap().cancel, "its container is stopped");
    end(&services, &running, 143).await;
    assert_eq!(view(&services, id).await.execution.status, ExecutionStatus::Canceled);
}

/// The sweep records and cancels the jobs of a large execution if no other process does.
pub async fn sweep_records_and_cancels_jobs_of_large_execution(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let id = start_execution(&services, &request(&samples::repo(), "", JOBS)).await;
    services.sweep.advance_due().await.unwrap();
    assert_eq!(statuses(&services, id).await, [Queued, Queued, Pending]);
    assert!(services.pipelines.cancel(id).await.unwrap().canceled);
    assert_eq!(statuses(&services, id).await, [Queued, Queued, Pending]);
    services.sweep.advance_due().await.unwrap();
    let ended = view(&services, id).await;
    assert_eq!(ended.execution.status, ExecutionStatus::Canceled);
    assert!(ended.jobs.iter().all(|job| job.status == Canceled), "{:?}", ended.jobs);
}

/// A large execution that is canceled before its jobs are recorded ends at once, and they never are.
pub async fn large_execution_can_be_canceled_before_its_jobs_are_recorded(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let id = start_execution(&services, &request(&samples::repo(), "", JOBS)).await;
    assert_eq!(services.pipelines.cancel(id).await.unwrap().status, "CANCELED");
    services.pipelines.resume(id).await.unwrap();
    assert_eq!(recorded_nodes(subject, id).await, 1);
    assert_eq!(statuses(&services, id).await, [Canceled; 3]);
}

/// A large execution waits for the one before it in its group, also if that one ends before the jobs are recorded.
pub async fn large_executions_of_group_run_in_order(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let request = request(&samples::repo(), "concurrency: { group: deploy }", JOBS);
    let (first, second) =
        (start_execution(&services, &request).await, start_execution(&services, &request).await);
    let third = start_execution(&services, &request).await;
    for id in [first, third] {
        services.pipelines.resume(id).await.unwrap();
    }
    assert_eq!(statuses(&services, first).await, [Queued, Queued, Pending]);
    assert_eq!(view(&services, second).await.waits_for, Some(first));
    assert_eq!(statuses(&services, third).await, [Pending; 3]);
    assert!(services.pipelines.cancel(first).await.unwrap().canceled);
    services.pipelines.resume(first).await.unwrap();
    assert_eq!(
        statuses(&services, second).await,
        [Queued, Queued, Pending],
        "its jobs are recorded and start"
    );
    assert_eq!(statuses(&services, third).await, [Pending; 3]);
}

/// The approval of a large held execution records only that it is given; its jobs are recorded, and start, after the reply.
pub async fn large_held_execution_starts_after_the_reply_to_its_approval(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let hold = async |top: &str| {
        let start = InternalStart { hold: true, ..InternalStart::default() };
        let request = request(&samples::repo(), top, JOBS);
        services.pipelines.start(request, start, None, None).await.unwrap().execution_id
    };
    let id = hold("").await;
    services.pipelines.resume(id).await.unwrap();
    let recorded = recorded_nodes(subject, id).await;
    assert!(recorded < 4, "not before the approval: {recorded}");
    assert!(services.approvals.approve_execution(id).await.unwrap().approved);
    assert_eq!(recorded_nodes(subject, id).await, recorded, "nothing but the intent is recorded");
    assert_eq!(view(&services, id).await.approval, Some(Approval::Given));
    assert!(!services.approvals.approve_execution(id).await.unwrap().approved, "it was approved before");
    for _ in 0..2 {
        services.pipelines.resume(id).await.unwrap();
        assert_eq!(statuses(&services, id).await, [Queued, Queued, Pending]);
    }

    // The sweep does it if nobody else does.
    let id = hold("").await;
    assert!(services.approvals.approve_execution(id).await.unwrap().approved);
    services.sweep.advance_due().await.unwrap();
    assert_eq!(statuses(&services, id).await, [Queued, Queued, Pending]);

    // A cancel before that prevents it.
    let id = hold("").await;
    assert!(services.approvals.approve_execution(id).await.unwrap().approved);
    assert_eq!(services.pipelines.cancel(id).await.unwrap().status, "CANCELED");
    services.pipelines.resume(id).await.unwrap();
    services.sweep.advance_due().await.unwrap();
    assert_eq!(statuses(&services, id).await, [Canceled; 3]);
    assert!(services.approvals.approve_execution(id).await.is_err(), "it is too late");
}

/// A retry of a large execution records its jobs after the reply, with those that it carries over and those that it approves.
pub async fn retry_of_large_execution_is_recorded_after_the_reply(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one }\n b: { stage: two, needs: [] }\n m: { stage: two, needs: [], when: manual, allow_failure: true }\n c: { stage: three }\n";
    let id = start_execution(&services, &request(&samples::repo(), "", jobs)).await;
    services.pipelines.resume(id).await.unwrap();
    run(&services, id, "a", 0).await;
    run(&services, id, "b", 1).await;
    assert_eq!(view(&services, id).await.execution.status, ExecutionStatus::Failed);
    let first = job(&services, id, "a").await.id;

    let request = RetryRequest { approve: vec!["m".into()], ..RetryRequest::default() };
    let retry = services.pipelines.retry(id, request, None).await.unwrap().execution_id;
    assert_eq!(recorded_nodes(subject, retry).await, 1, "only the end node");
    services.pipelines.resume(retry).await.unwrap();
    assert_eq!(statuses(&services, retry).await, [Success, Queued, Queued, Pending]);
    let carried = job(&services, retry, "a").await;
    assert_eq!((carried.carried_from, carried.attempt), (Some(first), 1));
    assert_eq!(job(&services, retry, "m").await.approval, None, "the retry approves it");
    run(&services, retry, "b", 1).await;
    run(&services, retry, "m", 0).await;
    assert_eq!(view(&services, retry).await.execution.status, ExecutionStatus::Failed);

    // What was carried over is carried over again, from the job that ran.
    let again = services.pipelines.retry(retry, RetryRequest::default(), None).await.unwrap().execution_id;
    services.sweep.advance_due().await.unwrap();
    assert_eq!(statuses(&services, again).await, [Success, Queued, Success, Pending]);
    assert_eq!(job(&services, again, "a").await.carried_from, Some(first));
    for name in ["b", "c"] {
        run(&services, again, name, 0).await;
    }
    assert_eq!(view(&services, again).await.execution.status, ExecutionStatus::Success);
}
