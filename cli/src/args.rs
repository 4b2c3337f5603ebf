//! The command-line arguments.

mod administration;
#[cfg(test)]
mod definition_tests;
mod deployment;
mod environments;
mod execution;
mod export;
mod maintenance;
mod people;
mod pipeline;
mod serving;
mod shared;
mod sign_in;
mod webhooks;
mod workers;

pub use administration::{
    AddRepo, ApprovalArg, Audit, Badge, CreateToken, DeadLetters, Login, Logout, Registry, RegistryAction,
    Repo, RepoAction, Secret, SecretAction, SecretRemoveArgs, SecretScope, TokenAction, TokenArgs, Variable,
    VariableAction, VariableType,
};
#[cfg(feature = "aws")]
pub use deployment::{ApiKind, Architecture, Role, StackArgs};
pub use deployment::{Deploy, Destroy};
pub use environments::{Environments, EnvironmentsAction};
pub use execution::{
    Approve, Artifacts, Cancel, Copy, DebugArgs, DebugShell, Forward, InsightsArgs, Logs, Open, Report,
    ReportFormat, Retry, Run, StatusArgs, WatchArgs,
};
pub use export::{Export, ExportFormat};
pub use maintenance::{
    BackupArgs, Doctor, Gc, Pin, RestoreArgs, Retention, RetentionAction, RetentionScope, RuleArgs, Unpin,
};
pub use people::{Roles, RolesAction, Sessions, SessionsAction};
pub use pipeline::{Check, CheckFormat, Event, FactArgs, Import, Init, PlanArgs};
pub use serving::{
    BlockMetadata, CleanUp, Isolate, IsolationArgs, LogFormat, MailArgs, Notices, ObservabilityArgs, Server,
    WorkerArgs,
};
pub use shared::{
    ConnectionArgs, ConsentArgs, ExecutionArgs, FileArgs, FormatArgs, IncludeArgs, JobArgs, ManualArgs,
    SelectorArgs, ServerArgs, SlotArgs, VariableArgs, ViewArgs, ViewFormat,
};
pub use sign_in::SignInArgs;
pub use webhooks::{Deliveries, GithubAppArgs, RunOfRepo, Schedules};
pub use workers::{Workers, WorkersAction};

use crate::settings::worker_file::WorkerConfigArg;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, builder::Resettable};
use std::ffi::{OsStr, OsString};

const EXIT_CODES: &str = "Exit codes: 0 success, 1 the pipeline failed, 2 usage error or invalid file, 3 system error \
                          (engine, disk, network), 130 canceled.";

/// Run CI pipelines in containers, on this machine or on a server.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Returns whether arguments have `--format json`, also if they are invalid.
    pub fn asks_for_json(args: impl Iterator<Item = OsString>) -> bool {
        let options: Vec<OsString> = args.skip(1).take_while(|arg| arg != "--").collect();
        let is_pair = |pair: &[OsString]| pair[0] == "--format" && pair[1] == "json";
        options.iter().any(|arg| arg == "--format=json") || options.windows(2).any(is_pair)
    }

    /// Parses the command line. An error is a usage error or a request for help.
    pub fn from_command_line() -> Result<Self, clap::Error> {
        Self::from_arg_matches(&without_empty_variables(Self::command()).try_get_matches()?)
    }
}

/// Removes environment variables from the options of which they are the default if they are empty: those count as unset.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| match arg.get_env() {
        Some(name) if is_empty(name) => arg.env(Resettable::Reset),
        _ => arg,
    });
    command.mut_subcommands(without_empty_variables)
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline and watch it
    #[command(
        after_help = "Examples:\n  tidemill run\n  tidemill run -f ci.yml --follow unit\n  tidemill run --repo https://example.org/app.git --branch main\n  tidemill run unit --event push -e MODE=fast\n  tidemill run --from deploy\n  tidemill run --format json > run.json"
    )]
    Run(Run),
    /// Check pipeline files for errors
    #[command(after_help = "Examples:\n  tidemill check\n  tidemill check a.yml b.yml --format sarif\n  \
        tidemill check --server https://ci.example.org\n  tidemill check - < a.yml")]
    Check(Check),
    /// Show the jobs that would run, in order
    #[command(
        after_help = "Examples:\n  tidemill plan\n  tidemill plan --format json\n  tidemill plan --event pull_request --branch topic --changed src/main.rs\n  tidemill plan --tag v1.2"
    )]
    Plan(PlanArgs),
    /// Show an execution's durations, waits and critical path
    #[command(
        after_help = "Examples:\n  tidemill report\n  tidemill report 12 --pipeline ci --format junit\n  tidemill report unit\n  tidemill report --cost"
    )]
    Report(Report),
    /// List executions, or show one execution's status
    #[command(
        after_help = "Examples:\n  tidemill status\n  tidemill status 12\n  tidemill status --status failed --branch main\n  tidemill status --all-repositories --limit 50"
    )]
    Status(StatusArgs),
    /// Print the log of a job
    #[command(after_help = "Examples:\n  tidemill logs unit\n  tidemill logs 12 unit --follow")]
    Logs(Logs),
    /// Watch an execution until it ends
    #[command(
        after_help = "Examples:\n  tidemill watch\n  tidemill watch 12\n  tidemill watch 01980000-0000-7000-8000-000000000000 --cancel"
    )]
    Watch(WatchArgs),
    /// Print the address of an execution's page
    #[command(after_help = "Examples:\n  tidemill open\n  tidemill open 12 --browser")]
    Open(Open),
    /// Open a shell in the container of a job on a server
    #[command(after_help = "Examples:\n  tidemill debug unit\n  tidemill debug 12 unit --on-failure")]
    Debug(DebugShell),
    /// Copy files from or to the container of a job on a server
    #[command(
        after_help = "Examples:\n  tidemill cp unit:target/report.html .\n  tidemill cp fix.sh unit:/tmp/\n  tidemill cp --execution 12 --on-failure unit:core.dump core.dump"
    )]
    Cp(Copy),
    /// Reach services of a job on a server at ports of this machine
    #[command(
        after_help = "Examples:\n  tidemill forward unit postgres:5432\n  tidemill forward unit 8080:web:80 --on-failure"
    )]
    Forward(Forward),
    /// Cancel an execution or a job
    #[command(
        after_help = "Examples:\n  tidemill cancel\n  tidemill cancel 12 unit\n  tidemill cancel --repo https://example.org/app.git --pipeline ci"
    )]
    Cancel(Cancel),
    /// Approve a manual job or a held execution
    #[command(
        after_help = "Examples:\n  tidemill approve deploy\n  tidemill approve 12\n  tidemill approve 12 deploy"
    )]
    Approve(Approve),
    /// Manage the secrets of a repository
    #[command(
        after_help = "Examples:\n  tidemill secret set TOKEN < token\n  tidemill secret set KEY --value-file key.pem --environment production\n  tidemill secret list\n  tidemill secret remove TOKEN\n  tidemill secret rekey"
    )]
    Secret(Secret),
    /// Manage the variables of a repository, which all its jobs get
    #[command(
        after_help = "Examples:\n  tidemill variable set REGION eu-central-1\n  tidemill variable set TOKEN --masked --protected < token\n  tidemill variable set KEYS --type file --value-file key.pem --environment production\n  tidemill variable list\n  tidemill variable remove REGION"
    )]
    Variable(Variable),
    /// Manage the logins of a repository at registries of images
    #[command(
        after_help = "Examples:\n  tidemill registry add registry.example.com --username ci --password-stdin < password\n  \
        tidemill registry list\n  tidemill registry remove registry.example.com"
    )]
    Registry(Registry),
    /// Manage repositories whose webhooks and schedules start pipelines
    #[command(
        after_help = "Examples:\n  tidemill repo add https://github.com/team/app.git --provider github --secret-file hook\n  \
        tidemill repo add git@gitlab.com:team/app.git --provider gitlab --status-token-file token --approval all\n  \
        tidemill repo list\n  tidemill repo sync https://github.com/team/app.git\n  \
        tidemill repo redeliver https://github.com/team/app.git\n  \
        tidemill repo deliveries https://github.com/team/app.git\n  tidemill repo schedules\n  \
        tidemill repo run https://github.com/team/app.git -f .pipelines/deploy.yml --branch main --input level=2\n  \
        tidemill repo remove https://github.com/team/app.git"
    )]
    Repo(Repo),
    /// Run the unsuccessful jobs of an execution again
    #[command(
        after_help = "Examples:\n  tidemill retry\n  tidemill retry 12 unit\n  tidemill retry 12 unit --alone\n  tidemill retry 12 --all"
    )]
    Retry(Retry),
    /// Show who deployed what to which environment, stop environments, and roll back
    #[command(
        after_help = "Examples:\n  tidemill environments\n  tidemill environments list --format json\n  tidemill environments show production\n  tidemill environments stop production\n  tidemill environments rollback production\n  tidemill environments protect production --approvals 2 --by group:github:acme/ops --exclude-starter\n  tidemill environments protections\n  tidemill environments unprotect production"
    )]
    Environments(Environments),
    /// List, retry or dismiss jobs that failed because of infrastructure errors
    #[command(
        after_help = "Examples:\n  tidemill dead-letters\n  tidemill dead-letters --all-repositories --server https://ci.example.org --retry"
    )]
    DeadLetters(DeadLetters),
    /// List or download artifacts
    #[command(after_help = "Examples:\n  tidemill artifacts\n  tidemill artifacts compile --output out/")]
    Artifacts(Artifacts),
    /// Manage the tokens of a deployment
    #[command(after_help = "Examples:\n  tidemill token create --name laptop --scope run --expires 90d\n  \
            tidemill token list\n  tidemill token revoke 01980000-0000-7000-8000-000000000000")]
    Token(TokenArgs),
    /// Show the audit log
    #[command(after_help = "Examples:\n  tidemill audit\n  tidemill audit --who laptop --format json")]
    Audit(Audit),
    /// Write executions, jobs and artifacts as rows for other programs
    #[command(
        after_help = "Examples:\n  tidemill export --since 2026-01-01 | jq -c 'select(.table == \"jobs\")'\n  \
            tidemill export --output records --file-format parquet"
    )]
    Export(Export),
    /// Show how long pipelines and jobs take, how often they fail, and what they cost
    #[command(after_help = "Examples:\n  tidemill insights\n  tidemill insights --pipeline ci --days 90")]
    Insights(InsightsArgs),
    /// Print the address of a badge that shows everyone whether the default branch passes
    #[command(
        after_help = "Examples:\n  tidemill badge\n  tidemill badge --pipeline ci\n  tidemill badge --revoke"
    )]
    Badge(Badge),
    /// List the workers of a server, and drain them
    #[command(after_help = "Examples:\n  tidemill workers\n  tidemill workers list --format json\n  \
            tidemill workers drain builder-1\n  tidemill workers remove builder-1")]
    Workers(Workers),
    /// Set how long executions, logs, artifacts and caches are kept
    #[command(
        after_help = "Examples:\n  tidemill retention show\n  tidemill retention set --everywhere --keep-days 90 --keep-last 20\n  tidemill retention set --pipeline nightly --keep-days 14 --log-days 7\n  tidemill retention clear --pipeline nightly"
    )]
    Retention(Retention),
    /// Remove what no rule of retention keeps, and say why
    #[command(
        after_help = "Examples:\n  tidemill gc --dry-run\n  tidemill gc --server https://ci.example.org"
    )]
    Gc(Gc),
    /// Keep an execution for ever
    #[command(after_help = "Examples:\n  tidemill pin 12\n  tidemill pin 12 --note 'shipped to customers'")]
    Pin(Pin),
    /// Let the rules of retention decide about a pinned execution again
    #[command(after_help = "Example:\n  tidemill unpin 12")]
    Unpin(Unpin),
    /// Back up a server's data directory while it runs
    #[command(
        after_help = "Examples:\n  tidemill backup /mnt/backup --keep 30\n  tidemill backup s3://my-bucket/tidemill --without-key\n  tidemill backup /mnt/backup --verify\n  tidemill backup /mnt/backup --list"
    )]
    Backup(BackupArgs),
    /// Restore a backup into a new data directory
    #[command(after_help = "Examples:\n  tidemill restore /mnt/backup --data-dir /var/lib/tidemill\n  \
            tidemill restore s3://my-bucket/tidemill --backup 1788000000000-01234567")]
    Restore(RestoreArgs),
    /// Check the data directory, the container engine and the machine of a server
    #[command(
        after_help = "Examples:\n  tidemill doctor\n  tidemill doctor --quick --data-dir /var/lib/tidemill"
    )]
    Doctor(Doctor),
    /// Serve the API and run jobs in one process
    #[command(
        after_help = "Examples:\n  tidemill server\n  tidemill server --listen 127.0.0.1:7600 --jobs 4\n  tidemill server --listen 0.0.0.0:7600 --tls-cert ci.pem --tls-key ci.key"
    )]
    Server(Box<Server>),
    /// Run jobs for a server
    #[command(
        after_help = "Examples:\n  TIDEMILL_TOKEN=... tidemill worker --server https://ci.example.org:7600\n  \
            tidemill worker --once --max-idle 5m --server https://ci.example.org:7600\n  \
            tidemill worker --queue https://sqs.eu-central-1.amazonaws.com/123456789012/tidemill --grace 90s"
    )]
    Worker(WorkerArgs),
    /// Give people roles, by name or group
    #[command(
        after_help = "Examples:\n  tidemill roles list\n  tidemill roles set admin --user oidc:alice@example.org\n  tidemill roles set developer --group github:acme/backend --repo 'github.com/acme/*'\n  tidemill roles remove --everyone"
    )]
    Roles(Roles),
    /// List the browsers in which people are signed in, and end sessions
    #[command(after_help = "Examples:\n  tidemill sessions list\n  tidemill sessions list --all\n  \
            tidemill sessions revoke 01980000-0000-7000-8000-000000000000")]
    Sessions(Sessions),
    /// Save a deployment's URL and token as a profile
    #[command(after_help = "Examples:\n  tidemill login https://ci.example.org\n  \
        tidemill login https://ci.example.org --browser\n  \
        tidemill login https://ci.example.org --profile work --default < token")]
    Login(Login),
    /// Remove a profile and its token
    #[command(after_help = "Example:\n  tidemill logout --profile work")]
    Logout(Logout),
    /// Create a starter pipeline file
    #[command(after_help = "Examples:\n  tidemill init\n  tidemill init -o .pipelines/nightly.yml")]
    Init(Init),
    /// Convert a GitLab CI file to a pipeline file
    #[command(after_help = "Examples:\n  tidemill import\n  \
        tidemill import ci/.gitlab-ci.yml -o .pipelines/other.yml --force")]
    Import(Import),
    /// Print the script that completes commands and values in a shell
    #[command(
        after_help = "Examples:\n  tidemill completions bash > tidemill.bash\n  eval \"$(tidemill completions bash)\""
    )]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Create or update a deployment on AWS
    #[command(
        after_help = "Examples:\n  tidemill deploy --dry-run\n  tidemill deploy --max-workers 4 --spot-share 100"
    )]
    Deploy(Box<Deploy>),
    /// Delete a deployment from AWS; keeps its data by default
    #[command(after_help = "Examples:\n  tidemill destroy\n  tidemill destroy --all-data")]
    Destroy(Destroy),
    /// Show the version of this program and of the records that it writes
    #[command(after_help = "Examples:\n  tidemill version\n  tidemill version --format json")]
    Version {
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Print the manual page of a command
    #[command(after_help = "Examples:\n  tidemill man run > tidemill-run.1\n  tidemill man --output man1")]
    Man(ManualArgs),
    /// Remove the containers of an exiting worker
    #[command(hide = true)]
    CleanUp(CleanUp),
    /// Run the processes of a job
    #[command(hide = true)]
    Supervise,
}

impl Command {
    /// Returns the arguments that change `worker.toml`.
    pub fn worker_args(&self) -> Vec<WorkerConfigArg> {
        match self {
            Self::Run(args) => args.slots.worker_args(),
            Self::Retry(args) => args.slots.worker_args(),
            Self::Environments(args) => match &args.action {
                Some(EnvironmentsAction::Stop { slots, .. } | EnvironmentsAction::Rollback { slots, .. }) => {
                    slots.worker_args()
                }
                _ => Vec::new(),
            },
            Self::Worker(args) => args.slots.worker_args(),
            Self::Server(args) => args.config.values.clone(),
            _ => Vec::new(),
        }
    }

    /// Returns the connection options of the command; those that it lacks are unset.
    pub fn connection(&self) -> ConnectionArgs {
        match self {
            Self::Run(args) => args.connection.clone(),
            Self::Report(args) => args.connection.clone(),
            Self::Status(args) => args.connection.clone(),
            Self::Logs(args) => args.connection.clone(),
            Self::Watch(args) => args.connection.clone(),
            Self::Open(args) => args.connection.clone(),
            Self::Debug(args) => args.connection.clone(),
            Self::Cp(args) => args.connection.clone(),
            Self::Forward(args) => args.connection.clone(),
            Self::Cancel(args) => args.connection.clone(),
            Self::Approve(args) => args.connection.clone(),
            Self::Secret(args) => args.connection.clone(),
            Self::Variable(args) => args.connection.clone(),
            Self::Registry(args) => args.connection.clone(),
            Self::Repo(args) => args.connection.clone(),
            Self::Retry(args) => args.connection.clone(),
            Self::Environments(args) => args.connection.clone(),
            Self::DeadLetters(args) => args.connection.clone(),
            Self::Artifacts(args) => args.connection.clone(),
            Self::Token(args) => args.connection.clone(),
            Self::Audit(args) => args.connection.clone(),
            Self::Export(args) => args.connection.clone(),
            Self::Insights(args) => args.connection.clone(),
            Self::Workers(args) => args.connection.clone(),
            Self::Badge(args) => args.connection.clone(),
            Self::Worker(args) => args.connection.clone(),
            Self::Roles(args) => args.connection.clone(),
            Self::Sessions(args) => args.connection.clone(),
            Self::Login(args) => ConnectionArgs::of(ServerArgs {
                profile: args.profile.clone(),
                access: args.access.clone(),
                ..ServerArgs::default()
            }),
            Self::Logout(args) => {
                ConnectionArgs::of(ServerArgs { profile: args.profile.clone(), ..ServerArgs::default() })
            }
            Self::Check(args) => ConnectionArgs::of(args.remote.clone()),
            Self::Plan(args) => ConnectionArgs::of(args.remote.clone()),
            Self::Retention(args) => args.connection.clone(),
            Self::Gc(args) => args.connection.clone(),
            Self::Pin(args) => args.connection.clone(),
            Self::Unpin(args) => args.connection.clone(),
            Self::Backup(args) => ConnectionArgs { data: args.data.clone(), ..ConnectionArgs::default() },
            Self::Restore(args) => ConnectionArgs { data: args.data.clone(), ..ConnectionArgs::default() },
            Self::Doctor(args) => ConnectionArgs { data: args.data.clone(), ..ConnectionArgs::default() },
            Self::Server(args) => ConnectionArgs { data: args.data.clone(), ..ConnectionArgs::default() },
            Self::CleanUp(args) => ConnectionArgs { data: args.data.clone(), ..ConnectionArgs::default() },
            Self::Init(_)
            | Self::Import(_)
            | Self::Completions { .. }
            | Self::Version { .. }
            | Self::Deploy(_)
            | Self::Destroy(_)
            | Self::Supervise
            | Self::Man(_) => ConnectionArgs::default(),
        }
    }
}
