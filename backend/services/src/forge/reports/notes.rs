//! The note of a pull request: one comment at the provider with the newest execution of each pipeline at the newest commit. It is edited
//! whenever one of them changes, known by the id that the provider gave it, and written again if someone deleted it.
//!
//! One document for each pull request has that id and what the note shows. As with commit statuses, one sender at a time holds it, and
//! a state that was shown is followed by later ones only. If the reply to the first request is lost, there can be a second note.

use super::{content::report, tokens::ReportClient};
use crate::{
    error::{Error, Result},
    forge::delivery::{DELIVERY_LEASE_MS, DeliveryFailure, SendFailure, read},
    ports::{DocumentKey, ExecutionRecord, NewDocument},
    repositories::record::Repository,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use tidemill_core::{
    ids::ExecutionId,
    notification::{
        commit_status::{CommitState, next_status},
        note::{NoteSection, note_path, note_text, parse_id},
    },
    time::Timestamp,
};

/// Kind of the documents of notes.
pub const NOTE_KIND: &str = "note";
/// Interval at which the executions of a note are checked.
const POLL_INTERVAL_MS: i64 = 1_000;
/// How long a note is known after its last change.
const RETENTION_MS: i64 = 365 * 86_400_000;
/// Maximum number of pipelines of a note.
const MAX_PIPELINES: usize = 16;
const MAX_ATTEMPTS: u32 = 20;

/// The stored record of a note.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct NoteRecord {
    /// Name of the repository.
    repo: String,
    /// Number of the pull request.
    number: u64,
    /// Id of the note at the provider.
    #[serde(default)]
    id: Option<u64>,
    /// The newest execution of each pipeline.
    pipelines: BTreeMap<String, NotedExecution>,
    /// Until when one sender holds it.
    #[serde(default)]
    held_until: Option<Timestamp>,
    #[serde(default)]
    trouble: DeliveryFailure,
}

/// An execution in a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NotedExecution {
    execution: ExecutionId,
    run_number: u64,
    commit: String,
    /// The state that the note shows.
    #[serde(default)]
    shown: Option<CommitState>,
    #[serde(default)]
    headline: String,
    #[serde(default)]
    details: String,
}

impl NotedExecution {
    fn is_done(&self) -> bool {
        self.shown.is_some_and(CommitState::is_final)
    }
}

impl NoteRecord {
    /// Adds an execution. Returns false if it is in the note, or older than what is.
    fn add(&mut self, execution: &ExecutionRecord) -> bool {
        let spec = &execution.spec;
        let commit = spec.commit.clone().unwrap_or_default();
        if let Some(newest) = self.pipelines.values().max_by_key(|noted| noted.execution)
            && newest.commit != commit
        {
            // A retry at an earlier commit is newer than what the newest commit has, and says nothing about it.
            if spec.retry_of.is_some() || spec.id < newest.execution {
                return false;
            }
            self.pipelines.clear();
        }
        let known = self.pipelines.get(&spec.pipeline_name);
        if known.is_some_and(|known| known.run_number >= execution.run_number) {
            return false;
        }
        let noted = NotedExecution {
            execution: spec.id,
            run_number: execution.run_number,
            commit,
            shown: None,
            headline: String::new(),
            details: String::new(),
        };
        self.pipelines.insert(spec.pipeline_name.clone(), noted);
        if self.pipelines.len() > MAX_PIPELINES {
            let oldest = self.pipelines.iter().min_by_key(|(_, noted)| noted.execution);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.pipelines.remove(&oldest);
            }
        }
        true
    }

    fn text(&self) -> String {
        note_text(
            self.pipelines
                .values()
                .map(|noted| NoteSection { headline: &noted.headline, details: &noted.details }),
        )
    }

    /// Returns when the executions are checked again; `None`: all have ended.
    fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        let is_live = self.id.is_none() || !self.pipelines.values().all(NotedExecution::is_done);
        is_live.then(|| now.plus_ms(POLL_INTERVAL_MS))
    }

    /// Takes over what was sent, for the executions that are still in the note.
    fn show(&mut self, sent: &Self) {
        // What has no record any more is not in `sent`; what was added meanwhile is not shown.
        self.pipelines.retain(|name, noted| {
            let is_same = |sent: &NotedExecution| sent.execution == noted.execution;
            noted.shown.is_none() || sent.pipelines.get(name).is_some_and(is_same)
        });
        for (name, sent) in &sent.pipelines {
            if let Some(noted) = self.pipelines.get_mut(name)
                && noted.execution == sent.execution
            {
                noted.clone_from(sent);
            }
        }
    }
}

fn key(repository: &str, number: u64) -> DocumentKey {
    DocumentKey::new(NOTE_KIND, format!("{repository}\n{number}"))
}

/// Returns the document of the note in which an execution is shown, if it is of a pull request.
pub(in crate::forge) fn key_of(execution: &ExecutionRecord) -> Option<DocumentKey> {
    let number = execution.spec.facts.pull_request.as_ref()?.number;
    Some(key(&tidemill_core::repository::canonical_name(&execution.spec.repo), number))
}

impl ReportClient {
    /// Adds an execution to the note of its pull request, if it has one. Idempotent.
    pub(in crate::forge) async fn add_to_note(
        &self,
        execution: ExecutionId,
        repository: &Repository,
    ) -> Result<()> {
        if !repository.notes {
            return Ok(());
        }
        let execution = self.sender.context.cached_execution(execution).await?;
        let Some(request) = &execution.spec.facts.pull_request else { return Ok(()) };
        let (repo, number) = (repository.name(), request.number);
        self.update(&key(&repo, number), |note, now| {
            let mut note =
                note.unwrap_or_else(|| NoteRecord { repo: repo.clone(), number, ..NoteRecord::default() });
            if !note.add(&execution) {
                return None;
            }
            let due_at = note.held_until.map_or(now, |until| until.max(now));
            Some((note, Some(due_at)))
        })
        .await
    }

    /// Writes a note, if it is due at most `ahead_ms` from now and one of its executions changed.
    pub(in crate::forge) async fn send_note(&self, of: DocumentKey, ahead_ms: i64) -> Result<bool> {
        let documents = &self.sender.context.stores.documents;
        let Some((document, note)) = self.sender.due::<NoteRecord>(&of, ahead_ms).await? else {
            return Ok(false);
        };
        let repository = self.sender.repositories.find(&note.repo).await?;
        let Some(repository) = repository.filter(|repository| repository.notes) else {
            documents.delete(&of, Some(document.version)).await?;
            return Ok(false);
        };
        let (next, has_changed) = self.rendered(&note).await?;
        let now = self.sender.context.now();
        if !has_changed || next.pipelines.is_empty() {
            let due_at = if next.pipelines.is_empty() { None } else { next.next_check(now) };
            let next = NoteRecord { held_until: None, ..next };
            self.put(of, &next, due_at, Some(document.version)).await?;
            return Ok(false);
        }
        let held_until = now.plus_ms(DELIVERY_LEASE_MS);
        let held = NoteRecord { held_until: Some(held_until), ..note.clone() };
        if !self.put(of.clone(), &held, Some(held_until), Some(document.version)).await? {
            return Ok(false);
        }
        match self.write_note(&repository, &next).await {
            Ok(id) => {
                self.sender.succeeded(&note.repo, &note.trouble).await;
                self.update(&of, |stored, now| {
                    let mut stored = stored?;
                    stored.show(&next);
                    let stored = NoteRecord {
                        id: Some(id),
                        held_until: None,
                        trouble: DeliveryFailure::default(),
                        ..stored
                    };
                    let due_at = stored.next_check(now);
                    Some((stored, due_at))
                })
                .await?;
                Ok(true)
            }
            Err(failure) if failure.is_gone() && note.id.is_some() => {
                // Someone deleted it.
                self.update(&of, |stored, now| {
                    Some((
                        NoteRecord { id: None, held_until: None, ..stored? },
                        Some(now.plus_ms(POLL_INTERVAL_MS)),
                    ))
                })
                .await?;
                Ok(false)
            }
            Err(failure) => {
                let failed = self.sender.failed(&failure, &of, (&note.repo, &note.trouble)).await;
                self.update(&of, |stored, now| {
                    let mut stored = stored?;
                    let Some((trouble, retry_at)) = &failed else {
                        // Later changes would fail too, until there is a new execution.
                        stored.show(&next);
                        let trouble = DeliveryFailure::default();
                        let due_at = stored.next_check(now).filter(|_| stored.id.is_some());
                        return Some((NoteRecord { held_until: None, trouble, ..stored }, due_at));
                    };
                    Some((
                        NoteRecord { held_until: None, trouble: trouble.clone(), ..stored },
                        Some(*retry_at),
                    ))
                })
                .await?;
                Ok(false)
            }
        }
    }

    /// Returns a note with the present states of its executions, and whether it differs from what is shown.
    async fn rendered(&self, note: &NoteRecord) -> Result<(NoteRecord, bool)> {
        let context = &self.sender.context;
        let mut next = note.clone();
        let mut has_changed = note.id.is_none();
        for (name, noted) in &note.pipelines {
            if noted.is_done() {
                continue;
            }
            let Some(execution) = context.stores.records.execution(noted.execution).await? else {
                next.pipelines.remove(name);
                continue;
            };
            let Some(state) = next_status(noted.shown, execution.state.status) else { continue };
            let (report, _) = report(context, &execution, state, self.sender.url(noted.execution)).await?;
            let changed = NotedExecution {
                shown: Some(state),
                headline: report.headline(),
                details: report.details(),
                ..noted.clone()
            };
            next.pipelines.insert(name.clone(), changed);
            has_changed = true;
        }
        Ok((next, has_changed))
    }

    /// Creates or edits a note at the provider, and returns its id.
    async fn write_note(&self, repository: &Repository, note: &NoteRecord) -> Result<u64, SendFailure> {
        let (method, path) = note_path(repository.provider, note.number, note.id)
            .ok_or_else(|| SendFailure::of_reply("the provider has no notes"))?;
        let body = json!({ "body": note.text() });
        let reply = self.send(repository, |api, token| api.request(method, &path, token, &body)).await?;
        note.id
            .or_else(|| parse_id(&reply.body))
            .ok_or_else(|| SendFailure::of_reply("the reply has no id of a note"))
    }

    /// Changes a note, whatever other writers do at the same time. `change` returns the new record and when it is due; `None`: nothing
    /// changes.
    async fn update(
        &self,
        of: &DocumentKey,
        change: impl Fn(Option<NoteRecord>, Timestamp) -> Option<(NoteRecord, Option<Timestamp>)> + Send + Sync,
    ) -> Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            let document = self.sender.context.stores.documents.get(of).await?;
            let stored = document.as_ref().map(read::<NoteRecord>).transpose()?;
            let Some((note, due_at)) = change(stored, self.sender.context.now()) else { return Ok(()) };
            if self.put(of.clone(), &note, due_at, document.map(|document| document.version)).await? {
                return Ok(());
            }
        }
        Err(Error::Conflict("other processes are changing the note at the same time; try again".into()))
    }

    async fn put(
        &self,
        key: DocumentKey,
        note: &NoteRecord,
        due_at: Option<Timestamp>,
        if_version: Option<u64>,
    ) -> Result<bool> {
        let value = serde_json::to_string(note).map_err(|error| Error::storage("writing a note", error))?;
        let expires_at = due_at.is_none().then(|| self.sender.context.now().plus_ms(RETENTION_MS));
        let new = NewDocument { key, value, due_at, expires_at };
        self.sender.context.stores.documents.put(new, if_version).await
    }
}
