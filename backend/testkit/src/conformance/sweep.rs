//! Checks of the sweep, over the adapters: what fails again and again does not keep the rest waiting.

use super::{
    StoresUnderTest,
    samples::{START, artifact, create, done, execution_id, flat, made, node, repo, silent, spec},
};
use async_trait::async_trait;
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

/// More than one look of the sweep takes.
const MORE_THAN_ONE_SWEEP: i64 = 220;

/// Long before what other checks in the same store are due at.
fn long_ago(ms: i64) -> Timestamp {
    START.plus_ms(-1_000_000_000_000 + ms)
}

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

/// An end that is due.
fn end(due_at: Timestamp) -> Vec<NewNode> {
    vec![NewNode { due_at: Some(due_at), ..silent(NodeBody::End, 0, Vec::new()) }]
}

/// An execution whose end cannot take its step: it waits for another one at a gate that it does not have.
async fn poisoned(records: &dyn Records, due_at: Timestamp) -> ExecutionId {
    let id = execution_id();
    let position = GroupPosition { group: "none".into(), after: Some((execution_id(), 99)) };
    let spec =
        tidemill_services::ports::ExecutionSpec { group: Some(position), ..spec(id, &repo(), "poisoned", 0) };
    done(records, vec![create(spec, end(due_at))]).await;
    id
}

/// Hundreds of nodes that cannot take their turns, all due before one that can: it takes its turn in the same sweep, and the others
/// wait ever longer.
pub async fn failing_nodes_do_not_block_sweep(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let records = &*stores.records;
    let mut failing = Vec::new();
    for number in 0..MORE_THAN_ONE_SWEEP {
        failing.push(NodeKey { execution: poisoned(records, long_ago(number)).await, ix: 0 });
    }
    let good = made(records, flat(0)).await;
    let key = NodeKey { execution: good, ix: 0 };
    let if_version = node(records, key).await.version;
    let due_at = Some(long_ago(2 * MORE_THAN_ONE_SWEEP));
    done(records, vec![Write::SetDue { key, if_version, due_at }]).await;
    services.sweep.run().await.unwrap();
    let ended = records.execution(good).await.unwrap().unwrap();
    assert!(ended.state.status.is_terminal(), "{:?}", ended.state.status);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let now = subject.clock.now();
        let due = node(records, failing[0]).await.due_at.expect("it is tried again");
        assert!(due > now, "it is due later");
        for key in &failing {
            assert_eq!(node(records, *key).await.due_at, Some(due));
        }
        pauses.push(due.since_ms(now));
        subject.clock.turn(i64::try_from(due.since_ms(now)).unwrap());
        services.sweep.run().await.unwrap();
    }
    assert!(pauses[0] < pauses[1] && pauses[1] < pauses[2], "{pauses:?}");
    let failed = records.execution(failing[0].execution).await.unwrap().unwrap();
    assert_eq!(failed.state.status, ExecutionStatus::Pending, "nothing was done to it");
    // Nobody else is to find them due.
    for key in failing {
        let node = node(records, key).await;
        done(records, vec![Write::SetDue { key, if_version: node.version, due_at: None }]).await;
    }
}

/// Objects of which those of some executions' jobs cannot be deleted.
struct UndeletableObjects {
    of: Arc<dyn Objects>,
    stays: Vec<String>,
}

#[async_trait]
impl Objects for UndeletableObjects {
    async fn put_checked(&self, key: &str, sha256: Option<&str>, bytes: ByteStream) -> Result<ObjectInfo> {
        self.of.put_checked(key, sha256, bytes).await
    }
    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.of.info(key).await
    }
    async fn get(&self, key: &str) -> Result<ByteStream> {
        self.of.get(key).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        if self.stays.iter().any(|part| key.contains(part)) {
            return Err(Error::storage("removing an object", "it is locked"));
        }
        self.of.delete(key).await
    }
    async fn put_place(&self, key: &str, sum: Option<&ContentChecksum>) -> Result<UploadTarget> {
        self.of.put_place(key, sum).await
    }
    async fn get_address(&self, key: &str) -> Result<Option<String>> {
        self.of.get_address(key).await
    }
}

/// Hundreds of artifacts that cannot be removed, and all that is behind them goes on.
pub async fn undeletable_artifacts_do_not_block_expiry(subject: &StoresUnderTest) {
    let mut stores = subject.open().await;
    let records = stores.records.clone();
    // A job has sixteen of them.
    let (many, each) = (u32::try_from(MORE_THAN_ONE_SWEEP).unwrap(), 16);
    let locked = made(&*records, flat(many.div_ceil(each))).await;
    let free = made(&*records, flat(1)).await;
    let expired = |execution, number: u32| {
        let key = NodeKey { execution, ix: number / each };
        artifact(key, number % each, Some(long_ago(i64::from(number))))
    };
    let all: Vec<_> = (0..many).map(|number| expired(locked, number)).collect();
    let last = ArtifactRecord { expires_at: Some(long_ago(2 * MORE_THAN_ONE_SWEEP)), ..expired(free, 0) };
    let writes: Vec<Write> =
        all.iter().chain([&last]).map(|record| Write::PutArtifact(Box::new(record.clone()))).collect();
    for part in writes.chunks(50) {
        done(&*records, part.to_vec()).await;
    }
    let stays = all.iter().map(|record| record.job.to_string()).collect();
    stores.objects = Arc::new(UndeletableObjects { of: stores.objects.clone(), stays });
    let services = services(stores);
    for _ in 0..2 {
        services.sweep.run().await.unwrap();
    }
    assert_eq!(records.artifacts(free).await.unwrap(), []);
    let now = subject.clock.now();
    let left = records.artifacts(locked).await.unwrap();
    assert_eq!(left.len(), many as usize, "their records stay, as they do");
    assert!(left.iter().all(|record| record.expires_at.is_some_and(|at| at > now)), "they are tried later");
    let removed: Vec<Write> = left.iter().map(|record| Write::DeleteArtifact(record.id)).collect();
    for part in removed.chunks(50) {
        done(&*records, part.to_vec()).await;
    }
}
