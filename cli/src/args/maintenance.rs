//! Arguments of the commands that keep a server running for years: retention, backups and checks.

use super::shared::{ConnectionArgs, ConsentArgs, DataDirArgs, ExecutionArgs, FormatArgs};
use clap::{Args, Subcommand};

/// `gc`.
#[derive(Debug, Args)]
pub struct Gc {
    /// Remove nothing; only show what would go, and why
    #[arg(long)]
    pub dry_run: bool,
    /// Only of this repository [default: all]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `retention`.
#[derive(Debug, Args)]
pub struct Retention {
    /// The action.
    #[command(subcommand)]
    pub action: RetentionAction,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `retention`.
#[derive(Debug, Subcommand)]
pub enum RetentionAction {
    /// Show the rules of a repository, and those of the server
    Show {
        #[command(flatten)]
        scope: RetentionScope,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Set a rule; what is not named stays as it is
    Set {
        #[command(flatten)]
        scope: RetentionScope,
        /// Only for this pipeline
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
        #[command(flatten)]
        rule: RuleArgs,
        /// Days for which an unused cache is kept
        #[arg(long, value_name = "DAYS", conflicts_with = "pipeline")]
        cache_days: Option<u32>,
        /// Days for which unused uploaded sources are kept; a setting of the server
        #[arg(long, value_name = "DAYS", requires = "everywhere")]
        upload_days: Option<u32>,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Remove all rules of a repository, of one of its pipelines, or of the server
    Clear {
        #[command(flatten)]
        scope: RetentionScope,
        /// Only of this pipeline
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// Whose rules.
#[derive(Debug, Clone, Default, Args)]
pub struct RetentionScope {
    /// Repository [default: the current one]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// The rules of the server, for all repositories without their own
    #[arg(long, conflicts_with = "repo")]
    pub everywhere: bool,
}

/// The numbers of a rule.
#[derive(Debug, Clone, Default, Args)]
pub struct RuleArgs {
    /// Days for which executions are kept after their end; 0: for ever
    #[arg(long = "keep-days", value_name = "DAYS")]
    pub days: Option<u32>,
    /// How many of the newest executions of each pipeline are kept, however old; 0: no number
    #[arg(long = "keep-last", value_name = "NUMBER")]
    pub last: Option<u32>,
    /// Days for which the newest execution of each branch is kept; 0: as any other
    #[arg(long, value_name = "DAYS")]
    pub branch_days: Option<u32>,
    /// Whether executions of tags are kept for ever
    #[arg(long, value_name = "BOOL")]
    pub keep_tags: Option<bool>,
    /// Days for which logs are kept; 0: as long as their execution
    #[arg(long, value_name = "DAYS")]
    pub log_days: Option<u32>,
    /// Days for which artifacts are kept, whatever their `expire_in`; 0: as long as their execution
    #[arg(long, value_name = "DAYS")]
    pub artifact_days: Option<u32>,
}

/// `pin`.
#[derive(Debug, Args)]
pub struct Pin {
    #[command(flatten)]
    pub execution: ExecutionArgs,
    /// Why, for others to read
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    #[command(flatten)]
    pub consent: ConsentArgs,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `unpin`.
#[derive(Debug, Args)]
pub struct Unpin {
    #[command(flatten)]
    pub execution: ExecutionArgs,
    #[command(flatten)]
    pub consent: ConsentArgs,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Directory of the backups, or `s3://BUCKET/PREFIX`
    pub target: String,
    /// Keep the newest ones of this number, and remove older ones
    #[arg(long, value_name = "NUMBER")]
    pub keep: Option<usize>,
    /// Leave out the key that opens the secrets; keep a copy of `secret.key` elsewhere
    #[arg(long)]
    pub without_key: bool,
    /// Make no backup; list those that are there
    #[arg(long, conflicts_with_all = ["keep", "without_key", "verify"])]
    pub list: bool,
    /// Make no backup; read the newest one, and check its digests
    #[arg(long, conflicts_with_all = ["keep", "without_key"])]
    pub verify: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub data: DataDirArgs,
}

/// `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Directory of the backups, or `s3://BUCKET/PREFIX`
    pub source: String,
    /// Name of the backup [default: the newest one]
    #[arg(long, value_name = "NAME")]
    pub backup: Option<String>,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub data: DataDirArgs,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Skip the check of the whole database, which reads all of it
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub data: DataDirArgs,
}
