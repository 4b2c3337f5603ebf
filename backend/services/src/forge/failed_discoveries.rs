//! The failed discoveries of each repository: a document that the end of a discovery changes, so that the overview reads them with
//! one request, however many have failed.
//!
//! It is written before the end is recorded, which is repeated after a crash.

use crate::storage::insights::{pause, repository_hash};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument},
};
use tidemill_core::api::{ExecutionSummary, ListQuery};
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::records::{FailedDiscoveries, MAX_FAILURE_AGE_MS, has_newer_discovery, shown_discoveries};

/// Kind of the documents.
const DOCUMENT_KIND: &str = "failed-discoveries";
/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 5;
/// Maximum number of repositories of an overview whose discoveries failed.
const MAX_REPOSITORIES: usize = 200;
/// Number of executions of a branch among which a newer discovery is looked for.
const NEWEST_OF_BRANCH: u32 = 50;

fn key(repo: &str) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, repository_hash(repo))
}

fn parse(document: &Document) -> Result<FailedDiscoveries> {
    serde_json::from_str(&document.value)
        .map_err(|error| Error::storage("reading the failed discoveries of a repository", error))
}

impl Context {
    /// Records that a discovery ends with `status`.
    pub(crate) async fn record_discovery_end(
        &self,
        execution: &ExecutionRecord,
        status: ExecutionStatus,
    ) -> Result<()> {
        let (spec, documents) = (&execution.spec, &self.stores.documents);
        if status == ExecutionStatus::Failed && self.is_older_discovery(execution).await? {
            return Ok(());
        }
        let key = key(&spec.repo);
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                pause(attempt, spec.id).await;
            }
            let document = documents.get(&key).await?;
            let version = document.as_ref().map(|document| document.version);
            let known = document.as_ref().map(parse).transpose()?.unwrap_or_default();
            let Some(next) = known.with(execution, status, self.now()) else { return Ok(()) };
            let is_done = if next.failed.is_empty() {
                documents.delete(&key, version).await?
            } else {
                let value = serde_json::to_string(&next).map_err(|error| {
                    Error::storage("writing the failed discoveries of a repository", error)
                })?;
                let expires_at = self.now().plus_ms(i64::try_from(MAX_FAILURE_AGE_MS).unwrap_or(i64::MAX));
                let key = key.clone();
                let new = NewDocument { key, value, due_at: None, expires_at: Some(expires_at) };
                documents.put(new, version).await?
            };
            if is_done {
                return Ok(());
            }
        }
        Err(Error::Conflict("the failed discoveries of the repository change too fast".into()))
    }

    /// Whether a newer discovery of the branch exists. It may have ended before this one.
    async fn is_older_discovery(&self, failed: &ExecutionRecord) -> Result<bool> {
        let query = ListQuery {
            repo: Some(failed.spec.repo.clone()),
            branch: failed.spec.branch.clone(),
            limit: Some(NEWEST_OF_BRANCH),
            ..ListQuery::default()
        };
        let (newest, _) = self.stores.records.executions(&query).await?;
        Ok(has_newer_discovery(&failed.spec, &newest))
    }

    /// Returns the failed discoveries that the overview of all repositories, or of one, shows, given the executions that have not
    /// ended. Of all repositories, some are missing if the discoveries of more than 200 failed within a week.
    pub(crate) async fn failed_discoveries<'a>(
        &self,
        repo: Option<&str>,
        live: impl Iterator<Item = &'a ExecutionRecord>,
    ) -> Result<Vec<ExecutionSummary>> {
        let documents = &self.stores.documents;
        let found: Vec<Document> = match repo {
            Some(repo) => documents.get(&key(repo)).await?.into_iter().collect(),
            None => documents.list(DOCUMENT_KIND, "", None, MAX_REPOSITORIES).await?.0,
        };
        let found: Vec<FailedDiscoveries> = found.iter().map(parse).collect::<Result<_>>()?;
        Ok(shown_discoveries(found, live, self.now()))
    }
}
