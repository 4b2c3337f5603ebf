//! The records port: items with versions, written in conditional batches.

use crate::error::{Error, Result};
use async_trait::async_trait;
use tidemill_core::execution::cost::Usage;
pub use tidemill_core::records::{
    ApprovalClosing, ApprovalGate, ArrivalOutcome, ArtifactRecord, CommitResult, Continuation, DeadLetter,
    Deadline, ExecutionRecord, ExecutionSpec, ExecutionState, ExecutionTask, GroupPosition, JobDescription,
    JobRecord, KeyRecord, LabelRequirement, NewNode, Node, NodeBody, NodeKey, NodeSpec, NodeState,
    ParentLink, Write,
};
use tidemill_core::{
    api::ListQuery,
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};

/// Returns the name by which records identify a repository, however its address is written: in listings and for run numbers.
#[must_use]
pub fn repository_key(repo: &str) -> String {
    tidemill_core::repository::canonical_name(repo)
}

/// Returns the execution before which a page of a listing begins.
///
/// # Errors
///
/// Returns a validation error for a cursor that is not an execution's id.
pub fn list_cursor(query: &ListQuery) -> Result<Option<ExecutionId>> {
    let parse = |cursor: &String| cursor.parse().map_err(|_| Error::invalid_cursor(cursor));
    query.cursor.as_ref().map(parse).transpose()
}

/// Outcome of a batch that the store processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// All writes are durable.
    Done(CommitResult),
    /// A condition was false, and nothing was written.
    Conflict,
}

/// A node that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueNode {
    /// Key of the node.
    pub key: NodeKey,
    /// When it became due.
    pub due_at: Timestamp,
}

/// A consistent snapshot of an execution with its nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionSnapshot {
    /// Number that changes with every change of the execution or its nodes.
    pub revision: u64,
    /// The execution and its nodes in order; `None` if the revision is the one that the caller knows.
    pub content: Option<(ExecutionRecord, Vec<Node>)>,
}

/// Filter of a listing of executions.
pub type ListFilter = ListQuery;

/// The records. An acknowledged write is visible to every read that starts after it, with two exceptions: the indexes of
/// [`Self::executions`] and [`Self::late`] may lag behind. The items that they return are current.
#[async_trait]
pub trait Records: Send + Sync {
    /// Applies all writes, or none.
    async fn commit(&self, writes: Vec<Write>) -> Result<Commit>;
    /// Returns an execution.
    async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRecord>>;
    /// Returns the mutable part of an execution and its version: all that a claim must read again, however large the execution is.
    async fn execution_state(&self, id: ExecutionId) -> Result<Option<(ExecutionState, u64)>>;
    /// Returns a number that changes with every change of the execution or its nodes; `None` if the execution does not exist.
    async fn revision(&self, id: ExecutionId) -> Result<Option<u64>>;
    /// Returns an execution with its nodes, without them if its revision is `known`; `None` if the execution does not exist.
    async fn snapshot(&self, id: ExecutionId, known: Option<u64>) -> Result<Option<ExecutionSnapshot>>;
    /// Returns executions, newest first, and whether there are more. The filter's cursor is the id of the last one of the previous page.
    async fn executions(&self, filter: &ListFilter) -> Result<(Vec<ExecutionRecord>, bool)>;
    /// Returns at most `limit` live executions with ids greater than `after`, oldest first.
    async fn live_executions(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<ExecutionId>>;
    /// Returns nodes by index; missing ones are omitted.
    async fn nodes(&self, execution: ExecutionId, ixs: &[u32]) -> Result<Vec<Node>>;
    /// Returns all nodes of an execution in order.
    async fn all_nodes(&self, execution: ExecutionId) -> Result<Vec<Node>>;
    /// Returns the node of a job.
    async fn job(&self, id: JobId) -> Result<Option<Node>>;
    /// Returns the first `limit` pending or queued jobs from index `from` on, in the plan's order. The store may omit what costs more
    /// than reading one page: all but the first few are a guess at what runs next.
    async fn upcoming(&self, execution: ExecutionId, from: u32, limit: usize) -> Result<Vec<u32>>;
    /// Returns the record of an idempotency key.
    async fn key(&self, key: &str) -> Result<Option<KeyRecord>>;
    /// Returns nodes that are due at `now`, the longest due first. The cost follows the number returned, not the number of nodes.
    async fn due_nodes(&self, now: Timestamp, limit: usize) -> Result<Vec<DueNode>>;
    /// Moves the due time of a node from [`Self::late`], whatever else changed in it; its version stays. Returns false, and changes
    /// nothing, if its due time is another one by now.
    async fn postpone(&self, late: DueNode, until: Timestamp) -> Result<bool>;
    /// Returns an artifact.
    async fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>>;
    /// Returns the artifacts of an execution, in the order of its jobs.
    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<ArtifactRecord>>;
    /// Returns the artifacts of a job.
    async fn artifacts_of(&self, job: JobId) -> Result<Vec<ArtifactRecord>>;
    /// Returns artifacts that have expired.
    async fn expired_artifacts(&self, now: Timestamp, limit: usize) -> Result<Vec<ArtifactRecord>>;
    /// Returns dead letters before `before`, newest first, and whether there are more.
    async fn dead_letters(&self, before: Option<DeadLetter>, limit: usize)
    -> Result<(Vec<DeadLetter>, bool)>;
    /// Removes an ended execution with its nodes and the records of its artifacts; succeeds if it does not exist. Idempotency keys and
    /// dead letters of it may stay, and then refer to nothing. Logs and objects must have been removed before.
    async fn remove_execution(&self, id: ExecutionId) -> Result<()>;
    /// Resolves when something may have changed since `seen`, and returns the value to pass next time. It resolves after a short time in
    /// any case, so that the caller notices writes of other processes.
    async fn wait_for_change(&self, seen: u64) -> u64;
    /// Returns the cloud resources that the execution has used so far; zero without a cloud.
    async fn usage(&self, id: ExecutionId) -> Result<Usage>;
}
