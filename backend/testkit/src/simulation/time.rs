//! Times of a run, in milliseconds.

/// Maximum offset of a server's clock, in milliseconds.
pub const SKEW_MS: i64 = 10_000;

/// Converts milliseconds to the type of simulated times.
pub fn to_millis(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
