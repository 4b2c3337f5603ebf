//! Pauses between attempts of a call that AWS throttled or that conflicted with another one.

use std::time::Duration;
use uuid::Uuid;

/// Waits before attempt `round` + 1, for a random time so that conflicting writers do not conflict again. The upper bound
/// doubles each time, up to 400 ms.
pub async fn pause(round: u32) {
    let max_ms = (4_u64 << round.min(7)).min(400);
    let random = Uuid::new_v4().as_u64_pair().1 % max_ms;
    tokio::time::sleep(Duration::from_millis(1 + random)).await;
}
