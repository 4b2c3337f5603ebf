//! What is told to others.

use async_trait::async_trait;
use tidemill_core::execution::announcement::OutgoingRequest;

/// Sends requests to addresses that a repository's administrators gave.
#[async_trait]
pub trait Messenger: Send + Sync {
    /// Sends one, within some seconds; redirects are not followed. The HTTP status of the reply, or why there is none.
    async fn post(&self, post: &OutgoingRequest) -> Result<u16, String>;
}
