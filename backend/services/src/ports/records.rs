//! The records port: items with versions, written in conditional batches.

use crate::error::Result;
use async_trait::async_trait;
use tidemill_core::execution::cost::Usage;
pub use tidemill_core::records::{
    ApprovalClosing, ApprovalGate, ArrivalOutcome, ArtifactRecord, CommitResult, Continuation, DeadLetter,
    Deadline, ExecutionRecord, ExecutionSpec, ExecutionState, ExecutionTask, GroupPosition, JobRecord,
    KeyRecord, LabelRequirement, NewNode, Node, NodeBody, NodeKey, NodeSpec, NodeState, Write,
};
use tidemill_core::{
    api::ListQuery,
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};

/// What a repository is found and counted by in the records, however its address is written: listings, and run numbers.
#[must_use]
pub fn repository_key(repo: &str) -> String {
    tidemill_core::repository::canonical(repo)
}

/// The outcome of a batch that the store could carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// All writes were made, durably.
    Done(CommitResult),
    /// A condition did not hold: nothing was written.
    Conflict,
}

/// A node whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueNode {
    /// Which.
    pub key: NodeKey,
    /// Since when.
    pub due_at: Timestamp,
}

/// An execution with all that a view shows of it, as it was at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionSnapshot {
    /// A number that changes whenever anything of the execution or its nodes does.
    pub revision: u64,
    /// The execution and its nodes in order; `None`: the revision is the one that the caller knows.
    pub content: Option<(ExecutionRecord, Vec<Node>)>,
}

/// Which executions to list.
pub type ListFilter = ListQuery;

/// The records. A write is visible to every read that starts after it was acknowledged, with two exceptions that a
/// store may make: [`Self::executions`] may show and [`Self::late`] may find what was written just before only later.
/// What they give is as it is now.
#[async_trait]
pub trait Records: Send + Sync {
    /// Makes all writes, or none.
    async fn commit(&self, writes: Vec<Write>) -> Result<Commit>;
    /// An execution.
    async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRecord>>;
    /// What of an execution changes, and its version: all that a claim must read anew, however large the execution.
    async fn execution_state(&self, id: ExecutionId) -> Result<Option<(ExecutionState, u64)>>;
    /// A number that changes whenever anything of the execution or its nodes does; `None`: there is no such execution.
    async fn revision(&self, id: ExecutionId) -> Result<Option<u64>>;
    /// An execution with its nodes, unless its revision is `known`; `None`: there is no such execution.
    async fn whole(&self, id: ExecutionId, known: Option<u64>) -> Result<Option<ExecutionSnapshot>>;
    /// Executions, newest first, and whether there are more. The filter's cursor is the id of the last one seen.
    async fn executions(&self, filter: &ListFilter) -> Result<(Vec<ExecutionRecord>, bool)>;
    /// Executions that are not over and come after `after`, oldest first, at most `limit`.
    async fn live(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<ExecutionId>>;
    /// Nodes by index; those that do not exist are left out.
    async fn nodes(&self, execution: ExecutionId, ixs: &[u32]) -> Result<Vec<Node>>;
    /// All nodes of an execution in order.
    async fn all_nodes(&self, execution: ExecutionId) -> Result<Vec<Node>>;
    /// The node of a job.
    async fn job(&self, id: JobId) -> Result<Option<Node>>;
    /// The first `limit` jobs from index `from` on that are pending or queued, in the plan's order. What costs more than
    /// to read a page may be left out: all but the first few are a guess at what runs next.
    async fn upcoming(&self, execution: ExecutionId, from: u32, limit: usize) -> Result<Vec<u32>>;
    /// What an idempotency key stands for.
    async fn key(&self, key: &str) -> Result<Option<KeyRecord>>;
    /// Nodes that are due at `now`, those that have been for the longest time first; costs what it returns, not what
    /// exists.
    async fn late(&self, now: Timestamp, limit: usize) -> Result<Vec<DueNode>>;
    /// Moves the due time of a node that [`Self::late`] gave, whatever else is recorded of it; its version stays. False: it is
    /// due at another time now, or not at all, and nothing changed.
    async fn postpone(&self, late: DueNode, until: Timestamp) -> Result<bool>;
    /// An artifact.
    async fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>>;
    /// Artifacts of an execution in the order of its jobs.
    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<ArtifactRecord>>;
    /// Artifacts of a job.
    async fn artifacts_of(&self, job: JobId) -> Result<Vec<ArtifactRecord>>;
    /// Artifacts whose time is over.
    async fn expired_artifacts(&self, now: Timestamp, limit: usize) -> Result<Vec<ArtifactRecord>>;
    /// Dead letters before `before`, the newest first, and whether there are more.
    async fn dead_letters(&self, before: Option<DeadLetter>, limit: usize)
    -> Result<(Vec<DeadLetter>, bool)>;
    /// Resolves when something may have changed since `seen`, and gives what to pass next time; at the latest after
    /// a short while, so that other processes' writes are seen too.
    async fn changed(&self, seen: u64) -> u64;
    /// What the execution used of a cloud so far; nothing where there is none.
    async fn usage(&self, id: ExecutionId) -> Result<Usage>;
}
