//! Batches of writes, which are checked as a whole and then applied.

use super::{
    observer::{Change, Observer},
    state::{NewNodes, RecordsState, StoredExecution},
};
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    guarded,
    ids::{ArtifactId, ExecutionId},
    time::Timestamp,
};
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{
    ArrivalOutcome, ArtifactRecord, CommitResult, DeadLetter, ExecutionRecord, ExecutionSpec, ExecutionState,
    KeyRecord, Node, NodeBody, NodeKey, NodeState, Write,
};

/// A batch that is being checked: the records that it changes, as they would be.
#[derive(Default)]
pub(super) struct PendingBatch {
    created: Vec<(ExecutionSpec, ExecutionState, NewNodes)>,
    added: Vec<(ExecutionId, NewNodes)>,
    executions: BTreeMap<ExecutionId, ExecutionRecord>,
    nodes: BTreeMap<NodeKey, Node>,
    keys: Vec<(String, KeyRecord)>,
    artifacts: Vec<ArtifactRecord>,
    deleted: Vec<ArtifactId>,
    dead_letters: Vec<(DeadLetter, bool)>,
    result: CommitResult,
}

impl PendingBatch {
    fn node<'a>(&'a mut self, inner: &RecordsState, key: NodeKey) -> Option<&'a mut Node> {
        match self.nodes.entry(key) {
            Entry::Occupied(current) => Some(current.into_mut()),
            Entry::Vacant(entry) => {
                let stored = inner.executions.get(&key.execution)?;
                Some(entry.insert(stored.nodes.get(&key.ix)?.clone()))
            }
        }
    }

    /// Adds a write to the batch; false: its condition does not hold.
    pub(super) fn add(&mut self, inner: &RecordsState, write: Write) -> Result<bool> {
        match write {
            Write::Create { spec, state, nodes } => {
                if inner.executions.contains_key(&spec.id) {
                    return Ok(false);
                }
                self.created.push((*spec, state, nodes));
            }
            Write::PutExecution { id, if_version, state } => {
                return Ok(self.put_execution(inner, id, if_version, state));
            }
            Write::AddNodes { id, if_version, state, nodes } => {
                self.added.push((id, nodes));
                return Ok(self.put_execution(inner, id, if_version, state));
            }
            Write::PutNode { key, if_version, state, due_at } => {
                let Some(node) = self.node(inner, key).filter(|node| has_version(node, if_version)) else {
                    return Ok(false);
                };
                put(node, state, due_at);
            }
            Write::SetDue { key, if_version, due_at } => {
                let Some(node) = self.node(inner, key).filter(|node| has_version(node, if_version)) else {
                    return Ok(false);
                };
                node.due_at = due_at;
            }
            Write::Arrive { key, ok, from, now, continuation } => {
                let Some(node) = self.node(inner, key) else {
                    let message = format!("execution {} has no node {}", key.execution, key.ix);
                    return Err(Error::storage("writing the records", message));
                };
                node.waits_for = node.waits_for.saturating_sub(1);
                if !ok {
                    node.failed += 1;
                    node.blocker.get_or_insert(from);
                }
                let last = node.waits_for == 0 && is_idle(&node.state);
                let version = node.version;
                let continuation = continuation
                    .filter(|next| guarded!(PrecomputeOnlyLastArrival, last) && next.if_version == version);
                let continued = continuation.is_some();
                if guarded!(ArrivalMakesDue, last, without false) {
                    node.due_at = Some(now);
                }
                let mut arrivals = Vec::new();
                if let Some(next) = continuation {
                    put(node, next.state, next.due_at);
                    arrivals = next.arrivals;
                }
                let (waits_for, failed) = (node.waits_for, node.failed);
                self.result.arrivals.push(ArrivalOutcome { key, waits_for, failed, continued });
                for arrival in arrivals {
                    self.add(inner, arrival)?;
                }
            }
            Write::PutKey { key, if_execution, record } => {
                let current = inner.keys.get(&key).map(|current| current.execution);
                if !guarded!(IdempotencyKeyCondition, current == if_execution) {
                    return Ok(false);
                }
                self.keys.push((key, record));
            }
            Write::PutArtifact(record) => self.artifacts.push(*record),
            Write::DeleteArtifact(id) => {
                self.artifacts.retain(|record| record.id != id);
                self.deleted.push(id);
            }
            Write::PutDeadLetter(letter) => self.dead_letters.push((letter, true)),
            Write::DeleteDeadLetter(letter) => self.dead_letters.push((letter, false)),
        }
        Ok(true)
    }

    /// Replaces an execution's state; false: its version is not `if_version`.
    fn put_execution(
        &mut self,
        inner: &RecordsState,
        id: ExecutionId,
        if_version: u64,
        state: ExecutionState,
    ) -> bool {
        let current = self.executions.get(&id);
        let Some(mut record) =
            current.cloned().or_else(|| inner.executions.get(&id).map(|stored| stored.record.clone()))
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

    pub(super) fn apply(self, inner: &mut RecordsState, observer: Option<&dyn Observer>) -> CommitResult {
        let Self { created, added, executions, nodes, keys, artifacts, deleted, dead_letters, mut result } =
            self;
        let mut touched: BTreeSet<ExecutionId> = executions.keys().copied().collect();
        touched.extend(nodes.keys().map(|key| key.execution));
        let mut old_nodes = Vec::new();
        let mut old_executions = Vec::new();
        let mut new_ids = Vec::new();
        for (spec, state, nodes) in created {
            new_ids.push(spec.id);
            result.run_number = inner.create(spec, state, nodes);
        }
        for (id, nodes) in added {
            inner.add_nodes(id, nodes);
        }
        for (id, record) in executions {
            if let Some(stored) = inner.executions.get_mut(&id) {
                old_executions.push(std::mem::replace(&mut stored.record, record));
            }
        }
        for (key, node) in nodes {
            let Some(stored) = inner.executions.get_mut(&key.execution) else { continue };
            let due = node.due_at;
            let Some(old) = stored.nodes.insert(key.ix, node) else { continue };
            old.due_at.map(|at| inner.due.remove(&(at, key)));
            due.map(|at| inner.due.insert((at, key)));
            old_nodes.push(old);
        }
        inner.keys.extend(keys);
        for record in artifacts {
            touched.insert(record.execution);
            inner.artifacts.insert(record.id, record);
        }
        for id in deleted {
            touched.extend(inner.artifacts.remove(&id).map(|record| record.execution));
        }
        for (letter, put) in dead_letters {
            touched.insert(letter.execution);
            if put {
                inner.dead_letters.insert(letter)
            } else {
                inner.dead_letters.remove(&letter)
            };
        }
        for id in touched {
            if let Some(stored) = inner.executions.get_mut(&id) {
                stored.revision += 1;
            }
        }
        if let Some(observer) = observer {
            let mut changes = Vec::new();
            let stored = |id: &ExecutionId| inner.executions.get(id);
            changes.extend(new_ids.iter().filter_map(stored).map(|stored| Change::Created(&stored.record)));
            for old in &old_executions {
                let new = stored(&old.spec.id).map(|stored| &stored.record);
                changes.extend(new.map(|new| Change::Execution { old, new }));
            }
            for old in &old_nodes {
                let new = stored(&old.key.execution).and_then(|stored| stored.nodes.get(&old.key.ix));
                changes.extend(new.map(|new| Change::Node { old, new }));
            }
            let nodes = |stored: &StoredExecution| stored.nodes.values().cloned().collect();
            observer.committed(&changes, &|id| stored(&id).map(nodes).unwrap_or_default());
        }
        result
    }
}

fn has_version(node: &Node, version: u64) -> bool {
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
