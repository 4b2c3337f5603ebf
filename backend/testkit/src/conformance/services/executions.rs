//! Checks of executions and leases, over the adapters and with several servers on the same stores.

use crate::conformance::{StoresUnderTest, claims, samples};
use futures_util::future::join_all;
use indexmap::IndexMap;
use std::collections::BTreeSet;
use tidemill_core::execution::{
    assignment::{Assignment, Source},
    failure::{FailureKind, FailureReason},
    status::{ExecutionStatus, JobStatus},
    transition::{CANCEL_GRACE_MS, CANCELED_LEASE_LIMIT_MS},
};
use tidemill_core::repository::includes::PinnedInclude;
use tidemill_core::{
    api::{
        AttemptEnd, DeadLetterQuery, ExecuteReply, ExecuteRequest, ExecutionView, ExportPage, ExportQuery,
        JobReport, RetryRequest, Trigger,
    },
    ids::{ExecutionId, JobId},
};
use tidemill_services::Error;
use tidemill_services::Stores;
use tidemill_services::ports::{NodeKey, Write};
use tidemill_services::{Caller, CallerKey, Services, Settings};
use tokio_util::sync::CancellationToken;

const LEASE_TTL_MS: u64 = 60_000;
/// `a`, and `b` after it; a newer execution of the same branch cancels the older one.
const PIPELINE: &str = "
name: check
stages: [one, two]
concurrency: { group: '${pipeline}-${branch}', cancel_superseded: true }
jobs:
  a: { stage: one, image: busybox, script: 'true' }
  b: { stage: two, image: busybox, script: 'true' }
";

fn services(stores: Stores) -> Services {
    let settings = Settings { lease_ttl_ms: LEASE_TTL_MS, ..Settings::default() };
    Services::new(stores, settings, CancellationToken::new())
}

fn request(commit: &str) -> ExecuteRequest {
    ExecuteRequest {
        pipeline: PIPELINE.into(),
        file: None,
        repo: "checks".into(),
        branch: Some("main".into()),
        commit: Some(commit.into()),
        source: Source::None,
        variables: IndexMap::new(),
        trigger: Trigger::Push,
        requested_by: None,
        force: false,
        ..ExecuteRequest::default()
    }
}

async fn execute(services: &Services, commit: &str, key: Option<&str>) -> Result<ExecuteReply, Error> {
    let key = key.map(|key| CallerKey::new(&Caller::internal("check"), key)).transpose()?;
    services.pipelines.execute(request(commit), key, None).await
}

async fn view(services: &Services, id: ExecutionId) -> ExecutionView {
    services.pipelines.view(id, None, 0).await.unwrap().view.unwrap()
}

async fn claim(services: &Services, job: JobId) -> Option<Assignment> {
    claims::claim(services, job, tidemill_core::pipeline::labels::Labels::new()).await.ok()
}

/// Creates a heartbeat.
fn report(assignment: &Assignment) -> JobReport {
    JobReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        log: None,
        phase: None,
        steps: Vec::new(),
        end: None,
    }
}

/// Creates the report of an attempt's end.
fn ending(assignment: &Assignment, failure: Option<FailureKind>) -> JobReport {
    let failure = failure.map(|kind| FailureReason::new(kind, "because"));
    JobReport {
        end: Some(AttemptEnd { failure, exit_code: None, ..AttemptEnd::default() }),
        ..report(assignment)
    }
}

/// The same request from 50 clients on two servers creates one execution, with and without an idempotency key.
pub async fn fifty_concurrent_requests_create_one_execution(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    for (key, commit) in [(Some("a key"), "1"), (None, "2")] {
        let results = join_all((0..50).map(|n| execute(&servers[n % 2], commit, key))).await;
        let replies: Vec<ExecuteReply> = results.into_iter().map(Result::unwrap).collect();
        let ids: BTreeSet<ExecutionId> = replies.iter().map(|reply| reply.execution_id).collect();
        assert_eq!(ids.len(), 1, "with key {key:?}");
        assert_eq!(replies.iter().filter(|reply| !reply.attached).count(), 1, "one reply is of the create");
        let numbers: BTreeSet<u64> = replies.iter().map(|reply| reply.run_number).collect();
        assert_eq!(numbers.len(), 1, "{numbers:?}");
    }
}

/// A key returns the same execution for the same request for ever, and rejects another request.
pub async fn idempotency_key_reuse_returns_409(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let first = execute(&services, "1", Some("k")).await.unwrap();
    services.pipelines.cancel(first.execution_id).await.unwrap();
    let again = execute(&services, "1", Some("k")).await.unwrap();
    assert_eq!(
        (again.execution_id, again.run_number, again.attached),
        (first.execution_id, first.run_number, true)
    );
    assert_eq!(again.status, ExecutionStatus::Canceled);
    let other = execute(&services, "2", Some("k")).await;
    assert!(matches!(other, Err(Error::KeyReused(_))), "{other:?}");
    // A derived key is valid only while the execution is live.
    let derived = execute(&services, "3", None).await.unwrap();
    services.pipelines.cancel(derived.execution_id).await.unwrap();
    assert_ne!(execute(&services, "3", None).await.unwrap().execution_id, derived.execution_id);
}

/// The versions of included files are recorded, and a retry has the same: it includes nothing again.
pub async fn included_files_are_recorded_and_kept_by_a_retry(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let include = |commit: &str| PinnedInclude::Git {
        url: "https://git.example/group/lib".to_owned(),
        reference: Some("v2".to_owned()),
        commit: commit.to_owned(),
        file: "ci/base.yml".to_owned(),
    };
    let includes = vec![
        include(&"a".repeat(40)),
        PinnedInclude::Remote { url: "https://h.example/a.yml".to_owned(), sha256: "b".repeat(64) },
    ];
    let with = |includes: Vec<PinnedInclude>| ExecuteRequest { includes, ..request("1") };
    let first = services.pipelines.execute(with(includes.clone()), None, None).await.unwrap().execution_id;
    assert_eq!(view(&services, first).await.includes, includes);
    services.pipelines.cancel(first).await.unwrap();
    let retried = services.pipelines.retry(first, RetryRequest::default(), None).await.unwrap();
    assert_eq!(view(&services, retried.execution_id).await.includes, includes);
    let invalid = services.pipelines.execute(with(vec![include("main")]), None, None).await;
    assert!(matches!(invalid, Err(Error::Unprocessable(_))), "{invalid:?}");
}

/// A newer execution of a group cancels the older one, with its running job.
pub async fn newer_execution_of_group_cancels_older(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let older = execute(&services, "1", None).await.unwrap().execution_id;
    let job = view(&services, older).await.jobs[0].id;
    let running = claim(&services, job).await.unwrap();
    let newer = execute(&services, "2", None).await.unwrap().execution_id;
    let shown = view(&services, older).await;
    assert_eq!(shown.execution.superseded_by, Some(newer));
    assert_eq!(shown.jobs[1].status, JobStatus::Canceled);
    assert!(services.jobs.report(report(&running)).await.unwrap().cancel, "the worker must stop the job");
    // The worker reports nothing more: after its lease the next claim ends the job.
    subject.clock.advance(i64::try_from(LEASE_TTL_MS).unwrap());
    assert!(claim(&services, job).await.is_none());
    let shown = view(&services, older).await;
    assert_eq!(
        (shown.execution.status, shown.jobs[0].status),
        (ExecutionStatus::Canceled, JobStatus::Canceled)
    );
    for job in &shown.jobs {
        let reason = &job.failure_reason.as_ref().unwrap().message;
        assert!(reason.contains(&newer.to_string()), "it says which one: {reason}");
    }
    let lost = services.jobs.report(ending(&running, None)).await;
    assert!(matches!(lost, Err(Error::LeaseLost(_))), "{lost:?}");
    assert_eq!(view(&services, newer).await.execution.status, ExecutionStatus::Pending);

    let mut elsewhere = request("3");
    elsewhere.branch = Some("other".into());
    services.pipelines.execute(elsewhere, None, None).await.unwrap();
    assert_eq!(view(&services, newer).await.execution.superseded_by, None, "another branch is another group");
}

/// Of concurrent executions of a group all but the newest are superseded, each by another one.
pub async fn concurrent_executions_of_group_leave_one(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let commits: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    let replies = join_all((0..8).map(|n| execute(&servers[n % 2], &commits[n], None))).await;
    let mut successors = BTreeSet::new();
    let mut current = 0;
    for reply in replies {
        let shown = view(&servers[0], reply.unwrap().execution_id).await;
        match shown.execution.superseded_by {
            Some(newer) => {
                assert!(successors.insert(newer), "two were superseded by {newer}");
                assert_eq!(shown.execution.status, ExecutionStatus::Canceled, "{shown:?}");
            }
            None => current += 1,
        }
    }
    assert_eq!(current, 1);
}

/// A job that loses three workers is a dead letter until its execution is retried, or it is dismissed.
pub async fn job_losing_three_workers_is_dead_letter(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let mut executions = Vec::new();
    for commit in ["1", "2", "3"] {
        let mut request = request(commit);
        request.branch = Some(commit.into());
        let id = services.pipelines.execute(request, None, None).await.unwrap().execution_id;
        let job = view(&services, id).await.jobs[0].id;
        for attempt in 1..=3 {
            let assignment = claim(&services, job).await.unwrap();
            assert_eq!(assignment.attempt, attempt);
            if commit == "1" {
                subject.clock.advance(i64::try_from(LEASE_TTL_MS).unwrap() + 1);
                services.sweep.run().await.unwrap();
            } else {
                let failed = ending(&assignment, Some(FailureKind::EngineFailed));
                services.jobs.report(failed).await.unwrap();
            }
        }
        subject.clock.advance(10);
        executions.push((id, job));
    }
    let list = async |limit, cursor| {
        let query = DeadLetterQuery { repo: None, limit: Some(limit), cursor };
        services.dead_letters.list(query).await.unwrap()
    };
    let page = list(2, None).await;
    let listed: Vec<ExecutionId> = page.dead_letters.iter().map(|letter| letter.execution.id).collect();
    assert_eq!(listed, [executions[2].0, executions[1].0]);
    let last = list(2, page.next_cursor).await;
    assert_eq!((last.dead_letters.len(), last.next_cursor), (1, None));
    let job = &last.dead_letters[0].job;
    assert_eq!((job.id, job.status, job.attempts.len()), (executions[0].1, JobStatus::Failed, 2));
    assert_eq!(job.failure_reason.as_ref().unwrap().kind, FailureKind::WorkerLost);

    let retried = services.pipelines.retry(executions[0].0, RetryRequest::default(), None).await.unwrap();
    let shown = view(&services, retried.execution_id).await;
    assert_eq!((shown.jobs[0].status, shown.jobs[0].attempt), (JobStatus::Queued, 0));
    assert!(services.dead_letters.dismiss(executions[1].1).await.unwrap().dismissed);
    let listed: Vec<ExecutionId> =
        list(9, None).await.dead_letters.iter().map(|letter| letter.execution.id).collect();
    assert_eq!(listed, [executions[2].0]);
    let succeeded = view(&services, retried.execution_id).await.jobs[0].id;
    assert!(!services.dead_letters.dismiss(succeeded).await.unwrap().dismissed);
}

/// A heartbeat is not written while most of the lease is left, and renews it in time. A canceled job's lease is renewed up to a limit.
pub async fn heartbeat_is_written_only_when_renewal_is_due(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let id = execute(&services, "1", None).await.unwrap().execution_id;
    let job = view(&services, id).await.jobs[0].id;
    let assignment = claim(&services, job).await.unwrap();
    let third = LEASE_TTL_MS / 3;
    let revision = async || services.pipelines.view(id, None, 0).await.unwrap().revision;
    let beat = async || services.jobs.report(report(&assignment)).await.unwrap();
    let advance = |ms: u64| subject.clock.advance(i64::try_from(ms).unwrap());

    let before = revision().await;
    advance(third - 1);
    assert_eq!(beat().await.lease_ttl_ms, LEASE_TTL_MS - third + 1, "the remaining lease");
    assert_eq!(revision().await, before, "nothing was written");
    advance(1);
    assert_eq!(beat().await.lease_ttl_ms, LEASE_TTL_MS);
    assert_ne!(revision().await, before, "the lease was renewed");
    // The lease is valid to its last millisecond.
    advance(LEASE_TTL_MS - 1);
    services.sweep.run().await.unwrap();
    let late = beat().await;
    assert_eq!((late.lease_ttl_ms, late.cancel), (LEASE_TTL_MS, false));

    assert!(services.jobs.cancel(job).await.unwrap().canceled);
    advance(CANCEL_GRACE_MS - 1);
    let reply = beat().await;
    assert_eq!((reply.lease_ttl_ms, reply.cancel), (LEASE_TTL_MS, true), "its worker may store artifacts");
    let mut since = CANCEL_GRACE_MS - 1;
    while since + LEASE_TTL_MS < CANCELED_LEASE_LIMIT_MS {
        advance(LEASE_TTL_MS - 1);
        since += LEASE_TTL_MS - 1;
        beat().await;
    }
    advance(CANCELED_LEASE_LIMIT_MS - since);
    services.sweep.run().await.unwrap();
    assert_eq!(view(&services, id).await.jobs[0].status, JobStatus::Canceled);
}

/// Returns all pages of an export, of at most `limit` rows each.
async fn export(services: &Services, query: &ExportQuery, limit: u32) -> ExportPage {
    let mut all = ExportPage::default();
    let mut query = ExportQuery { limit: Some(limit), ..query.clone() };
    loop {
        let page = services.exports.page(&query).await.unwrap();
        let rows = page.executions.len() + page.jobs.len() + page.artifacts.len();
        assert!(rows <= limit as usize, "{rows} rows");
        all.executions.extend(page.executions);
        all.jobs.extend(page.jobs);
        all.artifacts.extend(page.artifacts);
        match page.next_cursor {
            Some(next) => query.cursor = Some(next),
            None => return all,
        }
    }
}

/// The pages of an export have each execution, job and artifact once, however they are cut.
pub async fn export_has_every_row_once(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    let mut ids = Vec::new();
    for commit in ["1", "2", "3"] {
        let request = ExecuteRequest { repo: repo.clone(), force: true, ..request(commit) };
        ids.push(services.pipelines.execute(request, None, None).await.unwrap().execution_id);
    }
    services.pipelines.execute(ExecuteRequest { force: true, ..request("4") }, None, None).await.unwrap();
    let last = ids[2];
    let first_job = view(&services, last).await.jobs[0].id;
    let assignment = claim(&services, first_job).await.unwrap();
    for sequence in 0..3 {
        let artifact = samples::artifact(NodeKey { execution: last, ix: 0 }, sequence, None);
        stores.records.commit(vec![Write::PutArtifact(Box::new(artifact))]).await.unwrap();
    }
    services.jobs.report(ending(&assignment, None)).await.unwrap();
    let query = ExportQuery { repo: Some(repo.clone()), ..ExportQuery::default() };
    let whole = export(&services, &query, 2_000).await;
    let exported: Vec<ExecutionId> = whole.executions.iter().map(|row| row.id).collect();
    assert_eq!(exported, ids.iter().rev().copied().collect::<Vec<_>>(), "newest first, of this repository");
    assert_eq!((whole.jobs.len(), whole.artifacts.len()), (6, 3));
    let job = &whole.jobs[0];
    assert_eq!((job.id, job.pipeline_execution_id, job.status), (first_job, last, JobStatus::Success));
    assert_eq!(
        (job.job_name.as_str(), job.stage.as_str(), job.docker_image.as_str()),
        ("a", "one", "busybox")
    );
    assert_eq!(job.logs.as_deref(), Some(format!("/api/job/logs/{first_job}").as_str()));
    assert!(job.start_time.is_some() && job.end_time.is_some() && whole.jobs[1].logs.is_none());
    assert!(whole.artifacts.iter().all(|row| row.job_execution_id == first_job && row.file_path == "out/*"));
    for limit in [1, 2, 3, 5] {
        assert_eq!(export(&services, &query, limit).await, whole, "with {limit} rows a page");
    }
    let at = whole.executions[1].created_at;
    let none = ExportQuery { since: Some(at.plus_ms(86_400_000)), ..query.clone() };
    assert_eq!(export(&services, &none, 10).await, ExportPage::default());
    let none = ExportQuery { until: Some(whole.executions[2].created_at), ..query.clone() };
    assert_eq!(export(&services, &none, 10).await, ExportPage::default());
    let all = ExportQuery { since: Some(whole.executions[2].created_at), ..query };
    assert_eq!(export(&services, &all, 10).await, whole);
    // A cursor gives no rights on other repositories.
    let other = ExportQuery { repo: Some("other".into()), cursor: Some(format!("{last}.j0")), ..none };
    assert!(matches!(services.exports.page(&other).await, Err(Error::Invalid(_))));
}
