//! The files of a commit: their text, for the readers of pipeline files, and their paths.

use super::{listing::Paths, process::ProcessLimits};
use crate::source::git::{self, SourceError};
use std::{path::Path, process::Command, time::Duration};
use tidemill_core::execution::discovery::{MAX_CHANGED_PATHS, MAX_PATHS_BYTES};
use tidemill_core::pipeline::{FileError, IncludeSources, ReadFile, RepositoryFiles};

/// Limits of reading a commit that is already fetched.
pub const READ_LIMITS: ProcessLimits<'static> = ProcessLimits {
    network: false,
    timeout: Some(Duration::from_secs(60)),
    memory_bytes: Some(512 << 20),
    directory_limit: None,
};

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
    fn read(&self, path: &str) -> Result<String, FileError> {
        (self.read)(path)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let listed = list_files(self.repo, self.commit, directory, self.limits);
        listed.map_err(|error| FileError::Repository(error.to_string()))
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

/// Returns the paths of all files of a commit or tree, or `None` if there are too many.
pub fn all_paths(repo: &Path, commit: &str) -> Result<Option<Vec<String>>, SourceError> {
    paths(git::at(repo).args(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]))
}

/// Returns the NUL-terminated paths that `list` prints, or `None` if there are more than may be reported.
pub fn paths(list: &mut Command) -> Result<Option<Vec<String>>, SourceError> {
    let mut paths = Paths::new(MAX_CHANGED_PATHS, MAX_PATHS_BYTES);
    git::stream(list, READ_LIMITS, &mut |piece| paths.push(piece))?;
    Ok(paths.into_paths())
}
