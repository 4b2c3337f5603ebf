//! Arguments of the commands that start, show and control executions.

use super::pipeline::Event;
use super::shared::{
    ConnectionArgs, ConsentArgs, ExecutionArgs, FileArgs, FormatArgs, IncludeArgs, JobArgs, JobSelectionArgs,
    SelectorArgs, SlotArgs, VariableArgs, ViewArgs,
};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub selection: JobSelectionArgs,
    #[command(flatten)]
    pub file: FileArgs,
    /// Run this repository, a git URL or path [default: the current one]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Branch of --repo
    #[arg(long, value_name = "NAME", requires = "repo")]
    pub branch: Option<String>,
    /// Tag of --repo
    #[arg(long, value_name = "NAME", requires = "repo", conflicts_with = "branch")]
    pub tag: Option<String>,
    /// Commit of --repo
    #[arg(long, value_name = "HASH", requires = "repo")]
    pub commit: Option<String>,
    /// Upload all sources to the server, even commits that `origin` has
    #[arg(long, conflicts_with = "repo")]
    pub upload_all: bool,
    /// Evaluate conditions as for this event [default: manual]
    #[arg(long, value_enum, value_name = "EVENT")]
    pub event: Option<Event>,
    #[command(flatten)]
    pub variables: VariableArgs,
    #[command(flatten)]
    pub include: IncludeArgs,
    /// Pass a secret to jobs, from the environment (NAME) or a file (NAME=@FILE); never stored, local runs only
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    #[command(flatten)]
    pub slots: SlotArgs,
    /// Start a new execution even if one is running for the same commit
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub view: ViewArgs,
    /// Print this job's log while it runs; may be repeated
    #[arg(long, value_name = "JOB", conflicts_with_all = ["format", "quiet", "debug", "break_before", "break_after"])]
    pub follow: Vec<String>,
    #[command(flatten)]
    pub debug: DebugArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Where `run` and `retry` open shells.
#[derive(Debug, Clone, Default, Args)]
pub struct DebugArgs {
    /// Open a shell in the container of each job that fails; local runs only
    #[arg(long, conflicts_with_all = ["format", "quiet"])]
    pub debug: bool,
    /// Open a shell before this job's script; may be repeated, local runs only
    #[arg(long, value_name = "JOB", conflicts_with_all = ["format", "quiet"])]
    pub break_before: Vec<String>,
    /// Open a shell after this job's script, however it ended; may be repeated, local runs only
    #[arg(long, value_name = "JOB", conflicts_with_all = ["format", "quiet"])]
    pub break_after: Vec<String>,
}

/// `report`.
#[derive(Debug, Args)]
pub struct Report {
    #[command(flatten)]
    pub job: JobArgs,
    /// Show only jobs of this stage
    #[arg(long, value_name = "NAME")]
    pub stage: Option<String>,
    /// Show cloud usage and its cost at list prices
    #[arg(long, conflicts_with_all = ["stage", "job"])]
    pub cost: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Human)]
    pub format: ReportFormat,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Formats of `report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Text table
    Human,
    /// JSON
    Json,
    /// JUnit XML, one test case per job
    Junit,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Run number, id, or start of an id [default: list executions]
    pub execution: Option<String>,
    #[command(flatten)]
    pub selectors: SelectorArgs,
    /// List executions of all repositories
    #[arg(long, conflicts_with_all = ["repo", "execution"])]
    pub all_repositories: bool,
    /// Also list discoveries, which look up the pipelines of pushes and schedules
    #[arg(long, conflicts_with = "execution")]
    pub all: bool,
    /// Maximum number of executions to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Attempt number [default: the latest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Print new output until the job ends
    #[arg(long)]
    pub follow: bool,
    /// Print the log unfiltered, with all terminal control sequences
    #[arg(long, conflicts_with = "format")]
    pub raw: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    pub execution: ExecutionArgs,
    /// Cancel the execution on interrupt instead of detaching
    #[arg(long)]
    pub cancel: bool,
    #[command(flatten)]
    pub view: ViewArgs,
    #[command(flatten)]
    pub consent: ConsentArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `insights`.
#[derive(Debug, Args)]
pub struct InsightsArgs {
    /// Repository [default: the current one]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Only this pipeline
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Number of days up to today (UTC)
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=90))]
    pub days: u32,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `open`.
#[derive(Debug, Args)]
pub struct Open {
    #[command(flatten)]
    pub execution: ExecutionArgs,
    /// Open the page in the browser of this machine
    #[arg(long)]
    pub browser: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `debug`.
#[derive(Debug, Args)]
pub struct DebugShell {
    #[command(flatten)]
    pub job: JobArgs,
    /// Hold the job when it fails, instead of opening the shell as soon as it runs
    #[arg(long)]
    pub on_failure: bool,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `cp`.
#[derive(Debug, Args)]
pub struct Copy {
    /// What is copied: JOB:PATH, or a path of this machine
    pub from: String,
    /// Where it is put: a path of this machine, or JOB:PATH
    pub to: String,
    /// Execution of the job: run number, id, or start of an id [default: the newest that fits]
    #[arg(long, value_name = "EXECUTION")]
    pub execution: Option<String>,
    #[command(flatten)]
    pub selectors: SelectorArgs,
    /// Hold the job when it fails, and copy then
    #[arg(long)]
    pub on_failure: bool,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `forward`.
#[derive(Debug, Args)]
pub struct Forward {
    /// Job with the services
    pub job: String,
    /// Ports, as SERVICE:PORT or LOCAL:SERVICE:PORT
    #[arg(required = true, value_name = "PORT")]
    pub ports: Vec<String>,
    /// Execution of the job: run number, id, or start of an id [default: the newest that fits]
    #[arg(long, value_name = "EXECUTION")]
    pub execution: Option<String>,
    #[command(flatten)]
    pub selectors: SelectorArgs,
    /// Hold the job when it fails, and connect then
    #[arg(long)]
    pub on_failure: bool,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `cancel`.
#[derive(Debug, Args)]
pub struct Cancel {
    #[command(flatten)]
    pub job: JobArgs,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub consent: ConsentArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `approve`.
#[derive(Debug, Args)]
pub struct Approve {
    #[command(flatten)]
    pub job: JobArgs,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub consent: ConsentArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `retry`.
#[derive(Debug, Args)]
pub struct Retry {
    #[command(flatten)]
    pub job: JobArgs,
    /// Also rerun successful jobs
    #[arg(long)]
    pub all: bool,
    /// Run only JOB, also if it is manual; other jobs are carried over or left out
    #[arg(long, conflicts_with_all = ["all", "approve"])]
    pub alone: bool,
    /// Also run this unapproved manual job
    #[arg(long, value_name = "JOB")]
    pub approve: Vec<String>,
    #[command(flatten)]
    pub debug: DebugArgs,
    #[command(flatten)]
    pub slots: SlotArgs,
    #[command(flatten)]
    pub view: ViewArgs,
    #[command(flatten)]
    pub consent: ConsentArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `artifacts`.
#[derive(Debug, Args)]
pub struct Artifacts {
    #[command(flatten)]
    pub job: JobArgs,
    /// Extract the artifacts into this directory: those of several jobs into a directory for each job
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Overwrite existing files
    #[arg(long, requires = "output")]
    pub force: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}
