//! Arguments of the administration commands: secrets, repositories, dead letters, tokens, the audit log and profiles.

use super::shared::{AccessArgs, ConnectionArgs, ConsentArgs, FormatArgs, ProfileArgs};
use super::webhooks::{
    CredentialArgs, Deliveries, GithubAppArgs, NotesArgs, PublicArgs, RunOfRepo, Schedules,
};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use tidemill_core::repository::webhook::Provider;
use tidemill_core::{access::Scope, pipeline::span_s};

/// `secret`.
#[derive(Debug, Args)]
pub struct Secret {
    /// The action.
    #[command(subcommand)]
    pub action: SecretAction,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `secret`.
#[derive(Debug, Subcommand)]
pub enum SecretAction {
    /// Create or update a secret; prompts for the value or reads standard input
    Set {
        /// Name of the secret: letters, digits and `_`
        name: String,
        #[command(flatten)]
        scope: SecretScope,
        /// Read the value from this file
        #[arg(long, value_name = "PATH")]
        value_file: Option<PathBuf>,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// List the names of secrets; values are never shown
    List(SecretListArgs),
    /// Delete a secret
    Remove(SecretRemoveArgs),
    /// Re-encrypt all secrets with the deployment's newest key
    Rekey {
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// `variable`.
#[derive(Debug, Args)]
pub struct Variable {
    /// The action.
    #[command(subcommand)]
    pub action: VariableAction,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `variable`.
#[derive(Debug, Subcommand)]
pub enum VariableAction {
    /// Create or update a variable; without VALUE, prompts for it or reads standard input
    Set {
        /// Name of the variable: letters, digits and `_`
        name: String,
        /// Value; other users of this machine can see it
        #[arg(conflicts_with_all = ["value_file", "masked"])]
        value: Option<String>,
        #[command(flatten)]
        scope: SecretScope,
        /// Read the value from this file
        #[arg(long, value_name = "PATH")]
        value_file: Option<PathBuf>,
        /// Hide the value in logs and lists; only jobs get it
        #[arg(long)]
        masked: bool,
        /// Only for executions of the default branch
        #[arg(long)]
        protected: bool,
        /// What the variable holds: the value, or the path of a file with it
        #[arg(long = "type", value_enum, default_value_t = VariableType::Env)]
        kind: VariableType,
        /// Also for pull requests of forks
        #[arg(long)]
        forks: bool,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// List variables; values of masked ones are not shown
    List(SecretListArgs),
    /// Delete a variable
    Remove(SecretRemoveArgs),
}

/// Which secrets or variables to list.
#[derive(Debug, Args)]
pub struct SecretListArgs {
    #[command(flatten)]
    pub scope: SecretScope,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Which secret or variable to delete.
#[derive(Debug, Args)]
pub struct SecretRemoveArgs {
    /// Its name
    pub name: String,
    #[command(flatten)]
    pub scope: SecretScope,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Types of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VariableType {
    /// The value
    Env,
    /// The path of a file with the value
    File,
}

/// Repository and environment of secrets.
#[derive(Debug, Clone, Default, Args)]
pub struct SecretScope {
    /// Repository of the secret [default: the current one]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Restrict to jobs of this environment
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
}

/// `registry`.
#[derive(Debug, Args)]
pub struct Registry {
    /// The action.
    #[command(subcommand)]
    pub action: RegistryAction,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `registry`.
#[derive(Debug, Subcommand)]
pub enum RegistryAction {
    /// Store a login, or replace it; prompts for the password or reads standard input
    Add {
        /// Registry with its port, or a path of it [example: ghcr.io/team]
        #[arg(value_name = "HOST")]
        registry: String,
        /// Repository whose jobs use the login [default: the current one]
        #[arg(long, value_name = "URL")]
        repo: Option<String>,
        /// Name of the user at the registry
        #[arg(long, value_name = "NAME")]
        username: String,
        /// Read the password from standard input without a prompt
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// List logins; passwords are never shown
    List {
        /// Repository whose logins to list [default: the current one]
        #[arg(long, value_name = "URL")]
        repo: Option<String>,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Delete a login
    Remove {
        /// Registry, as listed
        #[arg(value_name = "HOST")]
        registry: String,
        /// Repository of the login [default: the current one]
        #[arg(long, value_name = "URL")]
        repo: Option<String>,
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// `repo`.
#[derive(Debug, Args)]
pub struct Repo {
    /// The action.
    #[command(subcommand)]
    pub action: RepoAction,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `repo`.
#[derive(Debug, Subcommand)]
pub enum RepoAction {
    /// Register a repository or change its settings
    Add(Box<AddRepo>),
    /// List registered repositories
    List {
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Unregister a repository; keeps its executions
    Remove {
        /// URL of the repository
        url: String,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Reload the schedules of the default branch
    Sync {
        /// URL of the repository
        url: String,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Accept redeliveries of earlier webhooks
    Redeliver {
        /// URL of the repository
        url: String,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// List the last deliveries of the webhook, or process one again
    Deliveries(Deliveries),
    /// List schedules, or start one now
    Schedules(Schedules),
    /// Start a pipeline of a registered repository at the head of a branch; the server reads its file
    Run(RunOfRepo),
}

/// `repo add`.
#[derive(Debug, Args)]
pub struct AddRepo {
    /// Clone URL of the repository
    pub url: String,
    /// Git provider: github, gitlab, gitea (also Forgejo) or bitbucket
    #[arg(long, value_name = "NAME")]
    pub provider: Provider,
    /// File with the webhook secret [default: keep the current one, or generate and print one]
    #[arg(long, value_name = "PATH")]
    pub secret_file: Option<PathBuf>,
    /// File with the provider token for commit statuses; an empty file disables them
    #[arg(long, value_name = "PATH")]
    pub status_token_file: Option<PathBuf>,
    /// URL of the provider's API, if it cannot be derived [example: https://git.example.org/api/v1]
    #[arg(long, value_name = "URL")]
    pub api_url: Option<String>,
    /// Default branch; an empty value resets it [default: from webhooks]
    #[arg(long, value_name = "NAME")]
    pub default_branch: Option<String>,
    /// Pull requests that require approval [default: forks]
    #[arg(long, value_enum)]
    pub approval: Option<ApprovalArg>,
    /// People whose comments on pull requests start pipelines, by their names (Bitbucket: account ids); an empty value resets them
    /// [default: those whom the provider reports as members]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub comment_authors: Option<Vec<String>>,
    /// Registered repositories whose jobs may start pipelines of this one, by name or address; an empty value allows none
    /// [default: none]
    #[arg(long, value_name = "REPO", value_delimiter = ',')]
    pub allow_trigger_from: Option<Vec<String>>,
    /// File with the URL of a chat webhook to notify of failures and recoveries; replaces those of earlier calls
    #[arg(long, value_name = "PATH")]
    pub notify_chat_file: Vec<PathBuf>,
    /// TOML file of receivers of notifications: chats, mailboxes and webhooks, with their events, branches and quiet hours; replaces
    /// those of the same kinds
    #[arg(long, value_name = "PATH")]
    pub notify_file: Option<PathBuf>,
    /// URL to notify of failures and recoveries, signed with --notify-secret-file; replaces those of earlier calls
    #[arg(long, value_name = "URL", requires = "notify_secret_file")]
    pub notify: Vec<String>,
    /// Remove all notifications
    #[arg(long, conflicts_with_all = ["notify", "notify_chat_file", "notify_file"])]
    pub no_notify: bool,
    /// File with the secret that signs notifications to --notify
    #[arg(long, value_name = "PATH", requires = "notify")]
    pub notify_secret_file: Option<PathBuf>,
    #[command(flatten)]
    pub app: GithubAppArgs,
    #[command(flatten)]
    pub notes: NotesArgs,
    #[command(flatten)]
    pub access: PublicArgs,
    /// Its credential
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Pull requests that require approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ApprovalArg {
    /// None
    None,
    /// Pull requests from forks
    Forks,
    /// All pull requests
    All,
}

/// `dead-letters`.
#[derive(Debug, Args)]
pub struct DeadLetters {
    /// Only dead letters of these executions, by run number, id, or start of an id
    #[arg(value_name = "EXECUTION")]
    pub executions: Vec<String>,
    /// Only dead letters of this repository [default: the current one]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Include all repositories
    #[arg(long, conflicts_with = "repo")]
    pub all_repositories: bool,
    /// Retry the executions on the server; does not rerun successful jobs
    #[arg(long, conflicts_with = "dismiss")]
    pub retry: bool,
    /// Dismiss the dead letters; keeps the job records
    #[arg(long)]
    pub dismiss: bool,
    #[command(flatten)]
    pub consent: ConsentArgs,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The action.
    #[command(subcommand)]
    pub action: TokenAction,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `token`.
#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Create a token; it is shown only once
    Create(CreateToken),
    /// List tokens
    List {
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Revoke a token
    Revoke {
        /// Id of the token, the start of it, or its name
        #[arg(value_name = "TOKEN")]
        name: String,
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// `token create`.
#[derive(Debug, Args)]
pub struct CreateToken {
    /// Name of the token
    #[arg(long)]
    pub name: String,
    /// Scopes: read, run, worker, admin; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    pub scopes: Vec<Scope>,
    /// Restrict the token to this repository
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Lifetime, such as 90d [default: until revoked]
    #[arg(long, value_name = "TIME", value_parser = span_s)]
    pub expires: Option<u64>,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Only entries of this repository
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Only entries of the token with this name or id
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// Only this action, such as execution.start
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Maximum number of entries
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `badge`.
#[derive(Debug, Args)]
pub struct Badge {
    /// Repository [default: the current one]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Only this pipeline
    #[arg(long, value_name = "NAME", conflicts_with = "revoke")]
    pub pipeline: Option<String>,
    /// Make the addresses of the repository's badges invalid
    #[arg(long)]
    pub revoke: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `login`.
#[derive(Debug, Args)]
pub struct Login {
    /// URL of the deployment
    pub url: String,
    /// Make it the default deployment
    #[arg(long)]
    pub default: bool,
    /// Sign in with a browser on this machine, instead of a token
    #[arg(long)]
    pub browser: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub profile: ProfileArgs,
    #[command(flatten)]
    pub access: AccessArgs,
}

/// `logout`.
#[derive(Debug, Args)]
pub struct Logout {
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub profile: ProfileArgs,
}
