//! The client of a request: its address, and whether its connection is authenticated.

use axum::extract::Extension;
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Address of the client, stored as an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Returns the address under which limits count this client: an IPv4 address, or the /64 network of an IPv6 address, since one
    /// client may own all addresses of it.
    #[must_use]
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// Whether a request of this connection had a valid token or signature. An extension of all requests of the connection.
#[derive(Debug, Clone, Default)]
pub struct AuthenticatedFlag(Arc<AtomicBool>);

impl AuthenticatedFlag {
    /// Marks the connection as authenticated.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is authenticated.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns the address of the client, if known.
pub fn client_address(client: Option<Extension<ClientAddress>>) -> Option<IpAddr> {
    client.map(|Extension(ClientAddress(address))| address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::ClientAddress;

    #[test]
    fn ipv6_prefix_counts_as_one_client() {
        let of = |text: &str| ClientAddress(text.parse().unwrap()).network();
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
