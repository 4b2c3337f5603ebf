//! The concurrency group of a job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum length of the name of a job's concurrency group in bytes, with its references substituted: 255, as in GitLab.
pub const MAX_JOB_GROUP_BYTES: usize = 255;

/// Maximum number of jobs of a concurrency group that run at the same time.
pub const MAX_JOB_GROUP_LIMIT: u32 = 256;

/// How many jobs of a group run at the same time, in all executions of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct JobConcurrency {
    /// The group's name. May hold `${NAME}` references that are known when the execution is planned.
    pub group: String,
    /// The maximum number of its jobs that run at the same time.
    pub limit: u32,
}
