//! Local repositories of the user who runs Tidemill.
//!
//! Git decides whether a repository may be read: it rejects one that belongs to another user, as the repository's configuration
//! could run programs. So git runs with the user's own settings (`safe.directory`), and with none of Tidemill's that would
//! allow more.

use super::git::{SourceError, run};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Variables that make git use another repository than that of its directory. Git sets them for hooks.
const REPOSITORY_VARIABLES: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_GRAFT_FILE",
    "GIT_SHALLOW_FILE",
    "GIT_PREFIX",
];

/// Creates a git command in `dir` that runs no program which the repository configures.
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
    for inherited in REPOSITORY_VARIABLES {
        command.env_remove(inherited);
    }
    command
}

/// Runs git in the repository that contains `dir` and returns its output.
pub fn git(dir: &Path, args: &[&str]) -> Result<String, SourceError> {
    run(command(dir).args(args))
}

/// Returns the error to report if git failed in `dir` although it is in a repository, or `None` if there is no repository. A
/// repository that git rejects must not count as a plain directory, which would hide the reason.
pub fn repository_error(dir: &Path, error: &SourceError) -> Option<SourceError> {
    let top = dir.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok() || is_bare(dir))?;
    let quoted = shell_quoted(top);
    // git's own message about an owner spans several lines and repeats the remedy.
    if let Some(owner) = foreign_owner(top) {
        return Some(SourceError::new(format!(
            "the repository {} belongs to another user ({owner}), and git could run programs that its settings name; if you \
             trust its owner, run: git config --global --add safe.directory {quoted}",
            top.display()
        )));
    }
    if is_bare(top) {
        return Some(SourceError::new(format!(
            "{} is a repository without files (bare); to run a commit of it, use: tidemill run --repo {quoted}",
            top.display()
        )));
    }
    Some(SourceError::new(format!(
        "git cannot read the repository {} ({error}); if it belongs to another user whom you trust, run: git config \
         --global --add safe.directory {quoted}",
        top.display()
    )))
}

/// Quotes a path for a shell, in a command that a message suggests.
fn shell_quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

/// Returns the id of the user who owns the repository at `top`, unless it is the user of this process, or root.
fn foreign_owner(top: &Path) -> Option<String> {
    let owner = [top.to_owned(), top.join(".git")].iter().find_map(|path| {
        let owner = path.symlink_metadata().ok()?.uid();
        (owner != rustix::process::geteuid().as_raw()).then_some(owner)
    })?;
    Some(format!("user id {owner}"))
}

fn is_bare(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}

/// Returns the git directory of the repository at `dir`, which all its working trees share.
pub fn common_directory(dir: &Path) -> Result<PathBuf, SourceError> {
    match git(dir, &["rev-parse", "--path-format=absolute", "--git-common-dir"]) {
        Ok(text) => Ok(PathBuf::from(text.trim_end_matches('\n'))),
        Err(error) => Err(repository_error(dir, &error)
            .unwrap_or_else(|| SourceError::new(format!("{} is not a git repository", dir.display())))),
    }
}
