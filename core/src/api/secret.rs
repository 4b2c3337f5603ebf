//! Secrets of repositories.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Stores a secret. No reply of the API contains its value except an assignment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetSecretRequest {
    /// The repository, in any form of its address.
    pub repo: String,
    /// Only for jobs of this environment, where it takes precedence over the repository's own.
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

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretView {
    /// The repository.
    pub repo: String,
    /// The environment that it is limited to, if any.
    pub environment: Option<String>,
    /// Its name.
    pub name: String,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// Name of the token that set it.
    #[serde(default)]
    pub updated_by: String,
}

/// The secrets of a repository, ordered by environment and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretList {
    /// All of them.
    pub secrets: Vec<SecretView>,
}

/// The repository whose secrets to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretQuery {
    /// The repository.
    pub repo: String,
}

/// Deletes a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveSecretRequest {
    /// The repository.
    pub repo: String,
    /// Its environment; absent: a secret of the repository without an environment.
    #[serde(default)]
    pub environment: Option<String>,
    /// Its name.
    pub name: String,
}

/// The reply to a deletion of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveSecretReply {
    /// Whether the secret existed.
    pub removed: bool,
}

/// The reply to a request to seal secrets with the newest key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RekeyReply {
    /// Number of secrets that had an older key.
    pub renewed: usize,
    /// Whether there may be more: repeat the request.
    pub more: bool,
    /// Secrets that no key of the deployment can open and that must be set again. Complete once `more` is false.
    #[serde(default)]
    pub unreadable: Vec<String>,
}
