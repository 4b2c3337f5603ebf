//! Outbox: tells git providers where executions stand, and people of failures and recoveries. What is to be told is a document; it goes
//! once it was told, so that nothing is lost when a process dies.

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
    announcement::{CommitStatus, Notice, OutgoingRequest, State, next_status, notice_event},
    retry::pause_ms,
};
use tidemill_core::ids::digest::json_digest;
use tidemill_core::repository::{canonical, registration::NotifyKind};
use tidemill_core::{api::path, ids::ExecutionId, time::Timestamp};

/// Kind of the documents that say what is to be told of an execution.
pub const STATUS: &str = "status";
/// Kind of the documents that are notices to be given.
pub const NOTIFICATION_KIND: &str = "notice";
/// How the last execution of a pipeline and branch ended.
const OUTCOME_KIND: &str = "outcome";
const BATCH_LEN: usize = 500;
const MAX_CONCURRENT_DELIVERIES: usize = 8;
/// How long one who tells has it for himself; longer than a request may take.
const DELIVERY_LEASE_MS: i64 = 30_000;
/// How often an execution is looked at that has not changed.
const POLL_INTERVAL_MS: i64 = 1_000;
/// Times that one call looks again after it told something: the execution may have moved on meanwhile.
const MAX_ROUNDS: usize = 5;
/// What could not be told for so long is given up.
const GIVE_UP_AFTER_MS: u64 = 86_400_000;
/// From so many tries on, pauses are ten times as long.
const SLOW_RETRY_THRESHOLD: u32 = 6;
/// How long it is known that an execution's end was told.
const RETENTION_MS: i64 = 7 * 86_400_000;

/// How others are reached.
#[derive(Clone)]
pub struct Notifiers {
    /// Sends requests.
    pub messenger: Arc<dyn Messenger>,
    /// The deployment's own address, as people have it: links begin with it.
    pub public_url: Option<String>,
}

impl fmt::Debug for Notifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

impl Default for Notifiers {
    fn default() -> Self {
        Self { messenger: Arc::new(crate::system::messenger::HttpMessenger::default()), public_url: None }
    }
}

/// What is to be told to others.
#[derive(Debug, Clone)]
pub struct Outbox {
    context: Arc<Context>,
    repositories: RepositoryService,
    outside: Notifiers,
}

/// Tries that went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DeliveryFailure {
    tries: u32,
    since: Option<Timestamp>,
}

/// What is to be told of an execution; its document is named by the execution.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StatusRecord {
    /// The repository's name.
    repo: String,
    /// What was told last.
    #[serde(default)]
    sent: Option<State>,
    #[serde(default)]
    trouble: DeliveryFailure,
}

/// A notice; its document is named by the execution and its place among those who are told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NotificationRecord {
    repo: String,
    at: usize,
    notice: Notice,
    #[serde(default)]
    trouble: DeliveryFailure,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ExecutionEnd {
    failed: bool,
    run_number: u64,
}

impl Outbox {
    pub(crate) fn new(context: Arc<Context>, repositories: RepositoryService, outside: Notifiers) -> Self {
        Self { context, repositories, outside }
    }

    pub(crate) fn with(self, outside: Notifiers) -> Self {
        Self { outside, ..self }
    }

    /// Has an execution told of from now on, if its repository wants that. To ask again changes nothing.
    pub(crate) async fn announce(&self, execution: ExecutionId, of: &Repository) -> Result<()> {
        if !of.announces() {
            return Ok(());
        }
        let announced = StatusRecord { repo: of.name(), sent: None, trouble: DeliveryFailure::default() };
        self.put(key(STATUS, execution), &announced, Some(self.context.now()), None).await.map(drop)
    }

    /// The same of an execution that retries one which something outside started.
    pub async fn announce_retry(&self, execution: ExecutionId) -> Result<()> {
        let shape = self.context.cached_execution(execution).await?;
        let facts = &shape.spec.facts;
        // A person's own executions are told to nobody, and what they retry begins as theirs.
        if facts.trigger == tidemill_core::api::Trigger::Manual || facts.commit.is_none() {
            return Ok(());
        }
        match self.repositories.find(&canonical(&shape.spec.repo)).await? {
            Some(repository) => self.announce(execution, &repository).await,
            None => Ok(()),
        }
    }

    /// Tells what is due, and gives the number of requests that were answered well.
    pub async fn run(&self) -> Result<usize> {
        let now = self.context.now();
        let mut told = 0;
        for kind in [STATUS, NOTIFICATION_KIND] {
            let due = self.context.stores.documents.due(kind, now, BATCH_LEN).await?;
            let all = stream::iter(due).map(|document| async move {
                let name = document.key.name.clone();
                let done = match kind {
                    STATUS => self.tell(document.key.clone(), 0).await,
                    _ => self.give_notice(document.key.clone()).await,
                };
                match done {
                    Ok(done) => {
                        self.context.backoff.succeeded(&name);
                        done
                    }
                    // One's trouble is not the others': it goes behind them.
                    Err(error) => {
                        let retry_at = self.context.backoff.failed(&name, now);
                        tracing::warn!(kind, name, %error, %retry_at, "it is told later");
                        self.context.put_off(&document, retry_at).await;
                        false
                    }
                }
            });
            told += all
                .buffer_unordered(MAX_CONCURRENT_DELIVERIES)
                .filter(|done| std::future::ready(*done))
                .count()
                .await;
        }
        Ok(told)
    }

    /// Tells at once where an execution stands, for one who knows that it changed. What somebody else is about to tell, or could not be
    /// told the last time, is left to [`Self::run`].
    pub async fn changed(&self, execution: ExecutionId) -> Result<usize> {
        let mut told = 0;
        while told < MAX_ROUNDS && self.tell(key(STATUS, execution), POLL_INTERVAL_MS).await? {
            told += 1;
        }
        Ok(told)
    }

    /// Gives a notice at once that was just written; the document's name is as it was seen in the store.
    pub async fn noticed(&self, name: &str) -> Result<bool> {
        self.give_notice(DocumentKey::new(NOTIFICATION_KIND, name)).await
    }

    /// Tells where one execution stands, if that is due at most `ahead_ms` from now.
    async fn tell(&self, of: DocumentKey, ahead_ms: i64) -> Result<bool> {
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
            return self.passed(of, announced, &execution, &repository, version).await.map(|()| false);
        };
        let Some(commit) = execution.spec.commit.clone() else {
            self.context.stores.documents.delete(&of, Some(version)).await?;
            return Ok(false);
        };
        // Two that tell at once could be heard in the wrong order.
        let held = self.context.now().plus_ms(DELIVERY_LEASE_MS);
        if !self.put(of.clone(), &announced, Some(held), Some(version)).await? {
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
        let outcome = self.send(&status.post(&token), &of, (&announced.repo, &announced.trouble)).await;
        let Some(document) = self.context.stores.documents.get(&of).await? else { return Ok(false) };
        match outcome {
            Ok(()) => {
                let told =
                    StatusRecord { sent: Some(state), trouble: DeliveryFailure::default(), ..announced };
                self.passed(of, told, &execution, &repository, document.version).await?;
                Ok(true)
            }
            Err(Some((trouble, again))) => {
                let later = StatusRecord { trouble, ..announced };
                self.put(of, &later, Some(again), Some(document.version)).await?;
                Ok(false)
            }
            Err(None) => {
                // What comes after it would fail, too; the notices go to others.
                let told = StatusRecord {
                    sent: Some(State::of(execution.state.status)),
                    trouble: DeliveryFailure::default(),
                    ..announced
                };
                self.passed(of, told, &execution, &repository, document.version).await?;
                Ok(false)
            }
        }
    }

    /// Looks again later, or, when the execution is over, gives notice and is done.
    async fn passed(
        &self,
        of: DocumentKey,
        announced: StatusRecord,
        execution: &ExecutionRecord,
        repository: &Repository,
        version: u64,
    ) -> Result<()> {
        let now = self.context.now();
        let over = execution.state.status.is_terminal();
        let told = !repository.has_statuses() || announced.sent.is_some_and(State::is_last);
        if !(over && told) {
            return self
                .put(of, &announced, Some(now.plus_ms(POLL_INTERVAL_MS)), Some(version))
                .await
                .map(drop);
        }
        self.note_end(execution, repository).await?;
        let value = serde_json::to_string(&announced)
            .map_err(|error| Error::storage("noting what was told", error))?;
        let expires_at = Some(now.plus_ms(RETENTION_MS));
        let done = NewDocument { key: of, value, due_at: None, expires_at };
        self.context.stores.documents.put(done, Some(version)).await.map(drop)
    }

    /// Writes the notices of an execution's end, and then that it ended: in this order, what dies in between is done again, and a
    /// notice that is there already is not written twice.
    async fn note_end(&self, execution: &ExecutionRecord, repository: &Repository) -> Result<()> {
        let spec = &execution.spec;
        if repository.notified() == 0 || spec.facts.pull_request.is_some() {
            return Ok(());
        }
        let branch = spec.facts.tag.clone().or_else(|| spec.branch.clone());
        let line = json_digest(&(repository.name(), &spec.pipeline_name, &branch))
            .map_err(|error| Error::storage("naming a line of notices", error))?;
        let known = self.context.stores.documents.get(&DocumentKey::new(OUTCOME_KIND, &line)).await?;
        let before: Option<ExecutionEnd> = known.as_ref().map(read).transpose()?;
        let is_older = before.as_ref().is_some_and(|before| before.run_number >= execution.run_number);
        let failed_before = before.is_some_and(|before| before.failed);
        let Some(event) = notice_event(failed_before, execution.state.status).filter(|_| !is_older) else {
            return self.note_outcome(line, execution, known.as_ref(), is_older).await;
        };
        let notice = Notice {
            event,
            repository: repository.name(),
            pipeline: spec.pipeline_name.clone(),
            run_number: execution.run_number,
            execution_id: spec.id.to_string(),
            branch,
            commit: spec.commit.clone(),
            url: self.url(spec.id),
        };
        for at in 0..repository.notified() {
            let noticed = NotificationRecord {
                repo: repository.name(),
                at,
                notice: notice.clone(),
                trouble: DeliveryFailure::default(),
            };
            let key = DocumentKey::new(NOTIFICATION_KIND, format!("{}:{at}", spec.id));
            self.put(key, &noticed, Some(self.context.now()), None).await?;
        }
        self.note_outcome(line, execution, known.as_ref(), is_older).await
    }

    async fn note_outcome(
        &self,
        line: String,
        execution: &ExecutionRecord,
        known: Option<&Document>,
        is_older: bool,
    ) -> Result<()> {
        use tidemill_core::execution::status::ExecutionStatus::{Failed, Success};
        let failed = execution.state.status == Failed;
        if is_older || !(failed || execution.state.status == Success) {
            return Ok(());
        }
        let ended = ExecutionEnd { failed, run_number: execution.run_number };
        let key = DocumentKey::new(OUTCOME_KIND, line);
        self.put(key, &ended, None, known.map(|known| known.version)).await.map(drop)
    }

    /// Sends one notice.
    async fn give_notice(&self, of: DocumentKey) -> Result<bool> {
        let Some((document, noticed)) = self.due::<NotificationRecord>(&of, 0).await? else {
            return Ok(false);
        };
        let repository = self.repositories.find(&noticed.repo).await?;
        let notify = match &repository {
            Some(repository) => self.repositories.notify(repository, noticed.at).await?,
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
            NotifyKind::Chat => noticed.notice.chat(&notify.url),
            NotifyKind::Webhook => {
                let secret = notify.secret.as_deref().unwrap_or_default();
                noticed.notice.signed(&notify.url, secret, &of.name, &now.to_string())
            }
        };
        match self.send(&post, &of, (&noticed.repo, &noticed.trouble)).await {
            Err(Some((trouble, again))) => {
                let Some(document) = self.context.stores.documents.get(&of).await? else { return Ok(false) };
                let later = NotificationRecord { trouble, ..noticed };
                self.put(of, &later, Some(again), Some(document.version)).await?;
                Ok(false)
            }
            done => {
                self.context.stores.documents.delete(&of, None).await?;
                Ok(done.is_ok())
            }
        }
    }

    /// Sends a request. What went wrong comes with the time of the next try; without one, it is given up.
    async fn send(
        &self,
        post: &OutgoingRequest,
        of: &DocumentKey,
        (repo, before): (&str, &DeliveryFailure),
    ) -> Result<(), Option<(DeliveryFailure, Timestamp)>> {
        let why = match self.outside.messenger.post(post).await {
            Ok(status) if (200..300).contains(&status) => {
                if before.tries > 0 {
                    self.note_trouble(repo, None).await;
                }
                return Ok(());
            }
            Ok(status) => format!("it answered {status}"),
            Err(why) => why,
        };
        self.note_trouble(repo, Some(&format!("a {} could not be sent: {why}", of.kind))).await;
        let now = self.context.now();
        let trouble =
            DeliveryFailure { tries: before.tries.saturating_add(1), since: before.since.or(Some(now)) };
        let (kind, name) = (&of.kind, &of.name);
        if trouble.since.is_some_and(|since| now.since_ms(since) >= GIVE_UP_AFTER_MS) {
            tracing::error!(
                kind,
                name,
                why,
                tries = trouble.tries,
                "for a day it could not be told: given up"
            );
            return Err(None);
        }
        tracing::warn!(kind, name, why, tries = trouble.tries, "it could not be told; it is tried again");
        let pause = pause_ms(trouble.tries, self.context.stores.ids.execution().0.as_u64_pair().1);
        let pause = if trouble.tries > SLOW_RETRY_THRESHOLD { pause * 10 } else { pause };
        Err(Some((trouble, now.plus_ms(i64::try_from(pause).unwrap_or(i64::MAX)))))
    }

    async fn note_trouble(&self, repo: &str, words: Option<&str>) {
        if let Err(error) = self.repositories.note_trouble(repo, RepositoryFailure::Notices, words).await {
            tracing::warn!(repo, %error, "its trouble is not noted");
        }
    }

    /// A document as it is now, if it is still due, at most `ahead_ms` from now.
    async fn due<T: DeserializeOwned>(
        &self,
        of: &DocumentKey,
        ahead_ms: i64,
    ) -> Result<Option<(Document, T)>> {
        // What is due may be told from an index that is late.
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
        let value = serde_json::to_string(value)
            .map_err(|error| Error::storage("noting what is to be told", error))?;
        let new = NewDocument { key, value, due_at, expires_at: None };
        self.context.stores.documents.put(new, if_version).await
    }

    fn url(&self, execution: ExecutionId) -> Option<String> {
        let base = self.outside.public_url.as_deref()?.trim_end_matches('/');
        Some(format!("{base}{}", path::VIEW.replace("{executionId}", &execution.to_string())))
    }
}

fn key(kind: &str, execution: ExecutionId) -> DocumentKey {
    DocumentKey::new(kind, execution.to_string())
}

fn read<T: DeserializeOwned>(document: &Document) -> Result<T> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading what is to be told", error))
}
