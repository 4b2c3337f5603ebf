//! Arguments that several commands share.

use crate::{env_vars, settings::worker_file::WorkerConfigArg};
use clap::Args;
use std::path::PathBuf;
use tidemill_core::ids::ExecutionId;
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

/// Selects an execution.
#[derive(Debug, Clone, Default, Args)]
pub struct ExecutionArgs {
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
    #[arg(short = 'F', long, value_name = "PATH", conflicts_with = "pipeline")]
    pub file: Option<PathBuf>,
    /// Run number [default: the latest]
    #[arg(long, value_name = "N")]
    pub run: Option<u64>,
    /// Execution id; --repo is required to change another repository's execution
    #[arg(long, value_name = "ID", conflicts_with_all = ["pipeline", "run", "file", "branch"])]
    pub execution: Option<ExecutionId>,
}

/// Variables of the pipeline.
#[derive(Debug, Clone, Default, Args)]
pub struct VariableArgs {
    /// Set a variable; overrides the pipeline file
    #[arg(short = 'e', long = "variable", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
}

/// Maximum number of concurrent jobs of a worker, and its labels.
#[derive(Debug, Clone, Default, Args)]
pub struct SlotArgs {
    /// Maximum number of concurrent jobs [default: number of processors, at least 2]
    #[arg(short = 'j', long, alias = "jobs", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: Option<u16>,
    #[command(flatten)]
    pub labels: LabelArgs,
    #[command(flatten)]
    pub config: WorkerConfigArgs,
}

/// What the operator of a worker sets for its jobs.
#[derive(Debug, Clone, Default, Args)]
pub struct WorkerConfigArgs {
    /// File to read instead of worker.toml, or a setting that wins over it, such as `allow.privileged=true`; may be repeated
    #[arg(long = "worker-config", value_name = "FILE|KEY=VALUE")]
    pub values: Vec<WorkerConfigArg>,
}

/// Labels of a worker.
#[derive(Debug, Clone, Default, Args)]
pub struct LabelArgs {
    /// Label of the worker, for `runs_on`; `arch` and `os` are set automatically
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse)]
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
