//! What of an execution never changes and may be large: specs of nodes, in packed chunks beside the table's
//! other items, or in S3 when they are large.

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

/// Nodes of one chunk. It is part of the stored format.
const NODES_PER_CHUNK: u32 = 32;
/// What is larger when packed goes to S3.
pub const MAX_INLINE_SIZE: usize = 100_000;
/// Chunks that are kept at hand: they never change, and a warm function serves many jobs of one execution.
const CACHE_CAPACITY: usize = 64;
/// What is larger in the table is not kept.
const MAX_CACHED_SIZE: usize = 64_000;

/// Specs by their place in the chunk; `None`: it lies in the node's own item.
type ChunkSpecs = Vec<Option<NodeSpec>>;
type SharedChunk = Arc<ChunkSpecs>;

/// The definitions of all executions.
#[derive(Debug)]
pub struct Definitions {
    table: Table,
    objects: S3Objects,
    kept: Mutex<VecDeque<(String, u32, SharedChunk)>>,
}

impl Definitions {
    pub fn new(table: Table, objects: S3Objects) -> Self {
        Self { table, objects, kept: Mutex::default() }
    }

    /// The items that define `nodes`; what is large is put into S3 by this.
    pub async fn items(&self, execution: ExecutionId, nodes: &[(u32, NewNode)]) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for part in nodes.chunk_by(|(one, _), (next, _)| one / NODES_PER_CHUNK == next / NODES_PER_CHUNK) {
            let Some((first, _)) = part.first() else { continue };
            let mut specs = ChunkSpecs::new();
            for (ix, node) in part {
                let place = (ix % NODES_PER_CHUNK) as usize;
                specs.resize(place, None);
                specs.push(Some(node.spec.clone()));
            }
            let mut item = keys::chunk(&execution.home(), first / NODES_PER_CHUNK).item();
            self.place(&mut item, pack(&specs)?, execution).await?;
            items.push(item);
        }
        Ok(items)
    }

    /// Puts packed bytes into an item, or into S3 and its key into the item.
    async fn place(&self, item: &mut Item, packed: Vec<u8>, execution: ExecutionId) -> Result<()> {
        if packed.len() <= MAX_INLINE_SIZE {
            item.insert("d".into(), binary(packed));
        } else {
            item.insert("o".into(), text(self.store(execution, packed).await?));
        }
        Ok(())
    }

    /// Stores packed bytes of an execution as an object, and gives its key.
    pub async fn store(&self, execution: ExecutionId, packed: Vec<u8>) -> Result<String> {
        let key = format!("definitions/{execution}/{}", Uuid::now_v7());
        self.objects.put_whole(&key, packed).await?;
        Ok(key)
    }

    /// The packed bytes of an object that [`Self::store`] made.
    pub async fn load(&self, key: &str) -> Result<Vec<u8>> {
        self.objects.get_whole(key).await
    }

    /// The spec of a node; `None`: the execution has no such node.
    pub async fn node(&self, home: &str, ix: u32) -> Result<Option<NodeSpec>> {
        let chunk = self.chunk(home, ix / NODES_PER_CHUNK).await?;
        Ok(chunk.and_then(|chunk| chunk.get((ix % NODES_PER_CHUNK) as usize).cloned().flatten()))
    }

    async fn chunk(&self, home: &str, number: u32) -> Result<Option<SharedChunk>> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, chunk)) = lock().iter().find(|(of, at, _)| of == home && *at == number) {
            return Ok(Some(chunk.clone()));
        }
        let key = keys::chunk(home, number);
        // It was written once, before its execution was: mostly the cheaper read finds it.
        let mut item = self.table.get(&key, false).await?;
        if item.is_none() {
            item = self.table.get(&key, true).await?;
        }
        let Some(item) = item else { return Ok(None) };
        let chunk: SharedChunk = Arc::new(self.read(&item).await?);
        if get_binary(&item, "d").is_some_and(|packed| packed.len() <= MAX_CACHED_SIZE) {
            let mut kept = lock();
            kept.truncate(CACHE_CAPACITY - 1);
            kept.push_front((home.to_owned(), number, chunk.clone()));
        }
        Ok(Some(chunk))
    }

    async fn read(&self, item: &Item) -> Result<ChunkSpecs> {
        if let Some(packed) = get_binary(item, "d") {
            return unpack(packed);
        }
        let key = get_text(item, "o").ok_or_else(|| {
            Error::storage("reading an execution's definition", "an item of it has neither bytes nor a key")
        })?;
        unpack(&self.load(key).await?)
    }
}
