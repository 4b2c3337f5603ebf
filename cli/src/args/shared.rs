//! Arguments that several commands share.

use crate::{env_vars, settings::worker_file::WorkerConfigArg};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tidemill_core::execution::{facts::JobSelection, status::ExecutionStatus};
use tidemill_core::pipeline::labels::{Labels, parse};
use tidemill_core::repository::HostPort;

/// Selects a pipeline file.
#[derive(Debug, Clone, Default, Args)]
pub struct FileArgs {
    /// Pipeline file
    #[arg(short, long, value_name = "PATH", conflicts_with = "pipeline")]
    pub file: Option<PathBuf>,
    /// Pipeline of this name in .pipelines/
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Parse the file as a GitLab CI file, regardless of its name
    #[arg(long)]
    pub gitlab: bool,
}

/// Selects among executions. Every command that works on executions has all of these.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selectors")]
pub struct SelectorArgs {
    /// Repository of the execution [default: the current one]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Branch of the execution
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// Pipeline of the execution
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Pipeline file of the execution
    #[arg(short, long, value_name = "PATH", conflicts_with = "pipeline")]
    pub file: Option<PathBuf>,
    /// Status of the execution
    #[arg(long, value_enum, ignore_case = true, value_name = "STATUS")]
    pub status: Option<StatusName>,
}

/// Statuses of executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusName {
    /// Not started
    Pending,
    /// Running
    Running,
    /// Succeeded
    Success,
    /// Failed
    Failed,
    /// Canceled
    Canceled,
}

impl From<StatusName> for ExecutionStatus {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Pending => Self::Pending,
            StatusName::Running => Self::Running,
            StatusName::Success => Self::Success,
            StatusName::Failed => Self::Failed,
            StatusName::Canceled => Self::Canceled,
        }
    }
}

/// Names an execution.
#[derive(Debug, Clone, Default, Args)]
pub struct ExecutionArgs {
    /// Run number, id, or start of an id [default: the newest that fits]
    pub execution: Option<String>,
    #[command(flatten)]
    pub selectors: SelectorArgs,
}

/// Names an execution, or a job of one.
#[derive(Debug, Clone, Default, Args)]
pub struct JobArgs {
    /// Run number, id, or start of an id [default: the newest that fits]
    pub execution: Option<String>,
    /// Job, with all jobs of its matrix; without EXECUTION, of the newest that fits
    pub job: Option<String>,
    #[command(flatten)]
    pub selectors: SelectorArgs,
}

/// Output format of commands that print records.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct FormatArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

impl FormatArgs {
    /// Returns whether the output is JSON.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }
}

/// Output formats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text
    #[default]
    Human,
    /// JSON
    Json,
}

/// Output format of commands that show an execution while it runs.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ViewArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = ViewFormat::Human)]
    pub format: ViewFormat,
    /// Print errors only
    #[arg(short, long, conflicts_with = "format")]
    pub quiet: bool,
}

impl ViewArgs {
    /// Returns whether progress is shown.
    pub fn has_progress(self) -> bool {
        !self.quiet && self.format != ViewFormat::Json
    }
}

/// Formats of an execution that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ViewFormat {
    /// Live view on a terminal, lines elsewhere
    #[default]
    Human,
    /// One line per event
    Plain,
    /// The ended execution as JSON
    Json,
}

/// Answers questions.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ConsentArgs {
    /// Skip confirmation prompts
    #[arg(short, long)]
    pub yes: bool,
}

/// Where a command finds its records: in a data directory of this machine or on a server.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    #[command(flatten)]
    pub data: DataDirArgs,
    #[command(flatten)]
    pub remote: ServerArgs,
}

/// A server.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct ServerArgs {
    /// Use the server at this URL [env: TIDEMILL_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    #[command(flatten)]
    pub profile: ProfileArgs,
    #[command(flatten)]
    pub access: AccessArgs,
}

impl ConnectionArgs {
    /// Returns the options of a command that has no records of its own.
    pub fn of(remote: ServerArgs) -> Self {
        Self { remote, ..Self::default() }
    }
}

impl ServerArgs {
    /// Whether the arguments name a server. Commands on pipeline files ask one only then: they work without a network.
    pub fn is_named(&self) -> bool {
        self.server.is_some() || self.profile.profile.is_some()
    }
}

/// The data directory.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct DataDirArgs {
    /// Directory of records, logs and artifacts [default: ~/.local/share/tidemill]
    #[arg(long, env = env_vars::DATA_DIR, global = true, value_name = "DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Lease duration in milliseconds
    #[arg(long, env = env_vars::LEASE_TTL_MS, global = true, hide = true)]
    pub lease_ttl_ms: Option<u64>,
}

/// A profile.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct ProfileArgs {
    /// Use the server of this profile; `local` is this machine [env: TIDEMILL_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
}

/// How to access a server.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct AccessArgs {
    /// Token of the server [env: TIDEMILL_TOKEN]
    // One token in 64 begins with a hyphen.
    #[arg(long, global = true, value_name = "TOKEN", allow_hyphen_values = true)]
    pub token: Option<String>,
    /// PEM file with additional trusted certificate authorities
    #[arg(long, env = env_vars::CA_CERT, global = true, value_name = "FILE", hide_env_values = true)]
    pub ca_cert: Option<PathBuf>,
    /// Allow sending the token to another machine without TLS
    // A value that is not a boolean is a usage error.
    #[arg(long, env = env_vars::INSECURE_HTTP, global = true, hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub insecure_http: bool,
}

/// `man`.
#[derive(Debug, Args)]
pub struct ManualArgs {
    /// The command, such as `secret set` [default: tidemill itself]
    pub command: Vec<String>,
    /// Write the pages of the command and its subcommands to this directory
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Overwrite existing files
    #[arg(long, requires = "output")]
    pub force: bool,
}

/// Variables of the pipeline.
#[derive(Debug, Clone, Default, Args)]
pub struct VariableArgs {
    /// Set a variable; overrides the pipeline file
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Set the variables of a file, one NAME=VALUE a line, without `export` and with quotes as part of the value; --env overrides them
    #[arg(long = "env-file", value_name = "PATH")]
    pub env_files: Vec<PathBuf>,
    /// Set an input of the pipeline (`on: manual: inputs`, in GitLab files `spec: inputs`); may be repeated
    #[arg(long = "input", value_name = "NAME=VALUE")]
    pub inputs: Vec<String>,
}

/// How files are included from elsewhere.
#[derive(Debug, Clone, Default, Args)]
pub struct IncludeArgs {
    /// Directory of templates, for `include: template` of a GitLab file [default: that of worker.toml]
    #[arg(long, value_name = "DIR")]
    pub templates: Option<PathBuf>,
    /// Include only files that were fetched before
    #[arg(long)]
    pub offline: bool,
}

/// Selects jobs of a pipeline.
#[derive(Debug, Clone, Default, Args)]
pub struct JobSelectionArgs {
    /// Only these jobs, with what they need [default: all]
    #[arg(value_name = "JOB")]
    pub only: Vec<String>,
    /// Only this job and those that depend on it; others are carried over from the newest execution
    #[arg(long, value_name = "JOB")]
    pub from: Vec<String>,
}

impl JobSelectionArgs {
    /// Returns the selection as facts of an execution.
    pub fn selection(&self) -> JobSelection {
        JobSelection { only: self.only.clone(), from: self.from.clone(), ..JobSelection::default() }
    }
}

/// Maximum number of concurrent jobs of a worker, and its labels.
#[derive(Debug, Clone, Default, Args)]
pub struct SlotArgs {
    /// Maximum number of concurrent jobs [default: number of processors, at least 2]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    pub labels: LabelArgs,
    /// How jobs run; `process` takes only jobs that ask for it, with `image: none` [default: that of worker.toml, or container]
    #[arg(long, env = env_vars::EXECUTOR, hide_env_values = true, value_enum, value_name = "KIND")]
    pub executor: Option<ExecutorName>,
    #[command(flatten)]
    pub config: WorkerConfigArgs,
}

impl SlotArgs {
    /// Returns what the arguments change of worker.toml.
    pub fn worker_args(&self) -> Vec<WorkerConfigArg> {
        let mut all = self.config.values.clone();
        if let Some(executor) = self.executor {
            let name = match executor {
                ExecutorName::Container => "container",
                ExecutorName::Process => "process",
            };
            all.push(WorkerConfigArg::setting("executor", name));
        }
        all
    }
}

/// How jobs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExecutorName {
    /// In containers of Docker or Podman
    Container,
    /// As plain processes of this machine
    Process,
}

/// What the operator of a worker sets for its jobs.
#[derive(Debug, Clone, Default, Args)]
pub struct WorkerConfigArgs {
    /// File to read instead of worker.toml, or a setting that wins over it, such as `allow.privileged=true`; may be repeated
    #[arg(id = "worker-config", long, value_name = "FILE|KEY=VALUE")]
    pub values: Vec<WorkerConfigArg>,
}

/// Labels of a worker.
#[derive(Debug, Clone, Default, Args)]
pub struct LabelArgs {
    /// Label of the worker, for `runs_on`; `arch` and `os` are set automatically
    #[arg(id = "label", long, value_name = "NAME=VALUE", value_parser = parse)]
    pub values: Vec<Labels>,
}

/// Hosts that jobs may fetch repositories from.
#[derive(Debug, Clone, Default, Args)]
pub struct AllowedHostArgs {
    /// Allow fetching repositories from this host with a private address; without a port: git's default ports
    #[arg(
        long = "allow-host",
        env = env_vars::ALLOW_HOSTS,
        hide_env_values = true,
        value_name = "HOST[:PORT]",
        value_delimiter = ','
    )]
    pub hosts: Vec<HostPort>,
}
