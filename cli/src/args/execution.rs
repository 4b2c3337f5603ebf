//! Arguments of the commands that start, show and control executions.

use super::shared::{ExecutionArgs, FileArgs, SlotArgs, VariableArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tidemill_core::ids::ExecutionId;

/// `run`.
#[derive(Debug, Args)]
// Each field is a command-line flag.
#[allow(clippy::struct_excessive_bools)]
pub struct Run {
    #[command(flatten)]
    pub file: FileArgs,
    /// Run this repository, a git URL or path [default: the current one]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Branch or tag of --repo
    #[arg(long, requires = "repo")]
    pub branch: Option<String>,
    /// Commit of --repo
    #[arg(long, requires = "repo")]
    pub commit: Option<String>,
    /// Upload all sources to the deployment, even commits that `origin` has
    #[arg(long, conflicts_with = "repo")]
    pub upload_all: bool,
    #[command(flatten)]
    pub variables: VariableArgs,
    /// Pass a secret to jobs, from the environment (NAME) or a file (NAME=@FILE); never stored, local runs only
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    #[command(flatten)]
    pub slots: SlotArgs,
    /// Start a new execution even if one is running for the same commit
    #[arg(long)]
    pub force: bool,
    /// Print errors only
    #[arg(short, long, conflicts_with_all = ["json", "follow"])]
    pub quiet: bool,
    /// Print the finished execution as JSON
    #[arg(long, conflicts_with = "follow")]
    pub json: bool,
    /// Print this job's log while it runs
    #[arg(long, value_name = "JOB")]
    pub follow: Option<String>,
}

/// `report`.
#[derive(Debug, Args)]
pub struct Report {
    #[command(flatten)]
    pub selection: ExecutionArgs,
    /// Show only jobs of this stage
    #[arg(long)]
    pub stage: Option<String>,
    /// Show only this job, with all matrix variants
    #[arg(long)]
    pub job: Option<String>,
    /// Show cloud usage and its cost at list prices
    #[arg(long, conflicts_with_all = ["stage", "job"])]
    pub cost: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub format: ReportFormat,
}

/// Formats of `report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Text table
    Table,
    /// JSON
    Json,
    /// JUnit XML, one test case per job
    Junit,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub selection: ExecutionArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// List executions of all repositories
    #[arg(long, conflicts_with_all = ["repo", "run", "execution"])]
    pub all_repositories: bool,
    /// Maximum number of executions to list
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    pub selection: ExecutionArgs,
    /// Job name; optional if there is only one job
    #[arg(long)]
    pub job: Option<String>,
    /// Attempt number [default: the latest]
    #[arg(long)]
    pub attempt: Option<u32>,
    /// Print new output until the job ends
    #[arg(short, long)]
    pub follow: bool,
    /// Print the log unfiltered, with all terminal control sequences
    #[arg(long)]
    pub raw: bool,
}

/// `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Execution id
    #[arg(value_name = "ID", conflicts_with_all = ["pipeline", "run", "file", "execution", "branch"])]
    pub id: Option<ExecutionId>,
    #[command(flatten)]
    pub selection: ExecutionArgs,
    /// Cancel the execution on interrupt instead of detaching
    #[arg(long)]
    pub cancel: bool,
    /// Print errors only
    #[arg(short, long)]
    pub quiet: bool,
}

/// `cancel`.
#[derive(Debug, Args)]
pub struct Cancel {
    #[command(flatten)]
    pub selection: ExecutionArgs,
    /// Cancel only this job
    #[arg(long)]
    pub job: Option<String>,
}

/// `approve`.
#[derive(Debug, Args)]
pub struct Approve {
    #[command(flatten)]
    pub selection: ExecutionArgs,
    /// Job to approve [default: the held execution, or its only job that awaits approval]
    #[arg(long)]
    pub job: Option<String>,
}

/// `retry`.
#[derive(Debug, Args)]
pub struct Retry {
    #[command(flatten)]
    pub selection: ExecutionArgs,
    /// Also rerun successful jobs
    #[arg(long)]
    pub all: bool,
    /// Also run this unapproved manual job
    #[arg(long, value_name = "JOB")]
    pub approve: Vec<String>,
    #[command(flatten)]
    pub slots: SlotArgs,
    /// Print errors only
    #[arg(short, long)]
    pub quiet: bool,
}

/// `artifacts`.
#[derive(Debug, Args)]
pub struct Artifacts {
    #[command(flatten)]
    pub selection: ExecutionArgs,
    /// Only artifacts of this job
    #[arg(long)]
    pub job: Option<String>,
    /// Extract the artifacts into this directory: those of several jobs into a directory for each job
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Replace files that exist in the directory
    #[arg(long, requires = "output")]
    pub overwrite: bool,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}
