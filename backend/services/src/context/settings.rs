//! Settings of the services.

/// Settings of the services.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Milliseconds that a lease lasts from each accepted report on.
    pub lease_ttl_ms: u64,
    /// The longest that a reply is held, in milliseconds; 0 where holding one costs money.
    pub longest_wait_ms: u64,
    /// The most bytes of a log in one reply.
    pub most_log_reply: usize,
    /// Whether workers may ask for whatever is next; else they bring the id of a job that the queue gave them.
    pub gives_any_job: bool,
    /// Milliseconds for which a token that was looked up is believed without another look.
    pub token_kept_ms: u64,
    /// The most bytes of the log of an attempt, whatever its worker allows.
    pub max_log_bytes: u64,
    /// The most bytes of an artifact, whatever its worker allows.
    pub max_artifact_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ttl_ms: 30_000,
            longest_wait_ms: 20_000,
            most_log_reply: 8 << 20,
            gives_any_job: true,
            token_kept_ms: 10_000,
            max_log_bytes: 1 << 30,
            max_artifact_bytes: 10 << 30,
        }
    }
}
