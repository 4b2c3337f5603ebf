//! The messenger port: outgoing requests.

use async_trait::async_trait;
use tidemill_core::execution::notification::OutgoingRequest;

/// Sends requests to addresses that administrators of a repository configured.
#[async_trait]
pub trait Messenger: Send + Sync {
    /// Sends a request, with a timeout of some seconds and without following redirects. Returns the HTTP status of the reply, or why
    /// there is none.
    async fn post(&self, post: &OutgoingRequest) -> Result<u16, String>;
}
