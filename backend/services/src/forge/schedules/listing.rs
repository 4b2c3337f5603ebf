//! Lists schedules, and starts one on request.

use super::{DOCUMENT_KIND, ScheduleRecord, ScheduleService, discovery_of, name, read};
use crate::{
    error::{Error, Result},
    executions::{idempotency_keys::CallerKey, pipeline::discovery_start::start_discovery_for},
    ports::{Document, DocumentKey},
};
use tidemill_core::{
    api::{ExecuteReply, RunScheduleRequest, ScheduleList, ScheduleView},
    repository::canonical_name,
    time::{Timestamp, cron::next_after},
};

/// Maximum number of listed schedules.
const MAX_SCHEDULES: usize = 1_000;
const BATCH_LEN: usize = 200;
/// Number of shown next times.
const NEXT_TIMES: usize = 3;

impl ScheduleService {
    /// Returns the schedules of all repositories, or of one.
    pub async fn list(&self, repo: Option<&str>) -> Result<ScheduleList> {
        let prefix = repo.map(|repo| format!("{}\n", canonical_name(repo))).unwrap_or_default();
        let now = self.context.now();
        let (mut schedules, mut after) = (Vec::new(), None::<String>);
        loop {
            let documents = &self.context.stores.documents;
            let (page, more) = documents.list(DOCUMENT_KIND, &prefix, after.as_deref(), BATCH_LEN).await?;
            for document in &page {
                schedules.push(view(document, now)?);
            }
            after = page.last().map(|last| last.key.name.clone());
            if !more || schedules.len() >= MAX_SCHEDULES {
                return Ok(ScheduleList { schedules, truncated: more });
            }
        }
    }

    /// Starts a schedule now, beside its times. A request that is repeated with its key starts none.
    pub async fn run_now(
        &self,
        request: &RunScheduleRequest,
        by: &str,
        key: Option<&CallerKey>,
    ) -> Result<ExecuteReply> {
        let RunScheduleRequest { repo, path, index } = request;
        let repository = self.repositories.get(repo).await?;
        let identity = ("run schedule", repository.name(), path, index);
        let id = self.context.stores.ids.execution();
        let once = CallerKey::of_request(key, &repository.url, &identity, id)?;
        let name = name(&repository.name(), path, *index as usize);
        let missing = || {
            let repo = repository.name();
            Error::NotFound(format!(
                "{path} of {repo} has no schedule at position {index}; `tidemill repo schedules` lists them"
            ))
        };
        let key = DocumentKey::new(DOCUMENT_KIND, name);
        let document = self.context.stores.documents.get(&key).await?.ok_or_else(missing)?;
        let stored = read(&document)?;
        let start = discovery_of(&stored, &repository, by.to_owned());
        let reply = start_discovery_for(&self.pipelines, &self.context, &repository, start, once).await?;
        let started = ScheduleRecord { last: Some(reply.execution_id), ..stored };
        // On a conflict, its time came at this moment, and that is the last one.
        self.put(&key.name, &started, document.due_at, Some(document.version)).await?;
        Ok(reply)
    }
}

fn view(document: &Document, now: Timestamp) -> Result<ScheduleView> {
    let stored = read(document)?;
    let index = document.key.name.rsplit_once('\n').and_then(|(_, index)| index.parse().ok());
    // After a failure, the due time is that of the next attempt.
    let mut next_times = Vec::with_capacity(NEXT_TIMES);
    let mut after = now;
    while next_times.len() < NEXT_TIMES {
        // This version may not know an expression of a newer one.
        let Some(next) = next_after(&stored.cron, &stored.time_zone, after).ok().flatten() else { break };
        next_times.push(next);
        after = next;
    }
    Ok(ScheduleView {
        repo: stored.repo,
        path: stored.path,
        index: index.unwrap_or(0),
        pipeline_name: stored.pipeline,
        cron: stored.cron,
        time_zone: stored.time_zone,
        description: stored.description,
        next_times,
        missed_at: stored.missed,
        last_execution: stored.last,
    })
}
