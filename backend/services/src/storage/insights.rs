//! Statistics of ended executions. The end of an execution adds it to two documents: the rollup of its pipeline and day, and the
//! latest executions of its repository.
//!
//! They are written before the end is recorded, which is repeated after a crash, so that each ended execution is counted; a rollup
//! remembers the last counted executions, so that a repetition does not count again. The numbers are approximate nevertheless: an
//! execution is missing after too many conflicts, and one that ends differently from what was counted, because the end was in
//! conflict with another write, stays counted as it was.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument, Node, repository_key},
};
use futures_util::future::try_join_all;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};
use tidemill_core::api::{ExecutionKind, InsightQuery, Insights, RepositoryOverview};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::ids::{ExecutionId, digest::sha256_hex};
use tidemill_core::records::{DAY_MS, DayRollup, PipelineTotals, RepositoryActivity, day_of, day_of_end};
use tidemill_core::time::Timestamp;
use tokio::{runtime::Handle, time};

const ROLLUP_KIND: &str = "rollup";
const ACTIVITY_KIND: &str = "activity";
/// Retention of rollups: longer than the longest query.
const ROLLUP_RETENTION_DAYS: i64 = 100;
/// Retention of the latest executions of a repository in which nothing happens.
const ACTIVITY_RETENTION_DAYS: i64 = 365;
const DEFAULT_DAYS: u32 = 30;
const MAX_DAYS: u32 = 90;
/// Maximum number of attempts of a conditional write. The end of an execution waits for them.
const MAX_ATTEMPTS: u32 = 5;
/// Upper bound of the pause before the second attempt; each further one is twice as long.
const FIRST_PAUSE_MS: u64 = 50;
/// Maximum time for counting an execution.
const MAX_COUNTING_TIME: Duration = Duration::from_secs(2);
/// Maximum time for reading the test reports of an execution that is counted.
const MAX_MEASURING_TIME: Duration = Duration::from_secs(2);
/// Maximum number of rollups of one reply: those of 20 pipelines for 90 days.
const MAX_ROLLUPS: usize = 1_800;
/// Size of the rollups of one reply after which no more are read, in bytes.
const MAX_ROLLUP_BYTES: usize = 8 << 20;
/// Number of rollups that are read at once; each has at most 256 KiB.
const ROLLUP_BATCH_LEN: usize = 30;
/// Maximum number of repositories of an overview.
const MAX_REPOSITORIES: usize = 200;
/// Maximum number of repositories that are read to find the most recent ones.
const MAX_REPOSITORIES_READ: usize = 2_000;
const BATCH_LEN: usize = 200;
/// Length of the hashes in names of documents.
const HASH_LEN: usize = 32;

/// Service for statistics of ended executions.
#[derive(Debug, Clone)]
pub struct InsightService {
    context: Arc<Context>,
}

/// Returns a hash of a repository, which names its documents.
pub(crate) fn repository_hash(repo: &str) -> String {
    sha256_hex(repository_key(repo).as_bytes())[..HASH_LEN].to_owned()
}

/// Returns the beginning of the names of a repository's rollups of a day. They are in the order of their days.
fn day_prefix(repo_hash: &str, day: u32) -> String {
    format!("{repo_hash}/{day:07}")
}

fn rollup_key(repo: &str, pipeline: &str, day: u32) -> DocumentKey {
    let pipeline_hash = &sha256_hex(pipeline.as_bytes())[..HASH_LEN];
    DocumentKey::new(ROLLUP_KIND, format!("{}/{pipeline_hash}", day_prefix(&repository_hash(repo), day)))
}

/// Waits before a further attempt of a conditional write, for a time that differs between executions, so that those that conflict do
/// not conflict again. Does not wait where nothing has timers, as in a simulation.
pub(crate) async fn pause(attempt: u32, execution: ExecutionId) {
    if Handle::try_current().is_ok() {
        let max_ms = FIRST_PAUSE_MS << attempt.saturating_sub(1);
        let random = execution.0.as_u64_pair().1.rotate_left(13 * attempt);
        time::sleep(Duration::from_millis(random % max_ms)).await;
    }
}

/// Waits for `work`, but no longer than `max_time`. Without a limit where nothing has timers, as in a simulation.
async fn within<T>(max_time: Duration, work: impl Future<Output = T>) -> Option<T> {
    if Handle::try_current().is_ok() { time::timeout(max_time, work).await.ok() } else { Some(work.await) }
}

/// Returns the most recent repositories.
fn latest(mut all: Vec<RepositoryOverview>) -> Vec<RepositoryOverview> {
    all.sort_by_key(|one| std::cmp::Reverse(one.recent.first().map(|latest| latest.id)));
    all.truncate(MAX_REPOSITORIES);
    all
}

fn overview(document: &Document) -> Result<RepositoryOverview> {
    read::<RepositoryActivity>(document).map(RepositoryActivity::overview)
}

fn read<T: DeserializeOwned>(document: &Document) -> Result<T> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading statistics", error))
}

impl Context {
    /// Counts an execution that is about to end with `status`. Neither a failure nor a slow store keeps it from ending.
    pub(crate) async fn count_ended(
        &self,
        execution: &ExecutionRecord,
        nodes: &[Node],
        status: ExecutionStatus,
    ) {
        let spec = &execution.spec;
        if spec.task.kind() == ExecutionKind::DiscoverPipelines {
            let recording = Box::pin(self.record_discovery_end(execution, status));
            match within(MAX_COUNTING_TIME, recording).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(execution = %spec.id, %error, "the overview may not show the end of a discovery");
                }
                None => {
                    tracing::warn!(execution = %spec.id, "the store is too slow; the overview may not show the end of a discovery");
                }
            }
            return;
        }
        // Nothing ran of an execution that was never approved.
        if spec.task.kind() != ExecutionKind::RunPipeline || execution.state.unplanned {
            return;
        }
        let now = self.now();
        let day = day_of_end(nodes, now);
        let measuring = Box::pin(self.measured_jobs(spec.id, spec.retry_of, nodes));
        let measured = match within(MAX_MEASURING_TIME, measuring).await {
            Some(Ok(measured)) => measured,
            Some(Err(error)) => {
                tracing::warn!(execution = %spec.id, %error, "the tests of an execution are missing in the statistics");
                BTreeMap::new()
            }
            None => {
                tracing::warn!(execution = %spec.id, "the store is too slow; the tests of an execution are missing in the statistics");
                BTreeMap::new()
            }
        };
        let rollup = self.change_statistics(
            spec.id,
            rollup_key(&spec.repo, &spec.pipeline_name, day),
            now.plus_ms(ROLLUP_RETENTION_DAYS * DAY_MS),
            |known: Option<DayRollup>| {
                let known = known.unwrap_or_else(|| DayRollup::new(&spec.pipeline_name, day));
                known.with(execution, nodes, &measured, status, now)
            },
        );
        let activity = self.change_statistics(
            spec.id,
            DocumentKey::new(ACTIVITY_KIND, repository_hash(&spec.repo)),
            now.plus_ms(ACTIVITY_RETENTION_DAYS * DAY_MS),
            |known: Option<RepositoryActivity>| known.unwrap_or_default().with(execution, status, now),
        );
        let counting = async { tokio::join!(rollup, activity) };
        let Some((rollup, activity)) = within(MAX_COUNTING_TIME, counting).await else {
            tracing::warn!(execution = %spec.id, "the store is too slow; the end of an execution may be missing in the statistics");
            return;
        };
        for error in [rollup, activity].into_iter().filter_map(std::result::Result::err) {
            tracing::warn!(execution = %spec.id, %error, "the end of an execution is missing in the statistics");
        }
    }

    /// Applies `change` to a document until it is written, or until it changes nothing.
    async fn change_statistics<T: Serialize + DeserializeOwned>(
        &self,
        execution: ExecutionId,
        key: DocumentKey,
        expires_at: Timestamp,
        change: impl Fn(Option<T>) -> Option<T>,
    ) -> Result<()> {
        let documents = &self.stores.documents;
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                pause(attempt, execution).await;
            }
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
        if let Some(repo) = repo {
            let found = documents.get(&DocumentKey::new(ACTIVITY_KIND, repository_hash(repo))).await?;
            return found.iter().map(overview).collect();
        }
        // The documents are in the order of hashes.
        let (mut all, mut number, mut after) = (Vec::new(), 0, None::<String>);
        loop {
            let (page, more) = documents.list(ACTIVITY_KIND, "", after.as_deref(), BATCH_LEN).await?;
            number += page.len();
            for document in &page {
                all.push(overview(document)?);
            }
            all = latest(all);
            after = page.last().map(|last| last.key.name.clone());
            if !more || number >= MAX_REPOSITORIES_READ {
                return Ok(all);
            }
        }
    }
}

/// Rollups of a repository, summed up by pipeline.
#[derive(Debug, Default)]
struct RollupSums {
    pipelines: BTreeMap<String, PipelineTotals>,
    number: usize,
    bytes: usize,
}

impl RollupSums {
    /// Adds the rollups from the day `first` on. Returns false if no more may be added, although some of these were not.
    fn add(&mut self, documents: &[Document], first: u32) -> Result<bool> {
        for document in documents {
            if self.is_full() {
                return Ok(false);
            }
            self.number += 1;
            self.bytes += document.value.len();
            let rollup: DayRollup = read(document)?;
            if rollup.day >= first {
                self.pipelines.entry(rollup.pipeline.clone()).or_default().add(rollup);
            }
        }
        Ok(true)
    }

    const fn is_full(&self) -> bool {
        self.number >= MAX_ROLLUPS || self.bytes >= MAX_ROLLUP_BYTES
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
        let today = day_of(self.context.now());
        let first = (today + 1).saturating_sub(days);
        let (sums, complete) = match &query.pipeline {
            Some(pipeline) => self.of_pipeline(&query.repo, pipeline, first..=today).await?,
            None => self.of_repository(&query.repo, first).await?,
        };
        let pipelines =
            sums.pipelines.into_iter().map(|(pipeline, totals)| totals.insight(pipeline)).collect();
        let from = Timestamp(i64::from(first) * DAY_MS);
        Ok(Insights { repo: query.repo, days, from, pipelines, truncated: !complete })
    }

    /// Returns the sum of a pipeline's rollups of these days, and whether all were added.
    async fn of_pipeline(
        &self,
        repo: &str,
        pipeline: &str,
        days: RangeInclusive<u32>,
    ) -> Result<(RollupSums, bool)> {
        let documents = &self.context.stores.documents;
        let first = *days.start();
        let keys: Vec<DocumentKey> = days.map(|day| rollup_key(repo, pipeline, day)).collect();
        let mut sums = RollupSums::default();
        for batch in keys.chunks(ROLLUP_BATCH_LEN) {
            let found = try_join_all(batch.iter().map(|key| documents.get(key))).await?;
            let found: Vec<Document> = found.into_iter().flatten().collect();
            if !sums.add(&found, first)? {
                return Ok((sums, false));
            }
        }
        Ok((sums, true))
    }

    /// Returns the sum of a repository's rollups from a day on, and whether all were added.
    async fn of_repository(&self, repo: &str, first: u32) -> Result<(RollupSums, bool)> {
        let documents = &self.context.stores.documents;
        let repo_hash = repository_hash(repo);
        let prefix = format!("{repo_hash}/");
        // Less than the names of the first day's rollups, which have more after it, and greater than those before.
        let mut after = Some(day_prefix(&repo_hash, first));
        let mut sums = RollupSums::default();
        loop {
            let (page, more) =
                documents.list(ROLLUP_KIND, &prefix, after.as_deref(), ROLLUP_BATCH_LEN).await?;
            if !sums.add(&page, first)? || (more && sums.is_full()) {
                return Ok((sums, false));
            }
            if !more {
                return Ok((sums, true));
            }
            after = page.last().map(|last| last.key.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Document, MAX_ROLLUP_BYTES, MAX_ROLLUPS, ROLLUP_KIND, RollupSums, day_prefix, rollup_key};

    fn documents(number: usize, padding: usize) -> Vec<Document> {
        let value = format!("{{\"pipeline\":\"p\",\"day\":9{}}}", " ".repeat(padding));
        let one = Document { key: rollup_key("r", "p", 9), value, due_at: None, version: 1 };
        vec![one; number]
    }

    #[test]
    fn sums_are_bounded_in_number_and_bytes() {
        let mut many = RollupSums::default();
        assert!(many.add(&documents(MAX_ROLLUPS, 0), 9).is_ok_and(|complete| complete));
        assert!(many.add(&documents(1, 0), 9).is_ok_and(|complete| !complete));
        assert_eq!(many.number, MAX_ROLLUPS);
        let mut large = RollupSums::default();
        assert!(large.add(&documents(10, MAX_ROLLUP_BYTES / 4), 10).is_ok_and(|complete| !complete));
        assert_eq!((large.number, large.pipelines.len()), (4, 0), "none is of a later day");
    }

    #[test]
    fn rollups_of_a_repository_are_in_the_order_of_days() {
        let [before, first] = [8, 9].map(|day| rollup_key("r", "p", day));
        let hash = super::repository_hash("r");
        let after = day_prefix(&hash, 9);
        assert!(before.name < after && after < first.name);
        assert!(first.name.starts_with(&hash) && first.kind == ROLLUP_KIND);
    }
}
