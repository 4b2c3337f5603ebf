//! Arguments of `environments`.

use super::shared::{ConnectionArgs, ConsentArgs, FormatArgs, SlotArgs, ViewArgs};
use clap::{Args, Subcommand};

/// `environments`.
#[derive(Debug, Args)]
pub struct Environments {
    /// The action.
    #[command(subcommand)]
    pub action: Option<EnvironmentsAction>,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `environments`.
#[derive(Debug, Subcommand)]
pub enum EnvironmentsAction {
    /// List environments with what is deployed
    List {
        #[command(flatten)]
        repo: EnvironmentRepo,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Show the deployments of an environment, newest first
    Show {
        /// Name of the environment
        name: String,
        #[command(flatten)]
        repo: EnvironmentRepo,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Stop an environment: runs the `on_stop` job of its deployment
    Stop {
        /// Name of the environment
        name: String,
        #[command(flatten)]
        repo: EnvironmentRepo,
        #[command(flatten)]
        slots: SlotArgs,
        #[command(flatten)]
        view: ViewArgs,
    },
    /// Run the job of an earlier deployment again, alone
    Rollback {
        /// Name of the environment
        name: String,
        /// Run number, or start of the id of the execution or job [default: the last successful one before the newest]
        deployment: Option<String>,
        #[command(flatten)]
        repo: EnvironmentRepo,
        #[command(flatten)]
        slots: SlotArgs,
        #[command(flatten)]
        view: ViewArgs,
        #[command(flatten)]
        consent: ConsentArgs,
    },
    /// Require approvals of jobs that name an environment, or change how many and by whom
    Protect {
        /// Name of the environment; `*` stands for any characters
        name: String,
        /// How many people must approve a job
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        approvals: u32,
        /// Who may approve: user:PROVIDER:NAME, group:PROVIDER:NAME, role:NAME or token:NAME; `*` stands for any characters. Can be given
        /// several times [default: every person who may approve in the repository]
        #[arg(long, value_name = "PATTERN")]
        by: Vec<String>,
        /// Do not count the approval of who started the execution
        #[arg(long)]
        exclude_starter: bool,
        #[command(flatten)]
        repo: EnvironmentRepo,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Remove the rule of an environment
    Unprotect {
        /// Name of the environment, as the rule has it
        name: String,
        #[command(flatten)]
        repo: EnvironmentRepo,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// List the protected environments with their rules
    Protections {
        #[command(flatten)]
        repo: EnvironmentRepo,
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// Repository of environments.
#[derive(Debug, Clone, Default, Args)]
pub struct EnvironmentRepo {
    /// Repository of the environment [default: the current one]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
}
