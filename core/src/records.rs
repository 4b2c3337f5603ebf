//! The records: what of executions is stored, and the batches that change it.
//!
//! An execution is one item and each node of its plan is one: the jobs, the plan's gates, and one end node that
//! every job releases, so that an execution's end is found without counting jobs. The immutable part (spec) and the
//! mutable part (state) are separate: a transition never rewrites a script.

mod artifact;
mod execution;
mod message;
mod node;
mod write;

pub use artifact::ArtifactRecord;
pub use execution::{
    ApprovalGate, Deadline, ExecutionRecord, ExecutionSpec, ExecutionState, ExecutionTask, GroupPosition,
    LabelRequirement,
};
pub use message::QueuedJob;
pub use node::{ApprovalClosing, JobRecord, NewNode, Node, NodeBody, NodeKey, NodeSpec, NodeState};
pub use write::{ArrivalOutcome, CommitResult, Continuation, DeadLetter, KeyRecord, Write};
