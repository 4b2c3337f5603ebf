//! Decides whether a token may be sent without TLS: to this machine, or if the operator allows it.

use super::{error::ApiError, request::ApiClient};
use http::Uri;
use std::net::IpAddr;

impl ApiClient {
    /// Returns an error if the token must not be sent to the server, as it is on another machine without https. Sends nothing.
    pub async fn check_transport(&self) -> Result<(), ApiError> {
        if self.insecure_http {
            return Ok(());
        }
        let uri: Uri = self.server.parse().map_err(|_| ApiError::Address(self.server.clone()))?;
        if uri.scheme_str() != Some("http") {
            return Ok(());
        }
        let insecure = || ApiError::InsecureHttp(self.server.clone());
        match classify_host(&uri) {
            Host::Loopback => Ok(()),
            Host::Other => Err(insecure()),
            Host::Localhost => {
                let is_loopback = if let Some(known) = self.localhost.get() {
                    *known
                } else {
                    let is_loopback = localhost_is_loopback(uri.port_u16().unwrap_or(80)).await;
                    *self.localhost.get_or_init(|| is_loopback)
                };
                if is_loopback { Ok(()) } else { Err(insecure()) }
            }
        }
    }

    /// Returns whether the server's address is a loopback address or `localhost`.
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        let uri: Option<Uri> = self.server.parse().ok();
        uri.is_some_and(|uri| classify_host(&uri) != Host::Other)
    }
}

/// The location of a host, derived from its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// A loopback address.
    Loopback,
    /// `localhost`, which is this machine if the resolver says so.
    Localhost,
    /// Any other host.
    Other,
}

fn classify_host(uri: &Uri) -> Host {
    let host = uri.host().unwrap_or_default();
    if host.eq_ignore_ascii_case("localhost") {
        return Host::Localhost;
    }
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if address.is_some_and(|address| address.is_loopback()) { Host::Loopback } else { Host::Other }
}

/// Returns whether all addresses of `localhost` are loopback addresses.
async fn localhost_is_loopback(port: u16) -> bool {
    match tokio::net::lookup_host(("localhost", port)).await {
        Ok(mut addresses) => addresses.all(|address| address.ip().is_loopback()),
        Err(_) => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ApiClient, Host, classify_host};

    #[test]
    fn only_literal_loopback_addresses_and_localhost_are_this_machine() {
        for (url, host) in [
            ("http://127.0.0.1:7600", Host::Loopback),
            ("http://127.255.1.2", Host::Loopback),
            ("http://[::1]:7600", Host::Loopback),
            ("http://localhost:7600", Host::Localhost),
            ("http://LocalHost", Host::Localhost),
            ("http://0.0.0.0:7600", Host::Other),
            ("http://[::]:7600", Host::Other),
            ("http://[::ffff:192.0.2.1]", Host::Other),
            ("http://10.0.0.1", Host::Other),
            ("http://127.0.0.1.example.org", Host::Other),
            ("http://localhost.example.org", Host::Other),
            ("http://127.0.0.1@example.org/", Host::Other),
            ("http://localhost:7600@example.org/", Host::Other),
            ("http://2130706433/", Host::Other),
        ] {
            assert_eq!(classify_host(&url.parse().unwrap()), host, "{url}");
        }
    }

    #[tokio::test]
    async fn token_needs_tls_loopback_or_permission() {
        let is_allowed = async |url: &str, insecure: bool| {
            ApiClient::new(url, "secret").with_insecure_http(insecure).check_transport().await.is_ok()
        };
        assert!(is_allowed("https://ci.example.org", false).await);
        assert!(!is_allowed("http://ci.example.org", false).await);
        assert!(is_allowed("http://ci.example.org", true).await);
        assert!(is_allowed("http://127.0.0.1:1", false).await);
        assert!(is_allowed("http://localhost:1", false).await);
    }
}
