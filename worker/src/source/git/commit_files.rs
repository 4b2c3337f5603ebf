//! The files of a commit, for the reader of GitLab files.

use super::process::ProcessLimits;
use crate::source::git;
use std::path::Path;
use tidemill_core::pipeline::{ReadFile, RepositoryFiles};

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
}

impl RepositoryFiles for CommitFiles<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        (self.read)(path)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, String> {
        let mut list = git::at(self.repo);
        list.args(["ls-tree", "-r", "-z", "--full-tree", "--name-only", self.commit]);
        if !directory.is_empty() {
            list.args(["--", &format!("{directory}/")]);
        }
        let paths = git::run_limited(&mut list, self.limits).map_err(|error| error.to_string())?;
        Ok(paths.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
    }
}
