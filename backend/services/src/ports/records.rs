//! The records: items with versions, written in conditional batches.
//!
//! An execution is one item and each node of its plan is one: the jobs, the plan's gates, and one end node that
//! every job releases, so that an execution's end is found without counting jobs. What never changes (spec) and
//! what does (state) are kept apart: a transition never rewrites a script.

use crate::error::Result;
use async_trait::async_trait;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tidemill_core::{
    api::{ArtifactFile, ExecutionSummary, ListQuery, Trigger},
    assignment::Source,
    cost::Usage,
    discovery::Discovery,
    facts::Facts,
    ids::{ArtifactId, ExecutionId, JobId},
    labels::Labels,
    pipeline::RunWhen,
    retry::RetryFor,
    status::{ExecutionStatus, JobStatus},
    time::Timestamp,
    transition::{Allowed, JobState},
};

/// What a repository is found and counted by in the records, however its address is written: listings, and run numbers.
#[must_use]
pub fn repository_key(repo: &str) -> String {
    tidemill_core::repo::canonical(repo)
}

/// What of an execution never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionSpec {
    /// Its id.
    pub id: ExecutionId,
    /// Name of the pipeline.
    pub pipeline_name: String,
    /// Repository.
    pub repo: String,
    /// Branch.
    pub branch: Option<String>,
    /// Commit.
    pub commit: Option<String>,
    /// Sources.
    pub source: Source,
    /// Stages in order.
    pub stages: Vec<String>,
    /// The pipeline file's text: its jobs are planned from it again where they are needed, and by retries. Empty where it looks at a
    /// commit.
    pub pipeline: String,
    /// What it is to find out about a commit, instead of running a file's jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// The digest of the plan that its nodes are of.
    #[serde(default)]
    pub plan_digest: String,
    /// Whether all of it waits for an approval; then its nodes are recorded when that is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Overrides of variables, for retries.
    pub variables: IndexMap<String, String>,
    /// What was known of it when its plan was made; without its variables, which stand beside it.
    #[serde(default)]
    pub facts: Facts,
    /// What started it.
    pub trigger: Trigger,
    /// Who.
    pub requested_by: Option<String>,
    /// The execution that this one retries.
    pub retry_of: Option<ExecutionId>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Number of jobs: nodes `0..jobs`. Gates follow, then the end node.
    pub jobs: u32,
    /// Index of the end node.
    pub end_node: u32,
    /// Jobs that were carried over from the retried execution: index here, id there.
    pub carried: Vec<(u32, JobId)>,
    /// Gates that open when somebody approves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalGate>,
    /// Jobs that demand labels of their worker; at most one entry for each job of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<Demand>,
    /// Its place among the executions of a group that run one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<GroupTurn>,
    /// When it is canceled if it is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The trace that it belongs to, as a `traceparent` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// What jobs demand of their worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// The first of the jobs.
    pub from: u32,
    /// The last of them.
    pub to: u32,
    /// The labels that it must have.
    pub labels: Labels,
}

impl ExecutionSpec {
    /// The labels that a job demands of its worker.
    #[must_use]
    pub fn demands_of(&self, job: u32) -> Option<&Labels> {
        // They are in the jobs' order.
        let at = self.demands.partition_point(|demand| demand.to < job);
        self.demands.get(at).filter(|demand| demand.from <= job).map(|demand| &demand.labels)
    }
}

/// When an execution that is not over is canceled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// The time.
    pub at: Timestamp,
    /// Whether its pipeline says so, so that to miss it is a failure; else nobody approved it in time.
    pub is_timeout: bool,
}

/// A gate that opens when somebody approves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalGate {
    /// The gate's index.
    pub gate: u32,
    /// The job that waits for it; `None`: the whole execution does.
    pub job: Option<u32>,
}

/// The place of an execution in a group whose executions run one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTurn {
    /// The key under which the newest of the group is recorded.
    pub group: String,
    /// The one before it, which was live when this was made, and the gate here that its end opens.
    pub after: Option<(ExecutionId, u32)>,
}

/// What of an execution changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionState {
    /// Status.
    pub status: ExecutionStatus,
    /// When its first job started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// Whether a cancel was asked for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel_requested: bool,
    /// Whether only its end and the gates that something outside the plan opens are recorded yet: nobody approved it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unplanned: bool,
    /// The newer execution that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ExecutionId>,
    /// Whether its deadline passed, for which it was canceled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub timed_out: bool,
    /// The next of its group, and the gate there that this one's end opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<(ExecutionId, u32)>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An execution as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionRecord {
    /// What never changes.
    pub spec: ExecutionSpec,
    /// Number within repository and pipeline, from 1.
    pub run_number: u64,
    /// What changes.
    pub state: ExecutionState,
    /// Version of `state`.
    pub version: u64,
}

impl ExecutionRecord {
    /// The execution as the API shows it.
    #[must_use]
    pub fn summary(&self) -> ExecutionSummary {
        let spec = &self.spec;
        ExecutionSummary {
            id: spec.id,
            pipeline_name: spec.pipeline_name.clone(),
            run_number: self.run_number,
            repo: spec.repo.clone(),
            branch: spec.branch.clone(),
            commit: spec.commit.clone(),
            status: self.state.status,
            trigger: spec.trigger,
            requested_by: spec.requested_by.clone(),
            retry_of: spec.retry_of,
            created_at: spec.created_at,
            start_time: self.state.start_time,
            end_time: self.state.end_time,
            cancel_requested: self.state.cancel_requested,
            superseded_by: self.state.superseded_by,
            timed_out: self.state.timed_out,
        }
    }
}

/// Names a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeKey {
    /// The execution.
    pub execution: ExecutionId,
    /// The node's index in it.
    pub ix: u32,
}

/// What of a node the scheduler needs and never changes.
///
/// What has its usual value is left out where it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Name of the job; empty for gates and the end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The job's id: [`JobId::of`] the execution and the node's index. Not stored with the rest.
    #[serde(skip)]
    pub job: Option<JobId>,
    /// Whether a failure counts as well.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_failure: bool,
    /// How many more times a failed job is tried.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry: u32,
    /// Which failures that is for.
    #[serde(skip_serializing_if = "RetryFor::is_any")]
    pub retry_for: RetryFor,
    /// Nodes that are told when this one is over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<u32>,
    /// On what end of what it waits for a job runs.
    #[serde(skip_serializing_if = "RunWhen::is_default")]
    pub when: RunWhen,
    /// Exit codes of a job's script that count as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_exit_codes: Vec<i32>,
    /// Whether nobody waits for the job: that it is skipped counts as well. It is manual and allowed to fail, or waits for such a job.
    #[serde(skip_serializing_if = "is_false")]
    pub may_be_undone: bool,
    /// The approvals that the opening of this gate makes needless.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
}

/// What a gate does to approvals that nobody has given when it opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The gates of these approvals.
    pub gates: Vec<u32>,
    /// Only if something that this gate waited for failed, so that what is to be approved cannot run.
    pub after_failure: bool,
}

impl NodeSpec {
    /// Which failures of the job count as well.
    #[must_use]
    pub fn allowed(&self) -> Allowed<'_> {
        Allowed { any: self.allow_failure, exit_codes: &self.allow_exit_codes }
    }
}

/// What of a job changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobItem {
    /// The state machine's state.
    pub job: JobState,
    /// Bytes of the current attempt's log that are stored.
    #[serde(skip_serializing_if = "is_empty")]
    pub log_bytes: u64,
    /// The same job of the retried execution, when it was carried over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried_from: Option<JobId>,
    /// The attempt whose log it has there.
    #[serde(skip_serializing_if = "is_zero")]
    pub carried_attempt: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_empty(bytes: &u64) -> bool {
    *bytes == 0
}

/// A node's kind, and what changes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NodeBody {
    /// A job.
    Job(Box<JobItem>),
    /// A gate, and whether it has opened.
    Gate {
        /// Whether all it waited for are over.
        open: bool,
    },
    /// The end of the execution.
    End,
}

/// What changes of a node by versioned writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeState {
    /// How many of the node's links were told that it is over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub told: u32,
    /// The rest.
    pub body: NodeBody,
}

impl NodeState {
    /// The job's status; `None` for gates and the end.
    #[must_use]
    pub fn status(&self) -> Option<JobStatus> {
        match &self.body {
            NodeBody::Job(item) => Some(item.job.status),
            NodeBody::Gate { .. } | NodeBody::End => None,
        }
    }
}

/// A node as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Which.
    pub key: NodeKey,
    /// What never changes.
    pub spec: NodeSpec,
    /// What changes.
    pub state: NodeState,
    /// Version of `state`.
    pub version: u64,
    /// Arrivals that are still awaited.
    pub waits_for: u32,
    /// Arrivals that were not ok.
    pub failed: u32,
    /// Name of the first need that did not succeed.
    pub blocker: Option<String>,
    /// When the sweep looks at it.
    pub due_at: Option<Timestamp>,
}

impl Node {
    /// Whether it is a job that nobody had to wait for, and that did not run.
    #[must_use]
    pub fn is_left_undone(&self) -> bool {
        self.spec.may_be_undone && self.state.status() == Some(JobStatus::Skipped)
    }

    /// Whether it is a job whose end counts as well, though it did not succeed.
    #[must_use]
    pub fn is_excused(&self) -> bool {
        let by_itself = match &self.state.body {
            NodeBody::Job(item) => item.job.is_excused(self.spec.allowed()),
            NodeBody::Gate { .. } | NodeBody::End => false,
        };
        by_itself || self.is_left_undone()
    }
}

/// A node to record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNode {
    /// What never changes.
    pub spec: NodeSpec,
    /// What changes.
    pub state: NodeState,
    /// Arrivals to wait for.
    pub waits_for: u32,
    /// Arrivals counted already that were not ok.
    pub failed: u32,
    /// When the sweep looks at it.
    pub due_at: Option<Timestamp>,
}

/// What an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The execution that was made.
    pub execution: ExecutionId,
    /// Hash of the request.
    pub request: String,
}

/// An artifact as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Its id.
    pub id: ArtifactId,
    /// The execution.
    pub execution: ExecutionId,
    /// Index of the job.
    pub ix: u32,
    /// The job.
    pub job: JobId,
    /// The attempt that left it.
    pub attempt: u32,
    /// The job's name.
    pub job_name: String,
    /// Declared paths.
    pub file_path: String,
    /// When it was stored.
    pub uploaded_at: Timestamp,
    /// Bytes.
    pub size: u64,
    /// Hash, hex.
    pub sha256: String,
    /// `identity` or `zstd`.
    pub encoding: String,
    /// Files in it.
    pub files: Vec<ArtifactFile>,
    /// When it may be removed.
    pub expires_at: Option<Timestamp>,
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
        /// What never changes.
        spec: Box<ExecutionSpec>,
        /// What changes.
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
        then: Option<Box<Then>>,
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
pub struct Then {
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
pub struct Arrival {
    /// Which.
    pub key: NodeKey,
    /// Arrivals that are still awaited.
    pub waits_for: u32,
    /// Arrivals that were not ok.
    pub failed: u32,
    /// Whether it became what was to follow.
    pub moved: bool,
}

/// What a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// One for each [`Write::Arrive`] that was made, in their order; what one leads to comes right after it.
    pub arrivals: Vec<Arrival>,
    /// Run number of the [`Write::Create`], if there was one.
    pub run_number: u64,
}

/// The outcome of a batch that the store could carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// All writes were made, durably.
    Done(Committed),
    /// A condition did not hold: nothing was written.
    Conflict,
}

/// A node whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// Which.
    pub key: NodeKey,
    /// Since when.
    pub due_at: Timestamp,
}

/// An execution with all that a view shows of it, as it was at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
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
    async fn whole(&self, id: ExecutionId, known: Option<u64>) -> Result<Option<Whole>>;
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
    async fn late(&self, now: Timestamp, limit: usize) -> Result<Vec<Late>>;
    /// Moves the due time of a node that [`Self::late`] gave, whatever else is recorded of it; its version stays. False: it is
    /// due at another time now, or not at all, and nothing changed.
    async fn postpone(&self, late: Late, until: Timestamp) -> Result<bool>;
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
