//! The command-line arguments.

mod administration;
#[cfg(feature = "aws")]
mod deployment;
mod execution;
mod pipeline;
mod serving;
mod shared;

pub use administration::{
    AddRepo, ApprovalArg, Audit, CreateToken, DeadLetters, Login, Repo, RepoAction, Secret, SecretAction,
    TokenAction, TokenArgs,
};
#[cfg(feature = "aws")]
pub use deployment::{ApiKind, Architecture, Deploy, Destroy, Role, StackArgs};
pub use execution::{
    Approve, Artifacts, Cancel, Logs, Report, ReportFormat, Retry, Run, StatusArgs, WatchArgs,
};
pub use pipeline::{Check, CheckFormat, FactArgs, Import, Init, PlanArgs};
pub use serving::{BlockMetadata, CleanUp, Isolate, IsolationArgs, LogFormat, Notices, Server, WorkerArgs};
pub use shared::{ExecutionArgs, FileArgs, SlotArgs};

use crate::env_vars;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

const EXIT_CODES: &str = "Exit codes: 0 success, 1 the pipeline failed, 2 usage error or invalid file, 3 system error \
                          (engine, disk, network), 130 canceled.";

/// Run CI pipelines in containers, on this machine or on a server.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// Directory of records, logs and artifacts [default: ~/.local/share/tidemill]
    #[arg(long, env = env_vars::DATA_DIR, global = true, value_name = "DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Use the deployment at this URL [env: TIDEMILL_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Token of the deployment [env: TIDEMILL_TOKEN]
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
    /// Use the deployment of this profile; `local` is this machine [env: TIDEMILL_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Lease duration in milliseconds
    #[arg(long, env = env_vars::LEASE_TTL_MS, global = true, hide = true, default_value_t = 30_000)]
    pub lease_ttl_ms: u64,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline and watch it
    #[command(after_help = "Examples:\n  tidemill run\n  tidemill run -f ci.yml --follow unit\n  \
        tidemill run --repo https://example.org/app.git --branch main\n  tidemill run --json | jq .status")]
    Run(Run),
    /// Check pipeline files for errors
    #[command(after_help = "Examples:\n  tidemill check\n  tidemill check a.yml b.yml --format sarif\n  \
        tidemill check - < a.yml")]
    Check(Check),
    /// Show the jobs that would run, in order
    #[command(after_help = "Examples:\n  tidemill plan\n  tidemill plan --json\n  \
        tidemill plan --event pull_request --branch topic --changed src/main.rs\n  tidemill plan --tag v1.2")]
    Plan(PlanArgs),
    /// Show an execution's durations, waits and critical path
    #[command(
        after_help = "Examples:\n  tidemill report\n  tidemill report --pipeline ci --run 12 --format junit\n  \
        tidemill report --cost"
    )]
    Report(Report),
    /// List executions, or show one execution's status
    #[command(after_help = "Examples:\n  tidemill status\n  tidemill status --run 12\n  \
        tidemill status --all-repositories --limit 50")]
    Status(StatusArgs),
    /// Print the log of a job
    #[command(after_help = "Examples:\n  tidemill logs --job unit\n  tidemill logs --job unit --run 12 -f")]
    Logs(Logs),
    /// Watch an execution until it ends
    #[command(after_help = "Examples:\n  tidemill watch\n  tidemill watch --run 12\n  \
        tidemill watch 01980000-0000-7000-8000-000000000000 --cancel")]
    Watch(WatchArgs),
    /// Cancel an execution or a job
    #[command(after_help = "Examples:\n  tidemill cancel\n  tidemill cancel --run 12 --job unit\n  \
        tidemill cancel --repo https://example.org/app.git --pipeline ci")]
    Cancel(Cancel),
    /// Approve a manual job or a held execution
    #[command(after_help = "Examples:\n  tidemill approve --job deploy\n  tidemill approve --run 12")]
    Approve(Approve),
    /// Manage the secrets of a repository
    #[command(after_help = "Examples:\n  tidemill secret set TOKEN < token\n  \
        tidemill secret set KEY --file key.pem --environment production\n  tidemill secret list")]
    Secret(Secret),
    /// Manage repositories whose webhooks and schedules start pipelines
    #[command(
        after_help = "Examples:\n  tidemill repo add https://github.com/team/app.git --provider github --secret-file hook\n  \
        tidemill repo add git@gitlab.com:team/app.git --provider gitlab --status-token-file token --approval all\n  \
        tidemill repo list\n  tidemill repo sync https://github.com/team/app.git"
    )]
    Repo(Repo),
    /// Run the unsuccessful jobs of an execution again
    #[command(after_help = "Examples:\n  tidemill retry\n  tidemill retry --run 12 --all")]
    Retry(Retry),
    /// List, retry or dismiss jobs that failed because of infrastructure errors
    #[command(
        after_help = "Examples:\n  tidemill dead-letters\n  tidemill dead-letters --all-repositories --server https://ci.example.org --retry"
    )]
    DeadLetters(DeadLetters),
    /// List or download artifacts
    #[command(
        after_help = "Examples:\n  tidemill artifacts\n  tidemill artifacts --job compile --output out/"
    )]
    Artifacts(Artifacts),
    /// Manage the tokens of a deployment
    #[command(after_help = "Examples:\n  tidemill token create --name laptop --scope run --expires 90d\n  \
            tidemill token list\n  tidemill token revoke 01980000-0000-7000-8000-000000000000")]
    Token(TokenArgs),
    /// Show the audit log
    #[command(after_help = "Examples:\n  tidemill audit\n  tidemill audit --who laptop --json")]
    Audit(Audit),
    /// Serve the API and run jobs in one process
    #[command(
        after_help = "Examples:\n  tidemill server\n  tidemill server --listen 127.0.0.1:7600 --workers 4\n  \
        tidemill server --listen 0.0.0.0:7600 --tls-cert ci.pem --tls-key ci.key"
    )]
    Server(Server),
    /// Run jobs for a server
    #[command(
        after_help = "Examples:\n  TIDEMILL_TOKEN=... tidemill worker --server https://ci.example.org:7600\n  \
            tidemill worker --queue https://sqs.eu-central-1.amazonaws.com/123456789012/tidemill --grace 90s"
    )]
    Worker(WorkerArgs),
    /// Save a deployment's URL and token as a profile
    #[command(after_help = "Examples:\n  tidemill login https://ci.example.org\n  \
        tidemill login https://ci.example.org --profile work --default < token")]
    Login(Login),
    /// Remove a profile and its token
    #[command(after_help = "Example:\n  tidemill logout --profile work")]
    Logout,
    /// Create a starter pipeline file
    #[command(after_help = "Examples:\n  tidemill init\n  tidemill init .pipelines/nightly.yml")]
    Init(Init),
    /// Convert a GitLab CI file to a pipeline file
    #[command(after_help = "Examples:\n  tidemill import\n  \
        tidemill import ci/.gitlab-ci.yml -o .pipelines/other.yml --force")]
    Import(Import),
    /// Generate shell completions
    #[command(after_help = "Example:\n  tidemill completions bash > /etc/bash_completion.d/tidemill")]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Create or update a deployment on AWS
    #[cfg(feature = "aws")]
    #[command(
        after_help = "Examples:\n  tidemill deploy --dry-run\n  tidemill deploy --max-workers 4 --spot-share 100"
    )]
    Deploy(Box<Deploy>),
    /// Delete a deployment from AWS; keeps its data by default
    #[cfg(feature = "aws")]
    #[command(after_help = "Examples:\n  tidemill destroy\n  tidemill destroy --all-data")]
    Destroy(Destroy),
    /// Create or update a deployment on AWS (needs a build with AWS support)
    #[cfg(not(feature = "aws"))]
    Deploy(UnsupportedArgs),
    /// Delete a deployment from AWS (needs a build with AWS support)
    #[cfg(not(feature = "aws"))]
    Destroy(UnsupportedArgs),
    /// Print the manual page
    #[command(after_help = "Example:\n  tidemill man | man -l -")]
    Man,
    /// Remove the containers of an exiting worker
    #[command(hide = true)]
    CleanUp(CleanUp),
}

/// Arguments of a command that this build does not support; they are ignored.
#[cfg(not(feature = "aws"))]
#[derive(Debug, clap::Args)]
pub struct UnsupportedArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<std::ffi::OsString>,
}
