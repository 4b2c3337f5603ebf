//! Checks of `when`, allowed exit codes, time-outs and labels.

use super::fixture::{claim_with, job, request, run, services, start_execution, statuses, view};
use crate::conformance::StoresUnderTest;
use crate::conformance::samples;
use tidemill_core::api::RetryRequest;
use tidemill_core::execution::failure::FailureKind;
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::execution::status::JobStatus::{Canceled, Failed, Pending, Queued, Skipped, Success};
use tidemill_core::pipeline::labels::Labels;

/// An `on_failure` job runs after a failure and is skipped, tolerated, without one. An `always` job runs in both cases.
pub async fn job_runs_according_to_when(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one }\n b: { stage: two }\n repair: { stage: two, when: on_failure }\n cleanup: { stage: three, when: always }\n";
    let request = request(&samples::repo(), "", jobs);
    let successful = start_execution(&services, &request).await;
    run(&services, successful, "a", 0).await;
    assert_eq!(statuses(&services, successful).await, [Success, Queued, Skipped, Pending]);
    let skipped = job(&services, successful, "repair").await;
    assert!(skipped.tolerated && skipped.failure_reason.unwrap().kind == FailureKind::NotNeeded);
    run(&services, successful, "b", 0).await;
    run(&services, successful, "cleanup", 0).await;
    assert_eq!(view(&services, successful).await.execution.status, ExecutionStatus::Success);

    let failed = start_execution(&services, &request).await;
    run(&services, failed, "a", 1).await;
    assert_eq!(statuses(&services, failed).await, [Failed, Skipped, Queued, Pending]);
    run(&services, failed, "repair", 0).await;
    assert_eq!(statuses(&services, failed).await, [Failed, Skipped, Success, Queued]);
    run(&services, failed, "cleanup", 0).await;
    assert_eq!(view(&services, failed).await.execution.status, ExecutionStatus::Failed);

    let canceled = start_execution(&services, &request).await;
    services.pipelines.cancel(canceled).await.unwrap();
    assert_eq!(statuses(&services, canceled).await, [Canceled; 4]);
}

/// An allowed exit code fails the job but not the execution.
pub async fn allowed_exit_code_is_tolerated(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs =
        "a: { stage: one, allow_failure: { exit_codes: [75] } }\n b: { stage: two }\n c: { stage: three }\n";
    let request = request(&samples::repo(), "", jobs);
    let allowed = start_execution(&services, &request).await;
    run(&services, allowed, "a", 75).await;
    assert_eq!(statuses(&services, allowed).await, [Failed, Queued, Pending]);
    assert!(job(&services, allowed, "a").await.tolerated);
    run(&services, allowed, "b", 0).await;
    run(&services, allowed, "c", 0).await;
    assert_eq!(view(&services, allowed).await.execution.status, ExecutionStatus::Success);
    let other = start_execution(&services, &request).await;
    run(&services, other, "a", 1).await;
    assert_eq!(view(&services, other).await.execution.status, ExecutionStatus::Failed);
}

/// An execution that exceeds its pipeline's timeout is canceled and fails.
pub async fn execution_over_timeout_fails(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one }\n b: { stage: two }\n c: { stage: three, when: always }\n";
    let request = request(&samples::repo(), "timeout: 10m", jobs);
    let late = start_execution(&services, &request).await;
    let in_time = start_execution(&services, &request).await;
    for name in ["a", "b", "c"] {
        run(&services, in_time, name, 0).await;
    }
    run(&services, late, "a", 0).await;
    subject.clock.advance(9 * 60_000);
    services.sweep.run().await.unwrap();
    assert_eq!(view(&services, late).await.execution.status, ExecutionStatus::Running);
    subject.clock.advance(2 * 60_000);
    services.sweep.run().await.unwrap();
    services.sweep.run().await.unwrap();
    let execution = view(&services, late).await.execution;
    assert_eq!(
        (execution.status, execution.timed_out, execution.cancel_requested),
        (ExecutionStatus::Failed, true, true)
    );
    let execution = view(&services, in_time).await.execution;
    assert_eq!((execution.status, execution.timed_out), (ExecutionStatus::Success, false));
}

/// An `on_failure` job without needs, or whose needs are all carried over, is skipped when the execution is created.
pub async fn on_failure_job_without_needs_is_skipped(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "repair: { stage: one, when: on_failure }\n a: { stage: one }\n b: { stage: two }\n\
        inspect: { stage: two, when: on_failure }\n c: { stage: three }\n";
    let request = request(&samples::repo(), "", jobs);
    let first = start_execution(&services, &request).await;
    assert_eq!(statuses(&services, first).await, [Skipped, Queued, Pending, Pending, Pending]);
    let skipped = job(&services, first, "repair").await;
    assert!(skipped.tolerated && skipped.failure_reason.unwrap().kind == FailureKind::NotNeeded);
    run(&services, first, "a", 0).await;
    run(&services, first, "b", 1).await;
    assert_eq!(view(&services, first).await.execution.status, ExecutionStatus::Failed);
    let retried = services.pipelines.retry(first, RetryRequest::default(), None).await.unwrap().execution_id;
    assert_eq!(statuses(&services, retried).await, [Skipped, Success, Queued, Skipped, Pending]);
    run(&services, retried, "b", 0).await;
    run(&services, retried, "c", 0).await;
    assert_eq!(view(&services, retried).await.execution.status, ExecutionStatus::Success);
}

/// An execution in which no job can run ends when it is created.
pub async fn execution_without_runnable_jobs_ends(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one, when: on_failure }\n b: { stage: two, when: on_failure }\n c: { stage: three, when: on_failure }\n";
    for top in ["", "concurrency: { group: deploy }"] {
        let request = request(&samples::repo(), top, jobs);
        for _ in 0..2 {
            let id = start_execution(&services, &request).await;
            assert_eq!(statuses(&services, id).await, [Skipped; 3]);
            assert_eq!(view(&services, id).await.execution.status, ExecutionStatus::Success);
        }
    }
}

/// A worker that claims a job gets it only with the job's labels.
pub async fn job_is_assigned_only_to_worker_with_labels(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    if !stores.queue.serves(&tidemill_core::pipeline::labels::parse("gpu=true").unwrap()) {
        // Without a queue for the labels, the request is rejected, so that no job waits for ever.
        let services = services(stores);
        let request = request(
            &samples::repo(),
            "",
            "a: { stage: one, runs_on: { gpu: true } }\n b: { stage: two }\n c: { stage: three }\n",
        );
        let error = services.pipelines.execute(request, None, None).await.unwrap_err();
        assert!(error.to_string().contains("gpu=true"), "{error}");
        return;
    }
    let services = services(stores);
    let request = request(
        &samples::repo(),
        "",
        "a: { stage: one, runs_on: { gpu: true } }\n b: { stage: two }\n c: { stage: three }\n",
    );
    let id = start_execution(&services, &request).await;
    let labelled = job(&services, id, "a").await;
    assert_eq!(labelled.runs_on, Labels::from([("gpu".to_owned(), "true".to_owned())]));
    assert!(claim_with(&services, labelled.id, "gpu=false").await.is_none());
    assert!(claim_with(&services, labelled.id, "gpu=true,os=linux").await.is_some());
}
