//! Starting, showing, listing, canceling and retrying executions.

use super::job::{Approval, JobView};
use crate::execution::{assignment::Source, facts::Trigger, status::ExecutionStatus};
use crate::{ids::ExecutionId, time::Timestamp};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Start an execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecuteRequest {
    /// The pipeline file's text.
    pub pipeline: String,
    /// Its name, for messages.
    #[serde(default)]
    pub file: Option<String>,
    /// Repository as a person knows it: a URL or a path.
    pub repo: String,
    /// Branch.
    #[serde(default)]
    pub branch: Option<String>,
    /// Commit hash.
    #[serde(default)]
    pub commit: Option<String>,
    /// Where workers get the sources.
    pub source: Source,
    /// Variables that override the file's.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// What started it.
    #[serde(default)]
    pub trigger: Trigger,
    /// Who, as the caller says. It counts only with the deployment's own token: a token that was made is known by its name.
    #[serde(default)]
    pub requested_by: Option<String>,
    /// The tag that the commit was found by; then there is no branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The repository's default branch, for conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// Paths that changed, for conditions; absent: not known, and such conditions hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<String>>,
    /// Paths of the files of the sources, for conditions; absent: not known, and such conditions hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
    /// Make another execution even if the same one is live.
    #[serde(default)]
    pub force: bool,
}

/// An execution was made, or found.
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
    /// Where it stands.
    pub status: ExecutionStatus,
    /// Whether it was there already: same repository, pipeline, commit, content and variables, and live; or the
    /// same idempotency key.
    pub attached: bool,
}

/// What an execution does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionKind {
    /// It runs the jobs of a pipeline file.
    #[default]
    RunPipeline,
    /// It finds the pipelines of a commit, and starts those whose triggers fit.
    DiscoverPipelines,
}

/// An execution without its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionSummary {
    /// Its id.
    pub id: ExecutionId,
    /// What it does.
    pub kind: ExecutionKind,
    /// Name of the pipeline.
    pub pipeline_name: String,
    /// Number within repository and pipeline, from 1.
    pub run_number: u64,
    /// Repository.
    pub repo: String,
    /// Branch.
    pub branch: Option<String>,
    /// Commit.
    pub commit: Option<String>,
    /// Status.
    pub status: ExecutionStatus,
    /// What started it.
    pub trigger: Trigger,
    /// Who.
    pub requested_by: Option<String>,
    /// The execution that this one retries.
    #[serde(default)]
    pub retry_of: Option<ExecutionId>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When its first job started.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Whether a cancel was asked for.
    #[serde(default)]
    pub cancel_requested: bool,
    /// The newer execution of its concurrency group for which it was canceled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ExecutionId>,
    /// Whether it lasted longer than its pipeline's `timeout`, for which it was canceled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
}

/// An execution with its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionView {
    /// The execution.
    pub execution: ExecutionSummary,
    /// Stages in order.
    pub stages: Vec<String>,
    /// Whether somebody must approve the execution as a whole before anything of it runs, and has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The execution of its group that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<ExecutionId>,
    /// Jobs in the plan's order.
    pub jobs: Vec<JobView>,
}

/// A page of executions, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionList {
    /// The page.
    pub executions: Vec<ExecutionSummary>,
    /// Give it back as `cursor` for the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Filters of a listing; all given ones must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListQuery {
    /// The repository, however its address is written.
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
    /// From the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What a call that changes something was meant for. It is refused with 409 when the execution or job is of another repository, so that
/// a mistake in choosing it changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedQuery {
    /// The repository that it must be of, however its address is written; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
}

/// Retry an execution that is over: a new one, in which jobs that succeeded are carried over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryRequest {
    /// Run every job again.
    #[serde(default)]
    pub all: bool,
    /// Names of manual jobs that are approved with this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<String>,
    /// Who, as [`ExecuteRequest::requested_by`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

/// A cancel was recorded, or came too late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelReply {
    /// Whether this call changed anything (false: it was over, or already canceled).
    pub canceled: bool,
    /// The status word at the time of the reply.
    pub status: String,
}

/// The reply to an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApproveReply {
    /// Whether this call changed anything (false: it was approved before).
    pub approved: bool,
}
