//! Secrets of repositories.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Keep a secret. The reply, and everything else of the API but an assignment, is without its value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetSecretRequest {
    /// The repository, however its address is written.
    pub repo: String,
    /// Only for jobs of this environment, for which it wins over the repository's own.
    #[serde(default)]
    pub environment: Option<String>,
    /// Its name: letters, digits and `_`.
    pub name: String,
    /// The value, 1 byte to 64 KiB.
    pub value: String,
}

impl fmt::Debug for SetSecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetSecretRequest")
            .field("repo", &self.repo)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretView {
    /// The repository.
    pub repo: String,
    /// Only for jobs of this environment.
    pub environment: Option<String>,
    /// Its name.
    pub name: String,
    /// When it was set last.
    pub updated_at: Timestamp,
    /// The name of the token that it was set with.
    #[serde(default)]
    pub updated_by: String,
}

/// The secrets of a repository, by environment and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretList {
    /// All of them.
    pub secrets: Vec<SecretView>,
}

/// Whose secrets to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretQuery {
    /// The repository.
    pub repo: String,
}

/// Forget a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveSecretRequest {
    /// The repository.
    pub repo: String,
    /// The one of this environment; absent: the repository's own.
    #[serde(default)]
    pub environment: Option<String>,
    /// Its name.
    pub name: String,
}

/// A secret was forgotten, or was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveSecretReply {
    /// Whether there was one.
    pub removed: bool,
}

/// Secrets were sealed under the newest key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RekeyReply {
    /// How many were under an older one.
    pub renewed: usize,
    /// Whether there may be more: call again.
    pub more: bool,
    /// What no key of the deployment opens, in words; it must be set again. All that there is once `more` is false.
    #[serde(default)]
    pub unreadable: Vec<String>,
}
