//! Host names and IP addresses in a canonical form.

use super::public::is_public;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};
use url::{Host, Url};

/// Maximum length of a host name.
const MAX_HOST_LEN: usize = 253;

/// A host in canonical form: a lowercase name, or an IP address in its standard form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName {
    text: String,
    ip: Option<IpAddr>,
}

/// Why a text is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The host is missing.
    #[error("the host is missing")]
    Empty,
    /// The host is not valid.
    #[error("the host is not a name of letters, digits, `-`, `_` and `.`, nor an IP address")]
    Invalid,
    /// The host is not in canonical form.
    #[error("the host is an IP address in an unusual form; write it as 192.0.2.1 or [2001:db8::1]")]
    NotCanonical,
    /// The port is not valid.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl HostName {
    /// Parses a host; IPv6 addresses must be in brackets.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > MAX_HOST_LEN {
            return Err(HostError::Invalid);
        }
        let lower = text.to_ascii_lowercase();
        let is_bracketed = lower.starts_with('[');
        let is_allowed = |byte: u8| match byte {
            b'[' | b']' | b':' => is_bracketed,
            byte => byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'),
        };
        if !lower.bytes().all(is_allowed) || lower.starts_with('-') || lower.ends_with('.') {
            return Err(HostError::Invalid);
        }
        let parsed = Url::parse(&format!("https://{lower}/")).map_err(|_| HostError::Invalid)?;
        // A host that the URL parser would rewrite is rejected, because other programs may interpret it differently.
        if parsed.host_str() != Some(lower.as_str()) {
            return Err(HostError::NotCanonical);
        }
        let ip = match parsed.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(name)) if name.split('.').any(str::is_empty) => return Err(HostError::Invalid),
            Some(Host::Domain(_)) => None,
            None => return Err(HostError::Empty),
        };
        Ok(Self { text: lower, ip })
    }

    /// Parses an authority without user, such as `host:port` or `[::1]`.
    pub fn parse_with_port(text: &str) -> Result<(Self, Option<u16>), HostError> {
        let (host, port) = match text.rfind(']') {
            Some(end) => {
                let (host, rest) = text.split_at(end + 1);
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(HostError::Invalid),
                }
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(|text| match text.parse::<u16>() {
            Ok(port) if port > 0 && port.to_string() == text => Ok(port),
            _ => Err(HostError::Port),
        });
        Ok((Self::parse(host)?, port.transpose()?))
    }

    /// Creates the host of an IP address.
    #[must_use]
    pub fn from_ip(ip: IpAddr) -> Self {
        let text = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => Host::<String>::Ipv6(ip).to_string(),
        };
        Self { text, ip: Some(ip) }
    }

    /// Returns the host as written in an address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the IP address, unless the host is a name.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Whether it is an IP address that is not public.
    #[must_use]
    pub fn is_private_ip(&self) -> bool {
        self.ip.is_some_and(|ip| !is_public(ip))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A host that an operator allows, `HOST` or `HOST:PORT`. Without a port, the default ports of git's protocols are
/// allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    host: HostName,
    port: Option<u16>,
}

impl HostPort {
    /// The default ports of git's protocols.
    const DEFAULT_PORTS: [u16; 4] = [22, 80, 443, 9418];

    /// Whether it allows this host and port.
    #[must_use]
    pub fn covers(&self, host: &HostName, port: u16) -> bool {
        self.host == *host
            && self.port.map_or_else(|| Self::DEFAULT_PORTS.contains(&port), |allowed| allowed == port)
    }
}

impl FromStr for HostPort {
    type Err = HostError;
    fn from_str(text: &str) -> Result<Self, HostError> {
        let (host, port) = HostName::parse_with_port(text)?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

impl From<Ipv4Addr> for HostName {
    fn from(ip: Ipv4Addr) -> Self {
        Self::from_ip(IpAddr::V4(ip))
    }
}

impl From<Ipv6Addr> for HostName {
    fn from(ip: Ipv6Addr) -> Self {
        Self::from_ip(IpAddr::V6(ip))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{HostError, HostName, HostPort};

    #[test]
    fn unusual_hosts_return_typed_errors() {
        for text in [
            "0x7f.0.0.1",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "127.0.0.01",
            "[0:0::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(HostName::parse(text), Err(HostError::NotCanonical), "{text}");
        }
        for text in [
            "host.",
            "a..b",
            "-x",
            "h%6fst",
            "h\u{f6}st",
            "[fe80::1%25eth0]",
            "[::1",
            "::1",
            "a b",
            "1.2.3.999",
            "a@b",
            "xn--a",
        ] {
            assert!(HostName::parse(text).is_err(), "{text}");
        }
        assert_eq!(HostName::parse(""), Err(HostError::Empty));
        for text in ["h:", "h:0", "h:65536", "h:022", "h:+1", "[::1]x", "[::1]:"] {
            assert!(HostName::parse_with_port(text).is_err(), "{text}");
        }
        for text in ["git.example.org", "127.0.0.1", "[::1]", "x", "a_b-c.d", "xn--bcher-kva.example"] {
            assert_eq!(HostName::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn allowed_host_covers_its_port_only() {
        let host = |text| HostName::parse(text).unwrap();
        let with_port: HostPort = "10.0.0.5:3000".parse().unwrap();
        assert!(with_port.covers(&host("10.0.0.5"), 3000) && !with_port.covers(&host("10.0.0.5"), 22));
        let without_port: HostPort = "Git.Corp.example".parse().unwrap();
        assert!(
            without_port.covers(&host("git.corp.example"), 443)
                && !without_port.covers(&host("git.corp.example"), 8443)
        );
        assert!(!without_port.covers(&host("other.corp.example"), 443));
        assert_eq!(with_port.to_string(), "10.0.0.5:3000");
    }
}
