//! Events that start a pipeline.

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
}
