//! Names of the environment variables that the command line reads. Flags override variables, and variables override
//! config files.

/// Directory of records, logs and artifacts.
pub const DATA_DIR: &str = "TIDEMILL_DATA_DIR";
/// URL of the deployment.
pub const SERVER: &str = "TIDEMILL_SERVER";
/// Bearer token of the deployment.
pub const TOKEN: &str = "TIDEMILL_TOKEN";
/// Name of a profile; `local` is this machine.
pub const PROFILE: &str = "TIDEMILL_PROFILE";
/// PEM file with certificate authorities to trust in addition to the system's.
pub const CA_CERT: &str = "TIDEMILL_CA_CERT";
/// `true`: send the token to another machine without TLS.
pub const INSECURE_HTTP: &str = "TIDEMILL_INSECURE_HTTP";
/// Path of the config file with the profiles.
pub const CONFIG: &str = "TIDEMILL_CONFIG";
/// Path of `worker.toml`, the limits of one job.
pub const WORKER_CONFIG: &str = "TIDEMILL_WORKER_CONFIG";
/// Filter of the process's own log, such as `info` or `warn,tidemill_worker=debug`.
pub const LOG: &str = "TIDEMILL_LOG";
/// Format of the worker's own log: `text` or `json`.
pub const LOG_FORMAT: &str = "TIDEMILL_LOG_FORMAT";
/// Lease duration in milliseconds.
pub const LEASE_TTL_MS: &str = "TIDEMILL_LEASE_TTL_MS";

/// PEM file of the server's certificate.
pub const TLS_CERT: &str = "TIDEMILL_TLS_CERT";
/// PEM file of the server's private key.
pub const TLS_KEY: &str = "TIDEMILL_TLS_KEY";
/// Requests per second per user token.
pub const RATE_LIMIT: &str = "TIDEMILL_RATE_LIMIT";
/// Public URL of the server.
pub const PUBLIC_URL: &str = "TIDEMILL_PUBLIC_URL";
/// `true`: jobs may fetch repositories over http.
pub const ALLOW_HTTP: &str = "TIDEMILL_ALLOW_HTTP";
/// Hosts of repositories that may have private addresses, separated by commas.
pub const ALLOW_HOSTS: &str = "TIDEMILL_ALLOW_HOSTS";
/// Maximum number of connections.
pub const MAX_CONNECTIONS: &str = "TIDEMILL_MAX_CONNECTIONS";
/// Maximum number of unauthenticated connections per address.
pub const MAX_CONNECTIONS_PER_ADDRESS: &str = "TIDEMILL_MAX_CONNECTIONS_PER_ADDRESS";
/// Minimum free disk space in bytes; below it, new work is rejected.
pub const MIN_FREE_SPACE: &str = "TIDEMILL_MIN_FREE_SPACE";

/// URL of the SQS queue that a worker reads.
pub const QUEUE_URL: &str = "TIDEMILL_QUEUE_URL";
/// Wait time of one request to the queue.
pub const QUEUE_WAIT: &str = "TIDEMILL_QUEUE_WAIT";
/// Grace period for running jobs when the worker stops.
pub const GRACE: &str = "TIDEMILL_GRACE";
/// When to react to EC2 interruption notices: `off`, `auto` or `on`.
pub const NOTICES: &str = "TIDEMILL_NOTICES";
/// When to block jobs from EC2 instance metadata: `off`, `auto` or `required`.
pub const BLOCK_METADATA: &str = "TIDEMILL_BLOCK_METADATA";
/// When to isolate jobs: `off`, `auto` or `required`.
pub const ISOLATE: &str = "TIDEMILL_ISOLATE";
/// TCP ports of this machine that isolated jobs may connect to, separated by commas.
pub const ALLOW_HOST_PORTS: &str = "TIDEMILL_ALLOW_HOST_PORTS";
/// Processors available to jobs.
pub const CPUS: &str = "TIDEMILL_CPUS";
/// Memory available to jobs.
pub const MEMORY: &str = "TIDEMILL_MEMORY";
/// URL of the instance metadata service.
pub const IMDS: &str = "TIDEMILL_IMDS";

/// Directory with the `config.json` of Docker's client, which holds logins at registries.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// Logins at registries, in the format of `config.json`.
pub const DOCKER_AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";
/// Set by CI systems: plain lines instead of a live view.
pub const CI: &str = "CI";
/// If set, output has no colours, and no live view.
pub const NO_COLOR: &str = "NO_COLOR";
/// Kind of terminal; `dumb` has no live view.
pub const TERM: &str = "TERM";
/// Address of the container engine.
pub const DOCKER_HOST: &str = "DOCKER_HOST";
/// The user's home directory.
pub const HOME: &str = "HOME";
/// Host name of this machine, used if the kernel does not report one.
pub const HOSTNAME: &str = "HOSTNAME";
/// Name of the user, recorded as the requester of executions.
pub const USER: &str = "USER";
/// Base directory of config files.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Base directory of data.
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
