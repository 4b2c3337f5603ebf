//! Checks of summaries and annotations of jobs, over the adapters.

use super::test_reports::end;
use crate::conformance::{StoresUnderTest, claims::claim_at, samples};
use tidemill_core::api::{ExecuteRequest, RetryRequest};
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
};
use tidemill_core::ids::{ExecutionId, LeaseToken};
use tidemill_core::summary::{
    annotation::{Annotation, AnnotationLevel, MAX_ANNOTATIONS},
    markdown::MAX_SUMMARY_BYTES,
    view::SummaryRequest,
};
use tidemill_services::{Error, Services, Settings};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PIPELINE: &str =
    "name: check\njobs:\n  a: { image: i, script: x }\n  b: { image: i, script: x, retry: 1 }\n";

fn request(assignment: &Assignment, markdown: &str, messages: &[&str]) -> SummaryRequest {
    let annotation = |message: &&str| Annotation::new(AnnotationLevel::Warning, *message);
    SummaryRequest {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        markdown: markdown.to_owned(),
        annotations: messages.iter().map(annotation).collect(),
        left_out: 0,
    }
}

/// Lines of digits that do not compress well, so that the text is stored as an object.
fn large_text() -> String {
    let line = |number: u64| format!("{:x}\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let text: String = (1..=12_000).map(line).collect();
    assert!(text.len() > MAX_SUMMARY_BYTES / 2 && text.len() <= MAX_SUMMARY_BYTES);
    text
}

async fn start(services: &Services) -> ExecutionId {
    let execute =
        ExecuteRequest { pipeline: PIPELINE.into(), repo: samples::repo(), ..ExecuteRequest::default() };
    services.pipelines.execute(execute, None, None).await.unwrap().execution_id
}

fn failed() -> FailureReason {
    FailureReason::new(FailureKind::ScriptFailed, "exit code 1")
}

/// A summary requires the lease and replaces an earlier one, large and small ones are read as they were written, and a retry of the job
/// or of the execution shows the newest attempt.
pub async fn summary_requires_lease_and_is_that_of_newest_attempt(subject: &StoresUnderTest) {
    let services = Services::new(subject.open().await, Settings::default(), CancellationToken::new());
    let summaries = &services.summaries;
    let first = start(&services).await;
    let (good, bad) =
        (claim_at(&services, first, 0).await.unwrap(), claim_at(&services, first, 1).await.unwrap());
    let (good_id, bad_id) = (good.preparation.job_id, bad.preparation.job_id);
    assert_eq!(summaries.list(first).await.unwrap().summaries, []);
    assert!(matches!(summaries.text(good_id, None).await, Err(Error::NotFound(_))));
    let lost = SummaryRequest { lease: LeaseToken(Uuid::now_v7()), ..request(&good, "x", &[]) };
    assert!(matches!(summaries.store(lost).await, Err(Error::LeaseLost(_))));
    summaries.store(request(&good, "replaced", &["replaced"])).await.unwrap();
    let large = large_text();
    summaries.store(request(&good, &large, &["same"])).await.unwrap();
    summaries.store(request(&bad, "# First <b>try</b>", &["of the first attempt"])).await.unwrap();
    assert_eq!(summaries.text(good_id, None).await.unwrap(), large);
    end(&services, &good, None).await;
    end(&services, &bad, Some(failed())).await;
    assert!(matches!(summaries.store(request(&good, "late", &[])).await, Err(Error::LeaseLost(_))));

    let again = claim_at(&services, first, 1).await.unwrap();
    assert_eq!(again.attempt, 2, "the job is retried");
    let list = summaries.list(first).await.unwrap();
    assert_eq!((list.summaries.len(), list.annotations.len()), (1, 1), "of `a` only");
    summaries.store(request(&again, "# Second", &["same", "new"])).await.unwrap();
    end(&services, &again, Some(failed())).await;
    assert_eq!(summaries.text(bad_id, None).await.unwrap(), "# Second");
    assert_eq!(summaries.text(bad_id, Some(1)).await.unwrap(), "# First <b>try</b>");
    let list = summaries.list(first).await.unwrap();
    let names: Vec<_> =
        list.summaries.iter().map(|one| (one.job_name.as_str(), one.size, one.shown)).collect();
    assert_eq!(names, [("a", large.len() as u64, true), ("b", 8, true)]);
    let found = list.annotations.iter();
    let found = found.map(|one| (one.annotation.message.as_str(), one.job_name.as_str(), one.other_jobs));
    assert_eq!(found.collect::<Vec<_>>(), [("new", "b", 0), ("same", "a", 1)]);

    let retry = services.pipelines.retry(first, RetryRequest::default(), None).await.unwrap().execution_id;
    let list = summaries.list(retry).await.unwrap();
    assert_eq!(list.summaries.len(), 1, "only the job that is carried over");
    assert_eq!(summaries.text(list.summaries[0].job_id, None).await.unwrap(), large);
    let missing = summaries.list(ExecutionId(Uuid::now_v7())).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
}

/// What a worker sends is bounded and normalized again: a summary that is too long is an error, and annotations beyond the limits are
/// counted.
pub async fn summary_beyond_limits_is_rejected_or_counted(subject: &StoresUnderTest) {
    let services = Services::new(subject.open().await, Settings::default(), CancellationToken::new());
    let execution = start(&services).await;
    let job = claim_at(&services, execution, 0).await.unwrap();
    let long = services.summaries.store(request(&job, &"x".repeat(MAX_SUMMARY_BYTES + 1), &[])).await;
    assert!(matches!(long, Err(Error::Invalid(_))), "{long:?}");
    let messages: Vec<String> =
        (0..=MAX_ANNOTATIONS).map(|number| format!("{number:03}\u{1b}[31m")).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let mut many = request(&job, " \n", &messages);
    many.annotations[0].path = Some("../../etc/passwd".into());
    many.left_out = 7;
    services.summaries.store(many).await.unwrap();
    let list = services.summaries.list(execution).await.unwrap();
    assert_eq!((list.summaries.len(), list.counts.left_out), (0, 8), "a blank summary is none");
    let first = &list.annotations[0].annotation;
    assert_eq!((first.path.as_deref(), first.message.as_str()), (None, "000[31m"));
    end(&services, &job, None).await;
}
