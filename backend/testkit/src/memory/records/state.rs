//! The stored records.

use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::ports::{
    ArtifactRecord, DeadLetter, ExecutionRecord, ExecutionSpec, ExecutionState, KeyRecord, NewNode, Node,
    NodeKey, repository_key,
};

/// New nodes and their indices.
pub(super) type NewNodes = Vec<(u32, NewNode)>;

#[derive(Clone)]
pub(super) struct StoredExecution {
    pub(super) record: ExecutionRecord,
    pub(super) revision: u64,
    pub(super) nodes: BTreeMap<u32, Node>,
}

#[derive(Default, Clone)]
pub(super) struct RecordsState {
    pub(super) executions: BTreeMap<ExecutionId, StoredExecution>,
    pub(super) jobs: BTreeMap<JobId, NodeKey>,
    pub(super) due: BTreeSet<(Timestamp, NodeKey)>,
    pub(super) run_numbers: BTreeMap<(String, String), u64>,
    pub(super) keys: BTreeMap<String, KeyRecord>,
    pub(super) artifacts: BTreeMap<ArtifactId, ArtifactRecord>,
    pub(super) dead_letters: BTreeSet<DeadLetter>,
}

impl RecordsState {
    /// Stores an execution, and returns its run number.
    pub(super) fn create(&mut self, spec: ExecutionSpec, state: ExecutionState, nodes: NewNodes) -> u64 {
        let id = spec.id;
        let last =
            self.run_numbers.entry((repository_key(&spec.repo), spec.pipeline_name.clone())).or_default();
        *last += 1;
        let run_number = *last;
        let record = ExecutionRecord { spec, run_number, state, version: 1 };
        self.executions.insert(id, StoredExecution { record, revision: 0, nodes: BTreeMap::new() });
        self.add_nodes(id, nodes);
        run_number
    }

    /// Removes an execution and what belongs to it.
    pub(super) fn remove(&mut self, id: ExecutionId) {
        let Some(stored) = self.executions.remove(&id) else { return };
        for (key, at) in stored.nodes.values().map(|node| (node.key, node.due_at)) {
            at.map(|at| self.due.remove(&(at, key)));
        }
        self.jobs.retain(|_, key| key.execution != id);
        self.keys.retain(|_, record| record.execution != id);
        self.artifacts.retain(|_, record| record.execution != id);
        self.dead_letters.retain(|letter| letter.execution != id);
    }

    /// Stores nodes of an execution.
    pub(super) fn add_nodes(&mut self, id: ExecutionId, nodes: NewNodes) {
        let Some(stored) = self.executions.get_mut(&id) else { return };
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
            stored.nodes.insert(ix, node);
        }
    }
}
