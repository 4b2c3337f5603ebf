//! Errors as problem documents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// RFC 9457 problem document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable error type: `tidemill:not-found`, `tidemill:lease-lost`, `tidemill:invalid-pipeline`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Short summary, the same for each type.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What failed, and what to do next.
    pub detail: String,
    /// For a server error: the id of the entry in the server's log, as `urn:uuid:...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// For an invalid pipeline: its diagnostics, as printed by `tidemill check --format json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<serde_json::Value>,
}
