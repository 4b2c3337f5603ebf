//! Repositories that a deployment knows: what their webhooks, statuses and notices need.

use crate::repository::webhook::Provider;
use crate::{ids::ExecutionId, time::Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which pull requests wait for somebody's approval before anything of them runs. It stands here and not in a file, so that no commit
/// can change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// None.
    None,
    /// Those from forks.
    #[default]
    Forks,
    /// All.
    All,
}

/// How a notice is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifyKind {
    /// JSON, signed with the secret.
    Webhook,
    /// `{"text": ...}`, which Slack, Mattermost and others show in a channel.
    Chat,
}

/// Who is told when a pipeline fails, and when it succeeds again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notify {
    /// How.
    pub kind: NotifyKind,
    /// Where to: `http://` or `https://`. A chat's address is a secret itself.
    pub url: String,
    /// What webhooks are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Make a repository known, or change what is known of it. What is absent stays as it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryRequest {
    /// What workers clone.
    pub url: String,
    /// Who posts its webhooks.
    pub provider: Provider,
    /// What its webhooks are signed with; for a repository that is new and has none, one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
    /// The provider's token that commit statuses are written with; empty: write none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_token: Option<String>,
    /// The provider's API, where it is not known by the repository's address: `https://git.example.org/api/v1`; empty: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// Its default branch; empty, or never given: as webhooks say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// Which pull requests wait for an approval; never given: those from forks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Who is told of failures and recoveries; absent: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Vec<Notify>>,
}

impl fmt::Debug for RepositoryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryRequest").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A repository, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryView {
    /// Its name: `host/path`.
    pub name: String,
    /// What workers clone.
    pub url: String,
    /// Who posts its webhooks.
    pub provider: Provider,
    /// Whether commit statuses are written.
    pub statuses: bool,
    /// The provider's API, where it was given.
    #[serde(default)]
    pub api_url: Option<String>,
    /// Its default branch, as far as known.
    #[serde(default)]
    pub default_branch: Option<String>,
    /// Which pull requests wait for an approval.
    pub approval: Approval,
    /// How many are told of failures, and how.
    #[serde(default)]
    pub notify: Vec<NotifyKind>,
    /// What went wrong, with the time: with the last status or notice that could not be sent, or a schedule that could not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// A repository is known.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryReply {
    /// It.
    pub repository: RepositoryView,
    /// The path that the provider is to post to.
    pub webhook_path: String,
    /// The webhooks' secret, if it was made just now; it cannot be had again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
}

impl fmt::Debug for RepositoryReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryReply").field("repository", &self.repository).finish_non_exhaustive()
    }
}

/// Repositories, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryList {
    /// All of them.
    pub repositories: Vec<RepositoryView>,
}

/// Names a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryQuery {
    /// Its address, however that is written.
    pub repo: String,
}

/// What its webhooks delivered before may be taken once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RedeliveryReply {
    /// The repository's name.
    pub repository: String,
}

/// A repository was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveRepositoryReply {
    /// Whether it was there.
    pub removed: bool,
}

/// What became of a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookReply {
    /// One line for each thing that it told: what is done about it.
    pub lines: Vec<String>,
    /// The executions that look at the commits' pipeline files.
    pub executions: Vec<ExecutionId>,
}
