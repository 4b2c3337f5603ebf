//! Schedules of pipelines.

use crate::{ids::ExecutionId, time::Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Query of schedules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleQuery {
    /// The repository, in any form of its address; absent: all that the caller may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
}

/// Schedules, by repository, file and position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleList {
    /// At most 1,000.
    pub schedules: Vec<ScheduleView>,
    /// Whether there are more; query them by repository.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// A schedule of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleView {
    /// The repository's name.
    pub repo: String,
    /// The path of the pipeline file.
    pub path: String,
    /// Position among the schedules of the file, from 0.
    pub index: u32,
    /// The pipeline's name.
    pub pipeline_name: String,
    /// The cron expression.
    pub cron: String,
    /// The time zone that it is read in.
    pub time_zone: String,
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The next times; at most three.
    pub next_times: Vec<Timestamp>,
    /// The time at which it could not start, if it could not; it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_at: Option<Timestamp>,
    /// The discovery that it started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_execution: Option<ExecutionId>,
}

/// Starts a schedule now; its next time stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunScheduleRequest {
    /// The repository, in any form of its address.
    pub repo: String,
    /// The path of the pipeline file.
    pub path: String,
    /// Position among the schedules of the file, from 0.
    #[serde(default)]
    pub index: u32,
}
