//! The repository that a command acts on: the current one, or the one that `--repo` selects.

use crate::{
    args::ConsentArgs,
    failure::{Failure, Outcome},
    output::{self, Printable},
    pipeline::file,
    view::{format, hint::quoted},
};
use std::io::{BufRead, IsTerminal, Write as _};
use tidemill_core::api::ExecutionSummary;
use tidemill_core::repository::canonical_name;
use tidemill_worker::source::{self, SourceError};

/// The repository that a command acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetRepository {
    /// The repository of `--repo`.
    Named(String),
    /// The repository of the current directory.
    Current(String),
    /// The path of the current directory, which is not in a repository.
    None(String),
}

impl TargetRepository {
    /// Returns the repository of `--repo`, otherwise that of the current directory, as `tidemill run` records it.
    pub fn resolve(named: Option<&str>) -> Outcome<Self> {
        if let Some(repo) = named {
            // The server may have recorded executions under text that is not an address.
            return Ok(Self::Named(source::normalize_repository(repo).unwrap_or_else(|_| repo.to_owned())));
        }
        let repo = address(None)?;
        let current_dir = std::env::current_dir()?;
        let has_git = current_dir.ancestors().any(|ancestor| ancestor.join(".git").exists());
        Ok(if has_git || file::has_pipelines() { Self::Current(repo) } else { Self::None(repo) })
    }

    /// Returns the repository's address; outside of repositories, the path of the current directory.
    pub fn address(&self) -> &str {
        match self {
            Self::Named(repo) | Self::Current(repo) | Self::None(repo) => repo,
        }
    }

    /// Fails if `execution` belongs to another repository than `--repo`. If it does not belong to the current repository and the
    /// command changes it, requires confirmation at the terminal or --yes.
    pub fn check(&self, execution: &ExecutionSummary, is_change: bool, consent: ConsentArgs) -> Outcome {
        if is_same_repository(self.address(), &execution.repo) {
            return Ok(());
        }
        match self {
            Self::Named(repo) => Err(Failure::usage(format!(
                "execution {} is {}, not of {}; nothing was changed",
                execution.id,
                format::title(execution),
                Printable(repo)
            ))),
            Self::Current(repo) if is_change && !consent.yes => confirm(repo, execution),
            Self::Current(_) | Self::None(_) => Ok(()),
        }
    }
}

/// Returns the address of the repository of `--repo`, otherwise of the current directory, as `tidemill run` records it.
pub fn address(named: Option<&str>) -> Outcome<String> {
    let failure = |error: SourceError| Failure::usage(error.to_string());
    match named {
        Some(repo) => source::normalize_repository(repo).map_err(failure),
        None => source::repository_of(&std::env::current_dir()?).map_err(failure),
    }
}

/// Returns whether two addresses identify the same repository.
pub fn is_same_repository(one: &str, other: &str) -> bool {
    one == other || canonical_name(one) == canonical_name(other)
}

/// Asks at the terminal whether to change another repository's execution. Fails without a terminal.
fn confirm(current: &str, execution: &ExecutionSummary) -> Outcome {
    let current = Printable(current);
    let title = format::title(execution);
    let rejected = || {
        Failure::usage(format!(
            "execution {} is {title}, but the current repository is {current}; nothing was changed; to change it, add --repo {}",
            execution.id,
            quoted(&execution.repo)
        ))
    };
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || !output::stderr_is_terminal() {
        return Err(rejected());
    }
    write!(
        output::stderr(),
        "execution {} is {title}, but the current repository is {current}; continue? [y/N] ",
        execution.id
    )?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(rejected()) }
}
