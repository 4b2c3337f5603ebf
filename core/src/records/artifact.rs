//! An artifact as recorded.

use crate::{
    api::ArtifactFile,
    execution::assignment::ArtifactEncoding,
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// An artifact as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Its id.
    pub id: ArtifactId,
    /// The execution.
    pub execution: ExecutionId,
    /// Index of the job.
    pub ix: u32,
    /// The job.
    pub job: JobId,
    /// The attempt that produced it.
    pub attempt: u32,
    /// The job's name.
    pub job_name: String,
    /// Declared paths.
    pub file_path: String,
    /// The name that the job gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The title under which it is shown with the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose_as: Option<String>,
    /// When it was stored.
    pub uploaded_at: Timestamp,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub sha256: String,
    /// How the tar is stored.
    pub encoding: ArtifactEncoding,
    /// Number of bytes of the tar before it was compressed.
    #[serde(default)]
    pub unpacked_size: u64,
    /// For an image that the job built: its id. It is only for the jobs that run in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Files in it.
    pub files: Vec<ArtifactFile>,
    /// When it may be deleted.
    pub expires_at: Option<Timestamp>,
}
