//! Lists due nodes, and removes orphaned ones.

use super::{items, store::DynamoRecords};
use crate::{
    keys,
    table::{Key, get_text},
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::{HashMap, HashSet};
use tidemill_core::{ids::ExecutionId, time::Timestamp};
use tidemill_services::error::Result;
use tidemill_services::ports::{DueNode, NodeKey};

/// Age at which the nodes of an execution that was never recorded are deleted.
const ORPHAN_AGE_MS: i64 = 3_600_000;
/// Maximum due nodes to read, as a multiple of the requested number, when many are orphans.
const MAX_ORPHAN_FACTOR: usize = 64;
/// Maximum number of partitions that are read at the same time.
const MAX_CONCURRENT_QUERIES: usize = 16;

impl DynamoRecords {
    pub(super) async fn due_nodes(&self, now: Timestamp, limit: usize) -> Result<Vec<DueNode>> {
        let partitions = self.read_due_partitions().await?;
        let mut reads = limit;
        loop {
            let parts: Vec<_> =
                (0..partitions).map(|part| self.due_keys(keys::due_partition_at(part), now, reads)).collect();
            let parts: Vec<Vec<(Timestamp, Key)>> =
                stream::iter(parts).buffered(MAX_CONCURRENT_QUERIES).try_collect().await?;
            let mut due: Vec<(Timestamp, Key)> = parts.into_iter().flatten().collect();
            due.sort_by(|(a, one), (b, other)| (a, &one.pk, &one.sk).cmp(&(b, &other.pk, &other.sk)));
            due.truncate(reads);
            let is_all = due.len() < reads;
            let homes: HashSet<&str> = due.iter().map(|(_, key)| key.pk.as_str()).collect();
            let executions = self.executions_at(&homes).await?;
            let mut nodes = Vec::with_capacity(due.len());
            let mut orphans = Vec::new();
            for (due_at, key) in due {
                match (executions.get(&key.pk), keys::node_ix(&key.sk)) {
                    (Some(execution), Some(ix)) => {
                        nodes.push(DueNode { key: NodeKey { execution: *execution, ix }, due_at });
                    }
                    _ => orphans.push(key),
                }
            }
            // Orphans that are too young to be deleted must not hide the nodes after them.
            if nodes.len() >= limit || is_all || reads >= limit.saturating_mul(MAX_ORPHAN_FACTOR) {
                if let Err(error) = self.remove_orphans(&orphans, now).await {
                    tracing::warn!(%error, "cannot delete nodes of executions that were never recorded");
                }
                nodes.truncate(limit);
                return Ok(nodes);
            }
            reads = reads.saturating_mul(4);
        }
    }

    /// Returns the executions recorded in these partitions.
    async fn executions_at(&self, homes: &HashSet<&str>) -> Result<HashMap<String, ExecutionId>> {
        let keys: Vec<Key> = homes.iter().map(|pk| Key::new(*pk, keys::EXECUTION)).collect();
        let items = self.table.get_all(&keys, true, Some("pk, x")).await?;
        let mut executions = HashMap::new();
        for item in &items {
            if let Some(pk) = get_text(item, "pk") {
                executions.insert(pk.to_owned(), items::execution_id(item)?);
            }
        }
        Ok(executions)
    }

    /// Deletes due nodes of executions that were staged and never recorded.
    async fn remove_orphans(&self, orphans: &[Key], now: Timestamp) -> Result<()> {
        let old: Vec<Key> = orphans
            .iter()
            .filter(|key| {
                let created_at = keys::home_of_partition(&key.pk)
                    .get(..12)
                    .and_then(|hex| i64::from_str_radix(hex, 16).ok());
                created_at.is_some_and(|at| now.0 - at > ORPHAN_AGE_MS)
            })
            .cloned()
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        tracing::info!(nodes = old.len(), "deleting nodes of executions that were never recorded");
        self.table.delete_all(&old).await
    }
}
