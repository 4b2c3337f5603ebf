//! Logs as contiguous packed chunks.
//!
//! A chunk is an item of the table, or an object that an item names when the chunk is large. An append is a conditional
//! put at the end that was read; a concurrent append fails that condition and reads the end again, so no byte is stored
//! twice or lost. After an attempt its chunks are joined into objects of some MiB each.

use super::{
    backoff::pause,
    keys,
    objects::S3Objects,
    table::{
        Change, Item, Key, Query, Table, WriteOutcome, binary, get_binary, get_number, get_text, number, text,
    },
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use tidemill_core::ids::JobId;
use tidemill_services::error::{Error, Result};
use tidemill_services::pack::{pack_bytes, unpack_bytes};
use tidemill_services::ports::{Clock, Logs};
use uuid::Uuid;

/// A packed chunk that is larger is stored as an object: above this size a PUT costs less than the write units.
const MAX_INLINE_SIZE: usize = 8 << 10;
/// A packed log that is smaller stays in the table: an object would cost more than it saves.
const MIN_OBJECT_SIZE: usize = 4 << 10;
/// Bytes, before packing, of one object of a finished log.
const LOG_OBJECT_SIZE: u64 = 8 << 20;
/// Maximum attempts to append a chunk.
const MAX_ROUNDS: u32 = 100;

/// Logs in the table and the bucket.
pub struct AwsLogs {
    table: Table,
    objects: S3Objects,
    clock: Arc<dyn Clock>,
    keep_days: Option<u32>,
}

impl std::fmt::Debug for AwsLogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsLogs").field("table", &self.table).finish_non_exhaustive()
    }
}

/// A chunk, parsed from its item.
struct LogChunk {
    begin: u64,
    end: u64,
    packed: ChunkLocation,
}

enum ChunkLocation {
    Inline(Vec<u8>),
    Object(String),
}

impl LogChunk {
    fn of(item: &Item) -> Result<Self> {
        let damaged = || Error::storage("reading log bytes", "a chunk's item is damaged");
        let begin = get_text(item, "sk").and_then(|sort_key| sort_key.parse().ok()).ok_or_else(damaged)?;
        let end = get_number(item, "e").ok_or_else(damaged)?;
        let packed = match (get_binary(item, "d"), get_text(item, "o")) {
            (Some(bytes), _) => ChunkLocation::Inline(bytes.to_vec()),
            (None, Some(key)) => ChunkLocation::Object(key.to_owned()),
            (None, None) => return Err(damaged()),
        };
        Ok(Self { begin, end, packed })
    }

    const fn size(&self) -> usize {
        match &self.packed {
            ChunkLocation::Inline(bytes) => bytes.len(),
            ChunkLocation::Object(_) => usize::MAX / 4,
        }
    }
}

impl AwsLogs {
    pub(super) fn new(
        table: Table,
        objects: S3Objects,
        clock: Arc<dyn Clock>,
        keep_days: Option<u32>,
    ) -> Self {
        Self { table, objects, clock, keep_days }
    }

    async fn query(&self, query: Query, pk: &str) -> Result<Vec<Item>> {
        let mut query = query;
        query.values.insert(":pk".to_owned(), text(pk));
        query.consistent = true;
        self.table.query(query).await
    }

    /// Returns the end offset of the stored bytes.
    async fn end(&self, pk: &str) -> Result<u64> {
        let last = Query {
            condition: "pk = :pk",
            descending: true,
            limit: Some(1),
            projection: Some("e"),
            ..Query::default()
        };
        Ok(self.query(last, pk).await?.first().and_then(|item| get_number(item, "e")).unwrap_or(0))
    }

    /// Puts a chunk at the end of the log; false: another writer appended first.
    async fn put(&self, pk: &str, begin: u64, bytes: &[u8]) -> Result<bool> {
        let packed = pack_bytes(bytes)?;
        let mut item = Key::new(pk, keys::log_sort_key(begin)).item();
        item.insert("e".into(), number(begin + bytes.len() as u64));
        if packed.len() <= MAX_INLINE_SIZE {
            item.insert("d".into(), binary(packed));
        } else {
            item.insert("o".into(), text(self.store(pk, packed).await?));
        }
        self.set_expiry(&mut item);
        let change = Change::Put { item, condition: Some("attribute_not_exists(pk)"), values: Item::new() };
        for round in 0..MAX_ROUNDS {
            match self.table.write(vec![change.clone()]).await? {
                WriteOutcome::Committed => return Ok(true),
                WriteOutcome::ConditionFailed(_) => return Ok(false),
                WriteOutcome::Contended => pause(round).await,
            }
        }
        Err(Error::storage("storing log bytes", "too many concurrent writers of one log; try again"))
    }

    fn set_expiry(&self, item: &mut Item) {
        if let Some(days) = self.keep_days {
            let seconds = self.clock.now().0 / 1000 + i64::from(days) * 86_400;
            item.insert("ttl".into(), number(seconds));
        }
    }

    async fn store(&self, pk: &str, packed: Vec<u8>) -> Result<String> {
        // A new name each time: two concurrent appends must not write to the same object.
        let key = format!("logs/{}/{}", pk.trim_start_matches("l#").replace('#', "/"), Uuid::now_v7());
        self.objects.put_whole(&key, packed).await?;
        Ok(key)
    }

    async fn bytes(&self, chunk: &LogChunk) -> Result<Bytes> {
        let unpacked = match &chunk.packed {
            ChunkLocation::Inline(packed) => unpack_bytes(packed)?,
            ChunkLocation::Object(key) => match self.objects.get_whole(key).await {
                Err(Error::NotFound(_)) => {
                    return Err(Error::NotFound(
                        "this part of the log has expired: the deployment keeps logs for a limited time"
                            .into(),
                    ));
                }
                result => unpack_bytes(&result?)?,
            },
        };
        Ok(unpacked.into())
    }

    /// Joins these chunks into one object, and replaces them by it.
    async fn join(&self, pk: &str, chunks: &[LogChunk]) -> Result<()> {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return Ok(()) };
        let mut joined = BytesMut::new();
        for chunk in chunks {
            joined.extend_from_slice(&self.bytes(chunk).await?);
        }
        let mut item = Key::new(pk, keys::log_sort_key(first.begin)).item();
        item.insert("e".into(), number(last.end));
        item.insert("o".into(), text(self.store(pk, pack_bytes(&joined)?).await?));
        self.set_expiry(&mut item);
        // From now on the first item covers all bytes; if this process ends here, the other chunks are redundant.
        self.table.write(vec![Change::Put { item, condition: None, values: Item::new() }]).await?;
        let old: Vec<Key> =
            chunks[1..].iter().map(|chunk| Key::new(pk, keys::log_sort_key(chunk.begin))).collect();
        self.table.delete_all(&old).await?;
        for chunk in chunks {
            if let ChunkLocation::Object(key) = &chunk.packed {
                tidemill_services::ports::Objects::delete(&self.objects, key).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Logs for AwsLogs {
    async fn append(&self, job: JobId, attempt: u32, offset: u64, bytes: &[u8]) -> Result<u64> {
        let pk = keys::log(job, attempt);
        // The first append assumes an empty log, which saves a read.
        let mut end = if offset == 0 && !bytes.is_empty() { 0 } else { self.end(&pk).await? };
        loop {
            if offset > end {
                return Err(Error::Conflict(format!(
                    "the log of job {job} has {end} bytes; an append at offset {offset} leaves a gap"
                )));
            }
            let known = usize::try_from(end - offset).unwrap_or(usize::MAX).min(bytes.len());
            let new = &bytes[known..];
            if new.is_empty() {
                return Ok(end);
            }
            if self.put(&pk, end, new).await? {
                return Ok(end + new.len() as u64);
            }
            end = self.end(&pk).await?;
        }
    }

    async fn read(&self, job: JobId, attempt: u32, offset: u64, limit: usize) -> Result<(Bytes, u64)> {
        let pk = keys::log(job, attempt);
        let stored = self.end(&pk).await?;
        if offset >= stored || limit == 0 {
            return Ok((Bytes::new(), stored));
        }
        let sort_key = |name: &str, offset| (name.to_owned(), text(keys::log_sort_key(offset)));
        let begin = Query {
            condition: "pk = :pk AND sk <= :at",
            values: Item::from([sort_key(":at", offset)]),
            descending: true,
            limit: Some(1),
            projection: Some("sk"),
            ..Query::default()
        };
        let begin = self.query(begin, &pk).await?;
        let begin = begin.first().and_then(|item| get_text(item, "sk")).unwrap_or_default().to_owned();
        let until = offset.saturating_add(limit as u64).min(stored);
        let chunks = Query {
            condition: "pk = :pk AND sk BETWEEN :begin AND :until",
            values: Item::from([(":begin".to_owned(), text(begin)), sort_key(":until", until - 1)]),
            ..Query::default()
        };
        let mut bytes_read = BytesMut::new();
        let mut next = offset;
        for item in self.query(chunks, &pk).await? {
            let chunk = LogChunk::of(&item)?;
            if chunk.end <= next || chunk.begin > next || next >= until {
                // A redundant chunk that was joined but not deleted.
                continue;
            }
            let bytes = self.bytes(&chunk).await?;
            let from = usize::try_from(next - chunk.begin).unwrap_or(usize::MAX).min(bytes.len());
            let to = usize::try_from(until - chunk.begin).unwrap_or(usize::MAX).min(bytes.len());
            bytes_read.extend_from_slice(&bytes[from..to]);
            next = chunk.begin + to as u64;
        }
        Ok((bytes_read.freeze(), stored))
    }

    async fn remove(&self, job: JobId, attempt: u32) -> Result<()> {
        let pk = keys::log(job, attempt);
        let items = self
            .query(Query { condition: "pk = :pk", projection: Some("pk, sk, o"), ..Query::default() }, &pk);
        let items = items.await?;
        // The items are deleted last: after a crash between the two, they are found again.
        for object in items.iter().filter_map(|item| get_text(item, "o")) {
            tidemill_services::ports::Objects::delete(&self.objects, object).await?;
        }
        let keys = items.iter().filter_map(|item| get_text(item, "sk")).map(|sk| Key::new(&pk, sk));
        self.table.delete_all(&keys.collect::<Vec<_>>()).await
    }

    async fn finish(&self, job: JobId, attempt: u32) -> Result<()> {
        let pk = keys::log(job, attempt);
        let items = self.query(Query { condition: "pk = :pk", ..Query::default() }, &pk).await?;
        let chunks = items.iter().map(LogChunk::of).collect::<Result<Vec<_>>>()?;
        if chunks.iter().map(LogChunk::size).sum::<usize>() < MIN_OBJECT_SIZE {
            return Ok(());
        }
        let mut group: Vec<LogChunk> = Vec::new();
        for chunk in chunks {
            let fits = group.first().is_none_or(|first| chunk.end - first.begin <= LOG_OBJECT_SIZE);
            if !fits {
                self.join_unless_joined(&pk, &group).await?;
                group.clear();
            }
            group.push(chunk);
        }
        self.join_unless_joined(&pk, &group).await
    }
}

impl AwsLogs {
    async fn join_unless_joined(&self, pk: &str, group: &[LogChunk]) -> Result<()> {
        match group {
            [LogChunk { packed: ChunkLocation::Object(_), .. }] => Ok(()),
            group => self.join(pk, group).await,
        }
    }
}
