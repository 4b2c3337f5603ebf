//! Checks of retention: what is removed, and what never is.

use super::fixture::{self, claim, end, job, run, services, start_execution, view};
use crate::conformance::{StoresUnderTest, samples};
use tidemill_core::{
    api::{ExecuteRequest, RetryRequest},
    ids::{ExecutionId, JobId},
    retention::{
        api::{GcReport, GcRequest, PinRequest, RemovedPart, RetentionRequest},
        decision::RetentionState,
        settings::{RetentionRule, RetentionSettings},
    },
};
use tidemill_services::{
    Error, Services, Stores,
    ports::{Commit, ExecutionState, NodeKey, Write},
};

const DAY_MS: i64 = 86_400_000;
/// Ids of executions have the real time, which may be long after that of the clock.
const LONG_DAYS: i64 = 10_000;

/// Sets the rule of a repository.
async fn set(services: &Services, repo: &str, rule: RetentionRule) {
    let settings = RetentionSettings { rule, ..RetentionSettings::default() };
    services.retention.set(&RetentionRequest { repo: Some(repo.into()), settings }).await.unwrap();
}

fn days(days: u32) -> RetentionRule {
    RetentionRule { days: Some(days), branch_days: Some(0), ..RetentionRule::default() }
}

/// A request whose jobs are all in the stage `one`.
fn request(repo: &str, top: &str, jobs: &str) -> ExecuteRequest {
    let request = fixture::request(repo, top, jobs);
    ExecuteRequest { pipeline: request.pipeline.replace("[one, two, three]", "[one]"), ..request }
}

/// Runs a pass over a repository.
async fn collect(services: &Services, repo: &str, dry_run: bool) -> GcReport {
    let request = GcRequest { dry_run, repo: Some(repo.into()), after: None };
    let report = services.retention.run(request, None).await.unwrap();
    assert_eq!((report.failed, report.next), (0, None));
    report
}

async fn exists(stores: &Stores, id: ExecutionId) -> bool {
    stores.records.execution(id).await.unwrap().is_some()
}

/// Runs an execution of one job, with a log, to its end.
async fn ended(stores: &Stores, services: &Services, request: &ExecuteRequest) -> (ExecutionId, JobId) {
    let id = start_execution(services, request).await;
    let job_id = job(services, id, "a").await.id;
    let assignment = claim(services, job_id).await.unwrap();
    stores.logs.append(job_id, 1, 0, b"hello").await.unwrap();
    end(services, &assignment, 0).await;
    assert!(view(services, id).await.execution.status.is_terminal());
    (id, job_id)
}

async fn log_len(stores: &Stores, job: JobId) -> u64 {
    stores.logs.read(job, 1, 0, 10).await.unwrap().1
}

/// Old executions go with their logs, and a dry run changes nothing; live, pinned and tagged ones and the last ones stay.
pub async fn retention_removes_only_what_no_rule_keeps(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    let one = request(&repo, "", "a: { stage: one }");
    let (old, old_job) = ended(&stores, &services, &one).await;
    let (pinned, _) = ended(&stores, &services, &one).await;
    let pin = PinRequest { pinned: true, note: Some("shipped".into()) };
    assert!(services.retention.pin(pinned, pin.clone(), "ann").await.unwrap().changed);
    assert!(!services.retention.pin(pinned, pin, "bob").await.unwrap().changed);
    let shown = view(&services, pinned).await.pin.unwrap();
    assert_eq!((shown.by.as_str(), shown.note.as_deref()), ("ann", Some("shipped")));
    assert_eq!(view(&services, old).await.pin, None);
    let tagged = ExecuteRequest { tag: Some("v1".into()), branch: None, ..one.clone() };
    let (tagged, _) = ended(&stores, &services, &tagged).await;
    let live = start_execution(&services, &one).await;
    let (last, _) = ended(&stores, &services, &one).await;
    subject.clock.advance(LONG_DAYS * DAY_MS);

    let nothing = collect(&services, &repo, false).await;
    assert!(nothing.items.is_empty(), "without a rule: {nothing:?}");
    set(&services, &repo, RetentionRule { last: Some(1), ..days(30) }).await;
    let dry = collect(&services, &repo, true).await;
    assert!(exists(&stores, old).await, "a dry run removes nothing");
    let report = collect(&services, &repo, false).await;
    assert_eq!(dry.items, report.items);
    let removed: Vec<_> = report.items.iter().map(|item| (item.execution_id, item.part)).collect();
    assert_eq!(removed, [(old, RemovedPart::Execution)]);
    assert!(report.items[0].why.contains("30 days"), "{:?}", report.items);
    assert!(!exists(&stores, old).await);
    assert_eq!(log_len(&stores, old_job).await, 0);
    for kept in [pinned, tagged, live, last] {
        assert!(exists(&stores, kept).await);
    }
    services.retention.pin(pinned, PinRequest::default(), "bob").await.unwrap();
    assert_eq!(collect(&services, &repo, false).await.items.len(), 1);
    assert!(!exists(&stores, pinned).await);
    assert!(matches!(
        services.retention.pin(pinned, PinRequest::default(), "bob").await,
        Err(Error::NotFound(_))
    ));
    services.pipelines.cancel(live).await.unwrap();
    let all = RetentionRequest { repo: Some("*".into()), settings: RetentionSettings::default() };
    assert!(matches!(services.retention.set(&all).await, Err(Error::Invalid(_))), "those of the server");
}

/// An execution stays as long as a retry of it does, and both go afterwards.
pub async fn retried_execution_stays_with_its_retry(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    let first = start_execution(&services, &request(&repo, "", "a: { stage: one }\nb: { stage: one }")).await;
    run(&services, first, "a", 0).await;
    run(&services, first, "b", 1).await;
    let retry = services.pipelines.retry(first, RetryRequest::default(), None).await.unwrap().execution_id;
    set(&services, &repo, days(30)).await;
    subject.clock.advance(LONG_DAYS * DAY_MS);
    assert!(collect(&services, &repo, false).await.items.is_empty(), "the retry has not ended");
    run(&services, retry, "b", 0).await;
    assert!(collect(&services, &repo, false).await.items.is_empty(), "the retry is young");
    subject.clock.advance(40 * DAY_MS);
    collect(&services, &repo, false).await;
    assert!(!exists(&stores, retry).await);
    collect(&services, &repo, false).await;
    assert!(!exists(&stores, first).await);
    let again = services.pipelines.retry(first, RetryRequest::default(), None).await;
    assert!(matches!(again, Err(Error::NotFound(_))), "{again:?}");
}

/// Sets what retention records of an execution, as a pass does before it removes something.
async fn mark(stores: &Stores, id: ExecutionId, retention: RetentionState) {
    let (state, version) = stores.records.execution_state(id).await.unwrap().unwrap();
    let state = ExecutionState { retention, ..state };
    let write = Write::PutExecution { id, if_version: version, state };
    assert!(matches!(stores.records.commit(vec![write]).await.unwrap(), Commit::Done(_)));
}

/// Between the mark of a pass and the removal of artifacts, a retry runs the jobs again whose artifacts go, and carries over the others.
/// A pass that was interrupted there is completed by the next one.
pub async fn retry_reuses_no_artifacts_that_are_being_removed(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    let jobs = "a: { stage: one, artifacts: { paths: [out] } }\nb: { stage: one }\nc: { stage: one }";
    let first = start_execution(&services, &request(&repo, "", jobs)).await;
    let ix = job(&services, first, "a").await.id.ix();
    let artifact = samples::artifact(NodeKey { execution: first, ix }, 0, None);
    stores.records.commit(vec![Write::PutArtifact(Box::new(artifact))]).await.unwrap();
    for (name, code) in [("a", 0), ("b", 0), ("c", 1)] {
        run(&services, first, name, code).await;
    }
    let carried = async |id| {
        let jobs = view(&services, id).await.jobs.into_iter();
        jobs.filter(|job| job.carried_from.is_some()).map(|job| job.job_name).collect::<Vec<_>>()
    };
    let retry = async || services.pipelines.retry(first, RetryRequest::default(), None).await;
    let whole = retry().await.unwrap().execution_id;
    assert_eq!(carried(whole).await, ["a", "b"]);
    services.pipelines.cancel(whole).await.unwrap();
    mark(&stores, first, RetentionState { artifacts_removed: true, ..RetentionState::default() }).await;
    let during = retry().await.unwrap().execution_id;
    assert_eq!(carried(during).await, ["b"], "the artifacts of `a` go at any moment");
    services.pipelines.cancel(during).await.unwrap();

    let (interrupted, _) = ended(&stores, &services, &request(&repo, "", "a: { stage: one }")).await;
    mark(&stores, interrupted, RetentionState { removing: true, ..RetentionState::default() }).await;
    set(&services, &repo, days(30)).await;
    subject.clock.advance(LONG_DAYS * DAY_MS);
    collect(&services, &repo, false).await;
    assert!(!exists(&stores, interrupted).await);
}

/// The newest execution of a branch stays longer, and logs go before their executions.
pub async fn logs_go_first_and_newest_of_branch_last(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    let on = |branch: &str| ExecuteRequest {
        branch: Some(branch.into()),
        ..request(&repo, "", "a: { stage: one }")
    };
    let (old, _) = ended(&stores, &services, &on("main")).await;
    let (topic, _) = ended(&stores, &services, &on("topic")).await;
    let (newest, newest_job) = ended(&stores, &services, &on("main")).await;
    subject.clock.advance(LONG_DAYS * DAY_MS);
    let rule = RetentionRule { days: Some(30), branch_days: Some(20_000), ..RetentionRule::default() };
    set(&services, &repo, rule).await;
    collect(&services, &repo, false).await;
    assert!(!exists(&stores, old).await && exists(&stores, topic).await && exists(&stores, newest).await);

    let rule = RetentionRule { days: Some(20_000), log_days: Some(7), ..days(20_000) };
    set(&services, &repo, rule).await;
    let report = collect(&services, &repo, false).await;
    let parts: Vec<_> = report.items.iter().map(|item| item.part).collect();
    assert_eq!(parts, [RemovedPart::Logs, RemovedPart::Logs]);
    assert_eq!(log_len(&stores, newest_job).await, 0);
    let log = services.jobs.logs(newest_job, None, 0, 10, 0).await;
    assert!(matches!(log, Err(Error::NotFound(_))), "{log:?}");
    assert!(exists(&stores, newest).await);
    assert!(collect(&services, &repo, false).await.items.is_empty(), "they are removed once");
}
