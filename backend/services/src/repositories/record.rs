//! The stored record of a registered repository.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey},
};
use serde::{Deserialize, Serialize};
use tidemill_core::repository::{
    canonical,
    registration::{Approval, NotifyKind, RepositoryView},
    webhook::Provider,
};
use tidemill_core::time::Timestamp;

pub(super) const DOCUMENT_KIND: &str = "repository";
/// Kind of the documents that say what went wrong with a repository.
pub(super) const FAILURE_KIND: &str = "trouble";

/// What goes wrong with a repository, apart from its executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepositoryFailure {
    /// Statuses and notices that cannot be sent.
    Notices,
    /// Schedules that cannot start.
    Schedules,
}

impl RepositoryFailure {
    pub(super) fn key(self, repository: &str) -> DocumentKey {
        let word = match self {
            Self::Notices => "notices",
            Self::Schedules => "schedules",
        };
        DocumentKey::new(FAILURE_KIND, format!("{repository}\n{word}"))
    }
}

/// A repository as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repository {
    /// What workers clone.
    pub url: String,
    /// Who posts its webhooks.
    pub provider: Provider,
    /// Which pull requests wait for an approval.
    #[serde(default)]
    pub approval: Approval,
    /// Its default branch, as somebody said.
    #[serde(default)]
    pub default_branch: Option<String>,
    /// Its default branch, as webhooks say.
    #[serde(default)]
    pub told_default_branch: Option<String>,
    /// The provider's API.
    #[serde(default)]
    pub api_url: Option<String>,
    /// When somebody changed it.
    pub updated_at: Timestamp,
    /// Grows whenever an administrator allows redeliveries: what was taken before may be taken once more.
    #[serde(default)]
    pub delivery_epoch: i64,
    /// What webhooks are signed with, sealed.
    pub(super) webhook_secret: String,
    /// What statuses are written with, sealed.
    #[serde(default)]
    pub(super) status_token: Option<String>,
    /// Who is told; the addresses sealed.
    #[serde(default)]
    pub(super) notify: Vec<StoredNotificationTarget>,
}

/// Somebody who is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredNotificationTarget {
    pub(super) kind: NotifyKind,
    /// All of it ([`Notify`]), sealed.
    pub(super) sealed: String,
}

impl Repository {
    /// Its name, under which it is stored.
    pub fn name(&self) -> String {
        canonical(&self.url)
    }

    /// Its default branch, as far as known.
    pub fn default_branch(&self) -> Option<&str> {
        self.default_branch.as_deref().or(self.told_default_branch.as_deref())
    }

    /// Whether anybody is to be told of its executions.
    pub fn announces(&self) -> bool {
        self.status_token.is_some() || !self.notify.is_empty()
    }

    /// Whether commit statuses are written.
    pub fn has_statuses(&self) -> bool {
        self.status_token.is_some()
    }

    /// How many are told of failures.
    pub fn notified(&self) -> usize {
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
            notify: self.notify.iter().map(|one| one.kind).collect(),
            trouble,
            updated_at: self.updated_at,
        }
    }
}

pub(super) fn key(name: &str) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, name)
}

/// What a secret of a repository is sealed for.
pub(super) fn place(name: &str, what: &str) -> String {
    format!("{DOCUMENT_KIND}\n{name}\n{what}")
}

/// The repository of this name, if it is registered.
pub(super) async fn find(context: &Context, name: &str) -> Result<Option<Repository>> {
    let found = context.stores.documents.get(&key(name)).await?;
    found.as_ref().map(read).transpose()
}

pub(super) fn read(document: &Document) -> Result<Repository> {
    serde_json::from_str(&document.value)
        .map_err(|error| Error::storage("reading a repository's record", error))
}
