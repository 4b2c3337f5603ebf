//! Secrets and variables of repositories.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a variable of a repository reaches jobs. Unlike a secret, it reaches those that do not name it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::struct_excessive_bools, reason = "independent options of a user")]
#[serde(default)]
pub struct VariableOptions {
    /// Whether its value is hidden: masked in logs, in no record, and in no reply except an assignment.
    pub masked: bool,
    /// Whether only executions of protected branches get it.
    pub protected: bool,
    /// Whether the variable holds the path of a file with the value, not the value itself.
    pub file: bool,
    /// Whether pull requests of forks get it, too.
    pub forks: bool,
}

impl VariableOptions {
    /// Whether only jobs know its value, as it is hidden or the content of a file.
    #[must_use]
    pub const fn is_hidden(self) -> bool {
        self.masked || self.file
    }
}

/// The execution whose variables to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VariableQuery {
    /// The repository.
    pub repo: String,
    /// Whether it is of a protected branch.
    #[serde(default)]
    pub protected: bool,
}

/// Stores a secret or a variable. No reply of the API contains the value of a secret except an assignment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetSecretRequest {
    /// The repository, in any form of its address.
    pub repo: String,
    /// Only for jobs of this environment, where it takes precedence over the repository's own.
    #[serde(default)]
    pub environment: Option<String>,
    /// Its name: letters, digits and `_`.
    pub name: String,
    /// The value, 1 byte to 64 KiB; that of a variable which is not masked has at most 8 KiB.
    pub value: String,
    /// Its options if it is a variable; absent: a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<VariableOptions>,
}

impl fmt::Debug for SetSecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetSecretRequest")
            .field("repo", &self.repo)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A secret without its value, or a variable.
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
    /// Its options if it is a variable; absent: a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<VariableOptions>,
    /// The value of a variable that is not masked, in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The secrets and variables of a repository, ordered by environment and name.
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

/// Deletes a secret or a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveSecretRequest {
    /// The repository.
    pub repo: String,
    /// Its environment; absent: a secret of the repository without an environment.
    #[serde(default)]
    pub environment: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether it is a variable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_variable: bool,
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
