//! Arguments of the commands that work on pipeline files.

use super::shared::{FileArgs, FormatArgs, IncludeArgs, JobSelectionArgs, ServerArgs, VariableArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tidemill_core::api::Trigger;

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Files to check; `-` is standard input [default: all in .pipelines/]
    pub files: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub format: CheckFormat,
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    pub variables: VariableArgs,
    #[command(flatten)]
    pub include: IncludeArgs,
    #[command(flatten)]
    pub remote: ServerArgs,
}

/// Formats of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Text with source excerpts
    Human,
    /// JSON array of diagnostics
    Json,
    /// SARIF 2.1.0
    Sarif,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub selection: JobSelectionArgs,
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    pub facts: FactArgs,
    #[command(flatten)]
    pub variables: VariableArgs,
    #[command(flatten)]
    pub include: IncludeArgs,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub remote: ServerArgs,
}

/// Facts for evaluating conditions. Facts that are not set come from git.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Facts for conditions")]
pub struct FactArgs {
    /// Assume this event [default: manual]
    #[arg(long, value_enum, value_name = "EVENT")]
    pub event: Option<Event>,
    /// Assume this branch
    #[arg(long, value_name = "NAME", conflicts_with = "tag")]
    pub branch: Option<String>,
    /// Assume that this tag was pushed
    #[arg(long, value_name = "NAME")]
    pub tag: Option<String>,
    /// Assume this default branch
    #[arg(long, value_name = "NAME")]
    pub default_branch: Option<String>,
    /// Assume that exactly these files changed
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub changed: Vec<String>,
    /// Assume this target branch of the pull request [default: the default branch]
    #[arg(long, value_name = "NAME")]
    pub target_branch: Option<String>,
    /// Assume that the pull request comes from a fork
    #[arg(long)]
    pub fork: bool,
    /// Assume that the pull request is a draft
    #[arg(long)]
    pub draft: bool,
    /// Assume this comment on the pull request
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

/// Events that start executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Event {
    /// A push
    Push,
    /// A push of the tag at the commit
    Tag,
    /// A pull request or merge request
    #[value(alias = "pull-request", alias = "merge_request", alias = "merge-request")]
    PullRequest,
    /// A schedule
    Schedule,
    /// A user
    Manual,
    /// A group of a merge queue
    #[value(alias = "merge-group")]
    MergeGroup,
    /// A release at the tag of the commit
    Release,
    /// A comment on a pull request or merge request
    Comment,
    /// The end of an execution of another pipeline
    Pipeline,
}

impl Event {
    /// Whether it is an event of a tag.
    pub fn is_of_tag(self) -> bool {
        matches!(self, Self::Tag | Self::Release)
    }

    /// Returns the trigger of this event.
    pub fn trigger(self) -> Trigger {
        match self {
            Self::Push | Self::Tag => Trigger::Push,
            Self::PullRequest => Trigger::PullRequest,
            Self::Schedule => Trigger::Schedule,
            Self::Manual => Trigger::Manual,
            Self::MergeGroup => Trigger::MergeGroup,
            Self::Release => Trigger::Release,
            Self::Comment => Trigger::Comment,
            Self::Pipeline => Trigger::Pipeline,
        }
    }
}

/// `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Path of the new file [default: .pipelines/ci.yml in the root of the repository]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// GitLab CI file
    #[arg(default_value = ".gitlab-ci.yml")]
    pub file: PathBuf,
    /// Path of the pipeline file
    #[arg(short, long, value_name = "PATH", default_value = ".pipelines/ci.yml")]
    pub output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
    /// Convert a file that includes keys of all jobs under a condition for this event; other files are the same for all
    #[arg(long, value_enum, value_name = "EVENT")]
    pub event: Option<Event>,
    /// Branch of that event
    #[arg(long, value_name = "NAME", conflicts_with = "tag", requires = "event")]
    pub branch: Option<String>,
    /// Tag of that event
    #[arg(long, value_name = "NAME", requires = "event")]
    pub tag: Option<String>,
    #[command(flatten)]
    pub include: IncludeArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}
