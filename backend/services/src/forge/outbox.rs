//! Delivers commit statuses and notifications at least once. Each delivery is a document, which is removed or completed after the
//! delivery, so that a crash loses nothing.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, Messenger, NewDocument},
    repositories::{
        record::{Repository, RepositoryFailure},
        service::RepositoryService,
    },
};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc};
use tidemill_core::execution::{
    notification::{
        CommitState, CommitStatus, Notification, OutgoingRequest, next_status, notification_event,
    },
    retry::backoff_ms,
};
use tidemill_core::ids::digest::json_digest;
use tidemill_core::repository::{canonical_name, registration::NotifyKind};
use tidemill_core::{api::page, ids::ExecutionId, time::Timestamp};

/// Kind of the documents of commit statuses.
pub const STATUS_KIND: &str = "status";
/// Kind of the documents of pending notifications.
pub const NOTIFICATION_KIND: &str = "notice";
/// Kind of the documents with the outcome of the last execution of a pipeline and branch.
const OUTCOME_KIND: &str = "outcome";
const BATCH_LEN: usize = 500;
const MAX_CONCURRENT_DELIVERIES: usize = 8;
/// How long a sender holds a delivery exclusively; longer than a request may take.
const DELIVERY_LEASE_MS: i64 = 30_000;
/// Interval at which an unchanged execution is checked.
const POLL_INTERVAL_MS: i64 = 1_000;
/// Maximum number of deliveries of one call: the status may change again during a delivery.
const MAX_ROUNDS: usize = 5;
/// Time after which failed deliveries are abandoned.
const GIVE_UP_AFTER_MS: u64 = 86_400_000;
/// Number of attempts after which pauses are ten times as long.
const SLOW_RETRY_THRESHOLD: u32 = 6;
/// Retention of the record of a delivered final status.
const RETENTION_MS: i64 = 7 * 86_400_000;

/// How messages are sent.
#[derive(Clone)]
pub struct Notifiers {
    /// Sends requests.
    pub messenger: Arc<dyn Messenger>,
    /// Public URL of the deployment, with which links start.
    pub public_url: Option<String>,
}

impl fmt::Debug for Notifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifiers").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

impl Default for Notifiers {
    fn default() -> Self {
        Self { messenger: Arc::new(crate::system::messenger::HttpMessenger::default()), public_url: None }
    }
}

/// Service for commit statuses and notifications.
#[derive(Debug, Clone)]
pub struct Outbox {
    context: Arc<Context>,
    repositories: RepositoryService,
    notifiers: Notifiers,
}

/// Failed attempts of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DeliveryFailure {
    tries: u32,
    since: Option<Timestamp>,
}

/// The stored record of an execution's commit status, named by the execution.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StatusRecord {
    /// Name of the repository.
    repo: String,
    /// The last delivered state.
    #[serde(default)]
    sent: Option<CommitState>,
    #[serde(default)]
    trouble: DeliveryFailure,
}

/// A pending notification, named by the execution and the index of its target.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NotificationRecord {
    repo: String,
    at: usize,
    notice: Notification,
    #[serde(default)]
    trouble: DeliveryFailure,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ExecutionEnd {
    failed: bool,
    run_number: u64,
}

impl Outbox {
    pub(crate) fn new(context: Arc<Context>, repositories: RepositoryService, notifiers: Notifiers) -> Self {
        Self { context, repositories, notifiers }
    }

    pub(crate) fn with_notifiers(self, notifiers: Notifiers) -> Self {
        Self { notifiers, ..self }
    }

    /// Starts announcing an execution, if its repository has commit statuses or notifications. Idempotent.
    pub(crate) async fn announce(&self, execution: ExecutionId, of: &Repository) -> Result<()> {
        if !of.has_announcements() {
            return Ok(());
        }
        let announced = StatusRecord { repo: of.name(), sent: None, trouble: DeliveryFailure::default() };
        self.put(key(STATUS_KIND, execution), &announced, Some(self.context.now()), None).await.map(drop)
    }

    /// Starts announcing a retry, if an external event started the retried execution.
    pub async fn announce_retry(&self, execution: ExecutionId) -> Result<()> {
        let record = self.context.cached_execution(execution).await?;
        let facts = &record.spec.facts;
        // Executions that users start manually are not announced, nor are their retries.
        let is_manual = facts.is_assumed || facts.trigger == tidemill_core::api::Trigger::Manual;
        if is_manual || facts.commit.is_none() {
            return Ok(());
        }
        match self.repositories.find(&canonical_name(&record.spec.repo)).await? {
            Some(repository) => self.announce(execution, &repository).await,
            None => Ok(()),
        }
    }

    /// Sends due deliveries, and returns the number of successful ones.
    pub async fn run(&self) -> Result<usize> {
        let now = self.context.now();
        let mut delivered = 0;
        for kind in [STATUS_KIND, NOTIFICATION_KIND] {
            let due = self.context.stores.documents.due(kind, now, BATCH_LEN).await?;
            let all = stream::iter(due).map(|document| async move {
                let name = document.key.name.clone();
                let done = match kind {
                    STATUS_KIND => self.send_status(document.key.clone(), 0).await,
                    _ => self.send_notification(document.key.clone()).await,
                };
                match done {
                    Ok(done) => {
                        self.context.backoff.succeeded(&name);
                        done
                    }
                    // A failed delivery is postponed, so that it does not delay the others.
                    Err(error) => {
                        let retry_at = self.context.backoff.failed(&name, now);
                        tracing::warn!(kind, name, %error, %retry_at, "cannot send a delivery; it is retried later");
                        self.context.postpone(&document, retry_at).await;
                        false
                    }
                }
            });
            delivered += all
                .buffer_unordered(MAX_CONCURRENT_DELIVERIES)
                .filter(|done| std::future::ready(*done))
                .count()
                .await;
        }
        Ok(delivered)
    }

    /// Sends the status of an execution at once, for a caller who knows that it changed. Deliveries that another sender holds, or that
    /// failed before, are left to [`Self::run`].
    pub async fn send_status_now(&self, execution: ExecutionId) -> Result<usize> {
        let mut delivered = 0;
        while delivered < MAX_ROUNDS
            && self.send_status(key(STATUS_KIND, execution), POLL_INTERVAL_MS).await?
        {
            delivered += 1;
        }
        Ok(delivered)
    }

    /// Sends a notification at once that was just written, by the name of its document.
    pub async fn send_notification_now(&self, name: &str) -> Result<bool> {
        self.send_notification(DocumentKey::new(NOTIFICATION_KIND, name)).await
    }

    /// Sends the status of an execution, if it is due at most `ahead_ms` from now.
    async fn send_status(&self, of: DocumentKey, ahead_ms: i64) -> Result<bool> {
        let Some((document, announced)) = self.due::<StatusRecord>(&of, ahead_ms).await? else {
            return Ok(false);
        };
        let version = document.version;
        let id: Option<ExecutionId> = of.name.parse().ok();
        let execution = match id {
            Some(id) => self.context.stores.records.execution(id).await?,
            None => None,
        };
        let repository = self.repositories.find(&announced.repo).await?;
        let (Some(execution), Some(repository)) = (execution, repository) else {
            self.context.stores.documents.delete(&of, Some(version)).await?;
            return Ok(false);
        };
        let status = execution.state.status;
        let token = self.repositories.status_token(&repository).await?;
        let next = next_status(announced.sent, status);
        let (Some(state), Some(token)) = (next, token) else {
            return self.complete(of, announced, &execution, &repository, version).await.map(|()| false);
        };
        let Some(commit) = execution.spec.commit.clone() else {
            self.context.stores.documents.delete(&of, Some(version)).await?;
            return Ok(false);
        };
        // Concurrent senders could deliver in the wrong order, so one holds the delivery.
        let held_until = self.context.now().plus_ms(DELIVERY_LEASE_MS);
        if !self.put(of.clone(), &announced, Some(held_until), Some(version)).await? {
            return Ok(false);
        }
        let target = self.url(execution.spec.id);
        let status = CommitStatus {
            provider: repository.provider,
            api_url: repository.api_url.as_deref(),
            repo: &repository.url,
            commit: &commit,
            state,
            pipeline: &execution.spec.pipeline_name,
            run_number: execution.run_number,
            target_url: target.as_deref(),
        };
        let outcome = self.send(&status.request(&token), &of, (&announced.repo, &announced.trouble)).await;
        let Some(document) = self.context.stores.documents.get(&of).await? else { return Ok(false) };
        match outcome {
            Ok(()) => {
                let sent =
                    StatusRecord { sent: Some(state), trouble: DeliveryFailure::default(), ..announced };
                self.complete(of, sent, &execution, &repository, document.version).await?;
                Ok(true)
            }
            Err(Some((trouble, retry_at))) => {
                let later = StatusRecord { trouble, ..announced };
                self.put(of, &later, Some(retry_at), Some(document.version)).await?;
                Ok(false)
            }
            Err(None) => {
                // Later statuses would fail too; notifications have other targets.
                let sent = StatusRecord {
                    sent: Some(CommitState::from_status(execution.state.status)),
                    trouble: DeliveryFailure::default(),
                    ..announced
                };
                self.complete(of, sent, &execution, &repository, document.version).await?;
                Ok(false)
            }
        }
    }

    /// Schedules the next check of a live execution; for an ended one, writes the notifications and completes the record.
    async fn complete(
        &self,
        of: DocumentKey,
        announced: StatusRecord,
        execution: &ExecutionRecord,
        repository: &Repository,
        version: u64,
    ) -> Result<()> {
        let now = self.context.now();
        let has_ended = execution.state.status.is_terminal();
        let is_delivered = !repository.has_statuses() || announced.sent.is_some_and(CommitState::is_final);
        if !(has_ended && is_delivered) {
            return self
                .put(of, &announced, Some(now.plus_ms(POLL_INTERVAL_MS)), Some(version))
                .await
                .map(drop);
        }
        self.write_notifications(execution, repository).await?;
        let value = serde_json::to_string(&announced)
            .map_err(|error| Error::storage("recording a delivered status", error))?;
        let expires_at = Some(now.plus_ms(RETENTION_MS));
        let done = NewDocument { key: of, value, due_at: None, expires_at };
        self.context.stores.documents.put(done, Some(version)).await.map(drop)
    }

    /// Writes the notifications of an ended execution, and then its outcome. After a crash in between, both are written again; an existing
    /// notification is not written twice.
    async fn write_notifications(&self, execution: &ExecutionRecord, repository: &Repository) -> Result<()> {
        let spec = &execution.spec;
        let of_request = spec.facts.pull_request.is_some() || spec.facts.merge_target.is_some();
        if repository.notification_targets() == 0 || of_request {
            return Ok(());
        }
        let branch = spec.facts.tag.clone().or_else(|| spec.branch.clone());
        let line = json_digest(&(repository.name(), &spec.pipeline_name, &branch))
            .map_err(|error| Error::storage("deriving the key of an outcome", error))?;
        let existing = self.context.stores.documents.get(&DocumentKey::new(OUTCOME_KIND, &line)).await?;
        let previous: Option<ExecutionEnd> = existing.as_ref().map(read).transpose()?;
        let is_older = previous.as_ref().is_some_and(|previous| previous.run_number >= execution.run_number);
        let has_failed_before = previous.is_some_and(|previous| previous.failed);
        let Some(event) = notification_event(has_failed_before, execution.state.status).filter(|_| !is_older)
        else {
            return self.write_outcome(line, execution, existing.as_ref(), is_older).await;
        };
        let notice = Notification {
            event,
            repository: repository.name(),
            pipeline: spec.pipeline_name.clone(),
            run_number: execution.run_number,
            execution_id: spec.id.to_string(),
            branch,
            commit: spec.commit.clone(),
            url: self.url(spec.id),
        };
        for at in 0..repository.notification_targets() {
            let noticed = NotificationRecord {
                repo: repository.name(),
                at,
                notice: notice.clone(),
                trouble: DeliveryFailure::default(),
            };
            let key = DocumentKey::new(NOTIFICATION_KIND, format!("{}:{at}", spec.id));
            self.put(key, &noticed, Some(self.context.now()), None).await?;
        }
        self.write_outcome(line, execution, existing.as_ref(), is_older).await
    }

    async fn write_outcome(
        &self,
        line: String,
        execution: &ExecutionRecord,
        existing: Option<&Document>,
        is_older: bool,
    ) -> Result<()> {
        use tidemill_core::execution::status::ExecutionStatus::{Failed, Success};
        let failed = execution.state.status == Failed;
        if is_older || !(failed || execution.state.status == Success) {
            return Ok(());
        }
        let ended = ExecutionEnd { failed, run_number: execution.run_number };
        let key = DocumentKey::new(OUTCOME_KIND, line);
        self.put(key, &ended, None, existing.map(|existing| existing.version)).await.map(drop)
    }

    /// Sends a notification.
    async fn send_notification(&self, of: DocumentKey) -> Result<bool> {
        let Some((document, noticed)) = self.due::<NotificationRecord>(&of, 0).await? else {
            return Ok(false);
        };
        let repository = self.repositories.find(&noticed.repo).await?;
        let notify = match &repository {
            Some(repository) => self.repositories.notification_target(repository, noticed.at).await?,
            None => None,
        };
        let Some(notify) = notify else {
            self.context.stores.documents.delete(&of, Some(document.version)).await?;
            return Ok(false);
        };
        let now = self.context.now();
        if !self
            .put(of.clone(), &noticed, Some(now.plus_ms(DELIVERY_LEASE_MS)), Some(document.version))
            .await?
        {
            return Ok(false);
        }
        let post = match notify.kind {
            NotifyKind::Chat => noticed.notice.chat_request(&notify.url),
            NotifyKind::Webhook => {
                let secret = notify.secret.as_deref().unwrap_or_default();
                noticed.notice.webhook_request(&notify.url, secret, &of.name, &now.to_string())
            }
        };
        match self.send(&post, &of, (&noticed.repo, &noticed.trouble)).await {
            Err(Some((trouble, retry_at))) => {
                let Some(document) = self.context.stores.documents.get(&of).await? else { return Ok(false) };
                let later = NotificationRecord { trouble, ..noticed };
                self.put(of, &later, Some(retry_at), Some(document.version)).await?;
                Ok(false)
            }
            done => {
                self.context.stores.documents.delete(&of, None).await?;
                Ok(done.is_ok())
            }
        }
    }

    /// Sends a request. The error has the failures so far and the time of the next attempt; `None` if the delivery is abandoned.
    async fn send(
        &self,
        post: &OutgoingRequest,
        of: &DocumentKey,
        (repo, previous): (&str, &DeliveryFailure),
    ) -> Result<(), Option<(DeliveryFailure, Timestamp)>> {
        let why = match self.notifiers.messenger.post(post).await {
            Ok(status) if (200..300).contains(&status) => {
                if previous.tries > 0 {
                    self.record_failure(repo, None).await;
                }
                return Ok(());
            }
            Ok(status) => format!("the receiver replied with status {status}"),
            Err(why) => why,
        };
        self.record_failure(repo, Some(&format!("cannot send a {}: {why}", of.kind))).await;
        let now = self.context.now();
        let trouble =
            DeliveryFailure { tries: previous.tries.saturating_add(1), since: previous.since.or(Some(now)) };
        let (kind, name) = (&of.kind, &of.name);
        if trouble.since.is_some_and(|since| now.since_ms(since) >= GIVE_UP_AFTER_MS) {
            tracing::error!(
                kind,
                name,
                why,
                tries = trouble.tries,
                "cannot send a delivery for a day; it is abandoned"
            );
            return Err(None);
        }
        tracing::warn!(kind, name, why, tries = trouble.tries, "cannot send a delivery; it is retried");
        let pause = backoff_ms(trouble.tries, self.context.stores.ids.execution().0.as_u64_pair().1);
        let pause = if trouble.tries > SLOW_RETRY_THRESHOLD { pause * 10 } else { pause };
        Err(Some((trouble, now.plus_ms(i64::try_from(pause).unwrap_or(i64::MAX)))))
    }

    async fn record_failure(&self, repo: &str, message: Option<&str>) {
        if let Err(error) =
            self.repositories.record_failure(repo, RepositoryFailure::Notifications, message).await
        {
            tracing::warn!(repo, %error, "cannot record the failure of a delivery");
        }
    }

    /// Reads a document again, and returns it if it is due at most `ahead_ms` from now.
    async fn due<T: DeserializeOwned>(
        &self,
        of: &DocumentKey,
        ahead_ms: i64,
    ) -> Result<Option<(Document, T)>> {
        // The index of due documents may lag behind.
        let Some(document) = self.context.stores.documents.get(of).await? else { return Ok(None) };
        if document.due_at.is_none_or(|at| at > self.context.now().plus_ms(ahead_ms)) {
            return Ok(None);
        }
        let value = read(&document)?;
        Ok(Some((document, value)))
    }

    async fn put<T: Serialize>(
        &self,
        key: DocumentKey,
        value: &T,
        due_at: Option<Timestamp>,
        if_version: Option<u64>,
    ) -> Result<bool> {
        let value =
            serde_json::to_string(value).map_err(|error| Error::storage("writing a delivery", error))?;
        let new = NewDocument { key, value, due_at, expires_at: None };
        self.context.stores.documents.put(new, if_version).await
    }

    fn url(&self, execution: ExecutionId) -> Option<String> {
        self.notifiers.public_url.as_deref().map(|base| page::execution_page(base, execution))
    }
}

fn key(kind: &str, execution: ExecutionId) -> DocumentKey {
    DocumentKey::new(kind, execution.to_string())
}

fn read<T: DeserializeOwned>(document: &Document) -> Result<T> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a delivery", error))
}
