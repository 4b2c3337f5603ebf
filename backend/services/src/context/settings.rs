//! Settings of the services.

use tidemill_core::execution::attempt::ReportPace;

/// Settings of the services.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Lifetime of a lease after each accepted report, in milliseconds.
    pub lease_ttl_ms: u64,
    /// How often workers report on running jobs. Batched where a report costs money: then one with log bytes alone writes a job's record
    /// only when its lease is to be renewed.
    pub report_pace: ReportPace,
    /// Maximum time for which a reply is held, in milliseconds; 0 where holding it costs money.
    pub max_wait_ms: u64,
    /// Maximum number of log bytes in one reply.
    pub max_log_reply_bytes: usize,
    /// How long a verified token is cached, in milliseconds.
    pub token_cache_ttl_ms: u64,
    /// Maximum size of the log of an attempt in bytes, whatever its worker allows.
    pub max_log_bytes: u64,
    /// Maximum size of an artifact in bytes, whatever its worker allows.
    pub max_artifact_bytes: u64,
    /// Maximum size in bytes of a file of an artifact in one reply.
    pub max_file_reply_bytes: u64,
    /// Maximum number of jobs that a request records or cancels before its reply. Those of larger executions follow after it.
    pub max_jobs_per_request: u32,
    /// Whether a gateway in front of the API rejects requests without an `Authorization` header, so that the web UI has to send one with
    /// the cookie of a session, too.
    pub gateway_requires_credential: bool,
    /// Whether this process continues after a reply; otherwise another process and the sweep do what follows it.
    pub continues_after_reply: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ttl_ms: 30_000,
            report_pace: ReportPace::EACH_SECOND,
            max_wait_ms: 20_000,
            max_log_reply_bytes: 8 << 20,
            token_cache_ttl_ms: 10_000,
            max_log_bytes: 1 << 30,
            max_artifact_bytes: 10 << 30,
            max_file_reply_bytes: 1 << 30,
            max_jobs_per_request: 1_000,
            gateway_requires_credential: false,
            continues_after_reply: true,
        }
    }
}
