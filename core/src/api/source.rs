//! Uploads of sources that workers cannot fetch by themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Announce sources that workers cannot fetch by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceUploadRequest {
    /// Names the upload ([`crate::execution::upload::UploadId`]): its repository, and the SHA-256 of its bytes.
    pub upload: String,
    /// Its bytes' number; absent when it is only asked whether it is there.
    #[serde(default)]
    pub size: Option<u64>,
}

/// Where to put sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceUploadReply {
    /// PUT here: absolute, or a path on the API's own server (then with the API's token). Absent: it is there already.
    pub url: Option<String>,
    /// Headers that the PUT must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}
