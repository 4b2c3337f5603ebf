//! What the user has staged, as a commit in Tidemill's own repository.

use super::super::git::{self, SourceError};
use std::{fs, path::Path};

/// The copy of the user's index. Git would write to the original.
const INDEX_FILE: &str = "tidemill-staged";

/// Returns a commit of what the file `index` of the user's repository records, on top of `commit`, if it differs from `tree`, the
/// tree of that commit. An index that cannot be a commit, such as one with conflicts or one in several files, counts as unchanged:
/// its files then show as not staged.
pub fn commit(repository: &Path, index: &Path, (commit, tree): (&str, &str)) -> Option<String> {
    let copy = repository.join(INDEX_FILE);
    fs::copy(index, &copy).ok()?;
    let written = git::run(git::at(repository).arg("write-tree").env("GIT_INDEX_FILE", &copy)).ok()?;
    let staged = written.trim_end();
    if staged == tree {
        return None;
    }
    synthetic_commit(repository, staged, Some(commit)).ok()
}

/// Creates a commit of `tree`. The same tree and parent have the same commit.
pub fn synthetic_commit(repository: &Path, tree: &str, parent: Option<&str>) -> Result<String, SourceError> {
    let mut command = git::at(repository);
    command.args(["commit-tree", "-m", "The directory as it is on disk", tree]);
    if let Some(parent) = parent {
        command.args(["-p", parent]);
    }
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Tidemill")
            .env(format!("GIT_{role}_EMAIL"), "tidemill@localhost")
            .env(format!("GIT_{role}_DATE"), "1970-01-01T00:00:00Z");
    }
    Ok(git::run(&mut command)?.trim_end().to_owned())
}
