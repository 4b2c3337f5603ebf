//! The records in memory.

use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tidemill_core::execution::{cost::Usage, status::JobStatus};
use tidemill_core::{
    guarded,
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{
    ArrivalOutcome, ArtifactRecord, Commit, CommitResult, DeadLetter, DueNode, ExecutionRecord,
    ExecutionSnapshot, ExecutionSpec, ExecutionState, KeyRecord, ListFilter, NewNode, Node, NodeBody,
    NodeKey, NodeState, Records, Write, repository_key,
};
use tokio::sync::watch;

/// How long `changed` waits at most.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Page size of a listing that names none.
const DEFAULT_PAGE_SIZE: u32 = 50;

/// What a commit changed.
#[derive(Debug)]
pub enum Change<'a> {
    /// A new execution.
    Made(&'a ExecutionRecord),
    /// An execution's state.
    Execution {
        /// As it was.
        old: &'a ExecutionRecord,
        /// As it is.
        new: &'a ExecutionRecord,
    },
    /// A node.
    Node {
        /// As it was.
        old: &'a Node,
        /// As it is.
        new: &'a Node,
    },
}

/// Sees every change in the order in which they are made.
pub trait Observer: Send + Sync {
    /// One batch was committed: its changes, and all nodes of an execution as they are now.
    fn committed(&self, changes: &[Change<'_>], nodes: &dyn Fn(ExecutionId) -> Vec<Node>);
}

#[derive(Clone)]
struct StoredExecution {
    record: ExecutionRecord,
    revision: u64,
    nodes: BTreeMap<u32, Node>,
}

#[derive(Default, Clone)]
struct RecordsState {
    executions: BTreeMap<ExecutionId, StoredExecution>,
    jobs: BTreeMap<JobId, NodeKey>,
    due: BTreeSet<(Timestamp, NodeKey)>,
    run_numbers: BTreeMap<(String, String), u64>,
    keys: BTreeMap<String, KeyRecord>,
    artifacts: BTreeMap<ArtifactId, ArtifactRecord>,
    dead_letters: BTreeSet<DeadLetter>,
}

/// The records in memory.
pub struct MemoryRecords {
    inner: Mutex<RecordsState>,
    observer: Option<Arc<dyn Observer>>,
    commits: watch::Sender<u64>,
}

impl Default for MemoryRecords {
    fn default() -> Self {
        Self { inner: Mutex::default(), observer: None, commits: watch::Sender::new(1) }
    }
}

impl fmt::Debug for MemoryRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRecords").finish_non_exhaustive()
    }
}

/// New nodes and their indices.
type NewNodes = Vec<(u32, NewNode)>;

/// A batch under way: what it touches, as it would be.
#[derive(Default)]
struct PendingBatch {
    made: Vec<(ExecutionSpec, ExecutionState, NewNodes)>,
    added: Vec<(ExecutionId, NewNodes)>,
    executions: BTreeMap<ExecutionId, ExecutionRecord>,
    nodes: BTreeMap<NodeKey, Node>,
    keys: Vec<(String, KeyRecord)>,
    artifacts: Vec<ArtifactRecord>,
    gone: Vec<ArtifactId>,
    dead: Vec<(DeadLetter, bool)>,
    done: CommitResult,
}

impl PendingBatch {
    fn node<'a>(&'a mut self, inner: &RecordsState, key: NodeKey) -> Option<&'a mut Node> {
        match self.nodes.entry(key) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => {
                let kept = inner.executions.get(&key.execution)?;
                Some(place.insert(kept.nodes.get(&key.ix)?.clone()))
            }
        }
    }

    /// Takes a write in; false: its condition does not hold.
    fn take(&mut self, inner: &RecordsState, write: Write) -> Result<bool> {
        match write {
            Write::Create { spec, state, nodes } => {
                if inner.executions.contains_key(&spec.id) {
                    return Ok(false);
                }
                self.made.push((*spec, state, nodes));
            }
            Write::PutExecution { id, if_version, state } => {
                return Ok(self.put_execution(inner, id, if_version, state));
            }
            Write::AddNodes { id, if_version, state, nodes } => {
                self.added.push((id, nodes));
                return Ok(self.put_execution(inner, id, if_version, state));
            }
            Write::PutNode { key, if_version, state, due_at } => {
                let Some(node) = self.node(inner, key).filter(|node| is_same(node, if_version)) else {
                    return Ok(false);
                };
                put(node, state, due_at);
            }
            Write::SetDue { key, if_version, due_at } => {
                let Some(node) = self.node(inner, key).filter(|node| is_same(node, if_version)) else {
                    return Ok(false);
                };
                node.due_at = due_at;
            }
            Write::Arrive { key, ok, from, now, continuation } => {
                let Some(node) = self.node(inner, key) else {
                    let words = format!("execution {} has no node {}", key.execution, key.ix);
                    return Err(Error::storage("writing the records", words));
                };
                node.waits_for = node.waits_for.saturating_sub(1);
                if !ok {
                    node.failed += 1;
                    node.blocker.get_or_insert(from);
                }
                let last = node.waits_for == 0 && is_idle(&node.state);
                let version = node.version;
                let continuation = continuation
                    .filter(|next| guarded!(ForeseenOnlyLast, last) && next.if_version == version);
                let continued = continuation.is_some();
                if guarded!(ArrivalMakesDue, last, without false) {
                    node.due_at = Some(now);
                }
                let mut led_to = Vec::new();
                if let Some(next) = continuation {
                    put(node, next.state, next.due_at);
                    led_to = next.arrivals;
                }
                let (waits_for, failed) = (node.waits_for, node.failed);
                self.done.arrivals.push(ArrivalOutcome { key, waits_for, failed, continued });
                for arrival in led_to {
                    self.take(inner, arrival)?;
                }
            }
            Write::PutKey { key, if_execution, record } => {
                let known = inner.keys.get(&key).map(|known| known.execution);
                if !guarded!(KeyCondition, known == if_execution) {
                    return Ok(false);
                }
                self.keys.push((key, record));
            }
            Write::PutArtifact(record) => self.artifacts.push(*record),
            Write::DeleteArtifact(id) => {
                self.artifacts.retain(|record| record.id != id);
                self.gone.push(id);
            }
            Write::PutDeadLetter(letter) => self.dead.push((letter, true)),
            Write::DeleteDeadLetter(letter) => self.dead.push((letter, false)),
        }
        Ok(true)
    }

    /// Whether the version is the one that was read, and the state replaced.
    fn put_execution(
        &mut self,
        inner: &RecordsState,
        id: ExecutionId,
        if_version: u64,
        state: ExecutionState,
    ) -> bool {
        let known = self.executions.get(&id);
        let Some(mut record) =
            known.cloned().or_else(|| inner.executions.get(&id).map(|kept| kept.record.clone()))
        else {
            return false;
        };
        if !guarded!(ExecutionVersion, record.version == if_version) {
            return false;
        }
        record.version += 1;
        record.state = state;
        self.executions.insert(id, record);
        true
    }

    fn apply(self, inner: &mut RecordsState, observer: Option<&dyn Observer>) -> CommitResult {
        let Self { made, added, executions, nodes, keys, artifacts, gone, dead, mut done } = self;
        let mut touched: BTreeSet<ExecutionId> = executions.keys().copied().collect();
        touched.extend(nodes.keys().map(|key| key.execution));
        let mut old_nodes = Vec::new();
        let mut old_executions = Vec::new();
        let mut new_ids = Vec::new();
        for (spec, state, nodes) in made {
            new_ids.push(spec.id);
            done.run_number = inner.make(spec, state, nodes);
        }
        for (id, nodes) in added {
            inner.add(id, nodes);
        }
        for (id, record) in executions {
            if let Some(kept) = inner.executions.get_mut(&id) {
                old_executions.push(std::mem::replace(&mut kept.record, record));
            }
        }
        for (key, node) in nodes {
            let Some(kept) = inner.executions.get_mut(&key.execution) else { continue };
            let due = node.due_at;
            let Some(old) = kept.nodes.insert(key.ix, node) else { continue };
            old.due_at.map(|at| inner.due.remove(&(at, key)));
            due.map(|at| inner.due.insert((at, key)));
            old_nodes.push(old);
        }
        inner.keys.extend(keys);
        for record in artifacts {
            touched.insert(record.execution);
            inner.artifacts.insert(record.id, record);
        }
        for id in gone {
            touched.extend(inner.artifacts.remove(&id).map(|record| record.execution));
        }
        for (letter, put) in dead {
            touched.insert(letter.execution);
            if put {
                inner.dead_letters.insert(letter)
            } else {
                inner.dead_letters.remove(&letter)
            };
        }
        for id in touched {
            if let Some(kept) = inner.executions.get_mut(&id) {
                kept.revision += 1;
            }
        }
        if let Some(observer) = observer {
            let mut changes = Vec::new();
            let kept = |id: &ExecutionId| inner.executions.get(id);
            changes.extend(new_ids.iter().filter_map(kept).map(|kept| Change::Made(&kept.record)));
            for old in &old_executions {
                let new = kept(&old.spec.id).map(|kept| &kept.record);
                changes.extend(new.map(|new| Change::Execution { old, new }));
            }
            for old in &old_nodes {
                let new = kept(&old.key.execution).and_then(|kept| kept.nodes.get(&old.key.ix));
                changes.extend(new.map(|new| Change::Node { old, new }));
            }
            let nodes = |kept: &StoredExecution| kept.nodes.values().cloned().collect();
            observer.committed(&changes, &|id| kept(&id).map(nodes).unwrap_or_default());
        }
        done
    }
}

fn is_same(node: &Node, version: u64) -> bool {
    guarded!(NodeVersion, node.version == version)
}

fn put(node: &mut Node, state: NodeState, due_at: Option<Timestamp>) {
    node.version += 1;
    node.state = state;
    node.due_at = due_at;
}

fn is_idle(state: &NodeState) -> bool {
    match &state.body {
        NodeBody::Job(item) => item.job.status == JobStatus::Pending,
        NodeBody::Gate { open } => !open,
        NodeBody::End => true,
    }
}

impl RecordsState {
    /// Records an execution, and gives its run number.
    fn make(&mut self, spec: ExecutionSpec, state: ExecutionState, nodes: NewNodes) -> u64 {
        let id = spec.id;
        let last =
            self.run_numbers.entry((repository_key(&spec.repo), spec.pipeline_name.clone())).or_default();
        *last += 1;
        let run_number = *last;
        let record = ExecutionRecord { spec, run_number, state, version: 1 };
        self.executions.insert(id, StoredExecution { record, revision: 0, nodes: BTreeMap::new() });
        self.add(id, nodes);
        run_number
    }

    /// Records nodes of an execution.
    fn add(&mut self, id: ExecutionId, nodes: NewNodes) {
        let Some(kept) = self.executions.get_mut(&id) else { return };
        for (ix, node) in nodes {
            let key = NodeKey { execution: id, ix };
            if let Some(job) = node.spec.job {
                self.jobs.insert(job, key);
            }
            if let Some(at) = node.due_at {
                self.due.insert((at, key));
            }
            let node = Node {
                key,
                spec: node.spec,
                state: node.state,
                version: 1,
                waits_for: node.waits_for,
                failed: node.failed,
                blocker: None,
                due_at: node.due_at,
            };
            kept.nodes.insert(ix, node);
        }
    }
}

impl MemoryRecords {
    /// Empty records whose every change `observer` sees.
    pub fn observed(observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, RecordsState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept<T>(&self, id: ExecutionId, get: impl FnOnce(&StoredExecution) -> T) -> Option<T> {
        self.lock().executions.get(&id).map(get)
    }
}

fn fits(filter: &ListFilter, record: &ExecutionRecord) -> bool {
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
            if !batch.take(&inner, write)? {
                return Ok(Commit::Conflict);
            }
        }
        let done = batch.apply(&mut inner, self.observer.as_deref());
        drop(inner);
        self.commits.send_modify(|count| *count = count.wrapping_add(1));
        Ok(Commit::Done(done))
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        Ok(self.kept(id, |kept| kept.record.clone()))
    }

    async fn execution_state(&self, id: ExecutionId) -> Result<Option<(ExecutionState, u64)>> {
        Ok(self.kept(id, |kept| (kept.record.state.clone(), kept.record.version)))
    }

    async fn revision(&self, id: ExecutionId) -> Result<Option<u64>> {
        Ok(self.kept(id, |kept| kept.revision))
    }

    async fn whole(&self, id: ExecutionId, known: Option<u64>) -> Result<Option<ExecutionSnapshot>> {
        Ok(self.kept(id, |kept| {
            let changed = known != Some(kept.revision);
            let content = changed.then(|| (kept.record.clone(), kept.nodes.values().cloned().collect()));
            ExecutionSnapshot { revision: kept.revision, content }
        }))
    }

    async fn executions(&self, filter: &ListFilter) -> Result<(Vec<ExecutionRecord>, bool)> {
        let before = match &filter.cursor {
            Some(cursor) => Some(cursor.parse::<ExecutionId>().map_err(|_| {
                Error::Invalid(format!("`{cursor}` is no cursor; give back the `next_cursor` of a page"))
            })?),
            None => None,
        };
        let limit = filter.limit.unwrap_or(DEFAULT_PAGE_SIZE) as usize;
        let inner = self.lock();
        let older = inner.executions.iter().rev().filter(|(id, _)| before.is_none_or(|before| **id < before));
        let wanted = older.map(|(_, kept)| &kept.record).filter(|record| fits(filter, record));
        let mut found: Vec<ExecutionRecord> = wanted.take(limit + 1).cloned().collect();
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    async fn live(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<ExecutionId>> {
        let inner = self.lock();
        let live = inner.executions.iter().filter(|(id, kept)| {
            after.is_none_or(|after| **id > after) && !kept.record.state.status.is_terminal()
        });
        Ok(live.map(|(id, _)| *id).take(limit).collect())
    }

    async fn nodes(&self, execution: ExecutionId, ixs: &[u32]) -> Result<Vec<Node>> {
        let nodes =
            |kept: &StoredExecution| ixs.iter().filter_map(|ix| kept.nodes.get(ix).cloned()).collect();
        Ok(self.kept(execution, nodes).unwrap_or_default())
    }

    async fn all_nodes(&self, execution: ExecutionId) -> Result<Vec<Node>> {
        Ok(self.kept(execution, |kept| kept.nodes.values().cloned().collect()).unwrap_or_default())
    }

    async fn job(&self, id: JobId) -> Result<Option<Node>> {
        let inner = self.lock();
        let Some(key) = inner.jobs.get(&id) else { return Ok(None) };
        let kept = inner.executions.get(&key.execution);
        Ok(kept.and_then(|kept| kept.nodes.get(&key.ix)).cloned())
    }

    async fn upcoming(&self, execution: ExecutionId, from: u32, limit: usize) -> Result<Vec<u32>> {
        let waits = |node: &&Node| {
            node.key.ix >= from && matches!(node.state.status(), Some(JobStatus::Pending | JobStatus::Queued))
        };
        let upcoming = |kept: &StoredExecution| {
            kept.nodes.values().filter(waits).map(|node| node.key.ix).take(limit).collect()
        };
        Ok(self.kept(execution, upcoming).unwrap_or_default())
    }

    async fn key(&self, key: &str) -> Result<Option<KeyRecord>> {
        Ok(self.lock().keys.get(key).cloned())
    }

    async fn late(&self, now: Timestamp, limit: usize) -> Result<Vec<DueNode>> {
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
        let kept = inner.executions.get_mut(&key.execution);
        if let Some(node) = kept.and_then(|kept| kept.nodes.get_mut(&key.ix)) {
            node.due_at = Some(until);
        }
        Ok(true)
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>> {
        Ok(self.lock().artifacts.get(&id).cloned())
    }

    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<ArtifactRecord>> {
        let inner = self.lock();
        let of = inner.artifacts.values().filter(|record| record.execution == execution);
        let mut found: Vec<ArtifactRecord> = of.cloned().collect();
        found.sort_by_key(|record| (record.ix, record.id));
        Ok(found)
    }

    async fn artifacts_of(&self, job: JobId) -> Result<Vec<ArtifactRecord>> {
        Ok(self.lock().artifacts.values().filter(|record| record.job == job).cloned().collect())
    }

    async fn expired_artifacts(&self, now: Timestamp, limit: usize) -> Result<Vec<ArtifactRecord>> {
        let inner = self.lock();
        let over = |record: &&ArtifactRecord| record.expires_at.is_some_and(|at| at <= now);
        let mut found: Vec<ArtifactRecord> = inner.artifacts.values().filter(over).cloned().collect();
        found.sort_by_key(|record| record.expires_at);
        found.truncate(limit);
        Ok(found)
    }

    async fn dead_letters(
        &self,
        before: Option<DeadLetter>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, bool)> {
        let inner = self.lock();
        let older = inner.dead_letters.iter().rev().filter(|letter| before.is_none_or(|at| **letter < at));
        let mut found: Vec<DeadLetter> = older.take(limit + 1).copied().collect();
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    async fn changed(&self, seen: u64) -> u64 {
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
