//! The policy for addresses that may be contacted on behalf of users who may start jobs.

use super::{
    address::{RepositoryAddress, Scheme},
    host::{HostName, HostPort},
};

/// What an operator allows in addition to public hosts over https, ssh and git.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Allows http, which neither encrypts nor authenticates what is fetched.
    pub allow_http: bool,
    /// Hosts that may have private addresses.
    pub hosts: Vec<HostPort>,
    /// Whether every host may be contacted, because the user could do so without Tidemill.
    pub any_host: bool,
}

/// Why an address must not be contacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressPolicyError {
    /// The address uses http, and neither the operator nor the registration of the repository allows it.
    #[error(
        "the repository's address begins with http://, which neither encrypts nor authenticates what is fetched: use https:// or ssh://, \
         register the repository with this address (tidemill repo add), or have the operator start the server with --allow-http"
    )]
    Http,
    /// The host is not public.
    #[error(
        "the repository's host has a private, local or reserved address: register the repository with this host and port \
         (tidemill repo add), or have the operator start server and workers with --allow-host HOST:PORT"
    )]
    Private,
}

impl AddressPolicy {
    /// Returns the policy of a process whose user could contact every host without it.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { allow_http: true, hosts: Vec::new(), any_host: true }
    }

    /// Whether the operator allows this host and port to have a private address.
    #[must_use]
    pub fn allows(&self, host: &HostName, port: u16) -> bool {
        self.any_host || self.hosts.iter().any(|allowed| allowed.covers(host, port))
    }

    /// Decides whether the host of `address` may have a private address, given the registered address of its
    /// repository. Returns an error if the address must not be contacted.
    pub fn check(
        &self,
        address: &RepositoryAddress,
        registered: Option<&RepositoryAddress>,
    ) -> Result<bool, AddressPolicyError> {
        let endpoint = |of: &RepositoryAddress| (of.host().clone(), of.port());
        let registered = registered.filter(|registered| endpoint(registered) == endpoint(address));
        if address.scheme() == Scheme::Http
            && !self.allow_http
            && registered.is_none_or(|registered| registered.scheme() != Scheme::Http)
        {
            return Err(AddressPolicyError::Http);
        }
        let allowed = registered.is_some() || self.allows(address.host(), address.port());
        if !allowed && address.host().is_private_ip() {
            return Err(AddressPolicyError::Private);
        }
        Ok(allowed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{AddressPolicy, AddressPolicyError};
    use crate::repository::RepositoryAddress;

    fn address(text: &str) -> RepositoryAddress {
        RepositoryAddress::parse(text).unwrap()
    }

    #[test]
    fn private_hosts_need_permission_or_registration_with_their_port() {
        let strict = AddressPolicy::default();
        let allowing =
            AddressPolicy { hosts: vec!["10.0.0.5:3000".parse().unwrap()], ..AddressPolicy::default() };
        let (private, other_port) = (address("https://10.0.0.5:3000/a/b"), address("https://10.0.0.5/a/b"));
        assert_eq!(strict.check(&private, None), Err(AddressPolicyError::Private));
        assert_eq!(strict.check(&private, Some(&private)), Ok(true));
        assert_eq!(strict.check(&private, Some(&other_port)), Err(AddressPolicyError::Private));
        assert_eq!(allowing.check(&private, None), Ok(true));
        assert_eq!(allowing.check(&other_port, None), Err(AddressPolicyError::Private));
        assert_eq!(strict.check(&address("git@git.example.org:a/b"), None), Ok(false));
        let plain = address("http://git.example.org/a/b");
        assert_eq!(strict.check(&plain, None), Err(AddressPolicyError::Http));
        assert_eq!(
            strict.check(&plain, Some(&address("https://git.example.org/a/b"))),
            Err(AddressPolicyError::Http)
        );
        assert_eq!(strict.check(&plain, Some(&plain)), Ok(true));
        assert_eq!(AddressPolicy { allow_http: true, ..strict }.check(&plain, None), Ok(false));
        assert_eq!(AddressPolicy::unrestricted().check(&address("http://127.0.0.1:1/a"), None), Ok(true));
    }
}
