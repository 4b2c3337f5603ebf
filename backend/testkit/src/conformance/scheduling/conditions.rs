//! What decides whether a job runs: `when`, exit codes, time-outs and labels.

use super::fixture::{begin, claim_with, job, request, run, services, statuses, view};
use crate::conformance::StoresUnderTest;
use crate::conformance::samples;
use tidemill_core::api::RetryRequest;
use tidemill_core::execution::failure::FailureKind;
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::execution::status::JobStatus::{Canceled, Failed, Pending, Queued, Skipped, Success};
use tidemill_core::pipeline::labels::Labels;

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
