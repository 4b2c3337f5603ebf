//! Follow-ups: starts the pipelines that follow an execution (`on: pipeline`) when it ends.
//!
//! Each followed execution has a document, which is written when the execution starts and completed after a discovery of the
//! following pipelines was started. So a crash loses nothing, and the idempotency key of the ended execution keeps it to one start.

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
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument, ParentLink},
    repositories::{record::Repository, service::RepositoryService},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidemill_core::execution::{
    discovery::Discovery,
    facts::{Facts, PullRequest, Upstream},
    status::ExecutionStatus,
};
use tidemill_core::{
    api::Trigger,
    ids::ExecutionId,
    pipeline::{MAX_DESCENDANTS, UpstreamStatus},
    repository::canonical_name,
    time::Timestamp,
};

const DOCUMENT_KIND: &str = "follow-up";
const BATCH_LEN: usize = 500;
/// Maximum number of executions that follow each other.
pub(crate) const MAX_DEPTH: u32 = 5;
/// Maximum number of executions that are followed at the same distance from the first one.
pub(crate) const MAX_BREADTH: u32 = 100;
/// Shortest and longest interval at which a live execution is checked; in between, a tenth of its age.
const MIN_INTERVAL_MS: u64 = 1_000;
const MAX_INTERVAL_MS: u64 = 60_000;
/// Longest interval at which an execution is checked that has not started, for example because it waits for an approval.
const MAX_PENDING_INTERVAL_MS: u64 = 15 * 60_000;
/// How long a retry of an ended execution can still be followed.
const RETENTION_MS: i64 = 30 * 86_400_000;

/// Service for pipelines that follow others.
#[derive(Debug, Clone)]
pub struct FollowUpService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
    repositories: RepositoryService,
}

/// The stored record of a followed execution, named by the execution.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FollowUpRecord {
    /// How to find the files of the following pipelines.
    pub discovery: Discovery,
    /// The ends after which one of them starts.
    pub statuses: Vec<UpstreamStatus>,
    /// The breadth of what follows: see [`Upstream::breadth`].
    pub breadth: u32,
}

/// Returns the number of executions that ended before this one and led to it.
pub(crate) fn depth(facts: &Facts) -> u32 {
    facts.upstream.as_ref().map_or(0, |upstream| upstream.depth.saturating_add(1))
}

/// Returns the breadth of what follows `count` executions with these facts.
pub(crate) fn breadth(facts: &Facts, count: usize) -> u32 {
    let before = facts.upstream.as_ref().map_or(1, |upstream| upstream.breadth);
    before.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Returns how many executions jobs may have started like one with this link, which may all be followed.
pub(crate) fn siblings(parent: Option<&ParentLink>) -> u32 {
    parent.map_or(1, |parent| MAX_DESCENDANTS / parent.descendants.saturating_add(1)).max(1)
}

/// Whether pipelines may follow an execution that has ended. Nothing follows one that was canceled before an approval, because none of
/// its jobs was recorded, or one of only some jobs of its pipeline.
fn may_be_followed(ended: &ExecutionRecord) -> bool {
    !ended.state.unplanned && ended.spec.facts.jobs.is_all()
}

impl FollowUpService {
    pub(crate) fn new(
        context: Arc<Context>,
        pipelines: PipelineExecutionService,
        repositories: RepositoryService,
    ) -> Self {
        Self { context, pipelines, repositories }
    }

    /// Records that the pipelines in some files follow an execution. Idempotent.
    pub(crate) async fn follow(&self, execution: ExecutionId, record: FollowUpRecord) -> Result<()> {
        let value =
            serde_json::to_string(&record).map_err(|error| Error::storage("writing a follow-up", error))?;
        let new = NewDocument {
            key: DocumentKey::new(DOCUMENT_KIND, execution.to_string()),
            value,
            due_at: Some(self.context.now()),
            expires_at: None,
        };
        self.context.stores.documents.put(new, None).await.map(drop)
    }

    /// Records that what follows an execution also follows its retry. Idempotent.
    pub async fn follow_retry(&self, retry: ExecutionId, of: ExecutionId) -> Result<()> {
        let key = DocumentKey::new(DOCUMENT_KIND, of.to_string());
        match self.context.stores.documents.get(&key).await? {
            Some(document) => self.follow(retry, read(&document)?).await,
            None => Ok(()),
        }
    }

    /// Starts what follows ended executions, and returns the number of started discoveries.
    pub async fn run(&self) -> Result<usize> {
        let now = self.context.now();
        let mut count = 0;
        for due in self.context.stores.documents.due(DOCUMENT_KIND, now, BATCH_LEN).await? {
            let name = due.key.name.clone();
            // A failure of one does not affect the others.
            match self.process(&due.key, now).await {
                Ok(started) => {
                    self.context.backoff.succeeded(&name);
                    count += usize::from(started);
                }
                Err(error) => {
                    let retry_at = self.context.backoff.failed(&name, now);
                    tracing::warn!(execution = name, %error, %retry_at, "cannot start what follows an execution; it is retried later");
                    self.context.postpone(&due, retry_at).await;
                }
            }
        }
        Ok(count)
    }

    /// Starts the discovery of what follows an execution, if it has ended. Its idempotency key makes it one, however often this runs.
    async fn process(&self, key: &DocumentKey, now: Timestamp) -> Result<bool> {
        let documents = &self.context.stores.documents;
        // The index of due documents may lag behind.
        let Some(document) = documents.get(key).await? else { return Ok(false) };
        if document.due_at.is_none_or(|at| at > now) {
            return Ok(false);
        }
        let execution = match key.name.parse::<ExecutionId>().ok() {
            Some(id) => self.context.stores.records.execution(id).await?,
            None => None,
        };
        let Some(execution) = execution else {
            return documents.delete(key, Some(document.version)).await.map(|_| false);
        };
        let repository = self.repositories.find(&canonical_name(&execution.spec.repo)).await?;
        let Some(repository) = repository else {
            return documents.delete(key, Some(document.version)).await.map(|_| false);
        };
        let mut next = NewDocument {
            key: key.clone(),
            value: document.value.clone(),
            due_at: None,
            expires_at: Some(now.plus_ms(RETENTION_MS)),
        };
        let mut started = false;
        let status = execution.state.status;
        if status.is_terminal() {
            let record = read(&document)?;
            if may_be_followed(&execution) && record.statuses.iter().any(|of| of.includes(status)) {
                started = self.start(&execution, &repository, record).await?;
            }
        } else {
            let age = now.since_ms(execution.spec.created_at);
            let is_waiting = execution.state.unplanned || status == ExecutionStatus::Pending;
            let max = if is_waiting { MAX_PENDING_INTERVAL_MS } else { MAX_INTERVAL_MS };
            let wait = (age / 10).clamp(MIN_INTERVAL_MS, max);
            next.due_at = Some(now.plus_ms(i64::try_from(wait).unwrap_or(i64::MAX)));
            next.expires_at = None;
        }
        documents.put(next, Some(document.version)).await?;
        Ok(started)
    }

    async fn start(&self, ended: &ExecutionRecord, at: &Repository, record: FollowUpRecord) -> Result<bool> {
        let FollowUpRecord { discovery, breadth, .. } = record;
        let spec = &ended.spec;
        let of = &spec.facts;
        let start = DiscoveryStart {
            facts: Facts {
                trigger: Trigger::Pipeline,
                branch: spec.branch.clone(),
                tag: of.tag.clone(),
                commit: spec.commit.clone(),
                default_branch: at.default_branch().map(str::to_owned).or_else(|| of.default_branch.clone()),
                // A fork keeps the rights of a fork.
                pull_request: of
                    .pull_request
                    .as_ref()
                    .map(|request| PullRequest { action: None, ..request.clone() }),
                merge_target: of.merge_target.clone(),
                upstream: Some(Box::new(Upstream {
                    execution: spec.id,
                    pipeline: spec.pipeline_name.clone(),
                    status: ended.state.status,
                    depth: depth(of),
                    breadth,
                })),
                ..Facts::default()
            },
            discovery,
            requested_by: spec.requested_by.clone(),
            started_by: spec.started_by.clone(),
            parent: None,
        };
        let key = IdempotencyKey::After { execution: spec.id };
        let reply = discovery_start::start_discovery(&self.pipelines, &self.context, at, start, key).await?;
        Ok(!reply.attached)
    }
}

fn read(document: &Document) -> Result<FollowUpRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a follow-up", error))
}

#[cfg(test)]
mod tests {
    use super::{breadth, siblings};
    use crate::ports::ParentLink;
    use tidemill_core::execution::{
        facts::{Facts, Upstream},
        status::ExecutionStatus,
    };
    use tidemill_core::{
        ids::ExecutionId,
        pipeline::{MAX_DESCENDANTS, descendants_of_child},
    };

    #[test]
    fn siblings_are_the_jobs_that_share_what_may_be_started() {
        assert_eq!(siblings(None), 1);
        for count in [1, 2, 10, 100] {
            let parent = ParentLink {
                execution: ExecutionId(uuid::Uuid::nil()),
                job: 0,
                name: "go".into(),
                gate: None,
                depth: 1,
                descendants: descendants_of_child(MAX_DESCENDANTS, count),
            };
            assert_eq!(siblings(Some(&parent)), count);
        }
    }

    #[test]
    fn breadth_is_the_product_of_the_followed_executions() {
        let mut facts = Facts::default();
        assert_eq!(breadth(&facts, 3), 3);
        facts.upstream = Some(Box::new(Upstream {
            execution: ExecutionId(uuid::Uuid::nil()),
            pipeline: "build".into(),
            status: ExecutionStatus::Success,
            depth: 0,
            breadth: breadth(&facts, 3),
        }));
        assert_eq!(breadth(&facts, 4), 12);
    }
}
