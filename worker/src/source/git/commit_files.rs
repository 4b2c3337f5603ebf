//! The files of a commit, for the readers of pipeline files.

use super::process::ProcessLimits;
use crate::source::git::{self, SourceError};
use std::path::Path;
use tidemill_core::pipeline::{IncludeSources, ReadFile, RepositoryFiles};

/// The files of a commit.
pub struct CommitFiles<'a> {
    /// The repository.
    pub repo: &'a Path,
    /// The commit's hash.
    pub commit: &'a str,
    /// Limits of listing its files.
    pub limits: ProcessLimits<'a>,
    /// Reads one file.
    pub read: &'a ReadFile<'a>,
    /// Reads files from elsewhere.
    pub elsewhere: &'a dyn IncludeSources,
}

impl RepositoryFiles for CommitFiles<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        (self.read)(path)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, String> {
        list_files(self.repo, self.commit, directory, self.limits).map_err(|error| error.to_string())
    }

    fn elsewhere(&self) -> &dyn IncludeSources {
        self.elsewhere
    }
}

/// Returns the paths of the files of a commit in a directory and below it; an empty path is the root.
pub fn list_files(
    repo: &Path,
    commit: &str,
    directory: &str,
    limits: ProcessLimits<'_>,
) -> Result<Vec<String>, SourceError> {
    let mut list = git::at(repo);
    list.args(["ls-tree", "-r", "-z", "--full-tree", "--name-only", commit]);
    if !directory.is_empty() {
        list.args(["--", &format!("{directory}/")]);
    }
    let paths = git::run_limited(&mut list, limits)?;
    Ok(paths.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}
