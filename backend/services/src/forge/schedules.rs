//! Schedules: starts pipelines of default branches at the times of their cron expressions.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    executions::{
        idempotency_keys::IdempotencyKey,
        pipeline::{
            discovery_start::{self, DiscoveryStart},
            service::PipelineExecutionService,
        },
    },
    ports::{Document, DocumentKey, NewDocument},
    repositories::{
        record::{Repository, RepositoryFailure},
        service::RepositoryService,
    },
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::execution::{discovery::Discovery, facts::Facts};
use tidemill_core::time::cron::next_after;
use tidemill_core::{
    api::Trigger,
    guarded,
    ids::ExecutionId,
    pipeline::{PullRequestTrigger, Schedule, UpstreamTrigger},
    time::Timestamp,
};

mod listing;

const DOCUMENT_KIND: &str = "schedule";
/// Kind of the documents with the newest discovery that reported schedules, one for each repository.
const LAST_SYNC_KIND: &str = "schedule-look";
/// Maximum number of attempts to register schedules that change meanwhile.
const MAX_ATTEMPTS: u32 = 50;
/// Maximum number of schedules that one sweep starts; the next one continues.
const MAX_STARTS_PER_SWEEP: usize = 100;

/// Service for schedules.
#[derive(Debug, Clone)]
pub struct ScheduleService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
    repositories: RepositoryService,
}

/// A pipeline file of a default branch, and its schedules.
#[derive(Debug, Clone)]
pub(crate) struct DiscoveredPipeline {
    pub path: String,
    pub pipeline: String,
    pub schedules: Vec<Schedule>,
    /// The pipelines that it follows.
    pub follows: Option<UpstreamTrigger>,
    /// The pull requests that start it.
    pub pull_request: Option<PullRequestTrigger>,
}

/// The stored record of a schedule; the due time of its document is its next time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ScheduleRecord {
    /// Name of the repository.
    repo: String,
    path: String,
    pipeline: String,
    cron: String,
    time_zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Paths of the other files whose pipelines follow some pipeline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    followers: Vec<String>,
    /// The time at which it could not start, if it could not; the due time is then that of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missed: Option<Timestamp>,
    /// The discovery that it started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<ExecutionId>,
    /// The discovery that found it. Ids are ordered by creation, so that an older one does not replace it.
    by: ExecutionId,
}

impl ScheduleService {
    pub(crate) fn new(
        context: Arc<Context>,
        pipelines: PipelineExecutionService,
        repositories: RepositoryService,
    ) -> Self {
        Self { context, pipelines, repositories }
    }

    /// Replaces the schedules of a repository by those in `found`; with `keep`, those of other files stay. Unchanged schedules keep their
    /// next time. Of concurrent or reordered discoveries, the latest one wins.
    pub(crate) async fn register(
        &self,
        repo: &str,
        by: ExecutionId,
        found: &[DiscoveredPipeline],
        keep: bool,
    ) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for _ in 0..MAX_ATTEMPTS {
            if self.is_newest(repo, by).await? {
                let is_complete = self.try_register(repo, by, found, keep, &mut lines).await?;
                if is_complete && self.is_newest(repo, by).await? {
                    return Ok(lines);
                }
            } else if self.remove_registered(repo, by).await? {
                return Ok(vec!["a later discovery of the branch determines its schedules".into()]);
            }
        }
        Err(Error::Conflict(format!("the schedules of {repo} change too fast to be registered; try again")))
    }

    /// Records `by` as the newest discovery of the branch. Returns false if there is a later one.
    async fn is_newest(&self, repo: &str, by: ExecutionId) -> Result<bool> {
        let (documents, key) = (&self.context.stores.documents, DocumentKey::new(LAST_SYNC_KIND, repo));
        for _ in 0..MAX_ATTEMPTS {
            let existing = documents.get(&key).await?;
            let newest = existing.as_ref().and_then(|existing| existing.value.parse::<ExecutionId>().ok());
            if newest.is_some_and(|newest| newest >= by) {
                return Ok(newest == Some(by));
            }
            let new = NewDocument { key: key.clone(), value: by.to_string(), due_at: None, expires_at: None };
            if documents.put(new, existing.map(|existing| existing.version)).await? {
                return Ok(true);
            }
        }
        Err(Error::Conflict(format!("too many concurrent discoveries of {repo}; try again")))
    }

    /// Writes the schedules in `found`. Returns false if one changed meanwhile, for example because a sweep started it.
    async fn try_register(
        &self,
        repo: &str,
        by: ExecutionId,
        found: &[DiscoveredPipeline],
        keep: bool,
        lines: &mut Vec<String>,
    ) -> Result<bool> {
        let now = self.context.now();
        let mut new_records = records_of(repo, by, found);
        let mut is_complete = true;
        for existing in self.documents_of(repo).await? {
            let stored = read(&existing)?;
            let is_found_file = found.iter().any(|file| file.path == stored.path);
            is_complete &= match new_records.remove(&existing.key.name) {
                // A later discovery of the branch wrote it.
                _ if stored.by > by => true,
                Some(new) => {
                    let same = (&new.cron, &new.time_zone) == (&stored.cron, &stored.time_zone);
                    let due = if same { existing.due_at } else { next(&new, now) };
                    let missed = stored.missed.filter(|_| same);
                    let new = ScheduleRecord { missed, last: stored.last, ..new };
                    self.put(&existing.key.name, &new, due, Some(existing.version)).await?
                }
                None if keep && !is_found_file => {
                    let kept = ScheduleRecord { by, ..stored };
                    self.put(&existing.key.name, &kept, existing.due_at, Some(existing.version)).await?
                }
                None => self.context.stores.documents.delete(&existing.key, Some(existing.version)).await?,
            };
        }
        for (name, new) in &new_records {
            let due = next(new, now);
            if !self.put(name, new, due, None).await? {
                is_complete = false;
                continue;
            }
            let when = due.map_or_else(|| "never".to_owned(), |at| at.to_string());
            lines.push(format!("{}: schedule `{}` ({}): next {when}", new.path, new.cron, new.time_zone));
        }
        Ok(is_complete)
    }

    /// Removes schedules that `by` registered while a later discovery was registered. Returns false if one changed meanwhile.
    async fn remove_registered(&self, repo: &str, by: ExecutionId) -> Result<bool> {
        let mut is_complete = true;
        for existing in self.documents_of(repo).await? {
            if read(&existing)?.by == by {
                is_complete &=
                    self.context.stores.documents.delete(&existing.key, Some(existing.version)).await?;
            }
        }
        Ok(is_complete)
    }

    /// Removes all schedules of a repository.
    pub async fn remove_all(&self, repo: &str) -> Result<()> {
        for existing in self.documents_of(repo).await? {
            self.context.stores.documents.delete(&existing.key, None).await?;
        }
        self.context.stores.documents.delete(&DocumentKey::new(LAST_SYNC_KIND, repo), None).await?;
        Ok(())
    }

    async fn documents_of(&self, repo: &str) -> Result<Vec<Document>> {
        self.context.stores.documents.all(DOCUMENT_KIND, &format!("{repo}\n")).await
    }

    async fn put(
        &self,
        name: &str,
        stored: &ScheduleRecord,
        due_at: Option<Timestamp>,
        if_version: Option<u64>,
    ) -> Result<bool> {
        let value =
            serde_json::to_string(stored).map_err(|error| Error::storage("writing a schedule", error))?;
        let new = NewDocument { key: DocumentKey::new(DOCUMENT_KIND, name), value, due_at, expires_at: None };
        self.context.stores.documents.put(new, if_version).await
    }

    /// Starts due schedules, and returns the number of started executions.
    pub async fn run(&self) -> Result<usize> {
        let now = self.context.now();
        let mut count = 0;
        for due in self.context.stores.documents.due(DOCUMENT_KIND, now, MAX_STARTS_PER_SWEEP).await? {
            // A failure of one schedule does not affect the others.
            match self.start(&due.key, now).await {
                Ok(started) => {
                    self.context.backoff.succeeded(&due.key.name);
                    count += usize::from(started);
                }
                Err(error) => self.put_off(&due.key, now, &error).await,
            }
        }
        Ok(count)
    }

    /// Postpones a schedule that could not start, with backoff, so that it does not delay others, and records the failure for the
    /// administrators of the repository.
    async fn put_off(&self, key: &DocumentKey, now: Timestamp, error: &Error) {
        let name = &key.name;
        let retry_at = self.context.backoff.failed(name, now);
        tracing::warn!(schedule = ?name, %error, %retry_at, "cannot start a schedule; it is retried later");
        if let Err(error) = self.try_put_off(key, now, retry_at, error).await {
            tracing::warn!(schedule = ?name, %error, "cannot postpone a schedule; the next sweep retries it");
        }
    }

    async fn try_put_off(
        &self,
        key: &DocumentKey,
        now: Timestamp,
        retry_at: Timestamp,
        why: &Error,
    ) -> Result<()> {
        let documents = &self.context.stores.documents;
        let Some(document) = documents.get(key).await? else { return Ok(()) };
        let Some(due_at) = document.due_at.filter(|at| *at <= now) else { return Ok(()) };
        let version = Some(document.version);
        let Ok(stored) = read(&document) else {
            let later = NewDocument {
                key: document.key,
                value: document.value,
                due_at: Some(retry_at),
                expires_at: None,
            };
            return documents.put(later, version).await.map(drop);
        };
        // The original time identifies the execution, however many attempts it takes.
        let missed = ScheduleRecord { missed: stored.missed.or(Some(due_at)), ..stored };
        self.put(&key.name, &missed, Some(retry_at), version).await?;
        let ScheduleRecord { path, cron, repo, .. } = &missed;
        let message = format!("cannot start schedule `{cron}` of {path}: {}", why.report().message);
        self.repositories.record_failure(repo, RepositoryFailure::Schedules, Some(&message)).await
    }

    /// Starts a schedule if it is due, and then sets its next time. The time is the idempotency key: a concurrent caller, or one after a
    /// crash between the two steps, finds the same execution. Missed times run once, since the next time is after now.
    async fn start(&self, key: &DocumentKey, now: Timestamp) -> Result<bool> {
        // The index of due documents may lag behind.
        let Some(document) = self.context.stores.documents.get(key).await? else { return Ok(false) };
        let Some(at) = document.due_at.filter(|at| guarded!(ScheduleOnlyDue, *at <= now)) else {
            return Ok(false);
        };
        let stored = read(&document)?;
        let Some(repository) = self.repositories.find(&stored.repo).await? else {
            self.context.stores.documents.delete(key, Some(document.version)).await?;
            return Ok(false);
        };
        let parameters = discovery_of(&stored, &repository, format!("schedule {}", stored.cron));
        let due = stored.missed.unwrap_or(at);
        let at = guarded!(ScheduledTimeStartsOnce, due, without now);
        let key_of_time = IdempotencyKey::Schedule { name: &key.name, at };
        let reply = discovery_start::start_discovery(
            &self.pipelines,
            &self.context,
            &repository,
            parameters,
            key_of_time,
        )
        .await?;
        let next = next(&stored, now);
        let was_missed = stored.missed.is_some();
        let started = ScheduleRecord { missed: None, last: Some(reply.execution_id), ..stored };
        let put = self.put(&key.name, &started, next, Some(document.version)).await?;
        if put && was_missed {
            self.repositories.record_failure(&started.repo, RepositoryFailure::Schedules, None).await?;
        }
        Ok(!reply.attached)
    }
}

/// Returns the discovery that a schedule starts.
fn discovery_of(stored: &ScheduleRecord, repository: &Repository, requested_by: String) -> DiscoveryStart {
    let branch = repository.default_branch().map(str::to_owned);
    let fetch_ref = branch.as_ref().map_or_else(|| "HEAD".to_owned(), |name| format!("refs/heads/{name}"));
    DiscoveryStart {
        facts: Facts {
            trigger: Trigger::Schedule,
            schedule: stored.description.clone(),
            branch: branch.clone(),
            default_branch: branch,
            ..Facts::default()
        },
        discovery: Discovery {
            fetch_ref: Some(fetch_ref),
            only: std::iter::once(&stored.path).chain(&stored.followers).cloned().collect(),
            start_only: if stored.followers.is_empty() { Vec::new() } else { vec![stored.path.clone()] },
            ..Discovery::default()
        },
        requested_by: Some(requested_by),
        started_by: None,
        parent: None,
    }
}

/// Returns the records of the schedules of pipeline files, by name.
fn records_of(repo: &str, by: ExecutionId, found: &[DiscoveredPipeline]) -> BTreeMap<String, ScheduleRecord> {
    let mut records = BTreeMap::new();
    for file in found {
        let is_follower = |other: &&DiscoveredPipeline| other.path != file.path && other.follows.is_some();
        let followers: Vec<String> =
            found.iter().filter(is_follower).map(|other| other.path.clone()).collect();
        for (index, Schedule { cron, time_zone, description }) in file.schedules.iter().enumerate() {
            let stored = ScheduleRecord {
                repo: repo.to_owned(),
                path: file.path.clone(),
                pipeline: file.pipeline.clone(),
                cron: cron.clone(),
                time_zone: time_zone.clone(),
                description: description.clone(),
                followers: followers.clone(),
                missed: None,
                last: None,
                by,
            };
            records.insert(name(repo, &file.path, index), stored);
        }
    }
    records
}

fn name(repo: &str, path: &str, index: usize) -> String {
    format!("{repo}\n{path}\n{index}")
}

fn read(document: &Document) -> Result<ScheduleRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a schedule", error))
}

/// Returns the next time of a schedule; `None` if there is none, or if this version cannot parse the expression of a newer one.
fn next(of: &ScheduleRecord, now: Timestamp) -> Option<Timestamp> {
    next_after(&of.cron, &of.time_zone, now).ok().flatten()
}
