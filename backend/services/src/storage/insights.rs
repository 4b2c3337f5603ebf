//! Statistics of ended executions. The end of an execution adds it to two documents: the rollup of its pipeline and day, and the
//! latest executions of its repository.
//!
//! They are written before the end is recorded, which is repeated after a crash, so that each ended execution is counted; a rollup
//! remembers the last counted executions, so that a repetition does not count again.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument, Node, repository_key},
};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use tidemill_core::api::{ExecutionKind, InsightQuery, Insights, RepositoryOverview};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::ids::digest::sha256_hex;
use tidemill_core::records::{DAY_MS, DayRollup, RepositoryActivity, day_of, pipeline_insight};
use tidemill_core::time::Timestamp;

const ROLLUP_KIND: &str = "rollup";
const ACTIVITY_KIND: &str = "activity";
/// Retention of rollups: longer than the longest query.
const ROLLUP_RETENTION_DAYS: i64 = 100;
/// Retention of the latest executions of a repository in which nothing happens.
const ACTIVITY_RETENTION_DAYS: i64 = 365;
const DEFAULT_DAYS: u32 = 30;
const MAX_DAYS: u32 = 90;
/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 50;
/// Maximum number of rollups of one reply: those of 20 pipelines for 90 days.
const MAX_ROLLUPS: usize = 1_800;
/// Maximum number of repositories of an overview.
const MAX_REPOSITORIES: usize = 200;
const BATCH_LEN: usize = 200;
/// Length of the hashes in names of documents.
const HASH_LEN: usize = 32;

/// Service for statistics of ended executions.
#[derive(Debug, Clone)]
pub struct InsightService {
    context: Arc<Context>,
}

/// Returns the name of a repository's document, and the beginning of those of its rollups.
fn repository_hash(repo: &str) -> String {
    sha256_hex(repository_key(repo).as_bytes())[..HASH_LEN].to_owned()
}

/// Returns the beginning of the names of a pipeline's rollups.
fn pipeline_prefix(repo: &str, pipeline: &str) -> String {
    format!("{}/{}/", repository_hash(repo), &sha256_hex(pipeline.as_bytes())[..HASH_LEN])
}

/// Names of rollups are in the order of their days.
fn rollup_key(repo: &str, pipeline: &str, day: u32) -> DocumentKey {
    DocumentKey::new(ROLLUP_KIND, format!("{}{day:07}", pipeline_prefix(repo, pipeline)))
}

fn read<T: DeserializeOwned>(document: &Document) -> Result<T> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading statistics", error))
}

impl Context {
    /// Counts an execution that is about to end with `status`. A failure does not keep the execution from ending.
    pub(crate) async fn count_ended(
        &self,
        execution: &ExecutionRecord,
        nodes: &[Node],
        status: ExecutionStatus,
    ) {
        let spec = &execution.spec;
        // Nothing ran of an execution that was never approved.
        if spec.task.kind() != ExecutionKind::RunPipeline || execution.state.unplanned {
            return;
        }
        let now = self.now();
        let day = day_of(now);
        let rollup = self.change_statistics(
            rollup_key(&spec.repo, &spec.pipeline_name, day),
            now.plus_ms(ROLLUP_RETENTION_DAYS * DAY_MS),
            |known: Option<DayRollup>| {
                let known = known.unwrap_or_else(|| DayRollup::new(&spec.pipeline_name, day));
                known.with(execution, nodes, status, now)
            },
        );
        let activity = self.change_statistics(
            DocumentKey::new(ACTIVITY_KIND, repository_hash(&spec.repo)),
            now.plus_ms(ACTIVITY_RETENTION_DAYS * DAY_MS),
            |known: Option<RepositoryActivity>| Some(known.unwrap_or_default().with(execution, status, now)),
        );
        let (rollup, activity) = tokio::join!(rollup, activity);
        for error in [rollup, activity].into_iter().filter_map(std::result::Result::err) {
            tracing::warn!(execution = %spec.id, %error, "the end of an execution is missing in the statistics");
        }
    }

    /// Applies `change` to a document until it is written, or until it changes nothing.
    async fn change_statistics<T: Serialize + DeserializeOwned>(
        &self,
        key: DocumentKey,
        expires_at: Timestamp,
        change: impl Fn(Option<T>) -> Option<T>,
    ) -> Result<()> {
        let documents = &self.stores.documents;
        for _ in 0..MAX_ATTEMPTS {
            let document = documents.get(&key).await?;
            let version = document.as_ref().map(|document| document.version);
            let Some(next) = change(document.as_ref().map(read).transpose()?) else { return Ok(()) };
            let value =
                serde_json::to_string(&next).map_err(|error| Error::storage("writing statistics", error))?;
            let new = NewDocument { key: key.clone(), value, due_at: None, expires_at: Some(expires_at) };
            if documents.put(new, version).await? {
                return Ok(());
            }
        }
        Err(Error::Conflict("the statistics change too fast".into()))
    }

    /// Returns the latest executions of each repository, or of one; the most recent first.
    pub(crate) async fn activities(&self, repo: Option<&str>) -> Result<Vec<RepositoryOverview>> {
        let documents = &self.stores.documents;
        let found = match repo {
            Some(repo) => {
                let key = DocumentKey::new(ACTIVITY_KIND, repository_hash(repo));
                documents.get(&key).await?.into_iter().collect()
            }
            None => documents.list(ACTIVITY_KIND, "", None, MAX_REPOSITORIES).await?.0,
        };
        let mut all: Vec<RepositoryOverview> = found
            .iter()
            .map(|document| read::<RepositoryActivity>(document).map(RepositoryActivity::overview))
            .collect::<Result<_>>()?;
        all.sort_by_key(|one| std::cmp::Reverse(one.recent.first().map(|latest| latest.id)));
        Ok(all)
    }
}

impl InsightService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Returns statistics of the pipelines of a repository.
    pub async fn insights(&self, query: InsightQuery) -> Result<Insights> {
        let days = query.days.unwrap_or(DEFAULT_DAYS);
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(Error::Invalid(format!("`days` is {days}; it must be 1 to {MAX_DAYS}")));
        }
        let first = (day_of(self.context.now()) + 1).saturating_sub(days);
        let (mut rollups, truncated) = self.rollups(&query, first).await?;
        rollups.sort_by(|a, b| (&a.pipeline, a.day).cmp(&(&b.pipeline, b.day)));
        let pipelines = rollups
            .chunk_by(|a, b| a.pipeline == b.pipeline)
            .filter_map(|days| Some(pipeline_insight(&days.first()?.pipeline, days)))
            .collect();
        let from = Timestamp(i64::from(first) * DAY_MS);
        Ok(Insights { repo: query.repo, days, from, pipelines, truncated })
    }

    /// Returns the rollups from a day on, and whether there are more.
    async fn rollups(&self, query: &InsightQuery, first: u32) -> Result<(Vec<DayRollup>, bool)> {
        let (prefix, mut after) = match &query.pipeline {
            Some(pipeline) => (
                pipeline_prefix(&query.repo, pipeline),
                Some(rollup_key(&query.repo, pipeline, first.saturating_sub(1)).name),
            ),
            None => (format!("{}/", repository_hash(&query.repo)), None),
        };
        let mut rollups = Vec::new();
        let mut number = 0;
        loop {
            let documents = &self.context.stores.documents;
            let (page, more) = documents.list(ROLLUP_KIND, &prefix, after.as_deref(), BATCH_LEN).await?;
            number += page.len();
            for document in &page {
                let rollup: DayRollup = read(document)?;
                // The store may keep a document for longer than it must.
                if rollup.day >= first {
                    rollups.push(rollup);
                }
            }
            after = page.last().map(|last| last.key.name.clone());
            if !more {
                return Ok((rollups, false));
            }
            if number >= MAX_ROLLUPS {
                return Ok((rollups, true));
            }
        }
    }
}
