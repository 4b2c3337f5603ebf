//! The service for registered repositories.

use super::record::{
    DOCUMENT_KIND, FAILURE_KIND, Repository, RepositoryFailure, StoredNotificationTarget, find_repository,
    parse_record, record_key, sealing_place,
};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, NewDocument},
    seal::SecretSealer,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};
use tidemill_core::api::path;
use tidemill_core::notification::{receiver::Notify, repository_api::RepositoryApi};
use tidemill_core::repository::{
    registration::{RedeliveryReply, RepositoryList, RepositoryReply, RepositoryRequest},
    webhook::Provider,
    {RepositoryAddress, canonical_name},
};

const MAX_ATTEMPTS: u32 = 20;
const MAX_URL_LEN: usize = 400;
const MAX_SECRET_LEN: usize = 1_000;
const MIN_SECRET_LEN: usize = 16;
const MAX_NOTIFICATION_TARGETS: usize = 10;
const MAX_COMMENT_AUTHORS: usize = 100;
const MAX_TRIGGER_REPOSITORIES: usize = 100;
const MAX_AUTHOR_LEN: usize = 100;

/// Service for registered repositories.
#[derive(Debug, Clone)]
pub struct RepositoryService {
    pub(super) context: Arc<Context>,
    pub(super) seal: SecretSealer,
    /// A secret of no repository, sealed.
    decoy: Arc<OnceLock<String>>,
}

impl RepositoryService {
    pub(crate) fn new(context: Arc<Context>, seal: SecretSealer) -> Self {
        Self { context, seal, decoy: Arc::default() }
    }

    /// Registers a repository, or changes it.
    pub async fn put(&self, request: RepositoryRequest) -> Result<RepositoryReply> {
        check(&request)?;
        let address =
            RepositoryAddress::parse(&request.url).map_err(|error| Error::Invalid(error.to_string()))?;
        let name = address.canonical();
        for _ in 0..MAX_ATTEMPTS {
            let existing = self.context.stores.documents.get(&record_key(&name)).await?;
            let version = existing.as_ref().map(|existing| existing.version);
            let old = existing.as_ref().map(parse_record).transpose()?;
            let api_url = updated(request.api_url.as_ref(), old.as_ref().map(|old| &old.api_url));
            if let Some(old) = &old {
                check_receiver(&request, api_url.as_deref(), old)?;
                check_protocol(&request, &address, old)?;
            }
            let mut new_webhook_secret = None;
            let webhook_secret = match (&request.webhook_secret, &old) {
                (Some(secret), _) => {
                    self.seal.seal(&sealing_place(&name, "webhook"), secret.as_bytes()).await?
                }
                (None, Some(old)) => old.webhook_secret.clone(),
                (None, None) => {
                    let secret = new_webhook_secret.insert(new_secret()?);
                    self.seal.seal(&sealing_place(&name, "webhook"), secret.as_bytes()).await?
                }
            };
            let status_token = match request.status_token.as_deref() {
                None => old.as_ref().and_then(|old| old.status_token.clone()),
                Some("") => None,
                Some(token) => Some(self.seal.seal(&sealing_place(&name, "status"), token.as_bytes()).await?),
            };
            let notify = match &request.notify {
                None => old.as_ref().map(|old| old.notify.clone()).unwrap_or_default(),
                Some(all) => {
                    let old = old.as_ref().map(|old| old.notify.as_slice()).unwrap_or_default();
                    self.updated_targets(&name, old, all).await?
                }
            };
            let old_credential = old.as_ref().and_then(|old| old.credential.as_ref());
            let credential = self.updated_credential(&address, &request, old_credential).await?;
            let old_authors = || old.as_ref().map(|old| old.comment_authors.clone());
            let comment_authors = request.comment_authors.clone().or_else(old_authors).unwrap_or_default();
            let old_triggers = || old.as_ref().map(|old| old.allow_trigger_from.clone());
            let triggers = request.allow_trigger_from.as_deref();
            let triggers = triggers.map(|allowed| trigger_names(allowed, &name)).transpose()?;
            let allow_trigger_from = triggers.or_else(old_triggers).unwrap_or_default();
            let app =
                self.updated_app(&name, &request, old.as_ref().and_then(|old| old.app.as_ref())).await?;
            let notes = request.notes.or(old.as_ref().map(|old| old.notes)).unwrap_or_default();
            if notes {
                check_notes(request.provider, status_token.is_some() || app.is_some())?;
            }
            let public = request.public.or(old.as_ref().map(|old| old.public)).unwrap_or_default();
            let repository = Repository {
                url: address.to_git_url(),
                provider: request.provider,
                approval: request.approval.or(old.as_ref().map(|old| old.approval)).unwrap_or_default(),
                default_branch: updated(
                    request.default_branch.as_ref(),
                    old.as_ref().map(|old| &old.default_branch),
                ),
                api_url,
                // A new registration accepts earlier deliveries again.
                delivery_epoch: old.as_ref().map_or(self.context.now().0, |old| old.delivery_epoch),
                observed_default_branch: old.and_then(|old| old.observed_default_branch),
                updated_at: self.context.now(),
                webhook_secret,
                status_token,
                notify,
                credential,
                comment_authors,
                allow_trigger_from,
                public,
                app,
                notes,
            };
            if self.write(&repository, version).await? {
                self.clear_failures(&name).await?;
                return Ok(RepositoryReply {
                    webhook_path: path::WEBHOOK.replace("{provider}", request.provider.as_str()),
                    repository: repository.view(None),
                    webhook_secret: new_webhook_secret,
                });
            }
        }
        Err(Error::Conflict("other clients are changing the repository at the same time; try again".into()))
    }

    /// Returns the notification targets `old` with those of the kinds that `new` names replaced; none if it names none.
    async fn updated_targets(
        &self,
        name: &str,
        old: &[StoredNotificationTarget],
        new: &[Notify],
    ) -> Result<Vec<StoredNotificationTarget>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let is_kept =
            |target: &&StoredNotificationTarget| new.iter().all(|changed| changed.kind != target.kind);
        let mut targets: Vec<_> = old.iter().filter(is_kept).cloned().collect();
        if targets.len() + new.len() > MAX_NOTIFICATION_TARGETS {
            return Err(Error::Invalid(too_many_targets()));
        }
        targets.extend(self.sealed(name, new).await?);
        Ok(targets)
    }

    async fn sealed(&self, name: &str, all: &[Notify]) -> Result<Vec<StoredNotificationTarget>> {
        let mut notified = Vec::with_capacity(all.len());
        for target in all {
            let text = serde_json::to_vec(target)
                .map_err(|error| Error::storage("writing a notification target", error))?;
            let sealed = self.seal.seal(&sealing_place(name, "notify"), &text).await?;
            notified.push(StoredNotificationTarget { kind: target.kind, sealed });
        }
        Ok(notified)
    }

    pub(super) async fn write(&self, repository: &Repository, if_version: Option<u64>) -> Result<bool> {
        let value = serde_json::to_string(repository)
            .map_err(|error| Error::storage("writing a repository", error))?;
        let new = NewDocument { key: record_key(&repository.name()), value, due_at: None, expires_at: None };
        self.context.stores.documents.put(new, if_version).await
    }

    /// Returns all repositories, by name.
    pub async fn list(&self) -> Result<RepositoryList> {
        let documents = &self.context.stores.documents;
        let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for document in documents.all(FAILURE_KIND, "").await? {
            let name = document.key.name.rsplit_once('\n').map_or("", |(name, _)| name);
            failures.entry(name.to_owned()).or_default().push(document.value);
        }
        let view = |document: &Document| {
            let failures = failures.remove(&document.key.name).map(|failures| failures.join("; "));
            Ok(parse_record(document)?.view(failures))
        };
        let repositories = documents.all(DOCUMENT_KIND, "").await?.iter().map(view).collect::<Result<_>>()?;
        Ok(RepositoryList { repositories })
    }

    /// Records a failure of a repository, or its end (`None`), for one source of failures.
    pub(crate) async fn record_failure(
        &self,
        name: &str,
        of: RepositoryFailure,
        message: Option<&str>,
    ) -> Result<()> {
        let documents = &self.context.stores.documents;
        let key = of.record_key(name);
        let Some(message) = message else { return documents.delete(&key, None).await.map(drop) };
        let version = documents.get(&key).await?.map(|existing| existing.version);
        let value = format!("{}: {message}", self.context.now());
        // On a conflict, the concurrent failure is as informative.
        documents.put(NewDocument { key, value, due_at: None, expires_at: None }, version).await.map(drop)
    }

    async fn clear_failures(&self, name: &str) -> Result<()> {
        for of in [RepositoryFailure::Notifications, RepositoryFailure::Schedules] {
            self.record_failure(name, of, None).await?;
        }
        Ok(())
    }

    /// Allows earlier webhook deliveries to be accepted once more.
    pub async fn allow_redeliveries(&self, repo: &str) -> Result<RedeliveryReply> {
        let name = canonical_name(repo);
        for _ in 0..MAX_ATTEMPTS {
            let Some(document) = self.context.stores.documents.get(&record_key(&name)).await? else {
                return Err(unknown(&name));
            };
            let repository = parse_record(&document)?;
            let delivery_epoch = self.context.now().0.max(repository.delivery_epoch.saturating_add(1));
            let allowed = Repository { delivery_epoch, ..repository };
            if self.write(&allowed, Some(document.version)).await? {
                return Ok(RedeliveryReply { repository: name });
            }
        }
        Err(Error::Conflict("other clients are changing the repository at the same time; try again".into()))
    }

    /// Removes a repository; its executions stay.
    pub async fn remove(&self, repo: &str) -> Result<bool> {
        let name = canonical_name(repo);
        let removed = self.context.stores.documents.delete(&record_key(&name), None).await?;
        self.clear_failures(&name).await?;
        Ok(removed)
    }

    /// Returns the repository of this name ([`canonical`]), if it is registered.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Repository>> {
        find_repository(&self.context, name).await
    }

    /// Returns the repository at this address, or a not-found error.
    pub async fn get(&self, repo: &str) -> Result<Repository> {
        let name = canonical_name(repo);
        self.find(&name).await?.ok_or_else(|| unknown(&name))
    }

    /// Records the default branch that a webhook reported, for repositories without a configured one.
    pub(crate) async fn record_default_branch(&self, name: &str, branch: &str) -> Result<()> {
        let Some(document) = self.context.stores.documents.get(&record_key(name)).await? else {
            return Ok(());
        };
        let repository = parse_record(&document)?;
        if repository.observed_default_branch.as_deref() == Some(branch) {
            return Ok(());
        }
        let updated = Repository { observed_default_branch: Some(branch.to_owned()), ..repository };
        // On a conflict, a concurrent webhook recorded it.
        self.write(&updated, Some(document.version)).await.map(drop)
    }

    /// Returns the secret that signs its webhooks.
    pub async fn webhook_secret(&self, of: &Repository) -> Result<Vec<u8>> {
        self.seal.open(&sealing_place(&of.name(), "webhook"), &of.webhook_secret).await
    }

    /// Returns a secret of no repository, to verify webhooks of unregistered repositories with the same amount of work.
    pub(crate) async fn decoy_secret(&self) -> Result<Vec<u8>> {
        let place = sealing_place("", "webhook");
        let sealed = if let Some(sealed) = self.decoy.get() {
            sealed
        } else {
            let sealed = self.seal.seal(&place, new_secret()?.as_bytes()).await?;
            self.decoy.get_or_init(|| sealed)
        };
        self.seal.open(&place, sealed).await
    }

    /// Returns the token for its commit statuses, if it has one.
    pub(crate) async fn status_token(&self, of: &Repository) -> Result<Option<String>> {
        let Some(sealed) = &of.status_token else { return Ok(None) };
        let opened = self.seal.open(&sealing_place(&of.name(), "status"), sealed).await?;
        let text = String::from_utf8(opened);
        text.map(Some).map_err(|error| Error::storage("decrypting a status token", error.utf8_error()))
    }

    /// Returns the notification target at this index.
    pub(crate) async fn notification_target(&self, of: &Repository, at: usize) -> Result<Option<Notify>> {
        let Some(target) = of.notify.get(at) else { return Ok(None) };
        let opened = self.seal.open(&sealing_place(&of.name(), "notify"), &target.sealed).await?;
        let read = serde_json::from_slice(&opened);
        read.map(Some).map_err(|error| Error::storage("decrypting a notification target", error))
    }
}

/// Returns the new value, or the earlier one if there is none; an empty text removes it.
fn updated(new: Option<&String>, old: Option<&Option<String>>) -> Option<String> {
    match new {
        Some(new) => Some(new.clone()).filter(|new| !new.is_empty()),
        None => old.cloned().flatten(),
    }
}

fn unknown(name: &str) -> Error {
    Error::NotFound(format!("there is no repository {name}; register it with: tidemill repo add"))
}

fn new_secret() -> Result<String> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|error| Error::storage("creating a webhook secret", error))?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// Returns the canonical names of the repositories whose jobs may start pipelines of `own`.
fn trigger_names(addresses: &[String], own: &str) -> Result<Vec<String>> {
    if addresses.len() > MAX_TRIGGER_REPOSITORIES {
        return Err(Error::Invalid(format!(
            "at most {MAX_TRIGGER_REPOSITORIES} repositories can start the pipelines of another one"
        )));
    }
    let mut names = Vec::with_capacity(addresses.len());
    for address in addresses {
        let name = canonical_name(address);
        let is_remote = RepositoryAddress::parse(&format!("https://{name}")).is_ok();
        if address.len() > MAX_URL_LEN || !is_remote {
            return Err(Error::Invalid(
                "`allow_trigger_from` takes names of repositories, such as git.example.org/group/name".into(),
            ));
        }
        if name == own {
            return Err(Error::Invalid(format!(
                "`allow_trigger_from` takes names of other repositories; a job starts a pipeline of {own} itself with `pipeline: {{ file: \
                 PATH }}`"
            )));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Checks that a token or an App that the request keeps is for the API that it names. Who may register a repository cannot read them,
/// and would get them by naming another address: also a statement that the App signs for all that it is installed for.
fn check_receiver(request: &RepositoryRequest, api_url: Option<&str>, old: &Repository) -> Result<()> {
    let keeps_token = request.status_token.is_none() && old.status_token.is_some();
    let keeps_app = request.app.is_none() && old.app.is_some();
    let base = |provider, api_url| RepositoryApi::new(provider, api_url, &old.url).base;
    if (keeps_token || keeps_app)
        && base(request.provider, api_url) != base(old.provider, old.api_url.as_deref())
    {
        return Err(Error::Invalid(
            "the provider's token and App are for the API that they were given for: give them again with its new address, or remove \
             them (--status-token-file, --app-id, --no-app)"
                .into(),
        ));
    }
    Ok(())
}

/// Checks that a credential that the request keeps is sent by the protocol that it was given for, and so not in the clear.
fn check_protocol(request: &RepositoryRequest, address: &RepositoryAddress, old: &Repository) -> Result<()> {
    let keeps_credential = request.credential.is_none() && old.credential.is_some();
    let is_same = RepositoryAddress::parse(&old.url).is_ok_and(|old| old.scheme() == address.scheme());
    if keeps_credential && !is_same {
        return Err(Error::Invalid(
            "the repository has a credential for another protocol, which does not fit its new address; give it again, or remove it".into(),
        ));
    }
    Ok(())
}

/// Checks that notes can be written.
fn check_notes(provider: Provider, has_token: bool) -> Result<()> {
    if provider == Provider::Bitbucket {
        return Err(Error::Invalid("notes are for pull requests at GitHub, GitLab and Gitea".into()));
    }
    if !has_token {
        return Err(Error::Invalid(
            "notes need a token of the provider (--status-token-file), or at GitHub an App (--app-id)".into(),
        ));
    }
    Ok(())
}

fn check(request: &RepositoryRequest) -> Result<()> {
    let invalid = |message: String| Err(Error::Invalid(message));
    let url = request.url.as_str();
    let is_text = |text: &str, max: usize| {
        !text.is_empty()
            && text.len() <= max
            && !text.contains(|character: char| character.is_control() || character == ' ')
    };
    if url.len() > MAX_URL_LEN {
        return invalid(format!("a repository's address has at most {MAX_URL_LEN} bytes"));
    }
    if let Some(secret) = &request.webhook_secret
        && !(MIN_SECRET_LEN..=MAX_SECRET_LEN).contains(&secret.len())
    {
        return invalid(format!("a webhook's secret has {MIN_SECRET_LEN} to {MAX_SECRET_LEN} bytes"));
    }
    let is_http = |url: &str| {
        is_text(url, MAX_SECRET_LEN) && (url.starts_with("https://") || url.starts_with("http://"))
    };
    if request
        .status_token
        .as_deref()
        .is_some_and(|token| !token.is_empty() && !is_text(token, MAX_SECRET_LEN))
    {
        return invalid("a status token must not contain spaces or control characters".into());
    }
    if request.api_url.as_deref().is_some_and(|url| !url.is_empty() && !is_http(url)) {
        return invalid("the URL of the provider's API must start with https:// or http://".into());
    }
    let is_branch = |name: &str| is_text(name, 250) && !name.starts_with('-');
    if request.default_branch.as_deref().is_some_and(|name| !name.is_empty() && !is_branch(name)) {
        return invalid("the default branch is not a valid branch name".into());
    }
    let authors = request.comment_authors.as_deref().unwrap_or_default();
    if authors.len() > MAX_COMMENT_AUTHORS || !authors.iter().all(|author| is_text(author, MAX_AUTHOR_LEN)) {
        return invalid(format!(
            "at most {MAX_COMMENT_AUTHORS} names of up to {MAX_AUTHOR_LEN} bytes without spaces can start pipelines by comments"
        ));
    }
    let notify = request.notify.as_deref().unwrap_or_default();
    if notify.len() > MAX_NOTIFICATION_TARGETS {
        return invalid(too_many_targets());
    }
    for target in notify {
        target.check().map_err(Error::Invalid)?;
    }
    Ok(())
}

fn too_many_targets() -> String {
    format!("a repository has at most {MAX_NOTIFICATION_TARGETS} notification targets")
}
