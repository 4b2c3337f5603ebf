//! Checks that repeated failures in a sweep do not block the rest, over the adapters.

use crate::conformance::{
    StoresUnderTest,
    samples::{
        START, artifact, commit_writes, create_execution, create_write, execution_id, independent_jobs,
        node_without_job, read_node, repo, spec,
    },
};
use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use std::sync::Arc;
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::{api::ContentChecksum, ids::ExecutionId, time::Timestamp};
use tidemill_services::Error;
use tidemill_services::Result;
use tidemill_services::Stores;
use tidemill_services::ports::{
    ArtifactRecord, ByteStream, Clock, GroupPosition, NewNode, NodeBody, NodeKey, ObjectInfo, Objects,
    Records, UploadTarget, Write,
};
use tidemill_services::{Services, Settings};
use tokio_util::sync::CancellationToken;

/// More items than one pass of the sweep reads.
const MORE_THAN_ONE_SWEEP: i64 = 220;
/// Requests at once: those to an emulator take long, and there are hundreds.
const AT_ONCE: usize = 16;
/// Failing nodes that are processed in several sweeps.
const REPEATEDLY_FAILING: usize = 10;

/// Returns a time long before the due times of other checks in the same store.
fn long_ago(ms: i64) -> Timestamp {
    START.plus_ms(-1_000_000_000_000 + ms)
}

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

/// Creates an end node that is due.
fn end(due_at: Timestamp) -> Vec<NewNode> {
    vec![NewNode { due_at: Some(due_at), ..node_without_job(NodeBody::End, 0, Vec::new()) }]
}

/// Creates an execution whose end node always fails: it waits for another execution at a gate that does not exist.
async fn poisoned(records: &dyn Records, due_at: Timestamp) -> ExecutionId {
    let id = execution_id();
    let position = GroupPosition { group: "none".into(), after: Some((execution_id(), 99)) };
    let spec =
        tidemill_services::ports::ExecutionSpec { group: Some(position), ..spec(id, &repo(), "poisoned", 0) };
    commit_writes(records, vec![create_write(spec, end(due_at))]).await;
    id
}

/// Hundreds of failing nodes are due before a good one. It is processed in the same sweep, and the failing ones are retried with
/// growing pauses.
pub async fn failing_nodes_do_not_block_sweep(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let records = &*stores.records;
    let failing = (0..MORE_THAN_ONE_SWEEP).map(|number| async move {
        let execution = poisoned(records, long_ago(number)).await;
        NodeKey { execution, ix: 0 }
    });
    // In the order of their numbers.
    let mut failing: Vec<NodeKey> = stream::iter(failing).buffered(AT_ONCE).collect().await;
    let good = create_execution(records, independent_jobs(0)).await;
    let key = NodeKey { execution: good, ix: 0 };
    let if_version = read_node(records, key).await.version;
    let due_at = Some(long_ago(2 * MORE_THAN_ONE_SWEEP));
    commit_writes(records, vec![Write::SetDue { key, if_version, due_at }]).await;
    services.sweep.run().await.unwrap();
    let ended = records.execution(good).await.unwrap().unwrap();
    assert!(ended.state.status.is_terminal(), "{:?}", ended.state.status);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let now = subject.clock.now();
        let due = read_node(records, failing[0]).await.due_at.expect("it is retried");
        assert!(due > now, "it is postponed");
        let postponed = stream::iter(&failing).map(|key| async { read_node(records, *key).await.due_at });
        let postponed: Vec<_> = postponed.buffered(AT_ONCE).collect().await;
        assert!(postponed.iter().all(|at| *at == Some(due)), "{postponed:?}");
        // All were postponed alike. A few show how the pauses grow, and the others are not due again.
        let others = failing.split_off(failing.len().min(REPEATEDLY_FAILING));
        stream::iter(others).for_each_concurrent(AT_ONCE, |key| remove_due_time(records, key)).await;
        pauses.push(due.since_ms(now));
        subject.clock.advance(i64::try_from(due.since_ms(now)).unwrap());
        services.sweep.run().await.unwrap();
    }
    assert!(pauses[0] < pauses[1] && pauses[1] < pauses[2], "{pauses:?}");
    let failed = records.execution(failing[0].execution).await.unwrap().unwrap();
    assert_eq!(failed.state.status, ExecutionStatus::Pending, "it is unchanged");
    // Other checks must not find them due.
    for key in failing {
        remove_due_time(records, key).await;
    }
}

async fn remove_due_time(records: &dyn Records, key: NodeKey) {
    let node = read_node(records, key).await;
    commit_writes(records, vec![Write::SetDue { key, if_version: node.version, due_at: None }]).await;
}

/// Objects of which some cannot be deleted.
pub(super) struct UndeletableObjects {
    pub(super) inner: Arc<dyn Objects>,
    /// Parts of the keys of undeletable objects.
    pub(super) undeletable: Vec<String>,
}

#[async_trait]
impl Objects for UndeletableObjects {
    async fn put_checked(&self, key: &str, sha256: Option<&str>, bytes: ByteStream) -> Result<ObjectInfo> {
        self.inner.put_checked(key, sha256, bytes).await
    }
    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.inner.info(key).await
    }
    async fn get(&self, key: &str) -> Result<ByteStream> {
        self.inner.get(key).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        if self.undeletable.iter().any(|part| key.contains(part)) {
            return Err(Error::storage("removing an object", "it is locked"));
        }
        self.inner.delete(key).await
    }
    async fn upload_target(&self, key: &str, sum: Option<&ContentChecksum>) -> Result<UploadTarget> {
        self.inner.upload_target(key, sum).await
    }
    async fn download_url(&self, key: &str) -> Result<Option<String>> {
        self.inner.download_url(key).await
    }
}

/// Hundreds of artifacts that cannot be deleted do not block the expiry of later ones.
pub async fn undeletable_artifacts_do_not_block_expiry(subject: &StoresUnderTest) {
    let mut stores = subject.open().await;
    let records = stores.records.clone();
    // Sixteen artifacts per job.
    let (many, each) = (u32::try_from(MORE_THAN_ONE_SWEEP).unwrap(), 16);
    let locked = create_execution(&*records, independent_jobs(many.div_ceil(each))).await;
    let free = create_execution(&*records, independent_jobs(1)).await;
    let expired = |execution, number: u32| {
        let key = NodeKey { execution, ix: number / each };
        artifact(key, number % each, Some(long_ago(i64::from(number))))
    };
    let all: Vec<_> = (0..many).map(|number| expired(locked, number)).collect();
    let last = ArtifactRecord { expires_at: Some(long_ago(2 * MORE_THAN_ONE_SWEEP)), ..expired(free, 0) };
    let writes: Vec<Write> =
        all.iter().chain([&last]).map(|record| Write::PutArtifact(Box::new(record.clone()))).collect();
    for batch in writes.chunks(50) {
        commit_writes(&*records, batch.to_vec()).await;
    }
    let undeletable = all.iter().map(|record| record.job.to_string()).collect();
    stores.objects = Arc::new(UndeletableObjects { inner: stores.objects.clone(), undeletable });
    let services = services(stores);
    for _ in 0..2 {
        services.sweep.run().await.unwrap();
    }
    assert_eq!(records.artifacts(free).await.unwrap(), []);
    let now = subject.clock.now();
    let remaining = records.artifacts(locked).await.unwrap();
    assert_eq!(remaining.len(), many as usize, "their records stay with the objects");
    assert!(
        remaining.iter().all(|record| record.expires_at.is_some_and(|at| at > now)),
        "they are retried later"
    );
    let removed: Vec<Write> = remaining.iter().map(|record| Write::DeleteArtifact(record.id)).collect();
    for batch in removed.chunks(50) {
        commit_writes(&*records, batch.to_vec()).await;
    }
}
