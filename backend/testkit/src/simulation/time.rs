//! Times of a run, in milliseconds.

/// By so much a server's clock may be off, in milliseconds.
pub const SKEW_MS: i64 = 10_000;

/// Milliseconds as the world counts them.
pub fn ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
