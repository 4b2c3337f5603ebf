//! Writes to the records: batches that commit as a whole or not at all.

use super::{
    artifact::ArtifactRecord,
    execution::{ExecutionSpec, ExecutionState},
    node::{NewNode, NodeKey, NodeState},
};
use crate::{
    ids::{ArtifactId, ExecutionId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// The request and the execution that an idempotency key refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The created execution.
    pub execution: ExecutionId,
    /// Hash of the request.
    pub request: String,
}

/// A job that ended for a reason that was not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeadLetter {
    /// When it ended.
    pub at: Timestamp,
    /// The execution.
    pub execution: ExecutionId,
    /// Index of the job.
    pub ix: u32,
}

/// One write of a batch.
#[derive(Debug, Clone)]
pub enum Write {
    /// Creates an execution with its nodes and assigns the next run number of its repository and pipeline. Conflict:
    /// the id exists.
    Create {
        /// The immutable part.
        spec: Box<ExecutionSpec>,
        /// The mutable part.
        state: ExecutionState,
        /// Its nodes with their indices, in order; for an unplanned execution, only some of them.
        nodes: Vec<(u32, NewNode)>,
    },
    /// Adds the other nodes of an unplanned execution and replaces its state. Conflict: the state's version differs.
    /// Before this write, none of these nodes is used and none but the end node is due; a store may make some of them
    /// visible earlier.
    AddNodes {
        /// The execution.
        id: ExecutionId,
        /// The version that was read.
        if_version: u64,
        /// The new state.
        state: ExecutionState,
        /// The nodes with their indices, in order.
        nodes: Vec<(u32, NewNode)>,
    },
    /// Replaces an execution's state. Conflict: its version differs.
    PutExecution {
        /// The execution.
        id: ExecutionId,
        /// The version that was read.
        if_version: u64,
        /// The new state.
        state: ExecutionState,
    },
    /// Replaces a node's state and due time. Conflict: its version differs.
    PutNode {
        /// The node.
        key: NodeKey,
        /// The version that was read.
        if_version: u64,
        /// The new state.
        state: NodeState,
        /// When the sweep processes it.
        due_at: Option<Timestamp>,
    },
    /// Sets only a node's due time and keeps its version. Conflict: its version differs.
    SetDue {
        /// The node.
        key: NodeKey,
        /// The version that was read.
        if_version: u64,
        /// When the sweep processes it.
        due_at: Option<Timestamp>,
    },
    /// Decrements the number of arrivals that a node waits for, and keeps its version. At 0, a node that has not acted
    /// yet (a pending job, a closed gate, an end node) becomes due `now`. A missing node is an error.
    Arrive {
        /// The node.
        key: NodeKey,
        /// Whether the arriving node succeeded or its failure is tolerated.
        ok: bool,
        /// Name of the arriving node, stored if it is the first that is not ok.
        from: String,
        /// The current time.
        now: Timestamp,
        /// The new state of the node, applied in the same write if this is its last arrival and its version is
        /// unchanged; otherwise ignored.
        continuation: Option<Box<Continuation>>,
    },
    /// Sets an idempotency key. Conflict: it does not refer to `if_execution` (`None`: the key is absent).
    PutKey {
        /// The key.
        key: String,
        /// The execution that it must refer to now.
        if_execution: Option<ExecutionId>,
        /// The new record.
        record: KeyRecord,
    },
    /// Records an artifact; repeating it is no conflict.
    PutArtifact(Box<ArtifactRecord>),
    /// Deletes an artifact.
    DeleteArtifact(ArtifactId),
    /// Records a dead letter; repeating it is no conflict.
    PutDeadLetter(DeadLetter),
    /// Deletes a dead letter; a missing one is no conflict.
    DeleteDeadLetter(DeadLetter),
}

/// The state of a node after its last arrival.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// The version that was read.
    pub if_version: u64,
    /// The new state.
    pub state: NodeState,
    /// When the sweep processes it.
    pub due_at: Option<Timestamp>,
    /// The arrivals that follow from this; no other writes.
    pub arrivals: Vec<Write>,
}

/// A node after an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivalOutcome {
    /// The node.
    pub key: NodeKey,
    /// Number of arrivals that are still awaited.
    pub waits_for: u32,
    /// Number of arrivals that were not ok.
    pub failed: u32,
    /// Whether its continuation was applied.
    pub continued: bool,
}

/// The result of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitResult {
    /// One entry for each applied [`Write::Arrive`], in order; arrivals of a continuation follow their cause.
    pub arrivals: Vec<ArrivalOutcome>,
    /// Run number of the [`Write::Create`], if the batch has one.
    pub run_number: u64,
}
