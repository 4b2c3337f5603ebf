//! Records under the names of the record layout, for programs other than Tidemill.

use crate::{
    execution::status::{ExecutionStatus, JobStatus},
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Selects what is exported, and the page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportQuery {
    /// Only executions of this repository, in any form of its address; absent: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Only executions that were created at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only executions that were created before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Number of rows from which on a page ends, 1 to 2,000; default 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next_cursor` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportedExecution {
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
    /// Status.
    pub status: ExecutionStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first job started.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Number within repository and pipeline.
    pub run_number: u64,
}

/// A job of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportedJob {
    /// Its id.
    pub id: JobId,
    /// The execution.
    pub pipeline_execution_id: ExecutionId,
    /// Name of the stage.
    pub stage: String,
    /// Name of the job.
    pub job_name: String,
    /// Image in which it runs.
    pub docker_image: String,
    /// Status.
    pub status: JobStatus,
    /// Path of the log on the server; absent: it has none.
    pub logs: Option<String>,
    /// When its last attempt started.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Number of its last attempt; 0: none.
    pub attempt: u32,
}

/// An artifact of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportedArtifact {
    /// Its id.
    pub id: ArtifactId,
    /// The job.
    pub job_execution_id: JobId,
    /// The paths that the job declares.
    pub file_path: String,
    /// When it was stored.
    pub uploaded_at: Timestamp,
    /// Size in bytes, as stored.
    pub size: u64,
    /// SHA-256 of what is stored, in hex.
    pub sha256: String,
}

/// A page of rows: executions, newest first, each with its jobs and artifacts after it. Those of a large execution go on in the next
/// pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportPage {
    /// Executions.
    pub executions: Vec<ExportedExecution>,
    /// Jobs.
    pub jobs: Vec<ExportedJob>,
    /// Artifacts.
    pub artifacts: Vec<ExportedArtifact>,
    /// Value of `cursor` for the next page; absent on the last page. A page may be empty although there is a next one.
    pub next_cursor: Option<String>,
}
