//! Ports beside the records: the queue, objects, logs, the clock and new identifiers.

use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::{collections::BTreeMap, fmt, time::Duration};
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::{
    api::ContentChecksum,
    ids::{ExecutionId, JobId, LeaseToken},
    records::{NodeKey, QueuedJob},
    time::Timestamp,
};

/// Bytes as they come.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// A job id that was received from the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The job.
    pub node: NodeKey,
    /// Names this delivery; a later delivery of the same message has another one.
    pub receipt: String,
}

/// Ids of jobs that are ready. Durable; delivers at least once, in no promised order.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Adds messages of one execution that carry its `trace`, each visible after its delay. A job that is in the queue
    /// already is delivered once more, whoever has received it, and not later than it would have been.
    async fn send(&self, messages: &[QueuedJob], trace: Option<&str>) -> Result<()>;
    /// Whether jobs that demand these labels can be sent.
    fn serves(&self, labels: &Labels) -> bool;
    /// Takes a visible message, of `execution` if one is named, whose labels are all among `labels`, and hides it for
    /// `hide_ms`; waits at most `wait`.
    async fn receive(
        &self,
        execution: Option<ExecutionId>,
        labels: &Labels,
        hide_ms: u64,
        wait: Duration,
    ) -> Result<Option<Message>>;
    /// Removes a message. A receipt that is no longer the newest is no error; it may remove the message or not.
    async fn delete(&self, message: &Message) -> Result<()>;
    /// Makes a received message visible again at once.
    async fn give_back(&self, message: &Message) -> Result<()>;
}

/// What was stored under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex; absent where the store cannot tell.
    pub sha256: Option<String>,
}

/// Where an object's bytes are to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadTarget {
    /// Through the API.
    Api,
    /// Straight into the store, which has to know what they come to first.
    SumNeeded,
    /// Straight into the store, which takes no other bytes there.
    At(UploadUrl),
}

/// An address at which whoever has it may PUT an object for some minutes.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadUrl {
    /// The address.
    pub url: String,
    /// Headers that the request must have.
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address is as good as a token.
        f.debug_struct("PutAddress").finish_non_exhaustive()
    }
}

/// Large immutable bytes under keys of `[a-z0-9-/]`.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Stores the stream under `key`, whole or not at all, in place of what was there; durable when it returns.
    async fn put(&self, key: &str, bytes: ByteStream) -> Result<ObjectInfo> {
        self.put_checked(key, None, bytes).await
    }
    /// The same, if its SHA-256 is `sha256` (hex, lower case); else [`crate::Error::Invalid`], and what was there stays.
    async fn put_checked(&self, key: &str, sha256: Option<&str>, bytes: ByteStream) -> Result<ObjectInfo>;
    /// Size and hash of an object, as they were when it was put; `None` when there is none.
    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>>;
    /// The bytes of an object; [`crate::Error::NotFound`] when there is none.
    async fn get(&self, key: &str) -> Result<ByteStream>;
    /// Removes an object; removing what is not there is no error.
    async fn delete(&self, key: &str) -> Result<()>;
    /// Where bytes that come to `sum` are to be put.
    async fn put_place(&self, key: &str, sum: Option<&ContentChecksum>) -> Result<UploadTarget>;
    /// An address at which whoever has it may GET the object for some minutes; `None`: it must go through the API.
    async fn get_address(&self, key: &str) -> Result<Option<String>>;
}

/// Logs of attempts: bytes that only grow.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Appends `bytes` at `offset` and returns the stored length, durable. Bytes below the stored length are a
    /// repeat and are skipped; an offset above it is [`crate::Error::Conflict`] and changes nothing.
    async fn append(&self, job: JobId, attempt: u32, offset: u64, bytes: &[u8]) -> Result<u64>;
    /// At most `limit` bytes from `offset`, and the stored length.
    async fn read(&self, job: JobId, attempt: u32, offset: u64, limit: usize) -> Result<(Bytes, u64)>;
    /// Says that an attempt is over, so that its log can be moved to where it is kept cheapest. What it holds does not
    /// change, and bytes that come late are still taken.
    async fn finish(&self, job: JobId, attempt: u32) -> Result<()>;
}

/// The time; tests turn it by hand.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// New identifiers; tests make them from a seed.
pub trait Ids: Send + Sync {
    /// A new execution's id, a UUIDv7: those made in a later millisecond sort after it.
    fn execution(&self) -> ExecutionId;
    /// A new lease's token, which nobody can guess.
    fn lease(&self) -> LeaseToken;
}
