//! Artifacts: announcing, completing and listing them.

use crate::{
    ids::{ArtifactId, JobId, LeaseToken},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Announce an artifact; the reply says where to put it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactUploadRequest {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// A name for it: the declared paths, comma separated.
    pub file_path: String,
    /// Files in it, with their sizes; at most 10,000 are listed.
    pub files: Vec<ArtifactFile>,
    /// Seconds after which it may be removed.
    #[serde(default)]
    pub expire_in_s: Option<u64>,
    /// It is no artifact but a cache, to be kept under this key for later jobs of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<String>,
    /// What the bytes will come to, where that is known before they are sent. A server whose store takes no other bytes than those
    /// that were announced asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<ContentChecksum>,
    /// Absent in the first call. In the second, after the bytes were put: what was put. Only then is the artifact
    /// recorded.
    #[serde(default)]
    pub complete: Option<ArtifactComplete>,
}

/// What bytes come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentChecksum {
    /// Their number.
    pub size: u64,
    /// Their SHA-256: 64 hex digits in lower case.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

impl ContentChecksum {
    /// Whether the hash has its form.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        is_sha256(&self.sha256)
    }
}

/// Whether `text` is a SHA-256 as the API has it: 64 hex digits in lower case.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactComplete {
    /// From the first reply.
    pub artifact_id: ArtifactId,
    /// Bytes put.
    pub size: u64,
    /// Their hash, hex.
    pub sha256: String,
}

/// One file in an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactFile {
    /// Path below the workspace.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// Where to put an artifact's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactUploadReply {
    /// Its id.
    pub artifact_id: ArtifactId,
    /// PUT here: absolute, or a path on the API's own server (then with the API's token). Absent of an artifact that is complete, and
    /// where `sum` must be said first: call again with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers that the PUT must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How the tar may be encoded: `identity` or `zstd`.
    pub encoding: String,
}

/// An artifact as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactView {
    /// Its id.
    pub id: ArtifactId,
    /// The job that left it.
    pub job_execution_id: JobId,
    /// That job's name.
    pub job_name: String,
    /// Declared paths.
    pub file_path: String,
    /// When it was stored.
    pub uploaded_at: Timestamp,
    /// Bytes of the stored object.
    pub size: u64,
    /// Hash of the stored object, hex.
    pub sha256: String,
    /// `identity` (a tar) or `zstd` (a tar, compressed).
    pub encoding: String,
    /// Files in it.
    pub files: Vec<ArtifactFile>,
    /// When it may be removed.
    pub expires_at: Option<Timestamp>,
}

/// Artifacts of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactList {
    /// In the order of the jobs.
    pub artifacts: Vec<ArtifactView>,
}
