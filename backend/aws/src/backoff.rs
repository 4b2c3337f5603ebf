//! Random pauses between attempts of a call that AWS rejected for now.

use std::time::Duration;
use uuid::Uuid;

/// Waits before try number `round` + 1: up to twice as long each time, at most 400 ms, spread at random so that those who
/// met do not meet again.
pub async fn pause(round: u32) {
    let most = (4_u64 << round.min(7)).min(400);
    let random = Uuid::new_v4().as_u64_pair().1 % most;
    tokio::time::sleep(Duration::from_millis(1 + random)).await;
}
