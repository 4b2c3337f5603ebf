//! Environments and their deployments.

use super::execution::ExecuteReply;
use crate::{
    execution::{facts::Trigger, status::JobStatus},
    ids::{ExecutionId, JobId},
    pipeline::{DeploymentTier, EnvironmentAction},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job that deployed to an environment, or stopped it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deployment {
    /// The job.
    pub job_id: JobId,
    /// Its name, with matrix values.
    pub job_name: String,
    /// Its execution.
    pub execution_id: ExecutionId,
    /// The pipeline's name.
    pub pipeline_name: String,
    /// The execution's number within repository and pipeline.
    pub run_number: u64,
    /// `start`: it deployed; `stop`: it stopped the environment.
    pub action: EnvironmentAction,
    /// `RUNNING`, also between two attempts, or how the job ended.
    pub status: JobStatus,
    /// The attempt.
    pub attempt: u32,
    /// Branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether the sources were a working tree with changes that `commit` does not have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncommitted: bool,
    /// What started the execution.
    pub trigger: Trigger,
    /// The user who requested the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// When the first attempt started.
    pub start_time: Timestamp,
    /// When the job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// The URL of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The job that stops the environment, by its name in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_stop: Option<String>,
    /// How long after the deployment the environment is stopped, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_stop_in_s: Option<u64>,
}

/// Whether something is deployed to an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentState {
    /// It was deployed to, and not stopped since.
    Available,
    /// It was stopped after the last deployment.
    Stopped,
}

/// An environment of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentView {
    /// Name of the repository.
    pub repo: String,
    /// Its name.
    pub name: String,
    /// What it is for, as the last deployment says; absent: derived from the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<DeploymentTier>,
    /// Whether something is deployed.
    pub state: EnvironmentState,
    /// The newest successful deployment: what is deployed, or was before the environment was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Deployment>,
    /// The newest deployment or stop, whatever its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Deployment>,
    /// When it will be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_stop_at: Option<Timestamp>,
    /// When it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    /// Why it could not be stopped by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_failure: Option<String>,
    /// The deployments and stops, newest first; only in the reply to a query with a `name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<Deployment>,
}

impl EnvironmentView {
    /// Returns the deployment that a roll back runs again: the newest successful one before the newest one.
    #[must_use]
    pub fn rollback_target(&self) -> Option<&Deployment> {
        let mut starts = self.deployments.iter().filter(|one| one.action == EnvironmentAction::Start);
        starts.next()?;
        starts.find(|one| one.status == JobStatus::Success)
    }
}

/// Query of environments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentQuery {
    /// The repository, in any form of its address.
    pub repo: String,
    /// Exact name; the reply then has the environment with its deployments, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Page size, 1 to 200; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next_cursor` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of environments, ordered by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentList {
    /// The page.
    pub environments: Vec<EnvironmentView>,
    /// Value of `cursor` for the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Stops an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopEnvironmentRequest {
    /// The repository, in any form of its address.
    pub repo: String,
    /// Name of the environment.
    pub name: String,
    /// The user, as in [`super::ExecuteRequest::requested_by`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

/// The reply to a request to stop an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopEnvironmentReply {
    /// Whether this request changed anything (false: the environment was stopped, or is being stopped).
    pub changed: bool,
    /// Whether the environment is stopped now; false: `job_name` stops it.
    pub stopped: bool,
    /// The job that stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// The execution of that job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecuteReply>,
}
