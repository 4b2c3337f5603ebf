//! What a worker reads for a job that starts another pipeline, and what it reports.

use super::report::{ReportError, check_compared, check_path, check_paths};
use crate::execution::facts::{ComparedPaths, ExternalVariables, Facts};
use crate::ids::{ExecutionId, JobId, LeaseToken};
use crate::pipeline::{ChildPipeline, MAX_FILE_BYTES};
use crate::repository::includes::{PinnedInclude, check_pinned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pipeline that a job starts, for its worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildRequest {
    /// The pipeline, with references substituted.
    pub pipeline: ChildPipeline,
    /// The name of the pipeline of a GitLab file that has none.
    pub name: String,
    /// The variables that are set outside of the files, which the translation of a GitLab file needs.
    #[serde(default, skip_serializing_if = "ExternalVariables::is_empty")]
    pub external: ExternalVariables,
    /// Whether a job made the file that names the pipeline, or one above it. Then files of it include nothing with the credentials of a
    /// user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_of_artifact: bool,
    /// What is known of the child before its files are read, for GitLab files that are not the same for all events. The address of
    /// the repository and its files are not among it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub event: Option<Box<Facts>>,
}

/// The pipeline that a worker read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildReport {
    /// The job that starts it.
    pub job_id: JobId,
    /// The job's lease.
    pub lease: LeaseToken,
    /// Path of the file, or of the first one.
    pub path: String,
    /// The native text, with includes resolved.
    pub text: String,
    /// The files from elsewhere that it includes, with their versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<PinnedInclude>,
    /// Paths of all files of the sources; absent if there are too many.
    #[serde(default)]
    pub paths: Option<Vec<String>>,
    /// Paths that changed since the refs that its conditions compare with; null: there is no such ref.
    #[serde(default, skip_serializing_if = "ComparedPaths::is_empty")]
    pub compared: ComparedPaths,
}

impl ChildReport {
    /// Checks the limits and the form of the report.
    ///
    /// # Errors
    /// Returns the first violation.
    pub fn validate(&self) -> Result<(), ReportError> {
        check_path(&self.path)?;
        if self.text.len() > MAX_FILE_BYTES {
            return Err(ReportError::FileTooLarge { path: self.path.clone(), bytes: self.text.len() });
        }
        check_pinned(&self.includes)
            .map_err(|error| ReportError::Includes { path: self.path.clone(), error })?;
        check_compared(&self.compared)?;
        check_paths("paths", self.paths.as_deref())
    }
}

/// The reply to a report of a child.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildReply {
    /// Lines for the job's log: what was started, or why nothing was.
    pub lines: Vec<String>,
    /// The started execution; absent: nothing was started, and the job fails.
    #[serde(default)]
    pub execution: Option<ExecutionId>,
}
