//! The commits of a git server.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tidemill_core::execution::discovery::PipelineFile;

/// Commits with their pipeline files.
#[derive(Default)]
pub struct GitServer {
    commits: Mutex<Vec<Commit>>,
    pub(super) busy: AtomicBool,
}

pub(super) struct Commit {
    pub(super) is_on_default_branch: bool,
    pub(super) files: Vec<PipelineFile>,
    pub(super) cron: Option<&'static str>,
}

/// The pipeline files of a commit, as a worker finds them.
pub struct CommitFiles {
    pub commit: String,
    pub files: Vec<PipelineFile>,
    /// The schedule in the files.
    pub cron: Option<&'static str>,
}

fn commit_id(commit: usize) -> String {
    format!("{:040x}", commit + 1)
}

impl GitServer {
    pub(super) fn add_commit(&self, commit: Commit) -> String {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.push(commit);
        commit_id(commits.len() - 1)
    }

    /// Returns the files of a commit, or of the default branch if `commit` is empty.
    pub fn files_at(&self, commit: &str, only: &[String]) -> CommitFiles {
        let commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_requested = |(ix, commit_data): &(usize, &Commit)| {
            commit_id(*ix) == commit || (commit.is_empty() && commit_data.is_on_default_branch)
        };
        let Some((ix, at)) = commits.iter().enumerate().rev().find(is_requested) else {
            return CommitFiles { commit: commit.to_owned(), files: Vec::new(), cron: None };
        };
        let is_included = |file: &&PipelineFile| only.is_empty() || only.contains(&file.path);
        CommitFiles {
            commit: commit_id(ix),
            files: at.files.iter().filter(is_included).cloned().collect(),
            cron: at.cron,
        }
    }

    /// Whether pushes are still to come.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }
}
