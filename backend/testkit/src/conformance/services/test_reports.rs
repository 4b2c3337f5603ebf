//! Checks of test reports of jobs, over the adapters.

use crate::conformance::{StoresUnderTest, claims::claim_at, samples};
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
    test_report::{TestCase, TestReport, TestsRequest},
};
use tidemill_core::{
    api::{AttemptEnd, ExecuteRequest, JobReport, RetryRequest},
    ids::{ExecutionId, LeaseToken},
};
use tidemill_services::Error;
use tidemill_services::{Services, Settings};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PIPELINE: &str = "name: check\njobs: { a: { image: i, script: x }, b: { image: i, script: x } }\n";

/// Reports the end of an attempt.
pub(super) async fn end(services: &Services, assignment: &Assignment, failure: Option<FailureReason>) {
    let report = JobReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        log: None,
        phase: None,
        steps: Vec::new(),
        end: Some(AttemptEnd { failure, exit_code: Some(0), ..AttemptEnd::default() }),
    };
    services.jobs.report(report).await.unwrap();
}

fn request(assignment: &Assignment, failed: &[&str], passed: &[&str]) -> TestsRequest {
    let mut report = TestReport::default();
    report.counts.tests = (failed.len() + passed.len()) as u64;
    report.counts.failures = failed.len() as u64;
    for name in failed {
        report.add_failed(TestCase { name: (*name).into(), ..TestCase::default() });
    }
    for name in passed {
        report.add_passed("", name);
    }
    TestsRequest { job_id: assignment.preparation.job_id, lease: assignment.lease.token, report }
}

/// A test report requires the lease, and replaces an earlier one. A carried-over job has its tests, and a job that runs again
/// shows flaky tests.
pub async fn test_report_requires_lease_and_compares_retried_execution(subject: &StoresUnderTest) {
    let services = Services::new(subject.open().await, Settings::default(), CancellationToken::new());
    let execute =
        ExecuteRequest { pipeline: PIPELINE.into(), repo: samples::repo(), ..ExecuteRequest::default() };
    let first = services.pipelines.execute(execute, None, None).await.unwrap().execution_id;
    let (good, bad) =
        (claim_at(&services, first, 0).await.unwrap(), claim_at(&services, first, 1).await.unwrap());
    assert_eq!(services.test_reports.for_execution(first).await.unwrap().jobs, []);
    let mut lost = request(&bad, &["x"], &[]);
    lost.lease = LeaseToken(Uuid::now_v7());
    assert!(matches!(services.test_reports.store(lost).await, Err(Error::LeaseLost(_))));
    services.test_reports.store(request(&good, &[], &["a", "b"])).await.unwrap();
    services.test_reports.store(request(&bad, &["replaced"], &[])).await.unwrap();
    services.test_reports.store(request(&bad, &["unsure", "broken"], &["c"])).await.unwrap();
    end(&services, &good, None).await;
    end(&services, &bad, Some(FailureReason::new(FailureKind::ScriptFailed, "exit code 1"))).await;
    assert!(matches!(services.test_reports.store(request(&bad, &[], &[])).await, Err(Error::LeaseLost(_))));
    let tests = services.test_reports.for_execution(first).await.unwrap();
    assert_eq!((tests.counts.tests, tests.counts.failures, tests.counts.flaky), (5, 2, 0));
    let names: Vec<&str> = tests.jobs.iter().map(|job| job.job_name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);

    let retry = services.pipelines.retry(first, RetryRequest::default(), None).await.unwrap().execution_id;
    let tests = services.test_reports.for_execution(retry).await.unwrap();
    assert_eq!((tests.jobs.len(), tests.counts.tests), (1, 2), "only carried-over jobs have tests yet");
    let again = claim_at(&services, retry, 1).await.unwrap();
    services.test_reports.store(request(&again, &["broken"], &["unsure", "c"])).await.unwrap();
    end(&services, &again, None).await;
    let tests = services.test_reports.for_execution(retry).await.unwrap();
    assert_eq!((tests.counts.tests, tests.counts.failures, tests.counts.flaky), (5, 1, 1));
    let report = &tests.jobs[1].report;
    assert_eq!((report.flaky[0].name.as_str(), report.passed.as_str()), ("unsure", ""));
    let missing = services.test_reports.for_execution(ExecutionId(Uuid::now_v7())).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
}
