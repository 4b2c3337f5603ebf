//! The stored record of a registered repository.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey},
};
use serde::{Deserialize, Serialize};
use tidemill_core::notification::receiver::NotifyKind;
use tidemill_core::repository::{
    canonical_name,
    credential::CredentialKind,
    github_app::GithubAppView,
    registration::{ApprovalPolicy, CredentialView, RepositoryView},
    webhook::Provider,
};
use tidemill_core::time::Timestamp;

pub(super) const DOCUMENT_KIND: &str = "repository";
/// Kind of the documents of failures of a repository.
pub(super) const FAILURE_KIND: &str = "trouble";

/// Source of a failure of a repository, apart from its executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepositoryFailure {
    /// Commit statuses or notifications cannot be sent.
    Notifications,
    /// A schedule cannot start.
    Schedules,
}

impl RepositoryFailure {
    pub(super) fn record_key(self, repository: &str) -> DocumentKey {
        let word = match self {
            Self::Notifications => "notices",
            Self::Schedules => "schedules",
        };
        DocumentKey::new(FAILURE_KIND, format!("{repository}\n{word}"))
    }
}

/// The stored record of a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repository {
    /// URL that workers clone.
    pub url: String,
    /// Provider that sends its webhooks.
    pub provider: Provider,
    /// Which pull requests require an approval.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// Default branch, as configured.
    #[serde(default)]
    pub default_branch: Option<String>,
    /// Default branch, as reported by webhooks.
    #[serde(default)]
    pub observed_default_branch: Option<String>,
    /// URL of the provider's API.
    #[serde(default)]
    pub api_url: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows whenever an administrator allows redeliveries; earlier deliveries are then accepted once more.
    #[serde(default)]
    pub delivery_epoch: i64,
    /// Secret that signs webhooks, sealed.
    pub(super) webhook_secret: String,
    /// Token for commit statuses, sealed.
    #[serde(default)]
    pub(super) status_token: Option<String>,
    /// Targets of notifications, with sealed URLs.
    #[serde(default)]
    pub(super) notify: Vec<StoredNotificationTarget>,
    /// Credential with which workers fetch it.
    #[serde(default)]
    pub(super) credential: Option<StoredCredential>,
    /// Whose comments start pipelines; empty: those of people whom the provider reports as members.
    #[serde(default)]
    pub comment_authors: Vec<String>,
    /// Names of the repositories whose jobs may start its pipelines.
    #[serde(default)]
    pub allow_trigger_from: Vec<String>,
    /// Whether anyone may read its executions and their logs.
    #[serde(default)]
    pub public: bool,
    /// The GitHub App that writes check runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) app: Option<StoredApp>,
    /// Whether each pull request has a note with the newest results.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notes: bool,
}

/// A credential of a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredCredential {
    pub(super) kind: CredentialKind,
    pub(super) allow_push: bool,
    /// The whole credential ([`RepositoryCredential`](tidemill_core::repository::credential::RepositoryCredential)), sealed.
    pub(super) sealed: String,
}

/// The GitHub App of a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredApp {
    /// The id of the App.
    pub app_id: u64,
    /// The id of its installation.
    pub installation_id: u64,
    /// The private key, sealed.
    pub(super) sealed: String,
}

impl StoredApp {
    /// Returns what identifies the App, its installation and its key.
    pub(crate) fn identity(&self) -> (u64, u64, &str) {
        (self.app_id, self.installation_id, &self.sealed)
    }
}

/// A target of notifications.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredNotificationTarget {
    pub(super) kind: NotifyKind,
    /// The whole target ([`Notify`](tidemill_core::notification::receiver::Notify)), sealed.
    pub(super) sealed: String,
}

impl Repository {
    /// Returns the name under which it is stored.
    pub fn name(&self) -> String {
        canonical_name(&self.url)
    }

    /// Returns the default branch, if known.
    pub fn default_branch(&self) -> Option<&str> {
        self.default_branch.as_deref().or(self.observed_default_branch.as_deref())
    }

    /// Whether it has commit statuses, check runs or notifications. Notes need one of the first two.
    pub fn has_announcements(&self) -> bool {
        self.has_statuses() || !self.notify.is_empty()
    }

    /// Whether it has commit statuses or check runs.
    pub fn has_statuses(&self) -> bool {
        self.status_token.is_some() || self.app.is_some()
    }

    /// Whether jobs of the repository with this name may start its pipelines.
    pub fn allows_trigger_from(&self, name: &str) -> bool {
        self.allow_trigger_from.iter().any(|allowed| allowed == name)
    }

    /// Returns the number of targets of notifications.
    pub fn notification_targets(&self) -> usize {
        self.notify.len()
    }

    pub(super) fn view(&self, trouble: Option<String>) -> RepositoryView {
        RepositoryView {
            name: self.name(),
            url: self.url.clone(),
            provider: self.provider,
            statuses: self.status_token.is_some(),
            api_url: self.api_url.clone(),
            default_branch: self.default_branch().map(str::to_owned),
            approval: self.approval,
            notify: self.notify.iter().map(|target| target.kind).collect(),
            credential: self
                .credential
                .as_ref()
                .map(|stored| CredentialView { kind: stored.kind, allow_push: stored.allow_push }),
            trouble,
            updated_at: self.updated_at,
            comment_authors: self.comment_authors.clone(),
            allow_trigger_from: self.allow_trigger_from.clone(),
            public: self.public,
            app: self
                .app
                .as_ref()
                .map(|app| GithubAppView { app_id: app.app_id, installation_id: app.installation_id }),
            notes: self.notes,
        }
    }
}

pub(super) fn record_key(name: &str) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, name)
}

/// Returns the place for which a secret of a repository is sealed.
pub(super) fn sealing_place(name: &str, what: &str) -> String {
    format!("{DOCUMENT_KIND}\n{name}\n{what}")
}

/// Returns the repository of this name, if it is registered.
pub(crate) async fn find_repository(context: &Context, name: &str) -> Result<Option<Repository>> {
    let document = context.stores.documents.get(&record_key(name)).await?;
    document.as_ref().map(parse_record).transpose()
}

pub(super) fn parse_record(document: &Document) -> Result<Repository> {
    serde_json::from_str(&document.value)
        .map_err(|error| Error::storage("reading a repository's record", error))
}
