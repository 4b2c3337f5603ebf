//! Blocking work on threads of its own.

use tidemill_services::error::{Error, Result};
use tokio::task::spawn_blocking;

/// Runs `work` on a thread that may block.
pub async fn blocking<T: Send + 'static>(
    operation: impl Into<String>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::storage(operation, error)))
}
