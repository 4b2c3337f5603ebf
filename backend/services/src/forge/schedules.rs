//! ScheduleService: starts pipelines of default branches at their times.

use super::discovery_start::{self, DiscoveryStart};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    executions::{idempotency_keys::IdempotencyKey, pipeline::service::PipelineExecutionService},
    ports::{Document, DocumentKey, NewDocument},
    repositories::{record::RepositoryFailure, service::RepositoryService},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::execution::{discovery::Discovery, facts::Facts};
use tidemill_core::time::cron::next_after;
use tidemill_core::{api::Trigger, guarded, ids::ExecutionId, pipeline::Schedule, time::Timestamp};

const DOCUMENT_KIND: &str = "schedule";
/// Of each repository, the newest execution that told of its schedules.
const LAST_SYNC_KIND: &str = "schedule-look";
/// How often schedules that change meanwhile are registered again.
const MAX_ATTEMPTS: u32 = 50;
/// Schedules that one sweep starts at most; the next goes on.
const MAX_STARTS_PER_SWEEP: usize = 100;

/// Schedules.
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
}

/// A schedule as it is stored; when it is due next is its document's due time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ScheduleRecord {
    /// The repository's name.
    repo: String,
    path: String,
    pipeline: String,
    cron: String,
    time_zone: String,
    /// The time for which it could not start so far; then its document's due time is that of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missed: Option<Timestamp>,
    /// The execution that found it. Ids are in the order of their making, so that what is older does not replace it.
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

    /// Makes `found` the schedules of a repository; those of other files stay where `keep` says so. What has not changed keeps its
    /// next time. Of two looks that are told at once, or in the wrong order, the later one counts.
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
                let whole = self.try_register(repo, by, found, keep, &mut lines).await?;
                if whole && self.is_newest(repo, by).await? {
                    return Ok(lines);
                }
            } else if self.take_back(repo, by).await? {
                return Ok(vec!["a later look at the branch tells its schedules".into()]);
            }
        }
        Err(Error::Conflict(format!("the schedules of {repo} change too fast to be registered; try again")))
    }

    /// Whether no later look at the branch was told than `by`, which this makes known.
    async fn is_newest(&self, repo: &str, by: ExecutionId) -> Result<bool> {
        let (documents, key) = (&self.context.stores.documents, DocumentKey::new(LAST_SYNC_KIND, repo));
        for _ in 0..MAX_ATTEMPTS {
            let known = documents.get(&key).await?;
            let newest = known.as_ref().and_then(|known| known.value.parse::<ExecutionId>().ok());
            if newest.is_some_and(|newest| newest >= by) {
                return Ok(newest == Some(by));
            }
            let new = NewDocument { key: key.clone(), value: by.to_string(), due_at: None, expires_at: None };
            if documents.put(new, known.map(|known| known.version)).await? {
                return Ok(true);
            }
        }
        Err(Error::Conflict(format!("{repo} is looked at too often at once; try again")))
    }

    /// Writes what `found` says of the schedules of a repository. False: something changed meanwhile, such as by a sweep that started
    /// a schedule.
    async fn try_register(
        &self,
        repo: &str,
        by: ExecutionId,
        found: &[DiscoveredPipeline],
        keep: bool,
        lines: &mut Vec<String>,
    ) -> Result<bool> {
        let now = self.context.now();
        let mut wanted = wanted(repo, by, found);
        let mut whole = true;
        for known in self.of(repo).await? {
            let stored = read(&known)?;
            let of_file = found.iter().any(|file| file.path == stored.path);
            whole &= match wanted.remove(&known.key.name) {
                // A later look at the branch knows better.
                _ if stored.by > by => true,
                Some(new) => {
                    let same = (&new.cron, &new.time_zone) == (&stored.cron, &stored.time_zone);
                    let due = if same { known.due_at } else { next(&new, now) };
                    let missed = stored.missed.filter(|_| same);
                    let new = ScheduleRecord { missed, ..new };
                    self.put(&known.key.name, &new, due, Some(known.version)).await?
                }
                None if keep && !of_file => {
                    let kept = ScheduleRecord { by, ..stored };
                    self.put(&known.key.name, &kept, known.due_at, Some(known.version)).await?
                }
                None => self.context.stores.documents.delete(&known.key, Some(known.version)).await?,
            };
        }
        for (name, new) in &wanted {
            let due = next(new, now);
            if !self.put(name, new, due, None).await? {
                whole = false;
                continue;
            }
            let when = due.map_or_else(|| "never".to_owned(), |at| at.to_string());
            lines.push(format!("{}: schedule `{}` ({}): next {when}", new.path, new.cron, new.time_zone));
        }
        Ok(whole)
    }

    /// Removes what `by` registered while a later look was told. False: some of it changed meanwhile.
    async fn take_back(&self, repo: &str, by: ExecutionId) -> Result<bool> {
        let mut whole = true;
        for known in self.of(repo).await? {
            if read(&known)?.by == by {
                whole &= self.context.stores.documents.delete(&known.key, Some(known.version)).await?;
            }
        }
        Ok(whole)
    }

    /// Forgets all schedules of a repository.
    pub async fn forget(&self, repo: &str) -> Result<()> {
        for known in self.of(repo).await? {
            self.context.stores.documents.delete(&known.key, None).await?;
        }
        self.context.stores.documents.delete(&DocumentKey::new(LAST_SYNC_KIND, repo), None).await?;
        Ok(())
    }

    async fn of(&self, repo: &str) -> Result<Vec<Document>> {
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
            serde_json::to_string(stored).map_err(|error| Error::storage("keeping a schedule", error))?;
        let new = NewDocument { key: DocumentKey::new(DOCUMENT_KIND, name), value, due_at, expires_at: None };
        self.context.stores.documents.put(new, if_version).await
    }

    /// Starts what is due, and gives the number of executions that were made.
    pub async fn run(&self) -> Result<usize> {
        let now = self.context.now();
        let mut made = 0;
        for due in self.context.stores.documents.due(DOCUMENT_KIND, now, MAX_STARTS_PER_SWEEP).await? {
            // One schedule's trouble is not the others'.
            match self.start(&due.key, now).await {
                Ok(started) => {
                    self.context.backoff.succeeded(&due.key.name);
                    made += usize::from(started);
                }
                Err(error) => self.put_off(&due.key, now, &error).await,
            }
        }
        Ok(made)
    }

    /// Has a schedule that could not start tried again later, each time after a longer pause, so that it does not stand before others;
    /// and says so to the repository's administrators.
    async fn put_off(&self, key: &DocumentKey, now: Timestamp, error: &Error) {
        let name = &key.name;
        let retry_at = self.context.backoff.failed(name, now);
        tracing::warn!(schedule = ?name, %error, %retry_at, "a schedule could not start; it is tried again");
        if let Err(error) = self.try_put_off(key, now, retry_at, error).await {
            tracing::warn!(schedule = ?name, %error, "the schedule stays due; the next sweep tries it again");
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
        // The time names the execution, however often it takes to make it.
        let missed = ScheduleRecord { missed: stored.missed.or(Some(due_at)), ..stored };
        self.put(&key.name, &missed, Some(retry_at), version).await?;
        let ScheduleRecord { path, cron, repo, .. } = &missed;
        let words = format!("schedule `{cron}` of {path} could not start: {}", why.report().words);
        self.repositories.note_trouble(repo, RepositoryFailure::Schedules, Some(&words)).await
    }

    /// Starts a schedule, if it is due, and then sets its next time. Its time names the execution: who comes second, or again after a
    /// crash between the two steps, finds what was made. What was missed runs once, as the next time is after now.
    async fn start(&self, key: &DocumentKey, now: Timestamp) -> Result<bool> {
        // What is due may be told from an index that is late.
        let Some(document) = self.context.stores.documents.get(key).await? else { return Ok(false) };
        let Some(at) = document.due_at.filter(|at| guarded!(ScheduleOnlyDue, *at <= now)) else {
            return Ok(false);
        };
        let stored = read(&document)?;
        let Some(repository) = self.repositories.find(&stored.repo).await? else {
            self.context.stores.documents.delete(key, Some(document.version)).await?;
            return Ok(false);
        };
        let branch = repository.default_branch().map(str::to_owned);
        let fetch_ref =
            branch.as_ref().map_or_else(|| "HEAD".to_owned(), |name| format!("refs/heads/{name}"));
        let look = DiscoveryStart {
            facts: Facts {
                trigger: Trigger::Schedule,
                branch: branch.clone(),
                default_branch: branch,
                ..Facts::default()
            },
            discovery: Discovery {
                fetch_ref: Some(fetch_ref),
                only: vec![stored.path.clone()],
                ..Discovery::default()
            },
            by: Some(format!("schedule {}", stored.cron)),
        };
        let due = stored.missed.unwrap_or(at);
        let at = guarded!(ScheduleOnce, due, without now);
        let once = IdempotencyKey::Schedule { name: &key.name, at };
        let reply =
            discovery_start::start_discovery(&self.pipelines, &self.context, &repository, look, once).await?;
        let next = next(&stored, now);
        let was_missed = stored.missed.is_some();
        let started = ScheduleRecord { missed: None, ..stored };
        let put = self.put(&key.name, &started, next, Some(document.version)).await?;
        if put && was_missed {
            self.repositories.note_trouble(&started.repo, RepositoryFailure::Schedules, None).await?;
        }
        Ok(!reply.attached)
    }
}

/// What is to be stored of these schedules, by name.
fn wanted(repo: &str, by: ExecutionId, found: &[DiscoveredPipeline]) -> BTreeMap<String, ScheduleRecord> {
    let mut wanted = BTreeMap::new();
    for file in found {
        for (at, Schedule { cron, time_zone }) in file.schedules.iter().enumerate() {
            let stored = ScheduleRecord {
                repo: repo.to_owned(),
                path: file.path.clone(),
                pipeline: file.pipeline.clone(),
                cron: cron.clone(),
                time_zone: time_zone.clone(),
                missed: None,
                by,
            };
            wanted.insert(name(repo, &file.path, at), stored);
        }
    }
    wanted
}

fn name(repo: &str, path: &str, at: usize) -> String {
    format!("{repo}\n{path}\n{at}")
}

fn read(document: &Document) -> Result<ScheduleRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a schedule", error))
}

/// The checker has seen the expression; one that a newer version wrote, and that this cannot read, does not come.
fn next(of: &ScheduleRecord, now: Timestamp) -> Option<Timestamp> {
    next_after(&of.cron, &of.time_zone, now).ok().flatten()
}
