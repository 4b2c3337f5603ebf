//! Runs git.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

/// Why sources could not be had, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    message: String,
}

impl SourceError {
    /// An error with these words.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// A git command that asks nobody anything and runs no hooks.
pub fn command() -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "core.hooksPath=/dev/null", "-c", "protocol.file.allow=always", "-c", "gc.auto=0"])
        .args(["-c", "advice.detachedHead=false", "-c", "uploadpack.allowAnySHA1InWant=true"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .env(
            "GIT_SSH_COMMAND",
            std::env::var("GIT_SSH_COMMAND").unwrap_or_else(|_| "ssh -oBatchMode=yes".into()),
        )
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for inherited in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"] {
        command.env_remove(inherited);
    }
    command
}

/// Runs `command`; what it printed.
pub fn run(command: &mut Command) -> Result<String, SourceError> {
    let done = command.spawn().and_then(Child::wait_with_output).map_err(|error| {
        SourceError::new(format!("git could not be started: {error}; install git and put it on the PATH"))
    })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    Err(SourceError::new(format!("git: {}", words.trim())))
}

/// What git printed.
#[cfg(test)]
pub fn text(args: &[&str]) -> Result<String, SourceError> {
    run(command().args(args))
}

/// A git command on the repository whose git directory is `git_dir`.
pub fn at(git_dir: &Path) -> Command {
    let mut command = command();
    command.arg("--git-dir").arg(git_dir);
    command
}

/// Whether `text` is a commit hash written out.
pub fn is_full_hash(text: &str) -> bool {
    (text.len() == 40 || text.len() == 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
