//! Checks of conditions on outputs of jobs, which are decided when their job is due.

use super::fixture::{job, request, run, run_with_outputs, services, start_execution, statuses, view};
use crate::conformance::{StoresUnderTest, samples};
use tidemill_core::api::{Approval, RetryRequest};
use tidemill_core::execution::failure::FailureKind;
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::execution::status::JobStatus::{Failed, Pending, Queued, Skipped, Success};
use tidemill_services::Error;

/// A job runs if its condition on outputs holds. Otherwise it is skipped with the jobs that need it; later stages run, and the
/// execution succeeds.
pub async fn condition_on_outputs_is_decided_when_job_is_due(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let condition = "'needs.build.outputs.CHANGED == \"true\" && branch == \"main\"'";
    let jobs = format!(
        "build: {{ stage: one, outputs: a.env }}\n deploy: {{ stage: two, needs: [build], if: {condition} }}\n \
         verify: {{ stage: two, needs: [deploy] }}\n repair: {{ stage: two, needs: [deploy], when: on_failure }}\n \
         last: {{ stage: three }}\n"
    );
    let request = request(&samples::repo(), "", &jobs);
    let id = start_execution(&services, &request).await;
    let shown = job(&services, id, "deploy").await.condition.unwrap();
    assert!(shown.contains("needs.build.outputs.CHANGED"), "{shown}");
    run_with_outputs(&services, id, "build", 0, &[("CHANGED", "true")]).await;
    assert_eq!(statuses(&services, id).await, [Success, Queued, Pending, Pending, Pending]);
    run(&services, id, "deploy", 0).await;
    assert_eq!(statuses(&services, id).await, [Success, Success, Queued, Skipped, Pending]);

    for outputs in [&[("CHANGED", "false")][..], &[]] {
        let id = start_execution(&services, &request).await;
        run_with_outputs(&services, id, "build", 0, outputs).await;
        assert_eq!(statuses(&services, id).await, [Success, Skipped, Skipped, Skipped, Queued]);
        let skipped = job(&services, id, "deploy").await;
        let reason = skipped.failure_reason.unwrap();
        assert_eq!((skipped.tolerated, reason.kind), (true, FailureKind::ConditionNotMet));
        assert!(reason.message.contains("needs.build.outputs.CHANGED"), "{}", reason.message);
        let dependent = job(&services, id, "verify").await;
        let reason = dependent.failure_reason.unwrap();
        assert_eq!((dependent.tolerated, reason.kind), (true, FailureKind::ConditionNotMet));
        assert!(reason.message.contains("`deploy`"), "{}", reason.message);
        run(&services, id, "last", 0).await;
        assert_eq!(view(&services, id).await.execution.status, ExecutionStatus::Success);
    }

    // A failed need is that, and not an unmet condition.
    let id = start_execution(&services, &request).await;
    run_with_outputs(&services, id, "build", 1, &[("CHANGED", "true")]).await;
    assert_eq!(statuses(&services, id).await, [Failed, Skipped, Skipped, Queued, Pending]);
    assert_eq!(job(&services, id, "deploy").await.failure_reason.unwrap().kind, FailureKind::NeedsFailed);

    // In another branch, facts decide.
    let mut elsewhere = request.clone();
    elsewhere.branch = Some("topic".into());
    elsewhere.pipeline =
        elsewhere.pipeline.replace("needs: [deploy]", "needs: [{ job: deploy, optional: true }]");
    let id = start_execution(&services, &elsewhere).await;
    assert!(view(&services, id).await.jobs.iter().all(|job| job.job_name != "deploy"));
}

/// A condition is decided before the approval of a manual job is asked for, and again by a retry with carried-over outputs.
pub async fn condition_on_outputs_precedes_approval_and_holds_in_retry(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "build: { stage: one, outputs: a.env }\n test: { stage: one, needs: [] }\n \
                deploy: { stage: two, when: manual, if: 'needs.build.outputs.GO == \"yes\"' }\n \
                never: { stage: three, needs: [build], if: 'needs.build.outputs.GO == \"no\"' }\n";
    let request = request(&samples::repo(), "", jobs);
    let id = start_execution(&services, &request).await;
    let manual = job(&services, id, "deploy").await;
    assert_eq!((manual.status, manual.approval), (Pending, None));
    let early = services.approvals.approve_job(manual.id).await;
    assert!(matches!(early, Err(Error::Conflict(_))), "{early:?}");
    run_with_outputs(&services, id, "build", 0, &[("GO", "yes")]).await;
    run(&services, id, "test", 0).await;
    assert_eq!(statuses(&services, id).await, [Success, Success, Pending, Skipped]);
    assert_eq!(job(&services, id, "deploy").await.approval, Some(Approval::Awaited));
    assert!(services.approvals.approve_job(manual.id).await.unwrap().approved);
    run(&services, id, "deploy", 1).await;
    assert_eq!(view(&services, id).await.execution.status, ExecutionStatus::Failed);

    let retried = services.pipelines.retry(id, RetryRequest::default(), None).await.unwrap().execution_id;
    assert_eq!(statuses(&services, retried).await, [Success, Success, Pending, Skipped]);
    assert_eq!(job(&services, retried, "deploy").await.approval, Some(Approval::Awaited));

    let id = start_execution(&services, &request).await;
    run_with_outputs(&services, id, "build", 0, &[("GO", "no")]).await;
    run(&services, id, "test", 0).await;
    assert_eq!(statuses(&services, id).await, [Success, Success, Skipped, Queued]);
    let skipped = job(&services, id, "deploy").await;
    assert_eq!(
        (skipped.approval, skipped.failure_reason.unwrap().kind),
        (None, FailureKind::ConditionNotMet)
    );
    run(&services, id, "never", 0).await;
    assert_eq!(view(&services, id).await.execution.status, ExecutionStatus::Success);
}
