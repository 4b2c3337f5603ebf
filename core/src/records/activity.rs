//! The latest executions of each repository. The record is small and bounded, and written once at the end of an execution.

use super::{ExecutionRecord, ExecutionSpec};
use crate::{
    api::{RecentExecution, RepositoryOverview},
    execution::{assignment::Source, status::ExecutionStatus},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Number of the latest executions of a repository.
const MAX_RECENT: usize = 20;
/// Maximum number of pipelines whose last execution on the default branch is kept.
const MAX_PIPELINES: usize = 50;
/// The last execution of a pipeline is dropped if it ended this long before the newest one: the pipeline may be gone.
const MAX_PIPELINE_AGE_MS: u64 = 30 * 86_400_000;
/// Maximum number of characters of a commit's title.
const MAX_TITLE_CHARS: usize = 200;
/// Maximum number of characters of a branch.
const MAX_BRANCH_CHARS: usize = 250;

/// The latest executions of a repository that have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RepositoryActivity {
    /// The repository's name.
    pub repo: String,
    /// Its default branch, if an execution that counts for it knew it.
    pub default_branch: Option<String>,
    /// The latest executions, newest first.
    pub recent: Vec<RecentExecution>,
    /// The last execution of each pipeline on the default branch, newest first.
    pub of_default_branch: Vec<RecentExecution>,
}

impl RepositoryActivity {
    /// Returns the activity with an execution that ends at `now` with `status`; `None` if it has it.
    #[must_use]
    pub fn with(&self, execution: &ExecutionRecord, status: ExecutionStatus, now: Timestamp) -> Option<Self> {
        let (spec, facts) = (&execution.spec, &execution.spec.facts);
        if self.recent.iter().any(|known| known.id == spec.id && known.status == status) {
            return None;
        }
        let branch = |name: &Option<String>| name.as_deref().map(|name| cut(name, MAX_BRANCH_CHARS));
        let one = RecentExecution {
            id: spec.id,
            pipeline_name: spec.pipeline_name.clone(),
            run_number: execution.run_number,
            branch: branch(&spec.branch),
            title: facts.details.title().map(|title| cut(title, MAX_TITLE_CHARS)),
            status,
            created_at: spec.created_at,
            start_time: execution.state.start_time,
            end_time: now,
        };
        let mut next = self.clone();
        next.repo.clone_from(&spec.repo);
        if shows_state_of_branch(spec) {
            let default_branch = branch(&facts.default_branch);
            if default_branch.is_some() && next.default_branch != default_branch {
                next.default_branch = default_branch;
                next.of_default_branch.clear();
            }
            if next.default_branch.is_some() && next.default_branch == one.branch {
                next.add_of_default_branch(one.clone());
            }
        }
        next.recent.retain(|other| other.id != one.id);
        insert(&mut next.recent, one, MAX_RECENT);
        Some(next)
    }

    /// Records the last execution of a pipeline, unless a newer one is known.
    fn add_of_default_branch(&mut self, one: RecentExecution) {
        let all = &mut self.of_default_branch;
        if all.iter().any(|other| other.pipeline_name == one.pipeline_name && other.id > one.id) {
            return;
        }
        all.retain(|other| other.pipeline_name != one.pipeline_name);
        insert(all, one, MAX_PIPELINES);
        if let Some(newest) = all.iter().map(|other| other.end_time).max() {
            all.retain(|other| newest.since_ms(other.end_time) <= MAX_PIPELINE_AGE_MS);
        }
    }

    /// Returns the activity as shown by the API.
    #[must_use]
    pub fn overview(self) -> RepositoryOverview {
        let has = |status| self.of_default_branch.iter().any(|one| one.status == status);
        let status = [ExecutionStatus::Failed, ExecutionStatus::Canceled, ExecutionStatus::Success]
            .into_iter()
            .find(|status| has(*status));
        RepositoryOverview {
            repo: self.repo,
            default_branch: self.default_branch,
            status,
            of_default_branch: self.of_default_branch,
            recent: self.recent,
        }
    }
}

/// Whether an execution tells the state of its branch: it ran all jobs of a commit, and nobody merely says what started it.
pub(super) fn shows_state_of_branch(spec: &ExecutionSpec) -> bool {
    let facts = &spec.facts;
    let has_other_files = facts.details.dirty
        || matches!(&spec.source, Source::Uploaded { .. } | Source::Snapshot { tree: Some(_), .. });
    let is_of_branch = facts.pull_request.is_none() && !facts.is_claimed && !facts.is_assumed;
    is_of_branch && facts.jobs.is_all() && !has_other_files
}

/// Returns the beginning of a text.
pub(super) fn cut(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}

/// Inserts an execution in the order of their ids, newest first, and drops the oldest ones beyond `max`.
fn insert(executions: &mut Vec<RecentExecution>, one: RecentExecution, max: usize) {
    let at = executions.partition_point(|other| other.id > one.id);
    executions.insert(at, one);
    executions.truncate(max);
}
