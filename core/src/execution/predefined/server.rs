//! The variables about the git server of a repository.

use crate::repository::{RepositoryAddress, Scheme};

/// Where the pages of a server are.
struct Pages {
    protocol: &'static str,
    host: String,
    port: u16,
    /// The host, with the port if it is not the usual one.
    name: String,
}

impl Pages {
    /// Returns those of the server of `address`. One that is reached with SSH has its pages at the usual port of HTTPS.
    fn of(address: &RepositoryAddress) -> Self {
        let scheme = if address.scheme() == Scheme::Http { Scheme::Http } else { Scheme::Https };
        let port = if address.scheme() == scheme { address.port() } else { scheme.port() };
        let host = address.host().to_string();
        let name = if port == scheme.port() { host.clone() } else { format!("{host}:{port}") };
        Self { protocol: scheme.as_str(), host, port, name }
    }
}

/// Returns the address of the server's pages.
pub(super) fn url(address: &RepositoryAddress) -> String {
    let Pages { protocol, name, .. } = Pages::of(address);
    format!("{protocol}://{name}")
}

/// Returns the variables about the server.
pub(super) fn variables(address: &RepositoryAddress) -> [(&'static str, String); 5] {
    let Pages { protocol, host, port, name } = Pages::of(address);
    [
        ("CI_SERVER_URL", url(address)),
        ("CI_SERVER_FQDN", name),
        ("CI_SERVER_HOST", host),
        ("CI_SERVER_PORT", port.to_string()),
        ("CI_SERVER_PROTOCOL", protocol.to_owned()),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::variables;
    use crate::repository::RepositoryAddress;

    #[test]
    fn server_is_that_of_the_pages() {
        for (address, expected) in [
            ("https://git.example.com/a/b.git", ["https://git.example.com", "git.example.com", "443"]),
            ("http://127.0.0.1:8418/a/b", ["http://127.0.0.1:8418", "127.0.0.1:8418", "8418"]),
            ("git@git.example.com:a/b.git", ["https://git.example.com", "git.example.com", "443"]),
            ("ssh://git@git.example.com:2222/a/b", ["https://git.example.com", "git.example.com", "443"]),
        ] {
            let address = RepositoryAddress::parse(address).unwrap();
            let [(_, url), (_, name), (_, host), (_, port), _] = variables(&address);
            assert_eq!([url.as_str(), name.as_str(), port.as_str()], expected);
            assert_eq!(name.split(':').next(), Some(host.as_str()));
        }
    }
}
