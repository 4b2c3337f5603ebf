//! Uploads of sources that workers cannot fetch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Announces sources that workers cannot fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceUploadRequest {
    /// Identifies the upload ([`crate::execution::upload::UploadId`]): its repository, and the SHA-256 of its bytes.
    pub upload: String,
    /// Number of bytes; absent to check only whether the upload exists.
    #[serde(default)]
    pub size: Option<u64>,
}

/// The upload address of sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceUploadReply {
    /// Address for a PUT: absolute, or a path on the API server (which then requires the API token). Absent: the upload
    /// exists.
    pub url: Option<String>,
    /// Headers that the PUT must contain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}
