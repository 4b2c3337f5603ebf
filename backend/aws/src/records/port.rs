//! Implements the records port on the table.
//!
//! `docs/data-model.md` lists the access patterns with their costs.

use super::{items, list, store::DynamoRecords};
use crate::{
    keys,
    table::{Change, Item, Key, Query, WriteOutcome, get_binary, get_text, number, text},
};
use async_trait::async_trait;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tidemill_core::execution::{cost::Usage, status::JobStatus};
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::error::{Error, Result};
use tidemill_services::pack::unpack;
use tidemill_services::ports::{
    ArtifactRecord, Commit, DeadLetter, DueNode, ExecutionRecord, ExecutionSnapshot, ExecutionState,
    KeyRecord, ListFilter, Node, Records, Write,
};

/// The wait of `changed`.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Nodes that `upcoming` reads.
const MAX_LOOKAHEAD: usize = 64;

#[async_trait]
impl Records for DynamoRecords {
    async fn commit(&self, writes: Vec<Write>) -> Result<Commit> {
        self.commit_batch(writes).await
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        self.table.meter().attribute_to(&id.partition());
        let Some(item) = self.get_item(&keys::execution(id)).await? else { return Ok(None) };
        self.load_record(&item).await.map(Some)
    }

    async fn execution_state(&self, id: ExecutionId) -> Result<Option<(ExecutionState, u64)>> {
        let item = self.get_item(&keys::execution(id)).await?;
        item.as_ref().map(items::execution_state).transpose()
    }

    async fn revision(&self, id: ExecutionId) -> Result<Option<u64>> {
        Ok(self.snapshot(id, None).await?.map(|whole| whole.revision))
    }

    async fn snapshot(&self, id: ExecutionId, known: Option<u64>) -> Result<Option<ExecutionSnapshot>> {
        let items = self.execution_items(id).await?;
        // The execution's own item sorts last.
        let Some(execution) = items.last().filter(|item| get_text(item, "sk") == Some(keys::EXECUTION))
        else {
            return Ok(None);
        };
        let revision = items::revision(&items);
        if known == Some(revision) {
            return Ok(Some(ExecutionSnapshot { revision, content: None }));
        }
        let mut nodes = Vec::with_capacity(items.len());
        for item in &items[..items.len() - 1] {
            nodes.push(self.load_node(item).await?);
        }
        Ok(Some(ExecutionSnapshot { revision, content: Some((self.load_record(execution).await?, nodes)) }))
    }

    async fn executions(&self, filter: &ListFilter) -> Result<(Vec<ExecutionRecord>, bool)> {
        list::executions(self, filter).await
    }

    async fn live_executions(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<ExecutionId>> {
        list::live(self, after, limit).await
    }

    async fn nodes(&self, execution: ExecutionId, ixs: &[u32]) -> Result<Vec<Node>> {
        self.table.meter().attribute_to(&execution.partition());
        let items = match ixs {
            [] => return Ok(Vec::new()),
            [only] => self.get_item(&keys::node(execution, *only)).await?.into_iter().collect(),
            all => {
                let distinct: HashSet<u32> = all.iter().copied().collect();
                let keys: Vec<Key> = distinct.into_iter().map(|ix| keys::node(execution, ix)).collect();
                self.table.get_all(&keys, true, None).await?
            }
        };
        let mut by_ix = HashMap::with_capacity(items.len());
        for item in &items {
            let node = self.load_node(item).await?;
            by_ix.insert(node.key.ix, node);
        }
        Ok(ixs.iter().filter_map(|ix| by_ix.get(ix).cloned()).collect())
    }

    async fn all_nodes(&self, execution: ExecutionId) -> Result<Vec<Node>> {
        Ok(self
            .snapshot(execution, None)
            .await?
            .and_then(|whole| whole.content)
            .map(|(_, nodes)| nodes)
            .unwrap_or_default())
    }

    async fn job(&self, id: JobId) -> Result<Option<Node>> {
        self.table.meter().attribute_to(&id.partition());
        let Some(item) = self.get_item(&keys::job(id)).await? else { return Ok(None) };
        let node = self.load_node(&item).await?;
        Ok(Some(node).filter(|node| node.spec.job == Some(id)))
    }

    async fn upcoming(&self, execution: ExecutionId, from: u32, limit: usize) -> Result<Vec<u32>> {
        let items = self
            .table
            .query(Query {
                condition: "pk = :pk AND sk BETWEEN :from AND :last",
                values: Item::from([
                    (":pk".to_owned(), text(keys::home(execution))),
                    (":from".to_owned(), text(keys::node_sort_key(from))),
                    (":last".to_owned(), text(keys::AFTER_LAST_NODE)),
                ]),
                projection: Some("sk, #status"),
                limit: Some(MAX_LOOKAHEAD.max(limit)),
                ..Query::default()
            })
            .await?;
        let is_waiting =
            |status: &str| status == JobStatus::Pending.as_str() || status == JobStatus::Queued.as_str();
        let jobs = items.iter().filter_map(items::node_status);
        Ok(jobs.filter(|(_, status)| is_waiting(status)).map(|(ix, _)| ix).take(limit).collect())
    }

    async fn key(&self, key: &str) -> Result<Option<KeyRecord>> {
        let Some(item) = self.get_item(&keys::idempotency_key(key)).await? else { return Ok(None) };
        let packed = get_binary(&item, "r").ok_or_else(|| {
            Error::storage("reading a record", "the record of an idempotency key is missing")
        })?;
        unpack(packed).map(Some)
    }

    async fn due_nodes(&self, now: Timestamp, limit: usize) -> Result<Vec<DueNode>> {
        self.due_nodes(now, limit).await
    }

    async fn postpone(&self, late: DueNode, until: Timestamp) -> Result<bool> {
        let change = Change::Update {
            key: keys::node(late.key.execution, late.key.ix),
            update: "SET due = :until".to_owned(),
            condition: "due = :due",
            values: Item::from([
                (":due".to_owned(), number(late.due_at.0)),
                (":until".to_owned(), number(until.0)),
            ]),
        };
        match self.table.write(vec![change]).await? {
            WriteOutcome::Committed => Ok(true),
            // Another writer changes the node now, so it is not stuck.
            WriteOutcome::ConditionFailed(_) | WriteOutcome::Contended => Ok(false),
        }
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>> {
        self.table.meter().attribute_to(&id.partition());
        let Some(item) = self.get_item(&keys::artifact(id)).await? else { return Ok(None) };
        self.artifact_record(&item).await.map(Some)
    }

    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<ArtifactRecord>> {
        self.artifacts_in(&execution.partition(), None).await
    }

    async fn artifacts_of(&self, job: JobId) -> Result<Vec<ArtifactRecord>> {
        self.artifacts_in(&job.partition(), Some(job.ix())).await
    }

    async fn expired_artifacts(&self, now: Timestamp, limit: usize) -> Result<Vec<ArtifactRecord>> {
        let due = self.due_keys(keys::DUE_ARTIFACTS_PARTITION.to_owned(), now, limit).await?;
        let mut records = Vec::with_capacity(due.len());
        for (_, key) in due {
            // The index is eventually consistent: the artifact may be deleted already.
            if let Some(item) = self.get_item(&key).await? {
                records.push(self.artifact_record(&item).await?);
            }
        }
        Ok(records.into_iter().filter(|record| record.expires_at.is_some_and(|at| at <= now)).collect())
    }

    async fn dead_letters(
        &self,
        before: Option<DeadLetter>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, bool)> {
        let mut values = Item::from([(":pk".to_owned(), text(keys::DEAD_LETTERS))]);
        let condition = match &before {
            None => "pk = :pk",
            Some(before) => {
                values.insert(":before".to_owned(), text(keys::dead_letter_sort_key(before)));
                "pk = :pk AND sk < :before"
            }
        };
        let query = Query {
            condition,
            values,
            descending: true,
            consistent: true,
            limit: Some(limit.saturating_add(1)),
            ..Query::default()
        };
        let items = self.table.query(query).await?;
        let sort_keys = items.iter().filter_map(|item| get_text(item, "sk"));
        let mut letters: Vec<DeadLetter> = sort_keys.filter_map(keys::parse_dead_letter).collect();
        let more = letters.len() > limit;
        letters.truncate(limit);
        Ok((letters, more))
    }

    async fn remove_execution(&self, id: ExecutionId) -> Result<()> {
        self.remove_all(id).await
    }

    async fn wait_for_change(&self, seen: u64) -> u64 {
        tokio::time::sleep(POLL_INTERVAL).await;
        seen.wrapping_add(1)
    }

    async fn usage(&self, id: ExecutionId) -> Result<Usage> {
        let items = self.execution_items(id).await?;
        Ok(items.iter().map(items::usage).fold(Usage::default(), |total, usage| total + usage))
    }
}
