//! A stale index may delay what a listing shows, but never causes a wrong change. Reads of DynamoDB's indexes are eventually
//! consistent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

use crate::lagging;
use lagging::Index;
use std::sync::Arc;
use tidemill_core::execution::{
    assignment::Source,
    status::{ExecutionStatus, JobStatus},
};
use tidemill_core::{
    api::{ExecuteRequest, JobExecuteReply, JobExecuteRequest, ListQuery, Trigger, WorkerInfo},
    ids::{ExecutionId, JobId, WorkerId},
};
use tidemill_services::{
    Services, Settings, Stores,
    ports::{Clock, ListFilter, NodeKey, Write},
};
use tidemill_testkit::cloud;
use tidemill_testkit::conformance::{
    ManualClock,
    samples::{artifact, commit_writes, create_execution, independent_jobs},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

struct TestTable {
    stores: Stores,
    services: Services,
    clock: Arc<ManualClock>,
    index: Index,
}

impl TestTable {
    async fn new() -> Self {
        let account = cloud::Account::new();
        let names = account.create_resources().await;
        let (address, index) = lagging::start(account.endpoint()).await;
        let clock = Arc::new(ManualClock::default());
        let (stores, _) =
            tidemill_aws::open_with_clock(&account.with_endpoint(&address).sdk(), names, clock.clone());
        let settings = Settings { lease_ttl_ms: 10_000, ..Settings::default() };
        let services = Services::new(stores.clone(), settings, CancellationToken::new());
        Self { stores, services, clock, index }
    }

    async fn execute(&self) -> ExecutionId {
        let request = ExecuteRequest {
            pipeline: "name: one\nstages: [a]\njobs: { j: { stage: a, image: i, script: [x] } }\n".into(),
            file: None,
            repo: "here".into(),
            branch: None,
            commit: None,
            source: Source::None,
            variables: indexmap::IndexMap::new(),
            trigger: Trigger::Manual,
            requested_by: None,
            force: true,
            ..ExecuteRequest::default()
        };
        self.services.pipelines.execute(request, None, None).await.unwrap().execution_id
    }

    async fn claim(&self, execution: ExecutionId) -> bool {
        let worker = WorkerInfo { id: WorkerId(Uuid::now_v7()), name: "w".into() };
        let job_id = Some(JobId::of(execution, 0));
        let request = JobExecuteRequest {
            labels: tidemill_core::pipeline::labels::Labels::new(),
            worker,
            job_id,
            execution_id: None,
            lease: None,
            wait_ms: 0,
            lookahead: 0,
            slot_price: 0,
        };
        matches!(self.services.jobs.execute(request).await.unwrap(), JobExecuteReply::Assigned { .. })
    }

    async fn job(&self, execution: ExecutionId) -> (JobStatus, u32) {
        let view = self.services.pipelines.view(execution, None, 0).await.unwrap().view.unwrap();
        (view.jobs[0].status, view.jobs[0].attempt)
    }

    async fn list(&self, filter: &ListFilter) -> Vec<(ExecutionId, ExecutionStatus)> {
        let (executions, _) = self.stores.records.executions(filter).await.unwrap();
        executions.iter().map(|record| (record.spec.id, record.state.status)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_rereads_records_of_stale_index() {
    if !cloud::is_available() {
        return;
    }
    let table = TestTable::new().await;
    let id = table.execute().await;
    assert!(table.claim(id).await);
    let running = ListQuery { status: Some(ExecutionStatus::Running), ..ListQuery::default() };
    let all = ListQuery::default();
    assert_eq!(table.list(&running).await, [(id, ExecutionStatus::Running)]);
    assert_eq!(table.list(&all).await.len(), 1);

    table.index.freeze();
    table.services.pipelines.cancel(id).await.unwrap();
    table.clock.advance(60_000);
    let second = table.execute().await;
    // The lease has expired; the next claim ends the attempt, and the cancel ends the job.
    assert!(!table.claim(id).await);
    assert_eq!(table.list(&running).await, [], "the record has ended, although the index lists it");
    assert_eq!(
        table.list(&all).await,
        [(id, ExecutionStatus::Canceled)],
        "the second is not in the index yet"
    );
    assert!(table.index.repeated() >= 2);
    table.index.thaw();
    assert_eq!(table.list(&all).await.first().map(|(id, _)| *id), Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_ignores_stale_due_index() {
    if !cloud::is_available() {
        return;
    }
    let table = TestTable::new().await;
    let id = table.execute().await;
    table.clock.advance(40_000);
    let now = table.clock.now();
    assert_eq!(
        table.stores.records.due_nodes(now, 200).await.unwrap().len(),
        1,
        "a queued job is due, because its message may be lost"
    );
    table.index.freeze();
    assert!(table.claim(id).await);
    let before = table.stores.records.revision(id).await.unwrap();
    assert_eq!(table.services.sweep.run().await.unwrap(), 1, "the stale index lists it");
    assert!(table.index.repeated() > 0);
    assert_eq!(table.job(id).await, (JobStatus::Running, 1));
    assert_eq!(table.stores.records.revision(id).await.unwrap(), before, "nothing was written");

    // A node that the index does not list yet is found once it does.
    table.index.thaw();
    table.clock.advance(10_000);
    assert_eq!(table.services.sweep.run().await.unwrap(), 1);
    assert_eq!(table.job(id).await, (JobStatus::Queued, 1));
    assert!(table.claim(id).await);
    assert_eq!(table.job(id).await, (JobStatus::Running, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_artifact_is_not_expired_twice() {
    if !cloud::is_available() {
        return;
    }
    let table = TestTable::new().await;
    let records = &table.stores.records;
    let key = NodeKey { execution: create_execution(&**records, independent_jobs(1)).await, ix: 0 };
    let now = table.clock.now();
    let expired = artifact(key, 0, Some(now));
    commit_writes(&**records, vec![Write::PutArtifact(Box::new(expired.clone()))]).await;
    assert_eq!(records.expired_artifacts(now, 9).await.unwrap(), std::slice::from_ref(&expired));
    table.index.freeze();
    commit_writes(&**records, vec![Write::DeleteArtifact(expired.id)]).await;
    assert_eq!(records.expired_artifacts(now, 9).await.unwrap(), []);
    assert!(table.index.repeated() > 0);
}
