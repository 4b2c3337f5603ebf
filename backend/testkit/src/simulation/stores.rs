//! Stores with injected faults: each call takes time, may fail before or after its effect, and may be where its server dies.

use super::{
    faults::{EventCounts, FaultRates},
    world::World,
};
use crate::memory::{MemoryDocuments, MemoryKeys, MemoryLogs, MemoryObjects, MemoryQueue};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_core::execution::cost::Usage;
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::{
    api::ContentChecksum,
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken},
    time::Timestamp,
};
use tidemill_services::Error;
use tidemill_services::Result;
use tidemill_services::Stores;
use tidemill_services::ports::{
    ArtifactRecord, ByteStream, Clock, Commit, DeadLetter, Document, DocumentKey, Documents, DueNode,
    ExecutionRecord, ExecutionSnapshot, ExecutionState, Ids, JobQueue, KeyRecord, ListFilter, Logs, Message,
    MessageContext, NewDocument, Node, NodeKey, ObjectInfo, Objects, QueuedJob, Records, UploadTarget, Write,
};
use uuid::{Builder, Uuid};

/// The stores that all servers share, and the faults of access to them.
pub struct SharedStores {
    pub world: Arc<World>,
    pub chances: FaultRates,
    pub tally: Arc<EventCounts>,
    /// Whether faults have stopped.
    pub quiet: AtomicBool,
    pub records: Arc<dyn Records>,
    pub queue: Arc<MemoryQueue>,
    pub logs: Arc<dyn Logs>,
    pub objects: Arc<dyn Objects>,
    pub documents: Arc<dyn Documents>,
}

/// A clock with a constant offset.
pub struct SkewedClock {
    pub world: Arc<World>,
    pub offset_ms: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.world.now() + self.offset_ms)
    }
}

struct SeededIds(Arc<World>);

impl Ids for SeededIds {
    fn execution(&self) -> ExecutionId {
        let millis = u64::try_from(self.0.now()).unwrap_or(0);
        let random = self.0.random_u128().to_be_bytes();
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&random[..10]);
        ExecutionId(Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
    }

    fn lease(&self) -> LeaseToken {
        LeaseToken(Uuid::from_u128(self.0.random_u128()))
    }
}

impl SharedStores {
    pub fn new(
        world: Arc<World>,
        chances: FaultRates,
        tally: Arc<EventCounts>,
        records: Arc<dyn Records>,
    ) -> Arc<Self> {
        let clock = Arc::new(SkewedClock { world: world.clone(), offset_ms: 0 });
        Arc::new(Self {
            world,
            chances,
            tally,
            quiet: AtomicBool::new(false),
            records,
            queue: Arc::new(MemoryQueue::new(clock)),
            logs: Arc::new(MemoryLogs::default()),
            objects: Arc::new(MemoryObjects::default()),
            documents: Arc::new(MemoryDocuments::default()),
        })
    }

    /// Whether to inject a fault now, with this probability; an injected fault is counted.
    pub fn inject(&self, per_mille: u32, what: &'static str) -> bool {
        let strikes = !self.quiet.load(Ordering::Relaxed) && self.world.random_chance(per_mille);
        if strikes {
            self.tally.count(what);
            self.world.record_event(format_args!("fault: {what}"));
        }
        strikes
    }

    /// Returns the stores of a server whose clock is off by `skew_ms`.
    pub fn stores(self: &Arc<Self>, skew_ms: i64) -> Stores {
        let stores = Arc::new(FaultyStores(self.clone()));
        Stores {
            records: stores.clone(),
            documents: stores.clone(),
            keys: Arc::new(MemoryKeys),
            queue: stores.clone(),
            objects: stores.clone(),
            logs: stores,
            clock: Arc::new(SkewedClock { world: self.world.clone(), offset_ms: skew_ms }),
            ids: Arc::new(SeededIds(self.world.clone())),
        }
    }
}

/// Adapters that inject faults into calls of the shared stores.
struct FaultyStores(Arc<SharedStores>);

impl FaultyStores {
    /// Waits for the duration of a call: usually short, so that concurrent changes are rare; sometimes as long as a caller waits.
    async fn take_time(&self) {
        let shared = &self.0;
        let slow = shared.inject(shared.chances.slow, "slow store");
        let ms = shared.world.random_below(if slow { 5_000 } else { 12 });
        shared.world.sleep(ms).await;
    }

    async fn before(&self) -> Result<()> {
        let shared = &self.0;
        self.take_time().await;
        if shared.inject(shared.chances.throttle, "throttled") {
            return Err(Error::storage("calling a store", "throttled"));
        }
        Ok(())
    }

    async fn read<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.before().await?;
        work.await
    }

    async fn write<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.before().await?;
        let outcome = work.await;
        let shared = &self.0;
        self.take_time().await;
        if shared.inject(shared.chances.landed, "timed out after its effect") {
            return Err(Error::storage("calling a store", "timed out"));
        }
        outcome
    }
}

#[async_trait]
impl Records for FaultyStores {
    async fn commit(&self, writes: Vec<Write>) -> Result<Commit> {
        let shared = &self.0;
        if shared.inject(shared.chances.conflict, "spurious conflict") {
            self.before().await?;
            return Ok(Commit::Conflict);
        }
        self.write(shared.records.commit(writes)).await
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        self.read(self.0.records.execution(id)).await
    }

    async fn execution_state(&self, id: ExecutionId) -> Result<Option<(ExecutionState, u64)>> {
        self.read(self.0.records.execution_state(id)).await
    }

    async fn revision(&self, id: ExecutionId) -> Result<Option<u64>> {
        self.read(self.0.records.revision(id)).await
    }

    async fn snapshot(&self, id: ExecutionId, known: Option<u64>) -> Result<Option<ExecutionSnapshot>> {
        self.read(self.0.records.snapshot(id, known)).await
    }

    async fn executions(&self, filter: &ListFilter) -> Result<(Vec<ExecutionRecord>, bool)> {
        self.read(self.0.records.executions(filter)).await
    }

    async fn live_executions(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<ExecutionId>> {
        self.read(self.0.records.live_executions(after, limit)).await
    }

    async fn nodes(&self, execution: ExecutionId, ixs: &[u32]) -> Result<Vec<Node>> {
        self.read(self.0.records.nodes(execution, ixs)).await
    }

    async fn all_nodes(&self, execution: ExecutionId) -> Result<Vec<Node>> {
        self.read(self.0.records.all_nodes(execution)).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Node>> {
        self.read(self.0.records.job(id)).await
    }

    async fn upcoming(&self, execution: ExecutionId, from: u32, limit: usize) -> Result<Vec<u32>> {
        self.read(self.0.records.upcoming(execution, from, limit)).await
    }

    async fn key(&self, key: &str) -> Result<Option<KeyRecord>> {
        self.read(self.0.records.key(key)).await
    }

    async fn due_nodes(&self, now: Timestamp, limit: usize) -> Result<Vec<DueNode>> {
        let shared = &self.0;
        // A stale index: it does not list nodes that became due in the last half minute.
        let is_stale = shared.inject(shared.chances.stale_listing, "late listing");
        let until = if is_stale { now.plus_ms(-30_000) } else { now };
        self.read(shared.records.due_nodes(until, limit)).await
    }

    async fn postpone(&self, late: DueNode, until: Timestamp) -> Result<bool> {
        self.write(self.0.records.postpone(late, until)).await
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>> {
        self.read(self.0.records.artifact(id)).await
    }

    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<ArtifactRecord>> {
        self.read(self.0.records.artifacts(execution)).await
    }

    async fn artifacts_of(&self, job: JobId) -> Result<Vec<ArtifactRecord>> {
        self.read(self.0.records.artifacts_of(job)).await
    }

    async fn expired_artifacts(&self, now: Timestamp, limit: usize) -> Result<Vec<ArtifactRecord>> {
        self.read(self.0.records.expired_artifacts(now, limit)).await
    }

    async fn dead_letters(
        &self,
        before: Option<DeadLetter>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, bool)> {
        self.read(self.0.records.dead_letters(before, limit)).await
    }

    async fn remove_execution(&self, id: ExecutionId) -> Result<()> {
        self.write(self.0.records.remove_execution(id)).await
    }

    async fn wait_for_change(&self, seen: u64) -> u64 {
        self.0.world.sleep(500).await;
        seen.wrapping_add(1)
    }

    async fn usage(&self, id: ExecutionId) -> Result<Usage> {
        self.read(self.0.records.usage(id)).await
    }
}

#[async_trait]
impl Documents for FaultyStores {
    async fn get(&self, key: &DocumentKey) -> Result<Option<Document>> {
        FaultyStores::read(self, self.0.documents.get(key)).await
    }

    async fn put(&self, document: NewDocument, if_version: Option<u64>) -> Result<bool> {
        self.write(self.0.documents.put(document, if_version)).await
    }

    async fn delete(&self, key: &DocumentKey, if_version: Option<u64>) -> Result<bool> {
        self.write(self.0.documents.delete(key, if_version)).await
    }

    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Document>, bool)> {
        FaultyStores::read(self, self.0.documents.list(kind, prefix, after, limit)).await
    }

    async fn due(&self, kind: &str, now: Timestamp, limit: usize) -> Result<Vec<Document>> {
        let shared = &self.0;
        // A stale index: it still lists documents that are no longer due.
        let is_stale = shared.inject(shared.chances.stale_listing, "late listing");
        let until = if is_stale { now.plus_ms(60_000) } else { now };
        FaultyStores::read(self, shared.documents.due(kind, until, limit)).await
    }
}

#[async_trait]
impl JobQueue for FaultyStores {
    async fn send(&self, messages: &[QueuedJob], context: MessageContext<'_>) -> Result<()> {
        let shared = &self.0;
        if shared.inject(shared.chances.partial_send, "partial batch") {
            let count = usize::try_from(shared.world.random_below(messages.len() as u64)).unwrap_or(0);
            self.write(shared.queue.send(&messages[..count], context)).await?;
            return Err(Error::storage("sending", "some messages were not sent"));
        }
        self.write(shared.queue.send(messages, context)).await
    }

    fn route(&self, labels: &Labels) -> Option<Labels> {
        Some(labels.clone())
    }

    async fn receive(
        &self,
        of: Option<ExecutionId>,
        labels: &Labels,
        hide_ms: u64,
        _: Duration,
    ) -> Result<Option<Message>> {
        self.write(self.0.queue.receive(of, labels, hide_ms, Duration::ZERO)).await
    }

    async fn delete(&self, message: &Message) -> Result<()> {
        self.write(self.0.queue.delete(message)).await
    }

    async fn give_back(&self, message: &Message) -> Result<()> {
        self.write(self.0.queue.give_back(message)).await
    }
}

#[async_trait]
impl Logs for FaultyStores {
    async fn append(&self, job: JobId, attempt: u32, offset: u64, bytes: &[u8]) -> Result<u64> {
        self.write(self.0.logs.append(job, attempt, offset, bytes)).await
    }

    async fn read(&self, job: JobId, attempt: u32, offset: u64, limit: usize) -> Result<(Bytes, u64)> {
        FaultyStores::read(self, self.0.logs.read(job, attempt, offset, limit)).await
    }

    async fn finish(&self, job: JobId, attempt: u32) -> Result<()> {
        self.write(self.0.logs.finish(job, attempt)).await
    }

    async fn remove(&self, job: JobId, attempt: u32) -> Result<()> {
        self.write(self.0.logs.remove(job, attempt)).await
    }
}

#[async_trait]
impl Objects for FaultyStores {
    async fn put_checked(&self, key: &str, sha256: Option<&str>, bytes: ByteStream) -> Result<ObjectInfo> {
        self.write(self.0.objects.put_checked(key, sha256, bytes)).await
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        FaultyStores::read(self, self.0.objects.info(key)).await
    }

    async fn get(&self, key: &str) -> Result<ByteStream> {
        FaultyStores::read(self, self.0.objects.get(key)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.write(self.0.objects.delete(key)).await
    }

    async fn upload_target(&self, key: &str, sum: Option<&ContentChecksum>) -> Result<UploadTarget> {
        self.0.objects.upload_target(key, sum).await
    }

    async fn download_url(&self, key: &str) -> Result<Option<String>> {
        self.0.objects.download_url(key).await
    }
}

/// Formats the key of a node for events.
pub fn node_label(key: NodeKey) -> String {
    format!("{}#{}", &key.execution.to_string()[24..], key.ix)
}
