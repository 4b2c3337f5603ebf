//! How artifacts are stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the tar of an artifact is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactEncoding {
    /// As it is.
    #[default]
    Identity,
    /// Compressed with zstd.
    Zstd,
    /// In a way that this version does not know.
    #[serde(other)]
    Unknown,
}
