//! The environment variables that the command line reads. Flags override variables, and variables override config files.

/// Declares the constants and the list of all variables, from which docs/environment.md is generated.
macro_rules! variables {
    ($($(#[doc = $description:literal])+ $name:ident = $variable:literal;)+) => {
        $($(#[doc = $description])+ pub const $name: &str = $variable;)+

        /// All variables with their descriptions.
        #[cfg(test)]
        pub const ALL: &[(&str, &str)] = &[$(($variable, concat!($($description),+))),+];
    };
}

variables! {
    /// Directory of records, logs and artifacts.
    DATA_DIR = "TIDEMILL_DATA_DIR";
    /// URL of the deployment.
    SERVER = "TIDEMILL_SERVER";
    /// Bearer token of the deployment.
    TOKEN = "TIDEMILL_TOKEN";
    /// Name of a profile; `local` is this machine.
    PROFILE = "TIDEMILL_PROFILE";
    /// PEM file with certificate authorities to trust in addition to the system's.
    CA_CERT = "TIDEMILL_CA_CERT";
    /// `true`: send the token to another machine without TLS.
    INSECURE_HTTP = "TIDEMILL_INSECURE_HTTP";
    /// Path of the config file with the profiles.
    CONFIG = "TIDEMILL_CONFIG";
    /// Path of `worker.toml`, the limits of one job.
    WORKER_CONFIG = "TIDEMILL_WORKER_CONFIG";
    /// How jobs run: `container` or `process`.
    EXECUTOR = "TIDEMILL_EXECUTOR";
    /// Filter of the process's own log, such as `info` or `warn,tidemill_worker=debug`. Default: `warn` for `server` and `worker`,
    /// otherwise `error`.
    LOG = "TIDEMILL_LOG";
    /// Format of the log of `server` and `worker`: `text` or `json`.
    LOG_FORMAT = "TIDEMILL_LOG_FORMAT";
    /// Address at which `server` and `worker` serve metrics for Prometheus.
    METRICS_LISTEN = "TIDEMILL_METRICS_LISTEN";
    /// Address of an OTLP receiver (HTTP, protobuf) for traces, metrics and logs of `server` and `worker`.
    OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT";
    /// Headers of the requests to the OTLP receiver: `name=value,name=value`, with percent-encoded values.
    OTLP_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS";
    /// Attributes of this process for the OTLP receiver, in the same form.
    OTLP_RESOURCE = "OTEL_RESOURCE_ATTRIBUTES";
    /// Name of the service for the OTLP receiver. Default: `tidemill-server` or `tidemill-worker`.
    OTLP_SERVICE = "OTEL_SERVICE_NAME";
    /// Milliseconds between two exports of metrics to the OTLP receiver. Default: 60000.
    OTLP_METRIC_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL";
    /// Trace context of the caller, which executions that a command starts join (W3C Trace Context).
    TRACEPARENT = "TRACEPARENT";
    /// Lease duration in milliseconds.
    LEASE_TTL_MS = "TIDEMILL_LEASE_TTL_MS";

    /// Mail server of notifications.
    SMTP_URL = "TIDEMILL_SMTP_URL";
    /// File with the password of its user.
    SMTP_PASSWORD_FILE = "TIDEMILL_SMTP_PASSWORD_FILE";
    /// Address that e-mails come from.
    MAIL_FROM = "TIDEMILL_MAIL_FROM";

    /// PEM file of the server's certificate.
    TLS_CERT = "TIDEMILL_TLS_CERT";
    /// PEM file of the server's private key.
    TLS_KEY = "TIDEMILL_TLS_KEY";
    /// Requests per second per user token.
    RATE_LIMIT = "TIDEMILL_RATE_LIMIT";
    /// Public URL of the server.
    PUBLIC_URL = "TIDEMILL_PUBLIC_URL";
    /// Issuer of the OpenID provider with which people sign in.
    OIDC_ISSUER = "TIDEMILL_OIDC_ISSUER";
    /// Id of the server at the OpenID provider.
    OIDC_CLIENT_ID = "TIDEMILL_OIDC_CLIENT_ID";
    /// File with the secret of the server at the OpenID provider.
    OIDC_CLIENT_SECRET_FILE = "TIDEMILL_OIDC_CLIENT_SECRET_FILE";
    /// Claim in which the OpenID provider lists groups.
    OIDC_GROUPS_CLAIM = "TIDEMILL_OIDC_GROUPS_CLAIM";
    /// Id of the server as an OAuth app of GitHub.
    GITHUB_CLIENT_ID = "TIDEMILL_GITHUB_CLIENT_ID";
    /// File with the secret of the OAuth app of GitHub.
    GITHUB_CLIENT_SECRET_FILE = "TIDEMILL_GITHUB_CLIENT_SECRET_FILE";
    /// Address of a GitHub Enterprise Server.
    GITHUB_URL = "TIDEMILL_GITHUB_URL";
    /// Id of the server as an application of GitLab.
    GITLAB_CLIENT_ID = "TIDEMILL_GITLAB_CLIENT_ID";
    /// File with the secret of the application of GitLab.
    GITLAB_CLIENT_SECRET_FILE = "TIDEMILL_GITLAB_CLIENT_SECRET_FILE";
    /// Address of GitLab.
    GITLAB_URL = "TIDEMILL_GITLAB_URL";
    /// Id of the server as an OAuth2 application of Gitea or Forgejo.
    GITEA_CLIENT_ID = "TIDEMILL_GITEA_CLIENT_ID";
    /// File with the secret of the application of Gitea or Forgejo.
    GITEA_CLIENT_SECRET_FILE = "TIDEMILL_GITEA_CLIENT_SECRET_FILE";
    /// Address of Gitea or Forgejo.
    GITEA_URL = "TIDEMILL_GITEA_URL";
    /// `true`: jobs may fetch repositories over http.
    ALLOW_HTTP = "TIDEMILL_ALLOW_HTTP";
    /// Hosts of repositories that may have private addresses, separated by commas.
    ALLOW_HOSTS = "TIDEMILL_ALLOW_HOSTS";
    /// Maximum number of connections.
    MAX_CONNECTIONS = "TIDEMILL_MAX_CONNECTIONS";
    /// Maximum number of unauthenticated connections per address.
    MAX_CONNECTIONS_PER_ADDRESS = "TIDEMILL_MAX_CONNECTIONS_PER_ADDRESS";
    /// Minimum free disk space in bytes; below it, new work is rejected.
    MIN_FREE_SPACE = "TIDEMILL_MIN_FREE_SPACE";

    /// URL of the SQS queue that a worker reads.
    QUEUE_URL = "TIDEMILL_QUEUE_URL";
    /// Wait time of one request to the queue.
    QUEUE_WAIT = "TIDEMILL_QUEUE_WAIT";
    /// Grace period for running jobs when the worker stops.
    GRACE = "TIDEMILL_GRACE";
    /// Time without a job after which the worker exits.
    MAX_IDLE = "TIDEMILL_MAX_IDLE";
    /// When to react to EC2 interruption notices: `off`, `auto` or `on`.
    NOTICES = "TIDEMILL_NOTICES";
    /// When to block jobs from EC2 instance metadata: `off`, `auto` or `required`.
    BLOCK_METADATA = "TIDEMILL_BLOCK_METADATA";
    /// When to isolate jobs: `off`, `auto` or `required`.
    ISOLATE = "TIDEMILL_ISOLATE";
    /// TCP ports of this machine that isolated jobs may connect to, separated by commas.
    ALLOW_HOST_PORTS = "TIDEMILL_ALLOW_HOST_PORTS";
    /// Processors available to jobs.
    CPUS = "TIDEMILL_CPUS";
    /// Memory available to jobs.
    MEMORY = "TIDEMILL_MEMORY";
    /// URL of the instance metadata service.
    IMDS = "TIDEMILL_IMDS";

    /// Directory with the `config.json` of Docker's client, which holds logins at registries.
    DOCKER_CONFIG = "DOCKER_CONFIG";
    /// Logins at registries, in the format of `config.json`.
    DOCKER_AUTH_CONFIG = "DOCKER_AUTH_CONFIG";
    /// Set by CI systems: plain lines instead of a live view.
    CI = "CI";
    /// If set, output has no colours, and no live view.
    NO_COLOR = "NO_COLOR";
    /// Kind of terminal; `dumb` has no live view.
    TERM = "TERM";
    /// Address of the container engine.
    DOCKER_HOST = "DOCKER_HOST";
    /// The user's home directory.
    HOME = "HOME";
    /// Host name of this machine, used if the kernel does not report one.
    HOSTNAME = "HOSTNAME";
    /// Name of the user, recorded as the requester of executions.
    USER = "USER";
    /// Base directory of config files.
    XDG_CONFIG_HOME = "XDG_CONFIG_HOME";
    /// Base directory of data.
    XDG_DATA_HOME = "XDG_DATA_HOME";
    /// Set by the shell to ask for completions.
    COMPLETE = "TIDEMILL_COMPLETE";
}
