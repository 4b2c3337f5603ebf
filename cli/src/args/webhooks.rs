//! Arguments of `repo` about webhooks, schedules, runs, credentials, reports and who may read a repository.

use super::shared::FormatArgs;
use clap::Args;
use std::path::PathBuf;

/// `repo deliveries`.
#[derive(Debug, Args)]
pub struct Deliveries {
    /// URL of the repository
    pub url: String,
    /// Process this delivery again, by its id in the list
    #[arg(long, value_name = "ID")]
    pub redeliver: Option<String>,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `repo schedules`.
#[derive(Debug, Args)]
pub struct Schedules {
    /// URL of the repository [default: all repositories]
    pub url: Option<String>,
    /// Start the schedule of this pipeline file now
    #[arg(long, value_name = "PATH", requires = "url")]
    pub run: Option<String>,
    /// Position of the schedule in the file, from 0
    #[arg(long, value_name = "NUMBER", requires = "run", default_value_t = 0)]
    pub index: u32,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `repo run`.
#[derive(Debug, Args)]
pub struct RunOfRepo {
    /// URL of the repository
    pub url: String,
    /// Pipeline file, by its path in the repository; it starts whatever its `on` says
    #[arg(short, long, value_name = "PATH")]
    pub file: String,
    /// Branch whose head is run [default: the default branch]
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// Set an input of the pipeline (`on: manual: inputs`, in GitLab files `spec: inputs`); may be repeated
    #[arg(long = "input", value_name = "NAME=VALUE")]
    pub inputs: Vec<String>,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Who may read a repository.
#[derive(Debug, Clone, Copy, Args)]
pub struct PublicArgs {
    /// Let anyone read its executions and their logs without a token [default: unchanged; at first, no]
    #[arg(long, overrides_with = "no_public")]
    pub public: bool,
    /// Let only callers with a token read it
    #[arg(long, overrides_with = "public")]
    pub no_public: bool,
}

impl PublicArgs {
    /// Returns whether anyone may read it; `None`: unchanged.
    pub fn is_public(self) -> Option<bool> {
        (self.public || self.no_public).then_some(self.public)
    }
}

/// The GitHub App of a repository.
#[derive(Debug, Args)]
pub struct GithubAppArgs {
    /// Id of the GitHub App that writes check runs instead of commit statuses
    #[arg(long, value_name = "ID", requires_all = ["app_installation", "app_key_file"])]
    pub app_id: Option<u64>,
    /// Id of its installation
    #[arg(long, value_name = "ID", requires = "app_id")]
    pub app_installation: Option<u64>,
    /// File with its private key (PEM)
    #[arg(long, value_name = "PATH", requires = "app_id")]
    pub app_key_file: Option<PathBuf>,
    /// Remove the GitHub App
    #[arg(long, conflicts_with = "app_id")]
    pub no_app: bool,
}

/// Whether pull requests have notes.
#[derive(Debug, Clone, Copy, Args)]
pub struct NotesArgs {
    /// Keep one comment with the newest results on each pull request [default: unchanged; at first, no]
    #[arg(long, overrides_with = "no_notes")]
    pub notes: bool,
    /// Write no comments
    #[arg(long, overrides_with = "notes")]
    pub no_notes: bool,
}

impl NotesArgs {
    /// Returns whether pull requests have notes; `None`: unchanged.
    pub fn has_notes(self) -> Option<bool> {
        (self.notes || self.no_notes).then_some(self.notes)
    }
}

/// The credential of a repository.
#[derive(Debug, Args)]
pub struct CredentialArgs {
    /// Where to read the credential with which workers fetch it: a file, `-` (standard input) or `env:NAME`. A token for an
    /// https address, a private SSH key for an ssh address
    #[arg(long, value_name = "FILE")]
    pub credential: Option<String>,
    /// User name of the token [default: what the provider expects for tokens]
    #[arg(long, value_name = "NAME", requires = "credential")]
    pub credential_user: Option<String>,
    /// File with the host's SSH keys, in the form of `known_hosts`; required with an SSH key
    #[arg(long, value_name = "PATH", requires = "credential")]
    pub known_hosts: Option<PathBuf>,
    /// Remove the credential
    #[arg(long, conflicts_with = "credential")]
    pub no_credential: bool,
    /// Give the credential to jobs with `checkout: { push: true }` [default: unchanged; at first, no]
    #[arg(long, overrides_with = "no_allow_push", conflicts_with = "no_credential")]
    pub allow_push: bool,
    /// Do not give the credential to jobs
    #[arg(long, overrides_with = "allow_push")]
    pub no_allow_push: bool,
}

impl CredentialArgs {
    /// Returns whether jobs may get the credential; `None`: unchanged.
    pub fn allow_push(&self) -> Option<bool> {
        (self.allow_push || self.no_allow_push).then_some(self.allow_push)
    }
}
