//! Delivers commit statuses, check runs, notes and notifications at least once. Each delivery is a document, which is removed or completed after the
//! delivery, so that a crash loses nothing.

use super::{
    delivery::{DeliveryFailure, Notifiers, SendFailure, Sender},
    notices::{NOTIFICATION_KIND, Notices},
    reports::{
        check_runs::{CheckRecord, CheckState},
        notes::{NOTE_KIND, key_of},
        tokens::ReportClient,
    },
};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{DocumentKey, ExecutionRecord, NewDocument},
    repositories::{record::Repository, service::RepositoryService},
};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidemill_core::{
    ids::ExecutionId,
    notification::{
        commit_status::{CommitState, CommitStatus, next_status},
        repository_api::RepositoryApi,
    },
    repository::canonical_name,
};

/// Kind of the documents of commit statuses.
pub const STATUS_KIND: &str = "status";
const BATCH_LEN: usize = 500;
const MAX_CONCURRENT_DELIVERIES: usize = 8;
/// Interval at which an unchanged execution is checked.
const POLL_INTERVAL_MS: i64 = 1_000;
/// Maximum number of deliveries of one call: the status may change again during a delivery, and annotations are sent in batches.
const MAX_ROUNDS: usize = 12;
/// Retention of the record of a delivered final status.
const RETENTION_MS: i64 = 7 * 86_400_000;

/// Service for commit statuses, check runs, notes and notifications.
#[derive(Debug, Clone)]
pub struct Outbox {
    sender: Arc<Sender>,
    notices: Notices,
    reports: ReportClient,
}

/// The stored record of an execution's commit status or check run, named by the execution.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct StatusRecord {
    /// Name of the repository.
    repo: String,
    /// The last delivered state.
    #[serde(default)]
    sent: Option<CommitState>,
    #[serde(default)]
    trouble: DeliveryFailure,
    /// Gates of the approvals that receivers were notified of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    approvals: Vec<u32>,
    /// The revision of the execution at which its approvals were read last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approvals_read_at: Option<u64>,
    /// What is known of the check run.
    #[serde(default)]
    check: CheckRecord,
}

impl Outbox {
    pub(crate) fn new(context: Arc<Context>, repositories: RepositoryService, notifiers: Notifiers) -> Self {
        let sender = Arc::new(Sender::new(context, repositories, notifiers));
        Self { notices: Notices::new(sender.clone()), reports: ReportClient::new(sender.clone()), sender }
    }

    pub(crate) fn with_notifiers(&self, notifiers: Notifiers) -> Self {
        Self::new(self.sender.context.clone(), self.sender.repositories.clone(), notifiers)
    }

    /// Starts announcing an execution, if its repository has commit statuses, check runs or notifications. Idempotent.
    pub(crate) async fn announce(&self, execution: ExecutionId, of: &Repository) -> Result<()> {
        if !of.has_announcements() {
            return Ok(());
        }
        // The note is first: the record of the status is what is sent at once.
        self.reports.add_to_note(execution, of).await?;
        let announced = StatusRecord { repo: of.name(), ..StatusRecord::default() };
        self.sender
            .put(key(STATUS_KIND, execution), &announced, Some(self.sender.context.now()), None)
            .await
            .map(drop)
    }

    /// Starts announcing a retry, if an external event started the retried execution.
    pub async fn announce_retry(&self, execution: ExecutionId) -> Result<()> {
        let record = self.sender.context.cached_execution(execution).await?;
        let facts = &record.spec.facts;
        // Executions that users start manually are not announced, nor are their retries.
        let is_manual = facts.is_assumed || facts.trigger == tidemill_core::api::Trigger::Manual;
        if is_manual || facts.commit.is_none() {
            return Ok(());
        }
        match self.sender.repositories.find(&canonical_name(&record.spec.repo)).await? {
            Some(repository) => self.announce(execution, &repository).await,
            None => Ok(()),
        }
    }

    /// Sends due deliveries, and returns the number of successful ones.
    pub async fn run(&self) -> Result<usize> {
        let now = self.sender.context.now();
        let mut delivered = 0;
        for kind in [STATUS_KIND, NOTE_KIND, NOTIFICATION_KIND] {
            let due = self.sender.context.stores.documents.due(kind, now, BATCH_LEN).await?;
            let all = stream::iter(due).map(|document| async move {
                let name = document.key.name.clone();
                let done = match kind {
                    STATUS_KIND => self.send_status(document.key.clone(), 0).await,
                    NOTE_KIND => self.reports.send_note(document.key.clone(), 0).await,
                    _ => self.notices.send(document.key.clone()).await,
                };
                match done {
                    Ok(done) => {
                        self.sender.context.backoff.succeeded(&name);
                        done
                    }
                    // A failed delivery is postponed, so that it does not delay the others.
                    Err(error) => {
                        let retry_at = self.sender.context.backoff.failed(&name, now);
                        tracing::warn!(kind, name, %error, %retry_at, "cannot send a delivery; it is retried later");
                        self.sender.context.postpone(&document, retry_at).await;
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

    /// Sends the status and the note of an execution at once, for a caller who knows that it changed. Deliveries that another sender holds, or that
    /// failed before, are left to [`Self::run`].
    pub async fn send_status_now(&self, execution: ExecutionId) -> Result<usize> {
        let mut delivered = 0;
        while delivered < MAX_ROUNDS
            && self.send_status(key(STATUS_KIND, execution), POLL_INTERVAL_MS).await?
        {
            delivered += 1;
        }
        let record = self.sender.context.cached_execution(execution).await;
        if let Some(note) = record.ok().as_deref().and_then(key_of)
            && self.reports.send_note(note, POLL_INTERVAL_MS).await?
        {
            delivered += 1;
        }
        Ok(delivered)
    }

    /// Whether a user may write to a repository at GitHub.
    pub(super) async fn may_write(&self, repository: &Repository, user: &str) -> Result<bool, SendFailure> {
        self.reports.may_write(repository, user).await
    }

    /// Sends a notification at once that was just written, by the name of its document.
    pub async fn send_notification_now(&self, name: &str) -> Result<bool> {
        self.notices.send(DocumentKey::new(NOTIFICATION_KIND, name)).await
    }

    /// Sends the status of an execution, if it is due at most `ahead_ms` from now.
    async fn send_status(&self, of: DocumentKey, ahead_ms: i64) -> Result<bool> {
        let Some((document, announced)) = self.sender.due::<StatusRecord>(&of, ahead_ms).await? else {
            return Ok(false);
        };
        let version = document.version;
        let id: Option<ExecutionId> = of.name.parse().ok();
        let execution = match id {
            Some(id) => self.sender.context.stores.records.execution(id).await?,
            None => None,
        };
        let repository = self.sender.repositories.find(&announced.repo).await?;
        let (Some(execution), Some(repository)) = (execution, repository) else {
            self.sender.context.stores.documents.delete(&of, Some(version)).await?;
            return Ok(false);
        };
        let next = next_status(announced.sent, execution.state.status);
        let unfinished = announced.sent.filter(|_| announced.check.has_more);
        let Some(state) = next.or(unfinished).filter(|_| repository.has_statuses()) else {
            return self.complete(of, announced, &execution, &repository, version).await.map(|()| false);
        };
        if execution.spec.commit.is_none() {
            self.sender.context.stores.documents.delete(&of, Some(version)).await?;
            return Ok(false);
        }
        // Concurrent senders could deliver in the wrong order, so one holds the delivery.
        let check = if repository.app.is_some() { announced.check.sending() } else { CheckRecord::default() };
        let held = StatusRecord { check, ..announced.clone() };
        if !self.sender.hold(&of, &held, version).await? {
            return Ok(false);
        }
        let (check, outcome) = if repository.app.is_some() {
            let state = CheckState { state, is_new: next.is_some() };
            self.reports.write_check_run(&execution, &repository, state, announced.check.clone()).await
        } else {
            (CheckRecord::default(), self.write_commit_status(&execution, &repository, state).await)
        };
        let announced = StatusRecord { check, ..announced };
        let outcome = match outcome {
            Ok(()) => {
                self.sender.succeeded(&announced.repo, &announced.trouble).await;
                Ok(())
            }
            Err(failure) => {
                Err(self.sender.failed(&failure, &of, (&announced.repo, &announced.trouble)).await)
            }
        };
        let Some(document) = self.sender.context.stores.documents.get(&of).await? else { return Ok(false) };
        match outcome {
            Ok(()) => {
                let sent =
                    StatusRecord { sent: Some(state), trouble: DeliveryFailure::default(), ..announced };
                self.complete(of, sent, &execution, &repository, document.version).await?;
                Ok(true)
            }
            Err(Some((trouble, retry_at))) => {
                let later = StatusRecord { trouble, ..announced };
                self.sender.put(of, &later, Some(retry_at), Some(document.version)).await?;
                Ok(false)
            }
            Err(None) => {
                // Later statuses would fail too; notifications have other targets.
                let sent = StatusRecord {
                    sent: Some(CommitState::from_status(execution.state.status)),
                    trouble: DeliveryFailure::default(),
                    check: announced.check.abandoned(),
                    ..announced
                };
                self.complete(of, sent, &execution, &repository, document.version).await?;
                Ok(false)
            }
        }
    }

    async fn write_commit_status(
        &self,
        execution: &ExecutionRecord,
        repository: &Repository,
        state: CommitState,
    ) -> Result<(), SendFailure> {
        let target = self.sender.url(execution.spec.id);
        let status = CommitStatus {
            commit: execution.spec.commit.as_deref().unwrap_or_default(),
            state,
            pipeline: &execution.spec.pipeline_name,
            run_number: execution.run_number,
            target_url: target.as_deref(),
        };
        let request = |api: &RepositoryApi, token: &str| status.request(api, token);
        self.reports.send(repository, request).await.map(drop)
    }

    /// Schedules the next check of a live execution; for an ended one, writes the notifications and completes the record.
    async fn complete(
        &self,
        of: DocumentKey,
        mut announced: StatusRecord,
        execution: &ExecutionRecord,
        repository: &Repository,
        version: u64,
    ) -> Result<()> {
        let now = self.sender.context.now();
        let has_ended = execution.state.status.is_terminal();
        let is_sent = announced.sent.is_some_and(CommitState::is_final) && !announced.check.has_more;
        let is_delivered = !repository.has_statuses() || is_sent;
        if !(has_ended && is_delivered) {
            if !has_ended {
                let noticed = (announced.approvals.as_slice(), announced.approvals_read_at);
                let (gates, revision) =
                    self.notices.write_of_approvals(execution, repository, noticed).await?;
                announced.approvals.extend(gates);
                announced.approvals_read_at = revision;
            }
            return self
                .sender
                .put(of, &announced, Some(now.plus_ms(POLL_INTERVAL_MS)), Some(version))
                .await
                .map(drop);
        }
        self.notices.write_of_end(execution, repository).await?;
        let value = serde_json::to_string(&announced)
            .map_err(|error| Error::storage("recording a delivered status", error))?;
        let expires_at = Some(now.plus_ms(RETENTION_MS));
        let done = NewDocument { key: of, value, due_at: None, expires_at };
        self.sender.context.stores.documents.put(done, Some(version)).await.map(drop)
    }
}

fn key(kind: &str, execution: ExecutionId) -> DocumentKey {
    DocumentKey::new(kind, execution.to_string())
}
