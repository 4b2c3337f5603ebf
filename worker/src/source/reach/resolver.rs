//! The addresses of hosts, and which of them may be connected to.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
};
use tidemill_core::repository::{AddressRefusal, HostName, is_public};

/// Finds the addresses of hosts.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of the host of this name.
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

/// Why a host is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectError {
    /// It may not be.
    #[error(transparent)]
    Refused(#[from] AddressRefusal),
    /// Its name is none, or nobody knows it now.
    #[error("the name of the repository's host cannot be resolved")]
    Unknown,
}

/// The addresses of a host that may be connected to; all of them where it may be private.
pub(super) fn addresses(
    resolver: &dyn Resolver,
    host: &HostName,
    port: u16,
    private: bool,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let found = match host.ip() {
        Some(ip) => vec![SocketAddr::new(ip, port)],
        None => resolver.resolve(host.as_str(), port).map_err(|_| ConnectError::Unknown)?,
    };
    if found.is_empty() {
        return Err(ConnectError::Unknown);
    }
    let may_be = |found: &SocketAddr| private || is_public(found.ip());
    let found: Vec<SocketAddr> = found.into_iter().filter(may_be).collect();
    if found.is_empty() { Err(AddressRefusal::Private.into()) } else { Ok(found) }
}
