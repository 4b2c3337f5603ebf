//! Checks of concurrency groups of jobs.

use super::fixture::{claim, job, request, run, services, start_execution, statuses, view};
use crate::conformance::StoresUnderTest;
use crate::conformance::samples;
use crate::intercepted::{BeforeWrite, InterceptedDocuments, Write};
use async_trait::async_trait;
use futures_util::future::join_all;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tidemill_core::api::{ExecuteRequest, JobView};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::execution::status::JobStatus::{
    Canceled, Failed, Pending, Queued, Running, Skipped, Success,
};
use tidemill_core::ids::ExecutionId;
use tidemill_services::ports::{Clock, Documents};
use tidemill_services::{Error, Result, Services, Stores};

/// Longer than any waiting job waits until it checks its group.
const RECHECK_MS: i64 = 6 * 60_000;

/// Creates a request with the job `deploy` in a group, and one after it.
fn deployment(repo: &str, concurrency: &str) -> ExecuteRequest {
    let jobs = format!(
        "deploy: {{ stage: one, concurrency: {concurrency} }}\n after: {{ stage: two }}\n last: {{ stage: three }}\n"
    );
    request(repo, "", &jobs)
}

async fn start_all(services: &Services, request: &ExecuteRequest, number: usize) -> Vec<ExecutionId> {
    let mut ids = Vec::new();
    for _ in 0..number {
        ids.push(start_execution(services, request).await);
    }
    ids
}

async fn deploy_job(services: &Services, id: ExecutionId) -> JobView {
    job(services, id, "deploy").await
}

/// Jobs of a group with the default limit run one at a time, the longest waiting first, whatever becomes of the one before. The
/// others name the job that they wait for.
pub async fn jobs_of_group_run_one_at_a_time_in_order(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let ids = start_all(&services, &deployment(&samples::repo(), "production"), 4).await;
    assert_eq!(statuses(&services, ids[0]).await, [Queued, Pending, Pending]);
    for (position, id) in (1..).zip(&ids[1..]) {
        let waiting = deploy_job(&services, *id).await;
        let wait = waiting.waits_for_place.expect("it waits for a place");
        assert_eq!((waiting.status, wait.group.as_str(), wait.limit), (Pending, "production", 1));
        assert_eq!(wait.position, Some(position));
        let [holder] = wait.holders.as_slice() else { panic!("{:?}", wait.holders) };
        let execution = view(&services, ids[0]).await.execution;
        assert_eq!((holder.execution_id, holder.run_number), (ids[0], execution.run_number));
        assert_eq!((holder.pipeline_name.as_str(), holder.job_name.as_str()), ("check", "deploy"));
    }
    // Jobs outside of the group do not hold it: the next one starts when the job ends, not the execution.
    run(&services, ids[0], "deploy", 0).await;
    assert_eq!(statuses(&services, ids[0]).await, [Success, Queued, Pending]);
    assert_eq!(statuses(&services, ids[1]).await[0], Queued);
    assert_eq!(deploy_job(&services, ids[1]).await.waits_for_place, None);
    assert_eq!(statuses(&services, ids[2]).await[0], Pending);
    run(&services, ids[1], "deploy", 1).await;
    assert_eq!(statuses(&services, ids[1]).await, [Failed, Skipped, Skipped]);
    assert_eq!(statuses(&services, ids[2]).await[0], Queued, "a failure frees the place");
    services.jobs.cancel(deploy_job(&services, ids[2]).await.id).await.unwrap();
    assert_eq!(statuses(&services, ids[2]).await[0], Canceled);
    assert_eq!(statuses(&services, ids[3]).await[0], Queued, "a cancel frees the place");
}

/// At most `limit` jobs of a group run at the same time, also if servers start and end executions concurrently.
pub async fn limit_of_job_group_is_kept(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let request = deployment(&samples::repo(), "{ group: production, limit: 2 }");
    let mut ids = join_all((0..9).map(|n| start_execution(&servers[n % 2], &request))).await;
    while !ids.is_empty() {
        let mut started = Vec::new();
        for id in &ids {
            if statuses(&servers[0], *id).await[0] == Queued {
                started.push(*id);
            }
        }
        assert_eq!(started.len(), ids.len().min(2));
        join_all(started.iter().enumerate().map(|(n, id)| run(&servers[n % 2], *id, "deploy", 1))).await;
        ids.retain(|id| !started.contains(id));
    }
}

/// All attempts of a job share its place.
pub async fn retried_job_keeps_its_place(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let jobs = "deploy: { stage: one, concurrency: production, retry: 1 }\n b: { stage: two }\n c: { stage: three }\n";
    let ids = start_all(&services, &request(&repo, "", jobs), 2).await;
    run(&services, ids[0], "deploy", 1).await;
    assert_eq!(statuses(&services, ids[0]).await[0], Queued, "its second attempt");
    assert_eq!(statuses(&services, ids[1]).await[0], Pending);
    let lost = claim(&services, deploy_job(&services, ids[0]).await.id).await.expect("it is queued");
    assert_eq!(lost.attempt, 2);
    subject.clock.advance(600_000);
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, ids[0]).await[0], Queued, "its worker was lost");
    assert_eq!(statuses(&services, ids[1]).await[0], Pending);
    run(&services, ids[0], "deploy", 0).await;
    assert_eq!(statuses(&services, ids[1]).await[0], Queued);
}

/// The jobs of a canceled execution leave the waiting list of their group.
pub async fn canceled_job_leaves_its_group(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let request = deployment(&samples::repo(), "production");
    let ids = start_all(&services, &request, 3).await;
    services.pipelines.cancel(ids[1]).await.unwrap();
    assert_eq!(view(&services, ids[1]).await.execution.status, ExecutionStatus::Canceled);
    let wait = deploy_job(&services, ids[2]).await.waits_for_place.expect("the holder still runs");
    assert_eq!(wait.position, Some(1));
    services.pipelines.cancel(ids[0]).await.unwrap();
    assert_eq!(statuses(&services, ids[0]).await, [Canceled; 3]);
    assert_eq!(statuses(&services, ids[2]).await[0], Queued);
    services.pipelines.cancel(ids[2]).await.unwrap();
    assert_eq!(statuses(&services, start_execution(&services, &request).await).await[0], Queued);
}

/// Groups of two repositories, and two groups of one repository, have nothing to do with each other. Neither has the group of
/// executions with the same name.
pub async fn repositories_do_not_share_job_groups(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let (own, other) = (samples::repo(), samples::repo());
    for (repo, group) in [(&own, "a"), (&other, "a"), (&own, "b"), (&own, "c-${branch}")] {
        let id = start_execution(&services, &deployment(repo, &format!("'{group}'"))).await;
        assert_eq!(statuses(&services, id).await[0], Queued, "{repo} {group}");
    }
    for group in ["a", "c-main"] {
        let waits = start_execution(&services, &deployment(&own, group)).await;
        assert_eq!(deploy_job(&services, waits).await.waits_for_place.unwrap().group, group);
    }
    let jobs = "a: { stage: one }\n b: { stage: two }\n c: { stage: three }\n";
    let execution = start_execution(&services, &request(&own, "concurrency: { group: a }", jobs)).await;
    assert_eq!(statuses(&services, execution).await[0], Queued);
}

/// A job requests its place when nothing else is missing: a manual one after its approval. A job that is skipped never has one.
pub async fn manual_job_holds_no_place_before_approval(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let jobs = "build: { stage: one }\n deploy: { stage: two, when: manual, concurrency: production }\n c: { stage: three }\n";
    let ids = start_all(&services, &request(&repo, "", jobs), 2).await;
    for id in &ids {
        run(&services, *id, "build", 0).await;
        assert_eq!(deploy_job(&services, *id).await.waits_for_place, None);
    }
    services.approvals.approve_job(deploy_job(&services, ids[1]).await.id).await.unwrap();
    assert_eq!(statuses(&services, ids[1]).await, [Success, Queued, Pending]);
    services.approvals.approve_job(deploy_job(&services, ids[0]).await.id).await.unwrap();
    assert_eq!(statuses(&services, ids[0]).await, [Success, Pending, Pending]);
    let skipped = start_execution(&services, &request(&repo, "", &jobs.replace("when: manual, ", ""))).await;
    run(&services, skipped, "build", 1).await;
    assert_eq!(statuses(&services, skipped).await, [Failed, Skipped, Skipped]);
    run(&services, ids[1], "deploy", 0).await;
    assert_eq!(statuses(&services, ids[0]).await, [Success, Queued, Pending]);
}

/// A job with `start_in` requests its place when that is over, so that it holds none while it waits.
pub async fn delayed_job_holds_no_place_while_it_waits(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let jobs = "deploy: { stage: one, start_in: 1h, concurrency: production }\n b: { stage: two }\n c: { stage: three }\n";
    let delayed = start_execution(&services, &request(&repo, "", jobs)).await;
    let shown = deploy_job(&services, delayed).await;
    assert_eq!((shown.status, shown.waits_for_place), (Pending, None));
    assert_eq!(shown.not_before, Some(subject.clock.now().plus_ms(3_600_000)));
    let other = start_execution(&services, &deployment(&repo, "production")).await;
    assert_eq!(statuses(&services, other).await[0], Queued);
    subject.clock.advance(3_601_000);
    services.sweep.run().await.unwrap();
    assert!(deploy_job(&services, delayed).await.waits_for_place.is_some());
    run(&services, other, "deploy", 0).await;
    let shown = deploy_job(&services, delayed).await;
    assert_eq!((shown.status, shown.not_before), (Queued, None), "it waits no longer");
}

/// Hundreds of jobs of one execution share a place, in the order of the plan. A cancel ends all of them.
pub async fn many_jobs_wait_for_one_place(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let jobs = "deploy: { stage: one, parallel: 200, concurrency: production }\n b: { stage: two }\n c: { stage: three }\n";
    // A request may store ten times its size.
    let top = format!("# {}", "x".repeat(10_000));
    let id = start_execution(&services, &request(&repo, &top, jobs)).await;
    for number in 1..=3 {
        let jobs = view(&services, id).await.jobs;
        let queued: Vec<&str> =
            jobs.iter().filter(|job| job.status == Queued).map(|job| job.job_name.as_str()).collect();
        let name = format!("deploy {number}/200");
        assert_eq!(queued, [&name]);
        let waiting = jobs.iter().filter(|job| job.waits_for_place.is_some()).count();
        assert_eq!(waiting, 200 - number);
        run(&services, id, &name, 0).await;
    }
    let other = start_execution(&services, &deployment(&repo, "production")).await;
    assert_eq!(deploy_job(&services, other).await.waits_for_place.unwrap().position, Some(197));
    // Waiting jobs check their group, which changes nothing.
    subject.clock.advance(RECHECK_MS);
    services.sweep.run().await.unwrap();
    assert_eq!(deploy_job(&services, other).await.waits_for_place.unwrap().position, Some(197));
    services.pipelines.cancel(id).await.unwrap();
    assert_eq!(view(&services, id).await.execution.status, ExecutionStatus::Canceled);
    assert_eq!(statuses(&services, other).await[0], Queued);
}

/// The next writes of documents, which do not take place.
#[derive(Default)]
struct FailingWrites {
    /// Number of writes that conflict.
    conflicts: AtomicU32,
    /// Number of writes that fail.
    failures: AtomicU32,
}

impl FailingWrites {
    /// Whether a write has this outcome.
    fn next(left: &AtomicU32) -> bool {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

#[async_trait]
impl BeforeWrite for FailingWrites {
    async fn before_write(&self, _: &dyn Documents, _: Write<'_>) -> Option<Result<bool>> {
        if Self::next(&self.failures) {
            return Some(Err(Error::storage("writing a document", "the test wants it to fail")));
        }
        Self::next(&self.conflicts).then_some(Ok(false))
    }
}

async fn failing(subject: &StoresUnderTest) -> (Services, Arc<InterceptedDocuments<FailingWrites>>) {
    let stores = subject.open().await;
    let documents = Arc::new(InterceptedDocuments::new(stores.documents.clone(), FailingWrites::default()));
    (services(Stores { documents: documents.clone(), ..stores }), documents)
}

/// A write that conflicts is repeated.
pub async fn conflicting_request_for_a_place_is_repeated(subject: &StoresUnderTest) {
    let (services, documents) = failing(subject).await;
    let request = deployment(&samples::repo(), "production");
    documents.before.conflicts.store(3, Ordering::Relaxed);
    let ids = start_all(&services, &request, 2).await;
    assert_eq!(documents.before.conflicts.load(Ordering::Relaxed), 0);
    assert_eq!(
        (statuses(&services, ids[0]).await[0], statuses(&services, ids[1]).await[0]),
        (Queued, Pending)
    );
    documents.before.conflicts.store(3, Ordering::Relaxed);
    run(&services, ids[0], "deploy", 0).await;
    assert_eq!(documents.before.conflicts.load(Ordering::Relaxed), 0);
    assert_eq!(statuses(&services, ids[1]).await[0], Queued);
}

/// After a process died before it released a place or requested one, the sweep does it, and so does the next request.
pub async fn place_is_not_lost_if_a_process_dies(subject: &StoresUnderTest) {
    let (services, documents) = failing(subject).await;
    let request = deployment(&samples::repo(), "production");
    // It dies before the request.
    documents.before.failures.store(1, Ordering::Relaxed);
    let first = start_execution(&services, &request).await;
    assert_eq!(statuses(&services, first).await[0], Pending);
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, first).await[0], Queued);
    // It dies before the release.
    let second = start_execution(&services, &request).await;
    documents.before.failures.store(1, Ordering::Relaxed);
    run(&services, first, "deploy", 0).await;
    assert_eq!(
        (statuses(&services, first).await[0], statuses(&services, second).await[0]),
        (Success, Pending)
    );
    subject.clock.advance(RECHECK_MS);
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, second).await[0], Queued);
    // The next request finds that the holder has ended.
    documents.before.failures.store(1, Ordering::Relaxed);
    run(&services, second, "deploy", 0).await;
    let third = start_execution(&services, &request).await;
    assert_eq!(statuses(&services, third).await[0], Queued);
    // A canceled job that is left in the waiting list does not get the place.
    let fourth = start_execution(&services, &request).await;
    documents.before.failures.store(1, Ordering::Relaxed);
    services.pipelines.cancel(fourth).await.unwrap();
    let fifth = start_execution(&services, &request).await;
    assert!(claim(&services, deploy_job(&services, third).await.id).await.is_some());
    assert_eq!(statuses(&services, third).await[0], Running);
    assert_eq!(deploy_job(&services, fifth).await.waits_for_place.unwrap().position, Some(2));
    services.pipelines.cancel(third).await.unwrap();
    subject.clock.advance(600_000);
    services.sweep.run().await.unwrap();
    assert_eq!(statuses(&services, third).await[0], Canceled);
    assert_eq!(statuses(&services, fifth).await[0], Queued);
}
