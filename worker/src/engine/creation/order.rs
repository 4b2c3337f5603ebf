//! What a container is created from, and what it is started with.

use super::super::images::{ContainerUser, ImageConfig};
use crate::{source::Tree, workspace::FileOwner};
use std::sync::Arc;
use tidemill_core::execution::assignment::Preparation;

/// Runs as the first process of a job's container; see the file.
const BOOT_SCRIPT: &str = concat!(include_str!("../script_files.sh"), include_str!("../boot.sh"));

/// What a container is created from.
#[derive(Debug)]
pub(in crate::engine) struct ContainerOrder<'a> {
    pub preparation: &'a Preparation,
    pub image: &'a ImageConfig,
    /// The network that it joins; `None`: one of its own.
    pub network: Option<&'a str>,
    pub tree: Option<Arc<Tree>>,
    pub user: ContainerUser,
    pub owner: FileOwner,
}

/// The words that a container is started with: its entry point and its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct StartCommand {
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
}

impl StartCommand {
    /// A shell that runs the boot script.
    pub fn shell(shell: &str) -> Self {
        Self { entrypoint: [shell, "-c", BOOT_SCRIPT].map(str::to_owned).to_vec(), command: Vec::new() }
    }

    /// An entry point that starts a shell, which then prints the marker of `token`.
    pub fn entrypoint(words: &[String], token: &str) -> Self {
        let shell: &[&str] = if is_command_shell(words) { &[] } else { &["sh", "-c"] };
        let command =
            shell.iter().chain(&[BOOT_SCRIPT, "boot", token]).map(|word| (*word).to_owned()).collect();
        Self { entrypoint: words.to_vec(), command }
    }
}

/// Whether an entry point is a shell.
pub(super) fn is_shell(words: &[String]) -> bool {
    let program = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or_default());
    matches!(program, "sh" | "bash" | "ash" | "dash" | "zsh" | "ksh")
        && words.iter().skip(1).all(|word| word.starts_with('-'))
}

/// Whether an entry point is a shell that takes its next word as a command, such as `bash -lc`.
pub(super) fn is_command_shell(words: &[String]) -> bool {
    let last = words.last().map_or("", String::as_str);
    words.len() > 1 && is_shell(words) && !last.starts_with("--") && last.ends_with('c')
}
