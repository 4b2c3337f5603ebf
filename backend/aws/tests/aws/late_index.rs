//! Indexes that are late change only when something is seen, never what is done: DynamoDB's are read eventually.
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
    samples::{artifact, done, flat, made},
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
        let names = account.make().await;
        let (address, index) = lagging::start(account.endpoint()).await;
        let clock = Arc::new(ManualClock::default());
        let (stores, _) = tidemill_aws::open_at(&account.behind(&address).sdk(), names, clock.clone());
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
        };
        matches!(self.services.jobs.execute(request).await.unwrap(), JobExecuteReply::Assigned { .. })
    }

    async fn job(&self, execution: ExecutionId) -> (JobStatus, u32) {
        let view = self.services.pipelines.view(execution, None, 0).await.unwrap().view.unwrap();
        (view.jobs[0].status, view.jobs[0].attempt)
    }

    async fn list(&self, filter: &ListFilter) -> Vec<(ExecutionId, ExecutionStatus)> {
        let (found, _) = self.stores.records.executions(filter).await.unwrap();
        found.iter().map(|record| (record.spec.id, record.state.status)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_rereads_records_of_stale_index() {
    if !cloud::is_there() {
        return;
    }
    let place = TestTable::new().await;
    let id = place.execute().await;
    assert!(place.claim(id).await);
    let running = ListQuery { status: Some(ExecutionStatus::Running), ..ListQuery::default() };
    let all = ListQuery::default();
    assert_eq!(place.list(&running).await, [(id, ExecutionStatus::Running)]);
    assert_eq!(place.list(&all).await.len(), 1);

    place.index.freeze();
    place.services.pipelines.cancel(id).await.unwrap();
    place.clock.turn(60_000);
    let second = place.execute().await;
    // The lease ran out; whoever asks for the job next sees to it, and the cancel ends it.
    assert!(!place.claim(id).await);
    assert_eq!(place.list(&running).await, [], "it is over, whatever the index says");
    assert_eq!(place.list(&all).await, [(id, ExecutionStatus::Canceled)], "the second is not seen yet");
    assert!(place.index.repeated() >= 2);
    place.index.thaw();
    assert_eq!(place.list(&all).await.first().map(|(id, _)| *id), Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_ignores_stale_due_index() {
    if !cloud::is_there() {
        return;
    }
    let place = TestTable::new().await;
    let id = place.execute().await;
    place.clock.turn(40_000);
    let now = place.clock.now();
    assert_eq!(place.stores.records.late(now, 200).await.unwrap().len(), 1, "its message may be lost");
    place.index.freeze();
    assert!(place.claim(id).await);
    let before = place.stores.records.revision(id).await.unwrap();
    assert_eq!(place.services.sweep.run().await.unwrap(), 1, "the old index names it");
    assert!(place.index.repeated() > 0);
    assert_eq!(place.job(id).await, (JobStatus::Running, 1));
    assert_eq!(place.stores.records.revision(id).await.unwrap(), before, "nothing was written");

    // And what the index does not tell of yet is found once it does.
    place.index.thaw();
    place.clock.turn(10_000);
    assert_eq!(place.services.sweep.run().await.unwrap(), 1);
    assert_eq!(place.job(id).await, (JobStatus::Queued, 1));
    assert!(place.claim(id).await);
    assert_eq!(place.job(id).await, (JobStatus::Running, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_artifact_is_not_expired_twice() {
    if !cloud::is_there() {
        return;
    }
    let place = TestTable::new().await;
    let records = &place.stores.records;
    let key = NodeKey { execution: made(&**records, flat(1)).await, ix: 0 };
    let now = place.clock.now();
    let one = artifact(key, 0, Some(now));
    done(&**records, vec![Write::PutArtifact(Box::new(one.clone()))]).await;
    assert_eq!(records.expired_artifacts(now, 9).await.unwrap(), std::slice::from_ref(&one));
    place.index.freeze();
    done(&**records, vec![Write::DeleteArtifact(one.id)]).await;
    assert_eq!(records.expired_artifacts(now, 9).await.unwrap(), []);
    assert!(place.index.repeated() > 0);
}
