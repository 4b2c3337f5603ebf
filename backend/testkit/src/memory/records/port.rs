//! Implements the records port in memory.

use super::{
    batch::PendingBatch,
    observer::Observer,
    state::{RecordsState, StoredExecution},
};
use async_trait::async_trait;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tidemill_core::execution::{cost::Usage, status::JobStatus};
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::error::Result;
use tidemill_services::ports::{
    ArtifactRecord, Commit, DeadLetter, DueNode, ExecutionRecord, ExecutionSnapshot, ExecutionState,
    KeyRecord, ListFilter, Node, Records, Write, list_cursor, repository_key,
};
use tokio::sync::watch;

/// Maximum wait of `changed`.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Default page size.
const DEFAULT_PAGE_SIZE: u32 = 50;

/// The records in memory.
pub struct MemoryRecords {
    inner: Mutex<RecordsState>,
    observer: Option<Arc<dyn Observer>>,
    commits: watch::Sender<u64>,
    /// Number of nodes that were read by their indices.
    node_reads: AtomicUsize,
    /// Number of listings of executions.
    listings: AtomicUsize,
}

impl Default for MemoryRecords {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            observer: None,
            commits: watch::Sender::new(1),
            node_reads: AtomicUsize::new(0),
            listings: AtomicUsize::new(0),
        }
    }
}

impl fmt::Debug for MemoryRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRecords").finish_non_exhaustive()
    }
}

impl MemoryRecords {
    /// Creates empty records; `observer` receives every commit.
    pub fn observed(observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..Self::default() }
    }

    /// Returns how many nodes were read by their indices so far.
    #[must_use]
    pub fn node_reads(&self) -> usize {
        self.node_reads.load(Ordering::Relaxed)
    }

    /// Returns how many listings of executions were read so far.
    #[must_use]
    pub fn listings(&self) -> usize {
        self.listings.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, RecordsState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_execution<T>(&self, id: ExecutionId, get: impl FnOnce(&StoredExecution) -> T) -> Option<T> {
        self.lock().executions.get(&id).map(get)
    }
}

fn matches_filter(filter: &ListFilter, record: &ExecutionRecord) -> bool {
    let spec = &record.spec;
    filter.repo.as_deref().is_none_or(|repo| repository_key(repo) == repository_key(&spec.repo))
        && filter.pipeline.as_ref().is_none_or(|name| *name == spec.pipeline_name)
        && filter.branch.as_ref().is_none_or(|branch| Some(branch) == spec.branch.as_ref())
        && filter.status.is_none_or(|status| status == record.state.status)
        && filter.run_number.is_none_or(|number| number == record.run_number)
}

#[async_trait]
impl Records for MemoryRecords {
    async fn commit(&self, writes: Vec<Write>) -> Result<Commit> {
        let mut inner = self.lock();
        let mut batch = PendingBatch::default();
        for write in writes {
            if !batch.add(&inner, write)? {
                return Ok(Commit::Conflict);
            }
        }
        let result = batch.apply(&mut inner, self.observer.as_deref());
        drop(inner);
        self.commits.send_modify(|count| *count = count.wrapping_add(1));
        Ok(Commit::Done(result))
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        Ok(self.with_execution(id, |stored| stored.record.clone()))
    }

    async fn execution_state(&self, id: ExecutionId) -> Result<Option<(ExecutionState, u64)>> {
        Ok(self.with_execution(id, |stored| (stored.record.state.clone(), stored.record.version)))
    }

    async fn revision(&self, id: ExecutionId) -> Result<Option<u64>> {
        Ok(self.with_execution(id, |stored| stored.revision))
    }

    async fn snapshot(&self, id: ExecutionId, known: Option<u64>) -> Result<Option<ExecutionSnapshot>> {
        Ok(self.with_execution(id, |stored| {
            let changed = known != Some(stored.revision);
            let content = changed.then(|| (stored.record.clone(), stored.nodes.values().cloned().collect()));
            ExecutionSnapshot { revision: stored.revision, content }
        }))
    }

    async fn executions(&self, filter: &ListFilter) -> Result<(Vec<ExecutionRecord>, bool)> {
        self.listings.fetch_add(1, Ordering::Relaxed);
        let before = list_cursor(filter)?;
        let limit = filter.limit.unwrap_or(DEFAULT_PAGE_SIZE) as usize;
        let inner = self.lock();
        let older = inner.executions.iter().rev().filter(|(id, _)| before.is_none_or(|before| **id < before));
        let matching =
            older.map(|(_, stored)| &stored.record).filter(|record| matches_filter(filter, record));
        let mut page: Vec<ExecutionRecord> = matching.take(limit + 1).cloned().collect();
        let more = page.len() > limit;
        page.truncate(limit);
        Ok((page, more))
    }

    async fn live_executions(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<ExecutionId>> {
        let inner = self.lock();
        let live = inner.executions.iter().filter(|(id, stored)| {
            after.is_none_or(|after| **id > after) && !stored.record.state.status.is_terminal()
        });
        Ok(live.map(|(id, _)| *id).take(limit).collect())
    }

    async fn nodes(&self, execution: ExecutionId, ixs: &[u32]) -> Result<Vec<Node>> {
        self.node_reads.fetch_add(ixs.len(), Ordering::Relaxed);
        let nodes =
            |stored: &StoredExecution| ixs.iter().filter_map(|ix| stored.nodes.get(ix).cloned()).collect();
        Ok(self.with_execution(execution, nodes).unwrap_or_default())
    }

    async fn all_nodes(&self, execution: ExecutionId) -> Result<Vec<Node>> {
        Ok(self
            .with_execution(execution, |stored| stored.nodes.values().cloned().collect())
            .unwrap_or_default())
    }

    async fn job(&self, id: JobId) -> Result<Option<Node>> {
        let inner = self.lock();
        let Some(key) = inner.jobs.get(&id) else { return Ok(None) };
        let stored = inner.executions.get(&key.execution);
        Ok(stored.and_then(|stored| stored.nodes.get(&key.ix)).cloned())
    }

    async fn upcoming(&self, execution: ExecutionId, from: u32, limit: usize) -> Result<Vec<u32>> {
        let is_waiting = |node: &&Node| {
            node.key.ix >= from && matches!(node.state.status(), Some(JobStatus::Pending | JobStatus::Queued))
        };
        let upcoming = |stored: &StoredExecution| {
            stored.nodes.values().filter(is_waiting).map(|node| node.key.ix).take(limit).collect()
        };
        Ok(self.with_execution(execution, upcoming).unwrap_or_default())
    }

    async fn key(&self, key: &str) -> Result<Option<KeyRecord>> {
        Ok(self.lock().keys.get(key).cloned())
    }

    async fn due_nodes(&self, now: Timestamp, limit: usize) -> Result<Vec<DueNode>> {
        let inner = self.lock();
        let due = inner.due.iter().take_while(|(at, _)| *at <= now).take(limit);
        Ok(due.map(|(due_at, key)| DueNode { key: *key, due_at: *due_at }).collect())
    }

    async fn postpone(&self, late: DueNode, until: Timestamp) -> Result<bool> {
        let mut inner = self.lock();
        let DueNode { key, due_at } = late;
        if !inner.due.remove(&(due_at, key)) {
            return Ok(false);
        }
        inner.due.insert((until, key));
        let stored = inner.executions.get_mut(&key.execution);
        if let Some(node) = stored.and_then(|stored| stored.nodes.get_mut(&key.ix)) {
            node.due_at = Some(until);
        }
        Ok(true)
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>> {
        Ok(self.lock().artifacts.get(&id).cloned())
    }

    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<ArtifactRecord>> {
        let inner = self.lock();
        let matching = inner.artifacts.values().filter(|record| record.execution == execution);
        let mut records: Vec<ArtifactRecord> = matching.cloned().collect();
        records.sort_by_key(|record| (record.ix, record.id));
        Ok(records)
    }

    async fn artifacts_of(&self, job: JobId) -> Result<Vec<ArtifactRecord>> {
        Ok(self.lock().artifacts.values().filter(|record| record.job == job).cloned().collect())
    }

    async fn expired_artifacts(&self, now: Timestamp, limit: usize) -> Result<Vec<ArtifactRecord>> {
        let inner = self.lock();
        let is_expired = |record: &&ArtifactRecord| record.expires_at.is_some_and(|at| at <= now);
        let mut records: Vec<ArtifactRecord> = inner.artifacts.values().filter(is_expired).cloned().collect();
        records.sort_by_key(|record| record.expires_at);
        records.truncate(limit);
        Ok(records)
    }

    async fn dead_letters(
        &self,
        before: Option<DeadLetter>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, bool)> {
        let inner = self.lock();
        let older = inner.dead_letters.iter().rev().filter(|letter| before.is_none_or(|at| **letter < at));
        let mut letters: Vec<DeadLetter> = older.take(limit + 1).copied().collect();
        let more = letters.len() > limit;
        letters.truncate(limit);
        Ok((letters, more))
    }

    async fn remove_execution(&self, id: ExecutionId) -> Result<()> {
        self.lock().remove(id);
        Ok(())
    }

    async fn wait_for_change(&self, seen: u64) -> u64 {
        let mut commits = self.commits.subscribe();
        let count = *commits.borrow_and_update();
        if count == seen {
            drop(tokio::time::timeout(POLL_INTERVAL, commits.changed()).await);
        }
        *commits.borrow()
    }

    async fn usage(&self, _: ExecutionId) -> Result<Usage> {
        Ok(Usage::default())
    }
}
