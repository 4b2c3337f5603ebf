//! What is written to the records: batches, each made whole or not at all.

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

/// What an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The execution that was made.
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
    /// Records an execution with its nodes, and gives it the next run number of its repository and pipeline.
    /// Conflict: the id exists.
    Create {
        /// The immutable part.
        spec: Box<ExecutionSpec>,
        /// The mutable part.
        state: ExecutionState,
        /// Its nodes and their indices, in order; of an unplanned one, only some.
        nodes: Vec<(u32, NewNode)>,
    },
    /// Records the other nodes of an unplanned execution, and replaces its state. Conflict: the state's version is another. Nothing is
    /// asked of any of the nodes, nor is one due but the end, before this is made; a store may show some of them earlier.
    AddNodes {
        /// Which.
        id: ExecutionId,
        /// The version that was read.
        if_version: u64,
        /// The new state.
        state: ExecutionState,
        /// The nodes and their indices, in order.
        nodes: Vec<(u32, NewNode)>,
    },
    /// Replaces an execution's state. Conflict: its version is another.
    PutExecution {
        /// Which.
        id: ExecutionId,
        /// The version that was read.
        if_version: u64,
        /// The new state.
        state: ExecutionState,
    },
    /// Replaces a node's state and due time. Conflict: its version is another.
    PutNode {
        /// Which.
        key: NodeKey,
        /// The version that was read.
        if_version: u64,
        /// The new state.
        state: NodeState,
        /// When the sweep looks at it.
        due_at: Option<Timestamp>,
    },
    /// Sets a node's due time only, and keeps its version. Conflict: its version is another.
    SetDue {
        /// Which.
        key: NodeKey,
        /// The version that was read.
        if_version: u64,
        /// When the sweep looks at it.
        due_at: Option<Timestamp>,
    },
    /// Takes one from what a node waits for, and keeps its version. At 0, a node that has not acted yet (a pending
    /// job, a closed gate, an end) becomes due `now`. A node that does not exist is an error.
    Arrive {
        /// Which.
        key: NodeKey,
        /// Whether what arrives succeeded, or was allowed to fail.
        ok: bool,
        /// Name of what arrives, kept if it is not ok and the first such.
        from: String,
        /// The time.
        now: Timestamp,
        /// What the node becomes at once if this is the last arrival and the node is as it was read then: one write
        /// instead of two. Otherwise it is left out.
        continuation: Option<Box<Continuation>>,
    },
    /// Sets an idempotency key. Conflict: it stands for another execution than `if_execution` (`None`: absent).
    PutKey {
        /// The key.
        key: String,
        /// What it must stand for now.
        if_execution: Option<ExecutionId>,
        /// What it stands for from now on.
        record: KeyRecord,
    },
    /// Records an artifact; again is no conflict.
    PutArtifact(Box<ArtifactRecord>),
    /// Forgets an artifact.
    DeleteArtifact(ArtifactId),
    /// Records a dead letter; again is no conflict.
    PutDeadLetter(DeadLetter),
    /// Forgets a dead letter; one that is not there is no conflict.
    DeleteDeadLetter(DeadLetter),
}

/// What a node becomes with its last arrival.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// The version that was read.
    pub if_version: u64,
    /// The new state.
    pub state: NodeState,
    /// When the sweep looks at it.
    pub due_at: Option<Timestamp>,
    /// Arrivals that this leads to in turn; nothing else.
    pub arrivals: Vec<Write>,
}

/// A node after an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivalOutcome {
    /// Which.
    pub key: NodeKey,
    /// Arrivals that are still awaited.
    pub waits_for: u32,
    /// Arrivals that were not ok.
    pub failed: u32,
    /// Whether its continuation was made.
    pub continued: bool,
}

/// What a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitResult {
    /// One for each [`Write::Arrive`] that was made, in their order; what one leads to comes right after it.
    pub arrivals: Vec<ArrivalOutcome>,
    /// Run number of the [`Write::Create`], if there was one.
    pub run_number: u64,
}
