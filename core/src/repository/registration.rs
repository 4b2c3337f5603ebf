//! Registered repositories: the settings of their webhooks, commit statuses and notifications.

use crate::notification::receiver::{Notify, NotifyKind};
use crate::repository::credential::{CredentialKind, RepositoryCredential};
use crate::repository::github_app::{GithubAppChange, GithubAppView};
use crate::repository::webhook::Provider;
use crate::{ids::ExecutionId, time::Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which pull requests need an approval before any of their jobs run. It is part of the registration and not of a file,
/// so that no commit can change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalPolicy {
    /// None.
    None,
    /// Pull requests from forks.
    #[default]
    Forks,
    /// All pull requests.
    All,
}

/// Registers a repository or changes its registration. Absent fields are unchanged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryRequest {
    /// The address that workers clone.
    pub url: String,
    /// The git provider.
    pub provider: Provider,
    /// The secret that signs its webhooks; for a new repository without one, a secret is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
    /// The provider's token for commit statuses; empty: write none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_token: Option<String>,
    /// The provider's API, if it does not follow from the repository's address: `https://git.example.org/api/v1`;
    /// empty: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// Its default branch; empty or never set: as reported by webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// Which pull requests need an approval; never set: those from forks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalPolicy>,
    /// The receivers of notifications, which replace those of the same kind; empty: none of any kind; absent: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Vec<Notify>>,
    /// The credential with which workers fetch it; absent: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialChange>,
    /// Whether jobs with `checkout: { push: true }` get that credential; absent: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_push: Option<bool>,
    /// The people whose comments on pull requests start pipelines; empty: those whom the provider reports as members; absent:
    /// unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_authors: Option<Vec<String>>,
    /// The repositories of this server whose jobs may start its pipelines; empty: none; absent: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_trigger_from: Option<Vec<String>>,
    /// Whether anyone may read its executions and their logs without a token; absent: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// The GitHub App that writes check runs instead of commit statuses; absent: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<GithubAppChange>,
    /// Whether each pull request has a note with the newest results; absent: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<bool>,
}

/// A change of a repository's credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialChange {
    /// Replaces it.
    Set(RepositoryCredential),
    /// Deletes it.
    Remove,
}

/// A credential without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialView {
    /// Its kind.
    pub kind: CredentialKind,
    /// Whether jobs with `checkout: { push: true }` get it.
    pub allow_push: bool,
}

impl fmt::Debug for RepositoryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryRequest").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A repository without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryView {
    /// Its name: `host/path`.
    pub name: String,
    /// The address that workers clone.
    pub url: String,
    /// The git provider.
    pub provider: Provider,
    /// Whether commit statuses are written.
    pub statuses: bool,
    /// The provider's API, if it was set.
    #[serde(default)]
    pub api_url: Option<String>,
    /// Its default branch, if known.
    #[serde(default)]
    pub default_branch: Option<String>,
    /// Which pull requests need an approval.
    pub approval: ApprovalPolicy,
    /// The formats of its receivers of notifications.
    #[serde(default)]
    pub notify: Vec<NotifyKind>,
    /// The credential with which workers fetch it, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialView>,
    /// The last error with its time: of a commit status or notification that could not be sent, or of a schedule that
    /// could not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The people whose comments on pull requests start pipelines; empty: those whom the provider reports as members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comment_authors: Vec<String>,
    /// The repositories whose jobs may start its pipelines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_trigger_from: Vec<String>,
    /// Whether anyone may read its executions and their logs without a token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
    /// The GitHub App that writes check runs, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<GithubAppView>,
    /// Whether each pull request has a note with the newest results.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notes: bool,
}

/// The reply to a registration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryReply {
    /// The repository.
    pub repository: RepositoryView,
    /// The path for the provider's webhooks.
    pub webhook_path: String,
    /// The secret of its webhooks, if it was just generated; it is not shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
}

impl fmt::Debug for RepositoryReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryReply").field("repository", &self.repository).finish_non_exhaustive()
    }
}

/// Repositories, ordered by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryList {
    /// All of them.
    pub repositories: Vec<RepositoryView>,
}

/// Selects a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryQuery {
    /// Its address, in any form.
    pub repo: String,
}

/// The reply to a request to accept redelivered webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RedeliveryReply {
    /// The repository's name.
    pub repository: String,
}

/// The reply to the removal of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveRepositoryReply {
    /// Whether it was registered.
    pub removed: bool,
}

/// The reply to a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookReply {
    /// One line for each event, with what Tidemill does about it.
    pub lines: Vec<String>,
    /// The discovery executions that were started.
    pub executions: Vec<ExecutionId>,
}
