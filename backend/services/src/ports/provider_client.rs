//! The provider client port: requests to the providers with which people sign in.

use async_trait::async_trait;
use std::fmt;

/// A request to a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderRequest {
    /// Address.
    pub url: String,
    /// Fields of a form, which is sent as POST; `None`: a GET.
    pub form: Option<Vec<(&'static str, String)>>,
    /// Value of the header `Authorization`.
    pub authorization: Option<String>,
}

impl fmt::Debug for ProviderRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The form and the header have secrets.
        f.debug_struct("ProviderRequest").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The reply of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderReply {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

/// Sends requests to the providers that the operator of the server configured.
#[async_trait]
pub trait ProviderClient: Send + Sync {
    /// Sends a request that accepts JSON, with a timeout of some seconds, without following redirects, and with a limit of the reply's
    /// size. Returns the reply, or why there is none.
    async fn send(&self, request: &ProviderRequest) -> Result<ProviderReply, String>;
}
