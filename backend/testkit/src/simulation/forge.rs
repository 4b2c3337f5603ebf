//! The commits of a git server.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tidemill_core::execution::discovery::PipelineFile;

/// Files at commits, and which of these the default branch is at.
#[derive(Default)]
pub struct GitProvider {
    commits: Mutex<Vec<Commit>>,
    pub(super) busy: AtomicBool,
}

pub(super) struct Commit {
    pub(super) is_of_branch: bool,
    pub(super) files: Vec<PipelineFile>,
    pub(super) cron: Option<&'static str>,
}

/// What a worker finds.
pub struct Found {
    pub commit: String,
    pub files: Vec<PipelineFile>,
    /// The schedule in them.
    pub cron: Option<&'static str>,
}

fn name(commit: usize) -> String {
    format!("{:040x}", commit + 1)
}

impl GitProvider {
    pub(super) fn commit(&self, commit: Commit) -> String {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.push(commit);
        name(commits.len() - 1)
    }

    /// What is at a commit, or at the default branch's if it is not named.
    pub fn at(&self, commit: &str, only: &[String]) -> Found {
        let commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |(ix, one): &(usize, &Commit)| name(*ix) == commit || (commit.is_empty() && one.is_of_branch);
        let Some((ix, at)) = commits.iter().enumerate().rev().find(fits) else {
            return Found { commit: commit.to_owned(), files: Vec::new(), cron: None };
        };
        let wanted = |file: &&PipelineFile| only.is_empty() || only.contains(&file.path);
        Found { commit: name(ix), files: at.files.iter().filter(wanted).cloned().collect(), cron: at.cron }
    }

    /// Whether something is still to be pushed.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }
}
