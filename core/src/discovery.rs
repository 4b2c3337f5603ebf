//! What a worker finds out about a commit before anything of it runs: its pipeline files, and what it changed. So the
//! control plane needs no git.

use crate::ids::{JobId, LeaseToken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pipeline name of executions that look at a commit; no execution of a file is meant by it.
pub const PIPELINE_NAME: &str = "discover";
/// The most pipeline files of one commit that are looked at.
pub const MOST_FILES: usize = 100;
/// The most changed paths that are told; of more, nothing is said, so that every condition on changes holds.
pub const MOST_CHANGED: usize = 10_000;
/// The most bytes that the paths of a commit, or those that it changed, may have together; of more, nothing is said.
pub const MAX_PATH_BYTES: usize = 1 << 20;
/// The most entries that the folder of pipeline files may have.
pub const MAX_FOLDER_ENTRIES: usize = 10_000;
/// The most bytes that are read of all pipeline files of a commit and what they include, and the most that they come to
/// when they are put together.
pub const MAX_READ_BYTES: usize = 4 << 20;
/// The most bytes of the mistakes of one file that are shown.
pub const MAX_MISTAKE_BYTES: usize = 16 << 10;

/// What to find out about the commit that the assignment's source names. Where that commit is empty, it is what `fetch_ref` shows; where
/// it is shortened, it must be what `fetch_ref` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discovery {
    /// A ref to fetch when the commit is not reachable from a branch: a pull request's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_ref: Option<String>,
    /// The commit that changes are counted from. Absent: from the merge base with `target_branch`, or nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The branch that a pull request is to go into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_branch: Option<String>,
    /// Only these files; empty: all below `.pipelines/`, and `.gitlab-ci.yml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

/// A pipeline file as it is at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineFile {
    /// Path in the repository.
    pub path: String,
    /// Its text, what it includes put in; of GitLab's file, the native text that it is translated to.
    pub text: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscoveryReport {
    /// The discovering job.
    pub job_id: JobId,
    /// Its lease.
    pub lease: LeaseToken,
    /// The full hash of the commit.
    pub commit: String,
    /// Pipeline files, by path; at most [`MOST_FILES`].
    pub files: Vec<PipelineFile>,
    /// Paths that the commit changed; absent where that is not known, or they are too many.
    #[serde(default)]
    pub changed: Option<Vec<String>>,
    /// Paths of all files at the commit; absent where they are too many.
    #[serde(default)]
    pub paths: Option<Vec<String>>,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscoveryReply {
    /// Lines for the job's log: which pipelines start, which do not, and why.
    pub lines: Vec<String>,
    /// Whether a file has mistakes, so that the discovering job fails.
    #[serde(default)]
    pub failed: bool,
}
