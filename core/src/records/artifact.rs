//! An artifact as recorded.

use crate::{
    api::ArtifactFile,
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
    /// When it was stored.
    pub uploaded_at: Timestamp,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub sha256: String,
    /// `identity` or `zstd`.
    pub encoding: String,
    /// Files in it.
    pub files: Vec<ArtifactFile>,
    /// When it may be deleted.
    pub expires_at: Option<Timestamp>,
}
