//! The failed discoveries of a repository that no newer one of their branch has replaced. They started nothing, so that no other
//! execution shows their push. The record is small and bounded, and changes only when a discovery fails or repairs one.

use super::{ExecutionRecord, ExecutionSpec};
use crate::{
    api::{ExecutionKind, ExecutionSummary},
    execution::status::ExecutionStatus,
    ids::ExecutionId,
    repository::canonical_name,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Maximum number of failed discoveries of an overview.
const MAX_SHOWN: usize = 10;
/// Maximum number of failed discoveries of a repository.
const MAX_OF_REPOSITORY: usize = 20;
/// How long a failed discovery is shown.
pub const MAX_FAILURE_AGE_MS: u64 = 7 * 86_400_000;
/// Maximum number of characters of a shown text.
const MAX_TEXT_CHARS: usize = 500;

/// The failed discoveries of a repository, newest first: the last one of each branch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedDiscoveries {
    /// The discoveries.
    pub failed: Vec<ExecutionSummary>,
}

impl FailedDiscoveries {
    /// Returns them after a discovery has ended at `now` with `status`; `None` if they stay the same.
    #[must_use]
    pub fn with(&self, execution: &ExecutionRecord, status: ExecutionStatus, now: Timestamp) -> Option<Self> {
        let (id, branch) = (execution.spec.id, &execution.spec.branch);
        let mut next = self.clone();
        next.failed.retain(|one| is_recent(one, now) && !(one.branch == *branch && one.id < id));
        if status == ExecutionStatus::Failed && next.failed.iter().all(|one| one.branch != *branch) {
            let mut summary = ExecutionSummary { status, end_time: Some(now), ..execution.summary() };
            for text in [&mut summary.commit_details.message, &mut summary.commit_details.author] {
                *text = text.take().map(|text| text.chars().take(MAX_TEXT_CHARS).collect());
            }
            let at = next.failed.partition_point(|one| one.id > id);
            next.failed.insert(at, summary);
            next.failed.truncate(MAX_OF_REPOSITORY);
        }
        (next != *self).then_some(next)
    }
}

/// Returns the failed discoveries that an overview shows, newest first. One is not shown while a newer one of its branch is `live`.
#[must_use]
pub fn shown_discoveries<'a>(
    all: impl IntoIterator<Item = FailedDiscoveries>,
    live: impl Iterator<Item = &'a ExecutionRecord>,
    now: Timestamp,
) -> Vec<ExecutionSummary> {
    let live: Vec<&ExecutionRecord> = live.collect();
    let is_replaced = |failed: &ExecutionSummary| {
        live.iter().any(|other| is_newer_discovery(other, failed.id, &failed.repo, failed.branch.as_deref()))
    };
    let mut shown: Vec<ExecutionSummary> = all.into_iter().flat_map(|one| one.failed).collect();
    shown.retain(|one| is_recent(one, now) && !is_replaced(one));
    shown.sort_by_key(|one| std::cmp::Reverse(one.id));
    shown.truncate(MAX_SHOWN);
    shown
}

/// Whether one of the `newest` executions is a discovery of the same branch that is newer.
#[must_use]
pub fn has_newer_discovery(spec: &ExecutionSpec, newest: &[ExecutionRecord]) -> bool {
    newest.iter().any(|other| is_newer_discovery(other, spec.id, &spec.repo, spec.branch.as_deref()))
}

fn is_newer_discovery(other: &ExecutionRecord, id: ExecutionId, repo: &str, branch: Option<&str>) -> bool {
    let spec = &other.spec;
    spec.id > id
        && spec.task.kind() == ExecutionKind::DiscoverPipelines
        && spec.branch.as_deref() == branch
        && canonical_name(&spec.repo) == canonical_name(repo)
}

fn is_recent(one: &ExecutionSummary, now: Timestamp) -> bool {
    now.since_ms(one.created_at) <= MAX_FAILURE_AGE_MS
}
