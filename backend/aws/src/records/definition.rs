//! Definitions of executions: the immutable specs of nodes, in packed chunks. A chunk is an item of the table, or an object
//! in S3 when it is large.

use crate::{
    keys,
    objects::S3Objects,
    table::{Item, Table, binary, get_binary, get_text, text},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_core::ids::ExecutionId;
use tidemill_services::error::{Error, Result};
use tidemill_services::pack::{pack, unpack};
use tidemill_services::ports::{NewNode, NodeSpec};
use uuid::Uuid;

/// Nodes per chunk. It is part of the stored format.
const NODES_PER_CHUNK: u32 = 32;
/// Maximum packed size of an item; larger data is stored in S3.
pub const MAX_INLINE_SIZE: usize = 100_000;
/// Cached chunks: they never change, and a warm function serves many jobs of one execution.
const CACHE_CAPACITY: usize = 64;
/// Maximum packed size of a cached chunk.
const MAX_CACHED_SIZE: usize = 64_000;

/// Specs by position in the chunk; `None`: the spec is in the node's own item.
type ChunkSpecs = Vec<Option<NodeSpec>>;
type SharedChunk = Arc<ChunkSpecs>;

/// The definitions of all executions.
#[derive(Debug)]
pub struct Definitions {
    table: Table,
    objects: S3Objects,
    cache: Mutex<VecDeque<(String, u32, SharedChunk)>>,
}

impl Definitions {
    pub fn new(table: Table, objects: S3Objects) -> Self {
        Self { table, objects, cache: Mutex::default() }
    }

    /// Returns the items that define `nodes`. Stores large chunks in S3.
    pub async fn items(&self, execution: ExecutionId, nodes: &[(u32, NewNode)]) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for chunk in nodes.chunk_by(|(one, _), (next, _)| one / NODES_PER_CHUNK == next / NODES_PER_CHUNK) {
            let Some((first, _)) = chunk.first() else { continue };
            let mut specs = ChunkSpecs::new();
            for (ix, node) in chunk {
                let position = (ix % NODES_PER_CHUNK) as usize;
                specs.resize(position, None);
                specs.push(Some(node.spec.clone()));
            }
            let mut item = keys::chunk(&execution.partition(), first / NODES_PER_CHUNK).item();
            self.put_bytes(&mut item, pack(&specs)?, execution).await?;
            items.push(item);
        }
        Ok(items)
    }

    /// Puts packed bytes into an item, or into an object that the item names.
    async fn put_bytes(&self, item: &mut Item, packed: Vec<u8>, execution: ExecutionId) -> Result<()> {
        if packed.len() <= MAX_INLINE_SIZE {
            item.insert("d".into(), binary(packed));
        } else {
            item.insert("o".into(), text(self.store(execution, packed).await?));
        }
        Ok(())
    }

    /// Stores packed bytes of an execution as an object, and returns its key.
    pub async fn store(&self, execution: ExecutionId, packed: Vec<u8>) -> Result<String> {
        let key = format!("definitions/{execution}/{}", Uuid::now_v7());
        self.objects.put_whole(&key, packed).await?;
        Ok(key)
    }

    /// Returns the packed bytes of an object that [`Self::store`] created.
    pub async fn load(&self, key: &str) -> Result<Vec<u8>> {
        self.objects.get_whole(key).await
    }

    /// Removes an object that [`Self::store`] created.
    pub async fn remove(&self, key: &str) -> Result<()> {
        tidemill_services::ports::Objects::delete(&self.objects, key).await
    }

    /// Returns the spec of a node; `None`: the execution has no such node.
    pub async fn node_spec(&self, home: &str, ix: u32) -> Result<Option<NodeSpec>> {
        let chunk = self.chunk(home, ix / NODES_PER_CHUNK).await?;
        Ok(chunk.and_then(|chunk| chunk.get((ix % NODES_PER_CHUNK) as usize).cloned().flatten()))
    }

    async fn chunk(&self, home: &str, number: u32) -> Result<Option<SharedChunk>> {
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, chunk)) = lock()
            .iter()
            .find(|(cached_home, cached_number, _)| cached_home == home && *cached_number == number)
        {
            return Ok(Some(chunk.clone()));
        }
        let key = keys::chunk(home, number);
        // A chunk is written once, before its execution is recorded, so an eventually consistent read usually finds it.
        let mut item = self.table.get(&key, false).await?;
        if item.is_none() {
            item = self.table.get(&key, true).await?;
        }
        let Some(item) = item else { return Ok(None) };
        let chunk: SharedChunk = Arc::new(self.read(&item).await?);
        if get_binary(&item, "d").is_some_and(|packed| packed.len() <= MAX_CACHED_SIZE) {
            let mut cache = lock();
            cache.truncate(CACHE_CAPACITY - 1);
            cache.push_front((home.to_owned(), number, chunk.clone()));
        }
        Ok(Some(chunk))
    }

    async fn read(&self, item: &Item) -> Result<ChunkSpecs> {
        if let Some(packed) = get_binary(item, "d") {
            return unpack(packed);
        }
        let key = get_text(item, "o").ok_or_else(|| {
            Error::storage("reading an execution's definition", "a chunk has neither bytes nor an object key")
        })?;
        unpack(&self.load(key).await?)
    }
}
