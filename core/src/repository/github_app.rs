//! GitHub Apps, as which a server writes check runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Maximum length of a private key in bytes.
pub const MAX_APP_KEY_LEN: usize = 16 << 10;

/// A GitHub App that is installed for a repository.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GithubApp {
    /// The id of the App.
    pub app_id: u64,
    /// The id of its installation.
    pub installation_id: u64,
    /// Its private key, as GitHub generates it (PEM).
    pub private_key: String,
}

impl fmt::Debug for GithubApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GithubApp").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}

/// A change of the App of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GithubAppChange {
    /// Replaces it.
    Set(GithubApp),
    /// Removes it.
    Remove,
}

/// A GitHub App without its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GithubAppView {
    /// The id of the App.
    pub app_id: u64,
    /// The id of its installation.
    pub installation_id: u64,
}
