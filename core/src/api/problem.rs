//! Errors as documents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// RFC 9457 problem document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable: `tidemill:not-found`, `tidemill:lease-lost`, `tidemill:invalid-pipeline`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Short, the same for each type.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened, to what, and what to do next.
    pub detail: String,
    /// Of a failure of the server: the id under which its log says more, as `urn:uuid:...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Of an invalid pipeline: its mistakes, as the CLI's `check --format json` prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<serde_json::Value>,
}
