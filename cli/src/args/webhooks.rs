//! Arguments of `repo` about webhooks, schedules, runs and who may read a repository.

use super::shared::FormatArgs;
use clap::Args;

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
