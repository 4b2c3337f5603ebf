//! Overview of repositories, statistics of pipelines, and badges.

use super::execution::ExecutionSummary;
use crate::access::protection::{ApprovalProgress, CallerApproval};
use crate::{execution::status::ExecutionStatus, ids::ExecutionId, time::Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens, and what happened last, in all repositories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overview {
    /// Repositories with ended executions, the most recent first; at most 200.
    pub repositories: Vec<RepositoryOverview>,
    /// Executions that run, newest first; at most 50.
    pub running: Vec<ExecutionSummary>,
    /// Executions that have not started, newest first; at most 50.
    pub pending: Vec<ExecutionSummary>,
    /// Those of `running` and `pending` that wait for an approval; at most 20 are checked.
    pub approvals: Vec<AwaitedApproval>,
    /// Discoveries that failed, newest first: those of the last week that are the last ones of their branches; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_discoveries: Vec<ExecutionSummary>,
}

/// The latest executions of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryOverview {
    /// The repository.
    pub repo: String,
    /// Its default branch, if an execution knew it.
    pub default_branch: Option<String>,
    /// The state of the default branch: `FAILED` if the last execution of any of its pipelines failed, then `CANCELED`, then
    /// `SUCCESS`; absent if none is known.
    pub status: Option<ExecutionStatus>,
    /// The last execution of each pipeline on the default branch, newest first; at most 50.
    pub of_default_branch: Vec<RecentExecution>,
    /// The latest executions that have ended, newest first; at most 20.
    pub recent: Vec<RecentExecution>,
}

/// An execution that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecentExecution {
    /// Its id.
    pub id: ExecutionId,
    /// The pipeline's name.
    pub pipeline_name: String,
    /// Number within repository and pipeline, from 1.
    pub run_number: u64,
    /// Branch.
    pub branch: Option<String>,
    /// The first line of the commit's message.
    pub title: Option<String>,
    /// Status.
    pub status: ExecutionStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first job started.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Timestamp,
}

/// An execution that waits for an approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AwaitedApproval {
    /// The execution.
    pub execution: ExecutionSummary,
    /// The manual jobs that can be approved; empty: the execution as a whole waits.
    pub jobs: Vec<AwaitedJob>,
    /// Whether the caller may approve executions of its repository.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub caller_may_run: bool,
}

/// A job that waits for an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AwaitedJob {
    /// Its name.
    pub name: String,
    /// Who approved it, and what is missing, if its environment is protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<ApprovalProgress>,
    /// What an approval by the caller would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_approval: Option<CallerApproval>,
}

/// Query of [`Insights`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InsightQuery {
    /// The repository, in any form of its address.
    pub repo: String,
    /// Exact pipeline name; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Number of days up to today (UTC): 1 to 90; default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// Statistics of the pipelines of a repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Insights {
    /// The repository.
    pub repo: String,
    /// Number of days.
    pub days: u32,
    /// Beginning of the first day.
    pub from: Timestamp,
    /// Pipelines with executions that ended in these days, by name.
    pub pipelines: Vec<PipelineInsight>,
    /// Whether there are more pipelines and days than one reply has; query them by pipeline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// Statistics of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineInsight {
    /// The pipeline's name.
    pub pipeline_name: String,
    /// Its executions.
    pub executions: CountsView,
    /// Its jobs, by name; of each day, the first 100 names are counted.
    pub jobs: Vec<JobInsight>,
    /// Its executions by day, oldest first; days without any are absent.
    pub by_day: Vec<DayInsight>,
    /// The tests that failed and passed for the same commit, the most frequent first; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaky_tests: Vec<FlakyTest>,
    /// The line coverage by day, oldest first; days without any are absent. If some are of the default branch, only those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<DayCoverage>,
    /// What the workers' time for its jobs cost, in dollars; absent: the workers have no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// A test that failed, and passed in a later attempt or in a retry of the execution, or that its report calls flaky.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlakyTest {
    /// The job's name.
    pub job_name: String,
    /// The test's class, or else its suite.
    pub suite: String,
    /// Its name within the suite.
    pub name: String,
    /// The number of executions in which it was flaky. Of each day, at most 50 tests are counted.
    pub count: u32,
    /// The last of them.
    pub last_execution: ExecutionId,
}

/// The line coverage of a day, in percent: that of the last execution of the default branch, or else of the last one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DayCoverage {
    /// Beginning of the day (UTC).
    pub day: Timestamp,
    /// The mean of its jobs that succeeded and have a coverage.
    pub percent: f64,
}

/// Statistics of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobInsight {
    /// The job's name, with the values of a matrix.
    pub job_name: String,
    /// Its runs, without skipped and carried-over ones.
    pub counts: CountsView,
    /// What the workers' time for it cost, in dollars; absent: the workers have no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// Statistics of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayInsight {
    /// Beginning of the day (UTC).
    pub day: Timestamp,
    /// Executions that ended on it.
    pub counts: CountsView,
}

/// Numbers and times of executions or jobs. Times are within a sixteenth of the exact ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CountsView {
    /// All that ended.
    pub count: u32,
    /// Those that succeeded.
    pub succeeded: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were canceled.
    pub canceled: u32,
    /// Attempts after the first one.
    pub retries: u32,
    /// Median of the times from start to end, without canceled ones.
    pub median_ms: Option<u64>,
    /// The time that 95 of 100 do not exceed.
    pub p95_ms: Option<u64>,
    /// Median of the times until the start.
    pub queue_median_ms: Option<u64>,
    /// The time until the start that 95 of 100 do not exceed.
    pub queue_p95_ms: Option<u64>,
}

/// Names a repository whose default branch has a badge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BadgeRequest {
    /// The repository.
    pub repo: String,
}

/// The key of a repository's badges. Who knows it sees the state of the default branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BadgeReply {
    /// The key.
    pub key: String,
}

/// The reply to a request that revokes a badge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeBadgeReply {
    /// Whether there was one.
    pub revoked: bool,
}
