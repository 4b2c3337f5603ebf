//! Stores the nodes and the definition of an execution before the commit that records them.

use super::{
    definition::MAX_INLINE_SIZE,
    items::{self, SpecLocation},
    store::{DynamoRecords, MAX_ROUNDS},
};
use crate::{
    backoff::pause,
    keys,
    table::{Change, Item, Key, Query, WriteOutcome, get_text, number, text},
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashSet;
use tidemill_core::ids::ExecutionId;
use tidemill_services::error::{Error, Result};
use tidemill_services::pack::pack;
use tidemill_services::ports::{ExecutionSpec, ExecutionState, NewNode, repository_key};

/// Maximum nodes of an unplanned execution in one transaction, whose limit is 100 items.
const MAX_STAGED_NODES: usize = 90;
/// Transactions that are sent at the same time.
const MAX_CONCURRENT_BATCHES: usize = 8;

/// A new execution whose nodes and definition are stored, but which is not recorded yet.
pub(super) struct StagedExecution {
    pub(super) id: ExecutionId,
    pub(super) item: Item,
    pub(super) counter: Key,
    pub(super) keys: Vec<Key>,
}

impl DynamoRecords {
    /// Stores the nodes and the definition of an execution that is not recorded yet; nothing reads them before it is.
    /// `None`: the execution exists already.
    pub(super) async fn stage(
        &self,
        spec: &ExecutionSpec,
        state: &ExecutionState,
        nodes: &[(u32, NewNode)],
    ) -> Result<Option<StagedExecution>> {
        let id = spec.id;
        if self.get_item(&keys::execution(id)).await?.is_some() {
            return Ok(None);
        }
        // The definition of an unplanned execution is stored later, with its other nodes.
        let inline_specs = state.unplanned;
        let mut all = if inline_specs { Vec::new() } else { self.definitions.items(id, nodes).await? };
        let partitions = self.due_partitions().await?;
        for (ix, node) in nodes {
            all.push(items::new_node(id, (*ix, node), partitions, inline_specs)?);
        }
        let packed = pack(spec)?;
        let location = if packed.len() <= MAX_INLINE_SIZE / 10 {
            SpecLocation::Inline(packed)
        } else {
            SpecLocation::Object(self.definitions.store(id, packed).await?)
        };
        let mut item = items::new_execution(spec, state, location, 0)?;
        if let Some(expiry) = self.expiry() {
            for item in all.iter_mut().chain([&mut item]) {
                item.insert("ttl".into(), number(expiry));
            }
        }
        let key_of = |item: &Item| Some(Key::new(get_text(item, "pk")?, get_text(item, "sk")?));
        let keys = all.iter().filter_map(key_of).collect();
        self.table.put_all(all).await?;
        let counter = keys::run_number(&repository_key(&spec.repo), &spec.pipeline_name);
        Ok(Some(StagedExecution { id, item, counter, keys }))
    }

    /// Stores the other nodes of an unplanned execution. They are readable before the execution's state says that it is planned;
    /// readers ignore them until then. A concurrent caller does not overwrite existing nodes.
    pub(super) async fn stage_nodes(&self, id: ExecutionId, nodes: &[(u32, NewNode)]) -> Result<()> {
        let mut definition = self.definitions.items(id, nodes).await?;
        let mut puts = Vec::with_capacity(nodes.len());
        let partitions = self.due_partitions().await?;
        for (ix, node) in nodes {
            puts.push(items::new_node(id, (*ix, node), partitions, false)?);
        }
        if let Some(expiry) = self.expiry() {
            for item in definition.iter_mut().chain(&mut puts) {
                item.insert("ttl".into(), number(expiry));
            }
        }
        self.table.put_all(definition).await?;
        // All callers store the same batches, so a batch exists as a whole or not at all. One that an interrupted caller has stored is
        // not sent again: a condition that fails costs as much as a write.
        let stored = self.stored_nodes(id).await?;
        let is_stored = |batch: &&[Item]| {
            batch.first().and_then(|item| get_text(item, "sk")).is_some_and(|key| stored.contains(key))
        };
        let missing = puts.chunks(MAX_STAGED_NODES).filter(|batch| !is_stored(batch));
        let writes = missing.map(|batch| self.put_batch_once(batch)).collect::<Vec<_>>();
        stream::iter(writes).buffer_unordered(MAX_CONCURRENT_BATCHES).try_collect().await
    }

    /// Puts the items of a batch, all of them or, if another caller has put them, none.
    async fn put_batch_once(&self, batch: &[Item]) -> Result<()> {
        for round in 0..MAX_ROUNDS {
            let put = |item: &Item| Change::Put {
                item: item.clone(),
                condition: Some("attribute_not_exists(pk)"),
                values: Item::new(),
            };
            let written = self.table.write(batch.iter().map(put).collect()).await?;
            if !matches!(written, WriteOutcome::Contended) {
                return Ok(());
            }
            pause(round).await;
        }
        Err(Error::storage(
            "writing to the table",
            "too many concurrent writers of the same nodes; the next step stores the rest",
        ))
    }

    /// Returns the sort keys of an execution's stored items.
    async fn stored_nodes(&self, id: ExecutionId) -> Result<HashSet<String>> {
        let query = Query {
            condition: "pk = :pk",
            values: Item::from([(":pk".to_owned(), text(keys::home(id)))]),
            projection: Some("sk"),
            consistent: true,
            ..Query::default()
        };
        let items = self.table.query(query).await?;
        Ok(items.iter().filter_map(|item| get_text(item, "sk")).map(str::to_owned).collect())
    }
}
