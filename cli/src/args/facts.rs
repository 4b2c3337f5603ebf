//! What conditions look at, as arguments.

use clap::{Args, ValueEnum};
use tidemill_core::api::Trigger;

/// What conditions look at; what is not given comes from git.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What conditions look at")]
pub struct FactArgs {
    /// As if this had started it
    #[arg(long, value_enum, value_name = "EVENT")]
    pub event: Option<Event>,
    /// As if on this branch
    #[arg(long, value_name = "NAME", conflicts_with = "tag")]
    pub branch: Option<String>,
    /// As if this tag had been pushed
    #[arg(long, value_name = "NAME")]
    pub tag: Option<String>,
    /// As if this were the default branch
    #[arg(long, value_name = "NAME")]
    pub default_branch: Option<String>,
    /// As if these files had changed, and no others
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub changed: Vec<String>,
    /// The branch that the pull request goes into [default: the default branch]
    #[arg(long, value_name = "NAME")]
    pub target_branch: Option<String>,
    /// As if the pull request came from a fork
    #[arg(long)]
    pub fork: bool,
    /// As if the pull request were a draft
    #[arg(long)]
    pub draft: bool,
}

/// What may start an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Event {
    /// A push
    Push,
    /// A pull request, or merge request
    #[value(alias = "pull-request")]
    PullRequest,
    /// A schedule
    Schedule,
    /// A person
    Manual,
}

impl Event {
    /// What the rest of Tidemill calls it.
    pub fn trigger(self) -> Trigger {
        match self {
            Self::Push => Trigger::Push,
            Self::PullRequest => Trigger::PullRequest,
            Self::Schedule => Trigger::Schedule,
            Self::Manual => Trigger::Manual,
        }
    }
}
