//! The command line, as clap reads it.

#[cfg(feature = "deploy")]
mod deploy;
mod facts;

#[cfg(feature = "deploy")]
pub use deploy::{ApiKind, Architecture, Deploy, Destroy, Place, Role};

pub use facts::FactArgs;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};
use tidemill_core::{
    access::Scope,
    ids::{ExecutionId, WorkerId},
    labels::{Labels, parse as labels},
    repo::HostPort,
};

const EXIT_CODES: &str = "Exit codes: 0 success, 1 the pipeline failed, 2 bad usage or a bad file, 3 the system failed \
                          (engine, disk, network), 130 canceled.";

/// Run CI pipelines in containers, here or on a server.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where records, logs and artifacts are kept [default: ~/.local/share/tidemill]
    #[arg(long, env = "TIDEMILL_DATA_DIR", global = true, value_name = "DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Use the deployment at this URL instead of this machine [env: TIDEMILL_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// The deployment's token [env: TIDEMILL_TOKEN]
    // One token in 64 begins with a hyphen.
    #[arg(long, global = true, value_name = "TOKEN", allow_hyphen_values = true)]
    pub token: Option<String>,
    /// Also trust the certificate authorities in this PEM file, for a deployment that has its own
    #[arg(long, env = "TIDEMILL_CA_CERT", global = true, value_name = "FILE", hide_env_values = true)]
    pub ca_cert: Option<PathBuf>,
    /// Send the token to a deployment on another machine without TLS, where everybody on the way can read it
    // A variable that is neither is refused.
    #[arg(long, env = "TIDEMILL_INSECURE_HTTP", global = true, hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub insecure_http: bool,
    /// Use the deployment that was logged in to by this name; `local` is this machine [env: TIDEMILL_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Milliseconds that a lease lasts without a report
    #[arg(long, env = "TIDEMILL_LEASE_TTL_MS", global = true, hide = true, default_value_t = 30_000)]
    pub lease_ttl_ms: u64,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline and watch it
    #[command(after_help = "Examples:\n  tidemill run\n  tidemill run -f ci.yml --follow unit\n  \
        tidemill run --repo https://example.org/app.git --branch main\n  tidemill run --json | jq .status")]
    Run(Run),
    /// Check pipeline files
    #[command(after_help = "Examples:\n  tidemill check\n  tidemill check a.yml b.yml --format sarif\n  \
        tidemill check - < a.yml")]
    Check(Check),
    /// Show what would run, in order
    #[command(after_help = "Examples:\n  tidemill plan\n  tidemill plan --json\n  \
        tidemill plan --event pull_request --branch topic --changed src/main.rs\n  tidemill plan --tag v1.2")]
    Plan(PlanArgs),
    /// Report on an execution: durations, waits, the critical path
    #[command(
        after_help = "Examples:\n  tidemill report\n  tidemill report --pipeline ci --run 12 --format junit\n  \
        tidemill report --cost"
    )]
    Report(Report),
    /// List executions, or show where one stands
    #[command(after_help = "Examples:\n  tidemill status\n  tidemill status --run 12\n  \
        tidemill status --all-repositories --limit 50")]
    Status(StatusArgs),
    /// Print the log of a job
    #[command(after_help = "Examples:\n  tidemill logs --job unit\n  tidemill logs --job unit --run 12 -f")]
    Logs(Logs),
    /// Watch an execution until it is over
    #[command(after_help = "Examples:\n  tidemill watch\n  tidemill watch --run 12\n  \
        tidemill watch 01980000-0000-7000-8000-000000000000 --cancel")]
    Watch(WatchArgs),
    /// Cancel an execution, or one job of it
    #[command(after_help = "Examples:\n  tidemill cancel\n  tidemill cancel --run 12 --job unit\n  \
        tidemill cancel --repo https://example.org/app.git --pipeline ci")]
    Cancel(Cancel),
    /// Approve a job whose `when` is manual, or an execution that waits for that
    #[command(after_help = "Examples:\n  tidemill approve --job deploy\n  tidemill approve --run 12")]
    Approve(Approve),
    /// Keep, list and forget secrets of a repository
    #[command(after_help = "Examples:\n  tidemill secret set TOKEN < token\n  \
        tidemill secret set KEY --file key.pem --environment production\n  tidemill secret list")]
    Secret(Secret),
    /// Make repositories known, so that webhooks and schedules start their pipelines
    #[command(
        after_help = "Examples:\n  tidemill repo add https://github.com/team/app.git --provider github --secret-file hook\n  \
        tidemill repo add git@gitlab.com:team/app.git --provider gitlab --status-token-file token --approval all\n  \
        tidemill repo list\n  tidemill repo sync https://github.com/team/app.git"
    )]
    Repo(Repo),
    /// Run what did not succeed in an execution again
    #[command(after_help = "Examples:\n  tidemill retry\n  tidemill retry --run 12 --all")]
    Retry(Retry),
    /// List jobs that ended for reasons not their own, run them again, or dismiss them
    #[command(
        after_help = "Examples:\n  tidemill dead-letters\n  tidemill dead-letters --all-repositories --server https://ci.example.org --retry"
    )]
    DeadLetters(DeadLetters),
    /// List or fetch what jobs left
    #[command(
        after_help = "Examples:\n  tidemill artifacts\n  tidemill artifacts --job compile --output out/"
    )]
    Artifacts(Artifacts),
    /// Make, list and revoke tokens of a deployment
    #[command(after_help = "Examples:\n  tidemill token create --name laptop --scope run --expires 90d\n  \
            tidemill token list\n  tidemill token revoke 01980000-0000-7000-8000-000000000000")]
    Token(TokenArgs),
    /// Show who did what
    #[command(after_help = "Examples:\n  tidemill audit\n  tidemill audit --who laptop --json")]
    Audit(Audit),
    /// Serve the API and run jobs, in one process
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
    /// Keep a deployment's address and token, for --profile
    #[command(after_help = "Examples:\n  tidemill login https://ci.example.org\n  \
        tidemill login https://ci.example.org --profile work --default < token")]
    Login(Login),
    /// Forget a deployment and its token
    #[command(after_help = "Example:\n  tidemill logout --profile work")]
    Logout,
    /// Write a starter file fitted to this repository
    #[command(after_help = "Examples:\n  tidemill init\n  tidemill init .pipelines/nightly.yml")]
    Init(Init),
    /// Write what GitLab's file says as a pipeline file
    #[command(after_help = "Examples:\n  tidemill import\n  \
        tidemill import ci/.gitlab-ci.yml -o .pipelines/other.yml --force")]
    Import(Import),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  tidemill completions bash > /etc/bash_completion.d/tidemill")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Make or update a deployment on AWS
    #[cfg(feature = "deploy")]
    #[command(
        after_help = "Examples:\n  tidemill deploy --dry-run\n  tidemill deploy --max-workers 4 --spot-share 100"
    )]
    Deploy(Box<Deploy>),
    /// Remove a deployment from AWS; its data stays unless told otherwise
    #[cfg(feature = "deploy")]
    #[command(after_help = "Examples:\n  tidemill destroy\n  tidemill destroy --all-data")]
    Destroy(Destroy),
    /// Print the manual page
    #[command(after_help = "Example:\n  tidemill man | man -l -")]
    Man,
    /// Remove what the worker of an ending process left
    #[command(hide = true)]
    CleanUp(CleanUp),
}

/// Which pipeline file.
#[derive(Debug, Clone, Default, Args)]
pub struct FileArgs {
    /// The pipeline file
    #[arg(short, long, value_name = "PATH", conflicts_with = "pipeline")]
    pub file: Option<PathBuf>,
    /// The pipeline of this name below .pipelines/
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// The file is one of GitLab's, whatever its name
    #[arg(long)]
    pub gitlab: bool,
}

/// `run`.
#[derive(Debug, Args)]
// Each is a flag of its own, as users know them.
#[allow(clippy::struct_excessive_bools)]
pub struct Run {
    #[command(flatten)]
    /// The file
    pub file: FileArgs,
    /// Take the sources from this git URL or path
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// At this branch or tag
    #[arg(long, requires = "repo")]
    pub branch: Option<String>,
    /// At this commit
    #[arg(long, requires = "repo")]
    pub commit: Option<String>,
    /// On a deployment: upload all sources, also what workers could fetch from `origin`
    #[arg(long, conflicts_with = "repo")]
    pub upload_all: bool,
    /// Set a variable; wins over the file
    #[arg(short = 'e', long = "variable", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Give jobs that name this secret its value in the environment of this command, or in a file (NAME=@FILE); on this machine
    /// only, and kept nowhere
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    /// Jobs at the same time [default: number of processors, at least 2]
    #[arg(short = 'j', long, alias = "jobs", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: Option<u16>,
    /// A label of this machine, where it runs the jobs, beside `arch` and `os`: jobs may demand it with `runs_on`
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = labels)]
    pub labels: Vec<Labels>,
    /// Make another execution even if the same one is under way
    #[arg(long)]
    pub force: bool,
    /// Print nothing but mistakes
    #[arg(short, long, conflicts_with_all = ["json", "follow"])]
    pub quiet: bool,
    /// Print the finished execution as JSON
    #[arg(long, conflicts_with = "follow")]
    pub json: bool,
    /// Print the log of this job while it runs
    #[arg(long, value_name = "JOB")]
    pub follow: Option<String>,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Files; `-` is standard input [default: all below .pipelines/]
    pub files: Vec<PathBuf>,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub format: CheckFormat,
    #[command(flatten)]
    /// The file
    pub file: FileArgs,
}

/// Formats of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people
    Human,
    /// An array of diagnostics
    Json,
    /// SARIF 2.1.0, for code hosts
    Sarif,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    /// The file
    pub file: FileArgs,
    #[command(flatten)]
    /// What conditions look at
    pub facts: FactArgs,
    /// Set a variable; wins over the file
    #[arg(short = 'e', long = "variable", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which execution.
#[derive(Debug, Clone, Default, Args)]
pub struct Which {
    /// Of this repository [default: the one here]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Of this branch
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// Of the pipeline of this name
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Of the pipeline in this file
    #[arg(short = 'F', long, value_name = "PATH", conflicts_with = "pipeline")]
    pub file: Option<PathBuf>,
    /// The run of this number [default: the latest]
    #[arg(long, value_name = "N")]
    pub run: Option<u64>,
    /// The execution of this id, of whatever repository; to change it from another one, name its repository with --repo
    #[arg(long, value_name = "ID", conflicts_with_all = ["pipeline", "run", "file", "branch"])]
    pub execution: Option<ExecutionId>,
}

/// `report`.
#[derive(Debug, Args)]
pub struct Report {
    #[command(flatten)]
    /// Which
    pub which: Which,
    /// Only jobs of this stage
    #[arg(long)]
    pub stage: Option<String>,
    /// Only this job, all its variants
    #[arg(long)]
    pub job: Option<String>,
    /// What it used of a cloud, and what that costs at list prices
    #[arg(long, conflicts_with_all = ["stage", "job"])]
    pub cost: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub format: ReportFormat,
}

/// Formats of `report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// JUnit XML, one test case for each job
    Junit,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    /// Which
    pub which: Which,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// List those of all repositories
    #[arg(long, conflicts_with_all = ["repo", "run", "execution"])]
    pub all_repositories: bool,
    /// How many executions to list
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    /// Which
    pub which: Which,
    /// The job; may be left out when there is only one
    #[arg(long)]
    pub job: Option<String>,
    /// An earlier attempt
    #[arg(long)]
    pub attempt: Option<u32>,
    /// Go on until the job is over
    #[arg(short, long)]
    pub follow: bool,
    /// Print the log as it is even on a terminal, which then acts on whatever the job printed
    #[arg(long)]
    pub raw: bool,
}

/// `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The execution of this id
    #[arg(value_name = "ID", conflicts_with_all = ["pipeline", "run", "file", "execution", "branch"])]
    pub id: Option<ExecutionId>,
    #[command(flatten)]
    /// Which
    pub which: Which,
    /// Cancel it when interrupted; without this an interrupt only ends the watching
    #[arg(long)]
    pub cancel: bool,
    /// Print nothing but mistakes
    #[arg(short, long)]
    pub quiet: bool,
}

/// `cancel`.
#[derive(Debug, Args)]
pub struct Cancel {
    #[command(flatten)]
    /// Which
    pub which: Which,
    /// Only this job
    #[arg(long)]
    pub job: Option<String>,
}

/// `secret`.
#[derive(Debug, Args)]
pub struct Secret {
    #[command(subcommand)]
    /// What to do.
    pub action: SecretAction,
}

/// What `secret` does.
#[derive(Debug, Subcommand)]
pub enum SecretAction {
    /// Keep a value, read from standard input or asked for
    Set {
        /// Its name: letters, digits and `_`
        name: String,
        #[command(flatten)]
        /// Where
        place: SecretPlace,
        /// Take the value from this file
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
    },
    /// List the names; values are never shown
    List {
        #[command(flatten)]
        /// Where
        place: SecretPlace,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget one
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        /// Where
        place: SecretPlace,
    },
    /// Seal all of them under the deployment's newest key
    Rekey,
}

/// Which secrets.
#[derive(Debug, Clone, Default, Args)]
pub struct SecretPlace {
    /// Of this repository [default: the one here]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Only for jobs of this environment
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
}

/// `repo`.
#[derive(Debug, Args)]
pub struct Repo {
    #[command(subcommand)]
    /// What to do.
    pub action: RepoAction,
}

/// What `repo` does.
#[derive(Debug, Subcommand)]
pub enum RepoAction {
    /// Make one known, or change what is known of it
    Add(Box<AddRepo>),
    /// List those that are known
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget one; its executions stay
    Remove {
        /// Its address
        url: String,
    },
    /// Read the schedules of its default branch anew
    Sync {
        /// Its address
        url: String,
    },
    /// Let what its webhooks delivered be taken once more
    Redeliver {
        /// Its address
        url: String,
    },
}

/// `repo add`.
#[derive(Debug, Args)]
pub struct AddRepo {
    /// What workers clone
    pub url: String,
    /// Who posts its webhooks: github, gitlab, gitea (Forgejo, too) or bitbucket
    #[arg(long, value_name = "NAME")]
    pub provider: tidemill_core::webhook::Provider,
    /// The webhooks' secret, from this file [default: the one it has, or a new one, which is printed]
    #[arg(long, value_name = "PATH")]
    pub secret_file: Option<PathBuf>,
    /// Write commit statuses with the provider's token from this file; an empty file: write none any more
    #[arg(long, value_name = "PATH")]
    pub status_token_file: Option<PathBuf>,
    /// The provider's API, where the repository's address does not say [example: https://git.example.org/api/v1]
    #[arg(long, value_name = "URL")]
    pub api_url: Option<String>,
    /// Its default branch; empty: as webhooks say [default: as webhooks say]
    #[arg(long, value_name = "NAME")]
    pub default_branch: Option<String>,
    /// Which pull requests wait for an approval [default: those from forks]
    #[arg(long, value_enum)]
    pub approval: Option<ApprovalPolicy>,
    /// Send failures and recoveries to a chat's webhook, whose address is in this file
    #[arg(long, value_name = "PATH")]
    pub notify_chat_file: Vec<PathBuf>,
    /// Send failures and recoveries to this address, signed with --notify-secret-file
    #[arg(long, value_name = "URL", requires = "notify_secret_file")]
    pub notify: Vec<String>,
    /// Notify nobody any more
    #[arg(long, conflicts_with_all = ["notify", "notify_chat_file"])]
    pub no_notify: bool,
    /// What notices to --notify are signed with, from this file
    #[arg(long, value_name = "PATH", requires = "notify")]
    pub notify_secret_file: Option<PathBuf>,
}

/// Which pull requests wait for an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ApprovalPolicy {
    /// None
    None,
    /// Those from forks
    Forks,
    /// All
    All,
}

/// `approve`.
#[derive(Debug, Args)]
pub struct Approve {
    #[command(flatten)]
    /// Which
    pub which: Which,
    /// This job; left out: the execution as a whole, or its only job that waits for an approval
    #[arg(long)]
    pub job: Option<String>,
}

/// `retry`.
#[derive(Debug, Args)]
pub struct Retry {
    #[command(flatten)]
    /// Which
    pub which: Which,
    /// Run the jobs that succeeded again, too
    #[arg(long)]
    pub all: bool,
    /// Run this job too, which was left undone as nobody had approved it
    #[arg(long, value_name = "JOB")]
    pub approve: Vec<String>,
    /// Jobs at the same time [default: number of processors, at least 2]
    #[arg(short = 'j', long, alias = "jobs", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: Option<u16>,
    /// A label of this machine, where it runs the jobs, beside `arch` and `os`: jobs may demand it with `runs_on`
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = labels)]
    pub labels: Vec<Labels>,
    /// Print nothing but mistakes
    #[arg(short, long)]
    pub quiet: bool,
}

/// `dead-letters`.
#[derive(Debug, Args)]
// Each is a flag of its own, as users know them.
#[allow(clippy::struct_excessive_bools)]
pub struct DeadLetters {
    /// Only those of these executions
    #[arg(value_name = "ID")]
    pub executions: Vec<ExecutionId>,
    /// Only those of this repository [default: the one here]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Those of all repositories
    #[arg(long, conflicts_with = "repo")]
    pub all_repositories: bool,
    /// Retry their executions, on a server; what succeeded in them is kept
    #[arg(long, conflicts_with = "dismiss")]
    pub retry: bool,
    /// Forget them; the records of the jobs stay
    #[arg(long)]
    pub dismiss: bool,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["retry", "dismiss"])]
    pub json: bool,
}

/// `artifacts`.
#[derive(Debug, Args)]
pub struct Artifacts {
    #[command(flatten)]
    /// Which
    pub which: Which,
    /// Only of this job
    #[arg(long)]
    pub job: Option<String>,
    /// Unpack them here instead of listing them
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// `server`.
#[derive(Debug, Args)]
pub struct Server {
    /// Address and port; port 0 takes a free one, and says which
    #[arg(long, default_value = "127.0.0.1:7600", value_name = "ADDRESS")]
    pub listen: std::net::SocketAddr,
    /// Jobs at the same time; 0: only the API [default: number of processors, at least 2]
    #[arg(long, value_name = "N")]
    pub workers: Option<u16>,
    /// A label of its workers, beside `arch` and `os`: jobs may demand it with `runs_on`
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = labels)]
    pub labels: Vec<Labels>,
    #[command(flatten)]
    pub isolation: IsolationArgs,
    /// Serve with TLS, with the certificate (and those that signed it) in this PEM file; it is read again when it changes
    #[arg(
        long,
        env = "TIDEMILL_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        hide_env_values = true
    )]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in this PEM file
    #[arg(
        long,
        env = "TIDEMILL_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert",
        hide_env_values = true
    )]
    pub tls_key: Option<PathBuf>,
    /// Let others on the network reach the server without TLS, so that they can read tokens, sources and logs on the way
    #[arg(long, conflicts_with = "tls_cert")]
    pub plain_http_on_a_network: bool,
    /// Requests a second that one user's token may make; 0: no limit. Tokens of workers and admins: a hundred times as many
    #[arg(long, env = "TIDEMILL_RATE_LIMIT", hide_env_values = true, value_name = "N", default_value_t = tidemill_services::http::USUAL_RATE)]
    pub rate_limit: u32,
    /// The server's address as people have it, for links in commit statuses and notices
    #[arg(long, env = "TIDEMILL_PUBLIC_URL", hide_env_values = true, value_name = "URL")]
    pub public_url: Option<String>,
    /// Let jobs fetch repositories over http://, which neither hides nor proves what is fetched
    #[arg(long, env = "TIDEMILL_ALLOW_HTTP", hide_env_values = true)]
    pub allow_http: bool,
    /// Let jobs fetch repositories from this host, though its address is private; without a port: those of git's protocols
    #[arg(
        long = "allow-host",
        env = "TIDEMILL_ALLOW_HOSTS",
        hide_env_values = true,
        value_name = "HOST[:PORT]",
        value_delimiter = ','
    )]
    pub allow_hosts: Vec<HostPort>,
    /// Connections at the same time; fewer where the limit of open files does not suffice
    #[arg(
        long,
        env = "TIDEMILL_MAX_CONNECTIONS",
        hide_env_values = true,
        value_name = "N",
        default_value_t = 2048
    )]
    pub max_connections: usize,
    /// Connections of one address that have not shown a valid token
    #[arg(
        long,
        env = "TIDEMILL_MAX_CONNECTIONS_PER_ADDRESS",
        hide_env_values = true,
        value_name = "N",
        default_value_t = 64
    )]
    pub max_connections_per_address: usize,
    /// Seconds that a client may take to send the head of a request
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub head_timeout: u64,
    /// Seconds that a client may pause within a body that it sends, or a reply that it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub stall_timeout: u64,
    /// Free bytes of the disk below which no new work is taken [default: 256 MiB, or a twentieth of a small disk]
    #[arg(long, env = "TIDEMILL_MIN_FREE_SPACE", hide_env_values = true, value_name = "BYTES")]
    pub min_free_space: Option<u64>,
    /// Move the records, logs and artifacts that are there, or what is left of them, aside and begin new ones; no other process
    /// may use the data directory meanwhile
    #[arg(long)]
    pub new_database: bool,
}

/// `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do
    #[command(subcommand)]
    pub action: TokenAction,
}

/// The commands of `token`.
#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Make a token and print it; it cannot be shown again
    Create(CreateToken),
    /// List tokens
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a token invalid
    Revoke {
        /// The token's id
        #[arg(value_name = "ID")]
        id: uuid::Uuid,
    },
}

/// `token create`.
#[derive(Debug, Args)]
pub struct CreateToken {
    /// Its name, for people
    #[arg(long)]
    pub name: String,
    /// What it is for: read, run, worker or admin; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    pub scopes: Vec<Scope>,
    /// Only for this repository, as executions name it
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// How long it is valid, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = tidemill_core::pipeline::span_s)]
    pub expires: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Only what concerns this repository
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Only what the token of this name or id did
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// Only this, such as execution.start
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// The most entries
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Jobs at the same time [default: number of processors, at least 2]
    #[arg(short = 'j', long, alias = "jobs", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: Option<u16>,
    /// A label beside `arch` and `os`: jobs may demand it with `runs_on`
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = labels)]
    pub labels: Vec<Labels>,
    /// Its name in records [default: this machine's]
    #[arg(long)]
    pub name: Option<String>,
    /// Take job ids from this SQS queue, not from the server
    #[arg(long, env = "TIDEMILL_QUEUE_URL", value_name = "URL")]
    pub queue: Option<String>,
    /// The longest that one request to the queue waits
    #[arg(long, env = "TIDEMILL_QUEUE_WAIT", hide = true, default_value = "20s", value_parser = span)]
    pub queue_wait: Duration,
    /// Time that running jobs have to end once the worker is told to stop; then they are given back
    #[arg(long, env = "TIDEMILL_GRACE", value_name = "TIME", default_value = "60s", value_parser = span)]
    pub grace: Duration,
    /// Stop taking jobs when EC2 says that this machine will be taken away; auto: if this is EC2
    #[arg(long, env = "TIDEMILL_NOTICES", value_enum, default_value_t = Notices::Auto, value_name = "WHEN")]
    pub notices: Notices,
    /// Keep jobs from EC2's instance metadata, and so from this machine's role; auto: if this is EC2
    #[arg(
        long,
        env = "TIDEMILL_BLOCK_METADATA",
        value_enum,
        default_value_t = BlockMetadata::Auto,
        num_args = 0..=1,
        default_missing_value = "required",
        value_name = "WHEN"
    )]
    pub block_metadata: BlockMetadata,
    #[command(flatten)]
    pub isolation: IsolationArgs,
    /// Processors that jobs may ask for together [default: the machine's]
    #[arg(long, env = "TIDEMILL_CPUS", value_name = "N", value_parser = tidemill_core::pipeline::cpus)]
    pub cpus: Option<f64>,
    /// Memory that jobs may ask for together [default: the machine's, less what it needs itself]
    #[arg(long, env = "TIDEMILL_MEMORY", value_name = "SIZE", value_parser = tidemill_core::pipeline::bytes)]
    pub memory: Option<u64>,
    /// Let jobs fetch repositories from this host, though its address is private and the server does not say that it may be
    #[arg(
        long = "allow-host",
        env = "TIDEMILL_ALLOW_HOSTS",
        hide_env_values = true,
        value_name = "HOST[:PORT]",
        value_delimiter = ','
    )]
    pub allow_hosts: Vec<HostPort>,
    /// How the worker's own log is written; TIDEMILL_LOG says how much of it
    #[arg(long, env = "TIDEMILL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Where instance metadata is
    #[arg(long, env = "TIDEMILL_IMDS", hide = true, default_value = tidemill_worker::notices::METADATA)]
    pub metadata: String,
}

/// How far jobs are kept from what is around them.
#[derive(Debug, Args)]
pub struct IsolationArgs {
    /// Keep jobs from each other, and from this machine's ports but for DNS; needs root, iptables and Docker on this machine
    #[arg(long, env = "TIDEMILL_ISOLATE", hide_env_values = true, value_enum, default_value_t = Isolate::Auto, value_name = "WHEN")]
    pub isolate: Isolate,
    /// A TCP port of this machine that isolated jobs may reach; may be given again
    #[arg(
        long = "allow-host-port",
        env = "TIDEMILL_ALLOW_HOST_PORTS",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "PORT"
    )]
    pub allow_host_ports: Vec<u16>,
}

/// Whether a worker isolates its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Isolate {
    /// Never
    Off,
    /// Where it can; a worker that cannot says so
    Auto,
    /// Always; a worker that cannot does not start
    Required,
}

/// Whether a worker heeds EC2's notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Notices {
    /// Never
    Off,
    /// Where instance metadata answers
    Auto,
    /// Always; without instance metadata the worker does not start
    On,
}

/// Whether a worker keeps jobs from instance metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BlockMetadata {
    /// Never
    Off,
    /// Where instance metadata answers; a worker that cannot says so
    Auto,
    /// Always; a worker that cannot does not start
    Required,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// A JSON object for each line
    Json,
}

fn span(text: &str) -> Result<Duration, String> {
    tidemill_core::pipeline::span_s(text).map(Duration::from_secs)
}

/// `login`.
#[derive(Debug, Args)]
pub struct Login {
    /// The deployment's URL
    pub url: String,
    /// Use it from now on where no other is named
    #[arg(long)]
    pub default: bool,
}

/// `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Where to write it
    #[arg(default_value = ".pipelines/ci.yml")]
    pub path: PathBuf,
}

/// `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// GitLab's file
    #[arg(default_value = ".gitlab-ci.yml")]
    pub file: PathBuf,
    /// Where to write the pipeline file
    #[arg(short, long, value_name = "PATH", default_value = ".pipelines/ci.yml")]
    pub output: PathBuf,
    /// Replace the file that is there
    #[arg(long)]
    pub force: bool,
}

/// `clean-up`, which `run` starts for itself.
#[derive(Debug, Args)]
pub struct CleanUp {
    /// The worker that is about to be no more
    pub worker: WorkerId,
}
