//! Executions: start, show, list, cancel, retry.

mod branch_run;
mod export;
mod inputs;
mod pipeline_file;
mod public;

pub use branch_run::{RunPipelineError, RunPipelineRequest};
pub use export::{ExportPage, ExportQuery, ExportedArtifact, ExportedExecution, ExportedJob};
pub use inputs::{InputValue, InputsReply, InputsRequest};
pub use pipeline_file::{
    ExcludedJobList, ExcludedJobView, PipelineFileView, PlannedVariable, VariableSource,
};

use super::job::{Approval, JobView};
use crate::execution::{
    assignment::Source,
    facts::{CommitDetails, ComparedPaths, Trigger},
    status::ExecutionStatus,
};
use crate::repository::includes::PinnedInclude;
use crate::retention::decision::Pin;
use crate::{
    ids::{ExecutionId, JobId},
    time::Timestamp,
};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Starts an execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecuteRequest {
    /// The pipeline file's text.
    pub pipeline: String,
    /// Its file name, for messages.
    #[serde(default)]
    pub file: Option<String>,
    /// Repository as shown to users: a URL or a path.
    pub repo: String,
    /// Branch.
    #[serde(default)]
    pub branch: Option<String>,
    /// Commit hash.
    #[serde(default)]
    pub commit: Option<String>,
    /// Where workers fetch the sources.
    pub source: Source,
    /// Variables that override the file's.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// What started it.
    #[serde(default)]
    pub trigger: Trigger,
    /// The user, as the caller claims. Used only with the deployment's own token: other tokens have a name.
    #[serde(default)]
    pub requested_by: Option<String>,
    /// The tag of the commit; `branch` is then absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What is known of the commit, for conditions.
    #[serde(default, deserialize_with = "CommitDetails::from_mapping")]
    pub commit_details: CommitDetails,
    /// The repository's default branch, for conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// Changed paths, for conditions; absent: unknown, so that such conditions hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<String>>,
    /// Paths that changed since other refs, by the names that conditions have for them; null: there is no such ref.
    #[serde(default, skip_serializing_if = "ComparedPaths::is_empty")]
    pub compared: ComparedPaths,
    /// Paths of the source files, for conditions; absent: unknown, so that such conditions hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
    /// Runs only these jobs, with what they need; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// Runs only these jobs and those that depend on them, with what all of them need; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// An ended execution of the same repository and pipeline. Its successful jobs are carried over, except those of `from` and
    /// their dependents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<ExecutionId>,
    /// The event that conditions see; absent: `trigger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Trigger>,
    /// Creates another execution even if an equal one is running.
    #[serde(default)]
    pub force: bool,
    /// The files from elsewhere that the text of the pipeline was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<PinnedInclude>,
    /// The values of the pipeline's inputs; those without one have their default.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, InputValue>,
    /// Id of the person or token; the server sets it.
    #[serde(skip)]
    pub started_by: Option<String>,
}

/// The created execution, or an existing one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecuteReply {
    /// Its id.
    pub execution_id: ExecutionId,
    /// Its repository.
    pub repo: String,
    /// Its number within repository and pipeline, from 1.
    pub run_number: u64,
    /// Name of the pipeline.
    pub pipeline_name: String,
    /// Its status.
    pub status: ExecutionStatus,
    /// Whether it existed already: it has the same repository, pipeline, commit, content and variables and has not
    /// ended, or the request has the same idempotency key.
    pub attached: bool,
}

/// What an execution does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionKind {
    /// Runs the jobs of a pipeline file.
    #[default]
    RunPipeline,
    /// Discovers the pipelines of a commit and starts those whose triggers match.
    DiscoverPipelines,
}

/// An execution without its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionSummary {
    /// Its id.
    pub id: ExecutionId,
    /// What it does.
    pub kind: ExecutionKind,
    /// The pipeline's name.
    pub pipeline_name: String,
    /// Number within repository and pipeline, from 1.
    pub run_number: u64,
    /// Repository.
    pub repo: String,
    /// Branch.
    pub branch: Option<String>,
    /// Commit.
    pub commit: Option<String>,
    /// What is known of the commit: of its message, the first line.
    #[serde(default)]
    pub commit_details: CommitDetails,
    /// Status.
    pub status: ExecutionStatus,
    /// What started it.
    pub trigger: Trigger,
    /// The user who requested it.
    pub requested_by: Option<String>,
    /// The execution that this one retries.
    #[serde(default)]
    pub retry_of: Option<ExecutionId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first job started.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Whether a cancel was requested.
    #[serde(default)]
    pub cancel_requested: bool,
    /// The newer execution of its concurrency group that canceled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ExecutionId>,
    /// Whether it was canceled because it exceeded its pipeline's `timeout`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// Whether its sources are a working tree with changes that `commit` does not have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncommitted: bool,
    /// The job that started it, if it is the child of another execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentView>,
    /// The values of the pipeline's inputs.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, String>,
}

/// The job that started a child execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParentView {
    /// The job's execution.
    pub execution_id: ExecutionId,
    /// The job.
    pub job_id: JobId,
    /// The job's name.
    pub job_name: String,
}

/// An execution with its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionView {
    /// The execution.
    pub execution: ExecutionSummary,
    /// Stage names in order.
    pub stages: Vec<String>,
    /// Whether the execution as a whole needs an approval, and has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The execution of its group that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<ExecutionId>,
    /// Jobs in the plan's order.
    pub jobs: Vec<JobView>,
    /// The files from elsewhere that its pipeline includes, with their versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<PinnedInclude>,
    /// What the workers' time for its ended attempts cost, in dollars; absent: nothing ended, or the workers have no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Whether the caller may approve, cancel and retry executions of its repository.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub caller_may_run: bool,
    /// Why it is kept for ever, if a user pinned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Value of `cursor` for the next jobs; absent: there are none after these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Number of jobs in a reply, if the caller names none, and its maximum.
pub const MAX_JOBS_PER_REPLY: usize = 1_000;

impl ExecutionView {
    /// Reduces the view to a page of at most `limit` jobs from index `from` on.
    #[must_use]
    pub fn page(mut self, from: usize, limit: usize) -> Self {
        let limit = limit.clamp(1, MAX_JOBS_PER_REPLY);
        let end = from.saturating_add(limit);
        self.next_cursor = (end < self.jobs.len()).then(|| end.to_string());
        self.jobs.truncate(end);
        self.jobs.drain(..from.min(self.jobs.len()));
        self
    }
}

/// A page of executions, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionList {
    /// The page.
    pub executions: Vec<ExecutionSummary>,
    /// Value of `cursor` for the next page; absent on the last page. A page with filters may be shorter than its limit, or empty,
    /// although there is a next one.
    pub next_cursor: Option<String>,
}

/// Filters of a list; all given ones must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListQuery {
    /// The repository, in any form of its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Exact pipeline name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Exact branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ExecutionStatus>,
    /// Run number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_number: Option<u64>,
    /// Page size, 1 to 200; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next_cursor` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// What started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Trigger>,
    /// Part of the commit's author or of the user who requested it, in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Beginning of the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Part of the commit's message, in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What it does; absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ExecutionKind>,
    /// Whether to list failed discoveries beside those of `kind`: they started nothing, so that no other execution shows their push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_discoveries: Option<bool>,
}

/// The expected target of a change. If the execution or job belongs to another repository, the request is rejected with
/// 409, so that a wrong id changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedQuery {
    /// The expected repository, in any form of its address; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
}

/// Retries an ended execution: creates a new one that carries over the successful jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryRequest {
    /// Runs every job again.
    #[serde(default)]
    pub all: bool,
    /// Runs only these jobs and those that depend on them, with what all of them need; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// Names of manual jobs to approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<String>,
    /// Runs exactly `jobs`, also if they are manual. What they need is carried over if it succeeded, and left out otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// The user, as in [`ExecuteRequest::requested_by`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// Id of the person or token; the server sets it.
    #[serde(skip)]
    pub started_by: Option<String>,
}

/// The reply to a cancel request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelReply {
    /// Whether this request changed anything (false: it had ended, or was already canceled).
    pub canceled: bool,
    /// The status at the time of the reply.
    pub status: String,
}

/// The reply to an approval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApproveReply {
    /// Whether this request changed anything (false: it was already approved).
    pub approved: bool,
    /// How many approvals are still missing; 0: nothing waits for one any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The data of an event about an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionEvent {
    /// The version: the entity tag of the execution's view, without quotes.
    pub version: String,
}
