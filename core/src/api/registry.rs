//! Logins of repositories at registries of images.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Stores a login. No reply of the API contains its password except an assignment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetRegistryRequest {
    /// The repository, in any form of its address.
    pub repo: String,
    /// The registry, with its port, or a path of it ([`crate::pipeline::RegistryScope`]).
    pub registry: String,
    /// The user's name.
    pub username: String,
    /// The password or token, 1 byte to 16 KiB.
    pub password: String,
}

impl fmt::Debug for SetRegistryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetRegistryRequest")
            .field("repo", &self.repo)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// A login without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegistryView {
    /// The repository.
    pub repo: String,
    /// The registry, or a path of it.
    pub registry: String,
    /// The user's name.
    pub username: String,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// Name of the token that set it.
    pub updated_by: String,
}

/// The logins of a repository, ordered by registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegistryList {
    /// All of them.
    pub registries: Vec<RegistryView>,
}

/// The repository whose logins to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegistryQuery {
    /// The repository.
    pub repo: String,
}

/// Deletes a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveRegistryRequest {
    /// The repository.
    pub repo: String,
    /// The registry, or the path of it, as in the list.
    pub registry: String,
}

/// The reply to a deletion of a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveRegistryReply {
    /// Whether the login existed.
    pub removed: bool,
}
