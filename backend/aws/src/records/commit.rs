//! Commits a batch of writes: reads the counters that it needs, folds it, and writes it in one transaction.

use super::{
    fold::{BatchMarks, FoldResult, PlannedWrite, ReadCounters, fold, give_back_run_number, needs_read},
    items::{self, NodeCounters},
    staging::StagedExecution,
    store::{DynamoRecords, MAX_ROUNDS},
};
use crate::{
    backoff::pause,
    keys,
    table::{Change, Item, Key, WriteOutcome, get_binary, get_text, number, text},
};
use tidemill_core::execution::cost::Usage;
use tidemill_core::ids::ExecutionId;
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{Commit, CommitResult, NodeKey, Write};
use uuid::Uuid;

impl DynamoRecords {
    pub(super) async fn commit_batch(&self, writes: Vec<Write>) -> Result<Commit> {
        let mut created = None;
        let mut artifacts = Vec::new();
        let mut rest = Vec::with_capacity(writes.len());
        for write in writes {
            match write {
                Write::Create { spec, state, nodes } => {
                    let Some(staged) = self.stage(&spec, &state, &nodes).await? else {
                        return Ok(Commit::Conflict);
                    };
                    // In the transaction, the counter of a busy pipeline would cancel most of them.
                    let run_number = self.table.increment(&staged.counter).await?;
                    created = Some((staged, run_number));
                }
                Write::AddNodes { id, if_version, state, nodes } => {
                    self.stage_nodes(id, &nodes).await?;
                    rest.push(Write::PutExecution { id, if_version, state });
                }
                Write::PutArtifact(record) => artifacts.push(self.artifact_change(&record).await?),
                write => rest.push(write),
            }
        }
        let outcome = self.rounds(&rest, &artifacts, created.as_ref()).await;
        if let (Some((staged, taken)), Ok(Commit::Conflict)) = (&created, &outcome) {
            // If a later number was taken, this one is skipped.
            let given_back = self.table.write(vec![give_back_run_number(&staged.counter, *taken)]).await;
            if let Err(error) = given_back {
                tracing::debug!(execution = %staged.id, %error, "a run number is skipped");
            }
        }
        if let (Some((staged, _)), Ok(Commit::Conflict) | Err(_)) = (&created, &outcome) {
            // Nothing reads the staged items; if the deletion fails, the sweep removes those that are due.
            if let Err(error) = self.table.delete_all(&staged.keys).await {
                tracing::warn!(execution = %staged.id, %error, "cannot delete the items of an execution that was not recorded");
            }
        }
        outcome
    }

    async fn rounds(
        &self,
        writes: &[Write],
        artifacts: &[PlannedWrite],
        created: Option<&(StagedExecution, u64)>,
    ) -> Result<Commit> {
        let needed = needs_read(writes);
        let nonce = Uuid::new_v4().as_bytes()[..8].to_vec();
        let partitions = self.due_partitions().await?;
        let marks = BatchMarks { nonce: &nonce, partitions };
        for round in 0..MAX_ROUNDS {
            if let Some(commit) = self.round(writes, &needed, artifacts, created, marks).await? {
                return Ok(commit);
            }
            pause(round).await;
        }
        Err(Error::storage(
            "writing to the table",
            "too many concurrent writers of the same items; try again",
        ))
    }

    /// Tries once to commit a batch; `None`: a concurrent write interfered, try again.
    async fn round(
        &self,
        writes: &[Write],
        needed: &[NodeKey],
        artifacts: &[PlannedWrite],
        created: Option<&(StagedExecution, u64)>,
        marks: BatchMarks<'_>,
    ) -> Result<Option<Commit>> {
        let read = self.read_counts(needed).await?;
        let home = created.map(|(staged, _)| staged.id).or_else(|| writes.iter().find_map(execution_of));
        let home = home.map(ExecutionId::partition);
        let usage = home.as_deref().map(|home| self.table.meter().take(home)).unwrap_or_default();
        let restore_usage = || {
            if let Some(home) = &home {
                self.table.meter().put_back(home, usage);
            }
        };
        let node_usage = if created.is_some() { Usage::default() } else { usage };
        let (mut planned, arrivals) = match fold(writes, &read, marks, node_usage) {
            Ok(FoldResult::Changes(planned, arrivals)) => (planned, arrivals),
            Ok(FoldResult::Conflict) => {
                restore_usage();
                return Ok(Some(Commit::Conflict));
            }
            Err(error) => {
                restore_usage();
                return Err(error);
            }
        };
        planned.extend_from_slice(artifacts);
        let mut run_number = 0;
        if let Some((staged, taken)) = created {
            run_number = *taken;
            let mut item = staged.item.clone();
            item.insert("n".into(), number(run_number));
            item.insert(keys::list::RUN.attribute.into(), text(run_number.to_string()));
            items::put_usage(&mut item, &usage);
            let condition = Some("attribute_not_exists(pk)");
            let create = Change::Put { item, condition, values: Item::new() };
            planned.push(PlannedWrite { change: create, retryable: false });
        }
        let reads: Vec<bool> = planned.iter().map(|write| write.retryable).collect();
        let changes = planned.into_iter().map(|write| write.change).collect();
        let written = self.table.write(changes).await;
        if !matches!(written, Ok(WriteOutcome::Committed)) {
            restore_usage();
        }
        match written? {
            WriteOutcome::Committed => Ok(Some(Commit::Done(CommitResult { arrivals, run_number }))),
            WriteOutcome::Contended => Ok(None),
            WriteOutcome::ConditionFailed(stored) => {
                if stored.iter().flatten().any(|item| get_binary(item, "q") == Some(marks.nonce)) {
                    // The reply to an earlier attempt of the SDK was lost, and that attempt succeeded.
                    return Ok(Some(Commit::Done(CommitResult { arrivals, run_number })));
                }
                let conflict = stored.iter().zip(&reads).any(|(item, read)| item.is_some() && !read);
                Ok(conflict.then_some(Commit::Conflict))
            }
        }
    }

    async fn read_counts(&self, needed: &[NodeKey]) -> Result<ReadCounters> {
        let items: Vec<Item> = match needed {
            [] => return Ok(ReadCounters::new()),
            [only] => self.get_item(&keys::node(only.execution, only.ix)).await?.into_iter().collect(),
            all => {
                let keys: Vec<Key> = all.iter().map(|key| keys::node(key.execution, key.ix)).collect();
                self.table.get_all(&keys, true, None).await?
            }
        };
        let mut counters = ReadCounters::new();
        for item in &items {
            let ix = get_text(item, "sk").and_then(keys::node_ix).unwrap_or_default();
            counters
                .insert(NodeKey { execution: items::execution_id(item)?, ix }, NodeCounters::parse(item)?);
        }
        Ok(counters)
    }
}

/// Returns the execution whose items a write changes.
fn execution_of(write: &Write) -> Option<ExecutionId> {
    match write {
        Write::PutExecution { id, .. } => Some(*id),
        Write::PutNode { key, .. } | Write::SetDue { key, .. } | Write::Arrive { key, .. } => {
            Some(key.execution)
        }
        _ => None,
    }
}
