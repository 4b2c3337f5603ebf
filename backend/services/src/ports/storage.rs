//! Ports for the queue, objects, logs, the clock and ids.

use super::records::repository_key;
use crate::error::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::{collections::BTreeMap, fmt, time::Duration};
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::{
    api::ContentChecksum,
    ids::{ExecutionId, JobId, LeaseToken, digest::sha256_hex},
    records::{NodeKey, QueuedJob},
    time::Timestamp,
};

/// A stream of bytes.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// A job id that was received from the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Node of the job.
    pub node: NodeKey,
    /// Identifies this delivery; a later delivery of the same message has another receipt.
    pub receipt: String,
}

/// What the messages of one call have in common.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessageContext<'a> {
    /// The group of the messages, of at most 64 letters and digits: that of a repository ([`message_group`]). The messages of one group
    /// must not delay those of others. Empty: no group.
    pub group: &'a str,
    /// The trace context of the execution.
    pub trace: Option<&'a str>,
}

/// Number of hex digits of a message group: short, as the embedded queue stores it with each message. If two repositories have the same,
/// they only share their turns.
const GROUP_DIGITS: usize = 12;

/// Returns the group of the messages of a repository.
#[must_use]
pub fn message_group(repo: &str) -> String {
    sha256_hex(repository_key(repo).as_bytes()).chars().take(GROUP_DIGITS).collect()
}

/// Queue of the ids of queued jobs. Durable; delivers at least once, in any order, but so that groups of messages take turns.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Adds messages of one execution, each visible after its delay. A job that is in the queue already is delivered once more, even if
    /// it was received, and not later than without this call.
    async fn send(&self, messages: &[QueuedJob], context: MessageContext<'_>) -> Result<()>;
    /// Returns the labels of the queue to which a job goes that requires `labels`; `None`: there is none.
    fn route(&self, labels: &Labels) -> Option<Labels>;
    /// Whether the queue accepts jobs that require these labels.
    fn serves(&self, labels: &Labels) -> bool {
        self.route(labels).is_some()
    }
    /// Receives a visible message whose labels are all among `labels`, only of `execution` if given, and hides it for `hide_ms`. Waits at
    /// most `wait`.
    async fn receive(
        &self,
        execution: Option<ExecutionId>,
        labels: &Labels,
        hide_ms: u64,
        wait: Duration,
    ) -> Result<Option<Message>>;
    /// Removes a message. With an outdated receipt, the call succeeds and may or may not remove the message.
    async fn delete(&self, message: &Message) -> Result<()>;
    /// Makes a received message visible at once.
    async fn give_back(&self, message: &Message) -> Result<()>;
}

/// Maximum length of an object's key, in bytes.
const MAX_OBJECT_KEY_LEN: usize = 1_000;
/// Maximum length of a part of an object's key, in bytes.
const MAX_KEY_PART_LEN: usize = 200;

/// Returns an error if `key` is not the key of an object: parts of a-z, 0-9 and -, joined by /. Every store checks keys with it.
pub fn check_object_key(key: &str) -> Result<()> {
    let is_valid = |part: &str| {
        (1..=MAX_KEY_PART_LEN).contains(&part.len())
            && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    if key.len() <= MAX_OBJECT_KEY_LEN && key.split('/').all(is_valid) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "invalid object key `{key}`: use parts of a-z, 0-9 and - of at most {MAX_KEY_PART_LEN} bytes, joined by /"
    )))
}

/// Size and hash of a stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 in hex, if the store knows it.
    pub sha256: Option<String>,
}

/// Where a client uploads the bytes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadTarget {
    /// Through the API.
    Api,
    /// To the store, which needs size and hash first.
    ChecksumRequired,
    /// To the store, at a URL that accepts only these bytes.
    Url(UploadUrl),
}

/// A presigned URL: its holder may PUT the object for some minutes.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadUrl {
    /// The URL.
    pub url: String,
    /// Headers that the request must send.
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is a credential.
        f.debug_struct("UploadUrl").finish_non_exhaustive()
    }
}

/// Large immutable objects under keys of `[a-z0-9-/]`.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Stores the stream under `key`, atomically, and replaces an earlier object; durable on return.
    async fn put(&self, key: &str, bytes: ByteStream) -> Result<ObjectInfo> {
        self.put_checked(key, None, bytes).await
    }
    /// Like [`Self::put`], if the SHA-256 is `sha256` (hex, lower case). Otherwise it returns [`crate::Error::Invalid`] and keeps the
    /// earlier object.
    async fn put_checked(&self, key: &str, sha256: Option<&str>, bytes: ByteStream) -> Result<ObjectInfo>;
    /// Returns size and hash of an object at the time of its upload; `None` if it does not exist.
    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>>;
    /// Returns the bytes of an object; [`crate::Error::NotFound`] if it does not exist.
    async fn get(&self, key: &str) -> Result<ByteStream>;
    /// Removes an object; succeeds if it does not exist.
    async fn delete(&self, key: &str) -> Result<()>;
    /// Returns where to upload bytes with this checksum.
    async fn upload_target(&self, key: &str, sum: Option<&ContentChecksum>) -> Result<UploadTarget>;
    /// Returns a presigned URL, whose holder may GET the object for some minutes; `None` if downloads go through the API.
    async fn download_url(&self, key: &str) -> Result<Option<String>>;
}

/// Append-only logs of attempts.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Appends `bytes` at `offset`, durably, and returns the stored length. Bytes below the stored length are a repetition and are
    /// skipped. An offset above it is [`crate::Error::Conflict`] and changes nothing.
    async fn append(&self, job: JobId, attempt: u32, offset: u64, bytes: &[u8]) -> Result<u64>;
    /// Returns at most `limit` bytes from `offset`, and the stored length.
    async fn read(&self, job: JobId, attempt: u32, offset: u64, limit: usize) -> Result<(Bytes, u64)>;
    /// Marks the log of an ended attempt as complete, so that the store can move it to cheaper storage. Its content does not change, and
    /// late bytes are still appended.
    async fn finish(&self, job: JobId, attempt: u32) -> Result<()>;
    /// Removes the log of an attempt; succeeds if there is none. To be called only when nothing appends to it any more.
    async fn remove(&self, job: JobId, attempt: u32) -> Result<()>;
}

/// The clock; tests set it.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

/// Generator of ids; tests derive them from a seed.
pub trait Ids: Send + Sync {
    /// Returns a new execution id, a UUIDv7: ids of a later millisecond sort after it.
    fn execution(&self) -> ExecutionId;
    /// Returns a new lease token, which cannot be guessed.
    fn lease(&self) -> LeaseToken;
}
