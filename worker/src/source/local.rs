//! Repositories of the person who runs Tidemill, on this machine's disk.
//!
//! Git itself decides whether a repository may be read: it refuses one that belongs to another user, as what its configuration
//! names would run. So it is asked with the person's own settings (`safe.directory`), and without any of Tidemill's that would let
//! more through.

use super::git::{SourceError, run};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A git command in `dir` that runs nothing which the repository there names.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir);
    for setting in [
        "core.fsmonitor=false",
        "core.hooksPath=/dev/null",
        "core.pager=cat",
        "protocol.allow=never",
        "gc.auto=0",
    ] {
        command.args(["-c", setting]);
    }
    command
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for inherited in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"] {
        command.env_remove(inherited);
    }
    command
}

/// The output of git about the repository that `dir` is in.
pub fn git(dir: &Path, words: &[&str]) -> Result<String, SourceError> {
    run(command(dir).args(words))
}

/// The error of git in `dir`, unless there is no repository: then `None`. To take one that git refuses for a plain directory would
/// hide why.
pub fn refused(dir: &Path, error: &SourceError) -> Option<SourceError> {
    let top = dir.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok() || is_bare(dir))?;
    Some(SourceError::new(format!(
        "git does not read the repository {0} ({error}); where it belongs to another user whom you trust, say so with: git config \
         --global --add safe.directory {0}",
        top.display()
    )))
}

fn is_bare(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}

/// The git directory of the repository at `dir`, which all its working trees share.
pub fn common_directory(dir: &Path) -> Result<PathBuf, SourceError> {
    match git(dir, &["rev-parse", "--path-format=absolute", "--git-common-dir"]) {
        Ok(text) => Ok(PathBuf::from(text.trim_end_matches('\n'))),
        Err(error) => Err(refused(dir, &error)
            .unwrap_or_else(|| SourceError::new(format!("{} is no git repository", dir.display())))),
    }
}
