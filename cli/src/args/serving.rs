//! Arguments of the long-running processes `server` and `worker`.

use super::shared::{AllowedHostArgs, ConnectionArgs, DataDirArgs, LabelArgs, SlotArgs, WorkerConfigArgs};
use super::sign_in::SignInArgs;
use crate::env_vars;
use clap::{Args, ValueEnum};
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use tidemill_core::{
    ids::{ExecutionId, WorkerId},
    pipeline,
};

/// `server`.
#[derive(Debug, Args)]
pub struct Server {
    /// Address and port to listen on; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:7600", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Maximum number of concurrent jobs; 0: API only [default: number of processors, at least 2]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    pub labels: LabelArgs,
    #[command(flatten)]
    pub config: WorkerConfigArgs,
    #[command(flatten)]
    pub isolation: IsolationArgs,
    /// PEM file with the TLS certificate chain; reloaded when it changes
    #[arg(
        long,
        env = env_vars::TLS_CERT,
        value_name = "FILE",
        requires = "tls_key",
        hide_env_values = true
    )]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the TLS private key
    #[arg(
        long,
        env = env_vars::TLS_KEY,
        value_name = "FILE",
        requires = "tls_cert",
        hide_env_values = true
    )]
    pub tls_key: Option<PathBuf>,
    /// Allow listening on a network without TLS; tokens, sources and logs are then readable in transit
    #[arg(long, conflicts_with = "tls_cert")]
    pub plain_http_on_a_network: bool,
    /// Requests per second per user token; 0: unlimited. Worker and admin tokens get 100 times as many
    #[arg(long, env = env_vars::RATE_LIMIT, hide_env_values = true, value_name = "N", default_value_t = tidemill_services::http::DEFAULT_RATE)]
    pub rate_limit: u32,
    /// Public URL of the server, for links in commit statuses and notifications, and for sign-in
    #[arg(long, env = env_vars::PUBLIC_URL, hide_env_values = true, value_name = "URL")]
    pub public_url: Option<String>,
    #[command(flatten)]
    pub mail: MailArgs,
    /// Allow fetching repositories over http://, unencrypted and unauthenticated
    #[arg(long, env = env_vars::ALLOW_HTTP, hide_env_values = true)]
    pub allow_http: bool,
    #[command(flatten)]
    pub allowed: AllowedHostArgs,
    /// Maximum number of connections; lowered to the limit of open files
    #[arg(
        long,
        env = env_vars::MAX_CONNECTIONS,
        hide_env_values = true,
        value_name = "N",
        default_value_t = 2048
    )]
    pub max_connections: usize,
    /// Maximum number of unauthenticated connections per address
    #[arg(
        long,
        env = env_vars::MAX_CONNECTIONS_PER_ADDRESS,
        hide_env_values = true,
        value_name = "N",
        default_value_t = 64
    )]
    pub max_connections_per_address: usize,
    /// Timeout for receiving the head of a request
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub head_timeout: u64,
    /// Timeout for a stalled request body or reply
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub stall_timeout: u64,
    /// Reject new work below this much free disk space [default: 256 MiB, or 5% of a small disk]
    #[arg(long, env = env_vars::MIN_FREE_SPACE, hide_env_values = true, value_name = "BYTES")]
    pub min_free_space: Option<u64>,
    /// Move existing records, logs and artifacts to a backup directory and start with an empty database; no other process
    /// may use the data directory
    #[arg(long)]
    pub new_database: bool,
    #[command(flatten)]
    pub observability: ObservabilityArgs,
    #[command(flatten)]
    pub data: DataDirArgs,
    #[command(flatten)]
    pub sign_in: SignInArgs,
}

/// `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    pub slots: SlotArgs,
    /// Name of the worker in records [default: the host name]
    #[arg(long)]
    pub name: Option<String>,
    /// Run one job, then exit with 0, whatever its result
    #[arg(long, conflicts_with = "jobs")]
    pub once: bool,
    /// Exit with 0 after this time without a job
    #[arg(long, env = env_vars::MAX_IDLE, value_name = "TIME", value_parser = duration)]
    pub max_idle: Option<Duration>,
    /// Receive jobs from this SQS queue instead of the server
    #[arg(long, env = env_vars::QUEUE_URL, value_name = "URL")]
    pub queue: Option<String>,
    /// Wait time of one request to the queue
    #[arg(long, env = env_vars::QUEUE_WAIT, hide = true, default_value = "20s", value_parser = duration)]
    pub queue_wait: Duration,
    /// Grace period for running jobs on shutdown, before they are returned to the queue
    #[arg(long, env = env_vars::GRACE, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub grace: Duration,
    /// Drain when EC2 announces an interruption; auto: on EC2 only
    #[arg(long, env = env_vars::NOTICES, value_enum, default_value_t = Notices::Auto, value_name = "WHEN")]
    pub notices: Notices,
    /// Block jobs from EC2 instance metadata and this machine's role; auto: on EC2 only
    #[arg(
        long,
        env = env_vars::BLOCK_METADATA,
        value_enum,
        default_value_t = BlockMetadata::Auto,
        num_args = 0..=1,
        default_missing_value = "required",
        value_name = "WHEN"
    )]
    pub block_metadata: BlockMetadata,
    #[command(flatten)]
    pub isolation: IsolationArgs,
    /// Processors available to jobs [default: all]
    #[arg(long, env = env_vars::CPUS, value_name = "N", value_parser = pipeline::cpus)]
    pub cpus: Option<f64>,
    /// Memory available to jobs [default: the machine's, less a reserve]
    #[arg(long, env = env_vars::MEMORY, value_name = "SIZE", value_parser = pipeline::bytes)]
    pub memory: Option<u64>,
    #[command(flatten)]
    pub allowed: AllowedHostArgs,
    #[command(flatten)]
    pub observability: ObservabilityArgs,
    /// URL of the instance metadata service
    #[arg(long, env = env_vars::IMDS, hide = true, default_value = tidemill_worker::notices::METADATA)]
    pub metadata: String,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// What a server or a worker shows of itself.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Observability")]
pub struct ObservabilityArgs {
    /// Serve metrics for Prometheus at this address and port, as GET /metrics without a token; port 0 picks a free one
    #[arg(long, env = env_vars::METRICS_LISTEN, hide_env_values = true, value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
    /// Export traces, metrics and logs to this OTLP receiver (HTTP, protobuf), such as http://127.0.0.1:4318
    #[arg(long, env = env_vars::OTLP_ENDPOINT, hide_env_values = true, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Format of this process's own log
    #[arg(long, env = env_vars::LOG_FORMAT, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Filter of this process's own log, such as info or warn,tidemill_worker=debug; SIGUSR1 raises the level while it runs, SIGUSR2
    /// resets it [default: warn]
    #[arg(long, env = env_vars::LOG, hide_env_values = true, value_name = "FILTER")]
    pub log_level: Option<String>,
}

/// How jobs are isolated from each other and from the machine.
#[derive(Debug, Clone, Args)]
pub struct IsolationArgs {
    /// Isolate jobs from each other and from this machine's ports except DNS; needs root, iptables and a local Docker
    #[arg(long, env = env_vars::ISOLATE, hide_env_values = true, value_enum, default_value_t = Isolate::Auto, value_name = "WHEN")]
    pub isolate: Isolate,
    /// TCP port of this machine that isolated jobs may connect to; may be repeated
    #[arg(
        long = "allow-host-port",
        env = env_vars::ALLOW_HOST_PORTS,
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "PORT"
    )]
    pub allow_host_ports: Vec<u16>,
}

/// When a worker isolates jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Isolate {
    /// Never
    Off,
    /// If possible; otherwise print a warning
    Auto,
    /// Always; otherwise do not start
    Required,
}

/// When a worker reacts to EC2 interruption notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Notices {
    /// Never
    Off,
    /// If instance metadata is available
    Auto,
    /// Always; without instance metadata do not start
    On,
}

/// When a worker blocks jobs from instance metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BlockMetadata {
    /// Never
    Off,
    /// If instance metadata is available; on failure print a warning
    Auto,
    /// Always; otherwise do not start
    Required,
}

/// Log formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text
    Text,
    /// One JSON object per line
    Json,
}

/// `clean-up`, an internal command that Tidemill starts itself.
#[derive(Debug, Args)]
pub struct CleanUp {
    /// Id of the worker
    pub worker: WorkerId,
    /// Canceled execution whose end to await
    #[arg(long)]
    pub execution: Option<ExecutionId>,
    #[command(flatten)]
    pub data: DataDirArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    pipeline::span_s(text).map(Duration::from_secs)
}

/// The mail server of notifications.
#[derive(Debug, Args)]
pub struct MailArgs {
    /// Mail server of notifications: smtps://USER@HOST, smtp://USER@HOST?tls=required (STARTTLS), or smtp://HOST
    #[arg(
        long,
        env = env_vars::SMTP_URL,
        hide_env_values = true,
        value_name = "URL",
        requires = "mail_from"
    )]
    pub smtp_url: Option<String>,
    /// File with the password of its user
    #[arg(
        long,
        env = env_vars::SMTP_PASSWORD_FILE,
        hide_env_values = true,
        value_name = "FILE",
        requires = "smtp_url"
    )]
    pub smtp_password_file: Option<PathBuf>,
    /// Address that e-mails come from
    #[arg(long, env = env_vars::MAIL_FROM, hide_env_values = true, value_name = "ADDRESS")]
    pub mail_from: Option<String>,
}
