//! Resolves hosts to the addresses to which git may connect.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
};
use tidemill_core::repository::{AddressPolicyError, HostName, is_public};

/// Resolves host names.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// Returns the addresses of the host.
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
#[derive(Debug)]
pub(super) struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((name, port).to_socket_addrs()?.collect())
    }
}

/// The reason why no connection to a host is made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectError {
    /// The address policy forbids it.
    #[error(transparent)]
    Forbidden(#[from] AddressPolicyError),
    /// Its name cannot be resolved.
    #[error("the name of the repository's host cannot be resolved")]
    Unknown,
}

/// Returns the addresses of a host to which git may connect. With `private`, these are all.
pub(super) fn permitted_addresses(
    resolver: &dyn Resolver,
    host: &HostName,
    port: u16,
    private: bool,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let resolved = match host.ip() {
        Some(ip) => vec![SocketAddr::new(ip, port)],
        None => resolver.resolve(host.as_str(), port).map_err(|_| ConnectError::Unknown)?,
    };
    if resolved.is_empty() {
        return Err(ConnectError::Unknown);
    }
    let is_permitted = |address: &SocketAddr| private || is_public(address.ip());
    let permitted: Vec<SocketAddr> = resolved.into_iter().filter(is_permitted).collect();
    if permitted.is_empty() { Err(AddressPolicyError::Private.into()) } else { Ok(permitted) }
}
