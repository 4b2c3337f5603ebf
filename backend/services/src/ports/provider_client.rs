//! The provider client port: requests to the providers with which people sign in.

use super::messenger::RequestError;
use async_trait::async_trait;
use std::fmt;
use url::{Host, Url};

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
    /// size. Returns the reply, or why there is none. No request is sent to an address that [`is_provider_address`] rejects.
    async fn send(&self, request: &ProviderRequest) -> Result<ProviderReply, RequestError>;
}

/// Whether codes and tokens may be sent to this address: over TLS, or within this machine.
pub fn is_provider_address(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    let is_local = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    is_plain && (url.scheme() == "https" || url.scheme() == "http" && is_local)
}
