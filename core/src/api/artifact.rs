//! Artifacts: announce, complete, list.

use crate::execution::assignment::ArtifactEncoding;
use crate::{
    ids::{ArtifactId, JobId, LeaseToken},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Announces an artifact; the reply contains the upload address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactUploadRequest {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// The declared paths, separated by commas.
    pub file_path: String,
    /// The name that the job gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The title under which it is shown with the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose_as: Option<String>,
    /// Files in it with their sizes; at most 10,000 are listed.
    pub files: Vec<ArtifactFile>,
    /// Seconds after which it may be deleted.
    #[serde(default)]
    pub expire_in_s: Option<u64>,
    /// Makes this a cache instead of an artifact, stored under this key for later jobs of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<String>,
    /// Makes this the image with this id that the attempt built, for the jobs that run in it. It is stored beside the attempt's
    /// artifact, and not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Checksum of the bytes, if known before they are sent. Required by servers whose store accepts only announced
    /// bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<ContentChecksum>,
    /// Absent in the first request. In the second, after the bytes were uploaded: what was uploaded. The artifact is
    /// recorded only then.
    #[serde(default)]
    pub complete: Option<ArtifactComplete>,
}

/// Size and hash of the content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentChecksum {
    /// Number of bytes.
    pub size: u64,
    /// SHA-256: 64 lowercase hex digits.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

impl ContentChecksum {
    /// Whether the hash is well-formed.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        is_sha256(&self.sha256)
    }
}

/// Whether `text` is a SHA-256 in the API's form: 64 lowercase hex digits.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `text` is the id of an image: `sha256:` and a SHA-256.
#[must_use]
pub fn is_image_id(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_sha256)
}

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactComplete {
    /// Id from the first reply.
    pub artifact_id: ArtifactId,
    /// Number of uploaded bytes.
    pub size: u64,
    /// Their SHA-256, in hex.
    pub sha256: String,
    /// Their encoding.
    #[serde(default)]
    pub encoding: ArtifactEncoding,
    /// Number of bytes of the tar before it was compressed.
    #[serde(default)]
    pub unpacked_size: u64,
}

/// One file in an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactFile {
    /// Path relative to the workspace.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
}

/// The upload address of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactUploadReply {
    /// Its id.
    pub artifact_id: ArtifactId,
    /// Address for a PUT: absolute, or a path on the API server (which then requires the API token). Absent if the
    /// artifact is complete, or if `sum` is required: repeat the request with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers that the PUT must contain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// An artifact as shown to users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactView {
    /// Its id.
    pub id: ArtifactId,
    /// The job that produced it.
    pub job_execution_id: JobId,
    /// That job's name.
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
    /// Size of the stored object in bytes.
    pub size: u64,
    /// SHA-256 of the stored object, in hex.
    pub sha256: String,
    /// How the tar is stored.
    pub encoding: ArtifactEncoding,
    /// Number of bytes of the tar before it was compressed.
    #[serde(default)]
    pub unpacked_size: u64,
    /// Files in it.
    pub files: Vec<ArtifactFile>,
    /// When it may be deleted.
    pub expires_at: Option<Timestamp>,
}

/// Where the stored bytes of an artifact are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactAddress {
    /// An address for a GET without a token, for some minutes.
    pub url: String,
}

/// Artifacts of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactList {
    /// In the order of the jobs.
    pub artifacts: Vec<ArtifactView>,
}

/// An address of the files of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactLink {
    /// Path below the server's address, with a ticket in it; a file's path follows.
    pub path: String,
    /// Until when it is valid.
    pub expires_at: Timestamp,
}
