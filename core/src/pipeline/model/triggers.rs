//! Events that start a pipeline.

use super::inputs::Input;
use crate::execution::status::ExecutionStatus;
use crate::repository::webhook::PullRequestAction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events that start a pipeline, besides a manual start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Triggers {
    /// Commits pushed to the repository.
    #[serde(default)]
    pub push: Option<PushTrigger>,
    /// Pull requests opened or updated.
    #[serde(default)]
    pub pull_request: Option<PullRequestTrigger>,
    /// Schedules.
    #[serde(default)]
    pub schedule: Vec<Schedule>,
    /// Tags, besides those of `push`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<TagTrigger>,
    /// Published releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<TagTrigger>,
    /// Groups of a merge queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_group: Option<MergeGroupTrigger>,
    /// Comments on pull requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<CommentTrigger>,
    /// Ends of executions of other pipelines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<UpstreamTrigger>,
    /// The inputs of a start by a user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
}

/// A schedule on which the pipeline of the default branch starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    /// A cron expression of five fields.
    pub cron: String,
    /// The IANA name of the time zone that it is in.
    pub time_zone: String,
    /// Its description, for conditions and jobs.
    #[serde(default)]
    pub description: Option<String>,
}

/// Which pushes start the pipeline; an empty list does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushTrigger {
    /// Globs of branch names.
    #[serde(default)]
    pub branches: Vec<String>,
    /// Globs of tag names.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Globs of changed files.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// Which pull requests start the pipeline; an empty list does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequestTrigger {
    /// Globs of the target branch's name.
    #[serde(default)]
    pub branches: Vec<String>,
    /// Globs of changed files.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What happens to the pull request; empty: [`PullRequestAction::DEFAULT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<PullRequestAction>,
    /// Labels that it must have, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Which tags or releases start the pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagTrigger {
    /// A regular expression that a part of the tag's name must match; absent: any name.
    #[serde(default)]
    pub pattern: Option<String>,
}

/// Which groups of a merge queue start the pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergeGroupTrigger {
    /// Globs of the target branch's name; empty: any.
    #[serde(default)]
    pub branches: Vec<String>,
}

/// Which comments start the pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommentTrigger {
    /// A regular expression that a part of the comment must match.
    pub pattern: String,
    /// The names of its groups, whose texts are inputs.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// After which executions of other pipelines the pipeline starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamTrigger {
    /// The names of the pipelines.
    pub names: Vec<String>,
    /// How they must end.
    #[serde(default)]
    pub status: UpstreamStatus,
    /// Globs of their branches; empty: any branch or tag.
    #[serde(default)]
    pub branches: Vec<String>,
}

/// How an execution must end to start another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamStatus {
    /// Successfully.
    #[default]
    Success,
    /// With a failure.
    Failed,
    /// In any way; also canceled.
    Any,
}

impl UpstreamStatus {
    /// Whether an execution that ended with this status starts the other one.
    #[must_use]
    pub fn includes(self, status: ExecutionStatus) -> bool {
        match self {
            Self::Success => status == ExecutionStatus::Success,
            Self::Failed => status == ExecutionStatus::Failed,
            Self::Any => status.is_terminal(),
        }
    }
}
