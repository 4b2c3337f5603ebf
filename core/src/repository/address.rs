//! Addresses of repositories on a network, parsed in one place.

use super::host::{HostError, HostName};
use std::{fmt, fmt::Write as _, str::FromStr};

/// Maximum length of an address.
pub const MAX_ADDRESS_LEN: usize = 1000;

/// The protocol with which a repository is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// HTTP with TLS.
    Https,
    /// HTTP without TLS.
    Http,
    /// SSH.
    Ssh,
    /// Git's own protocol, without authentication.
    Git,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 4] = [Self::Https, Self::Http, Self::Ssh, Self::Git];

    /// Returns the scheme as written in an address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::Git => "git",
        }
    }

    /// Returns the default port.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Ssh => 22,
            Self::Git => 9418,
        }
    }
}

/// The address of a repository on a network. It contains no password, and git cannot interpret it as anything else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryAddress {
    scheme: Scheme,
    /// The SSH user.
    user: Option<String>,
    host: HostName,
    /// The port, unless it is the scheme's default.
    port: Option<u16>,
    /// Path below the server's root, without a slash at either end.
    path: String,
    /// Whether the path is relative to the user's home directory: `host:path`.
    from_home: bool,
}

/// User and password of an address.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password or token; may be empty.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Why a text is not the address of a repository on a network. The message never contains the text, which may hold a
/// password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address is empty.
    #[error("the repository's address is empty")]
    Empty,
    /// The address is too long.
    #[error("the repository's address is longer than {MAX_ADDRESS_LEN} bytes")]
    TooLong,
    /// The address begins with `-`.
    #[error("the repository's address begins with `-`")]
    Dash,
    /// The address has invalid characters.
    #[error(
        "the repository's address has invalid characters, such as spaces, control characters, quotes or `\\`"
    )]
    Characters,
    /// The address names a transport program of git.
    #[error("the repository's address names a transport program of git (`name::address`)")]
    Transport,
    /// The scheme is not supported.
    #[error("the repository's address must begin with https://, http://, ssh://, git:// or user@host:")]
    UnknownScheme,
    /// The address is a local path.
    #[error(
        "the repository's address is a local path (or file://), which workers on other machines cannot reach"
    )]
    LocalPath,
    /// The address has no scheme.
    #[error(
        "the repository's address has no scheme: write https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH"
    )]
    NoScheme,
    /// The address could be a host with a port, or a path.
    #[error("the repository's address is ambiguous: write ssh://HOST/PATH, or https://HOST:PORT/PATH")]
    Ambiguous,
    /// The address has a query or a fragment.
    #[error("the repository's address has a `?` or `#`")]
    Query,
    /// The address has a user name where it is, or may be, a secret.
    #[error(
        "the repository's address contains a user name or a password: use a git credential helper or an SSH key instead"
    )]
    Credentials,
    /// The part before the `@` is not a valid user name.
    #[error("the part before the `@` in the repository's address is not a valid user name")]
    User,
    /// The host is not valid.
    #[error("the repository's address is not valid: {0}")]
    Host(#[from] HostError),
    /// The path is missing.
    #[error("the repository's address has no path")]
    EmptyPath,
    /// The path has an empty segment, `.` or `..`, or ends with `.git` twice.
    #[error(
        "the path of the repository's address has an empty segment, `.` or `..`, or ends with `.git` twice"
    )]
    DotSegment,
    /// The path has a percent-encoded character that must not be encoded.
    #[error(
        "the path of the repository's address contains an invalid percent-encoding, or one of a separator, a dot or a control character"
    )]
    Encoding,
    /// The address has the form `file://host/path`.
    #[error("a file:// address names a host: write file:///PATH")]
    FileHost,
}

impl RepositoryAddress {
    /// Parses an address: `https://`, `http://`, `ssh://`, `git://` or `user@host:path`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match Self::parse_with_credentials(text)? {
            (address, None) => Ok(address),
            (_, Some(_)) => Err(AddressError::Credentials),
        }
    }

    /// Parses an address that may contain credentials, and returns them separately.
    pub fn parse_with_credentials(text: &str) -> Result<(Self, Option<Credentials>), AddressError> {
        check_common(text)?;
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (parse_scheme(scheme)?, rest),
            None => return Ok((parse_scp(text)?, None)),
        };
        let (authority, path) = rest.split_once('/').ok_or(AddressError::EmptyPath)?;
        let (userinfo, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo), authority),
            None => (None, authority),
        };
        let (host, port) = HostName::parse_with_port(authority)?;
        let (mut user, mut credentials) = (None, None);
        if let Some(userinfo) = userinfo {
            match scheme {
                Scheme::Ssh => user = Some(parse_user(userinfo)?),
                Scheme::Https | Scheme::Http => credentials = Some(parse_credentials(userinfo)?),
                Scheme::Git => return Err(AddressError::Credentials),
            }
        }
        let port = port.filter(|port| *port != scheme.port());
        let path = normalize_path(path)?;
        Ok((Self { scheme, user, host, port, path, from_home: false }, credentials))
    }

    /// Returns the scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host.
    #[must_use]
    pub const fn host(&self) -> &HostName {
        &self.host
    }

    /// Returns the port, which may be the scheme's default.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.port())
    }

    /// Returns the path below the server's root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the repository's name: `host/path`, or `host:port/path` if the port is not the scheme's default.
    #[must_use]
    pub fn canonical(&self) -> String {
        name(&self.host, self.port, &self.path)
    }

    /// Returns the URL for git, assembled from the parsed parts so that git cannot interpret it differently.
    #[must_use]
    pub fn to_git_url(&self) -> String {
        self.git_url_at(&self.host, self.port)
    }

    /// Returns the URL for git with another host, such as the resolved IP address.
    #[must_use]
    pub fn git_url_at_host(&self, host: &HostName) -> String {
        self.git_url_at(host, self.port)
    }

    fn git_url_at(&self, host: &HostName, port: Option<u16>) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        if self.from_home {
            return format!("{user}{host}:{}", self.path);
        }
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{user}{host}{port}/{}", self.scheme.as_str(), self.path)
    }

    /// Returns the address of another repository of the same server. Like this one, it ends with `.git` or does not.
    pub fn sibling(&self, path: &str) -> Result<Self, AddressError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        check_common(path)?;
        let mut path = normalize_path(path)?;
        let is_bare = |path: &str| path.strip_suffix(".git").is_some();
        if is_bare(&self.path) && !is_bare(&path) {
            path.push_str(".git");
        }
        Ok(Self { path, ..self.clone() })
    }

    /// Returns `https://host:port`, the origin that credentials apply to.
    #[must_use]
    pub fn origin(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.scheme.as_str(), self.host)
    }
}

impl fmt::Display for RepositoryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_git_url())
    }
}

impl FromStr for RepositoryAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// Checks that apply to addresses of every form.
fn check_common(text: &str) -> Result<(), AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if text.len() > MAX_ADDRESS_LEN {
        return Err(AddressError::TooLong);
    }
    if text.starts_with('-') {
        return Err(AddressError::Dash);
    }
    if text.contains(['?', '#']) {
        return Err(AddressError::Query);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte)) {
        return Err(AddressError::Characters);
    }
    // As git parses it: letters and digits, then `::`.
    let end = text.find(|one: char| !one.is_ascii_alphanumeric()).unwrap_or(text.len());
    if text[end..].starts_with("::") {
        return Err(AddressError::Transport);
    }
    Ok(())
}

fn parse_scheme(text: &str) -> Result<Scheme, AddressError> {
    let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.as_str().eq_ignore_ascii_case(text));
    scheme.ok_or({
        if text.eq_ignore_ascii_case("file") || text.contains('/') {
            AddressError::LocalPath
        } else {
            AddressError::UnknownScheme
        }
    })
}

/// Parses `user@host:path`, the form of scp; git uses it if no slash precedes the colon.
fn parse_scp(text: &str) -> Result<RepositoryAddress, AddressError> {
    // A colon within an IPv6 address does not count.
    let from = text.find(']').unwrap_or(0);
    let colon = text[from..].find(':').map(|at| at + from);
    let slash = text.find('/').unwrap_or(text.len());
    let Some(colon) = colon.filter(|colon| *colon < slash) else {
        let is_path = text.starts_with(['/', '.', '~']);
        return Err(if is_path { AddressError::LocalPath } else { AddressError::NoScheme });
    };
    let (authority, path) = (&text[..colon], &text[colon + 1..]);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(parse_user(user)?), host),
        None => (None, authority),
    };
    let from_home = !path.starts_with('/');
    let path = normalize_path(path.strip_prefix('/').unwrap_or(path))?;
    if user.is_none() && (host.len() == 1 || path.split('/').next().is_some_and(is_number)) {
        return Err(AddressError::Ambiguous);
    }
    let host = HostName::parse(host)?;
    if path.starts_with('-') {
        return Err(AddressError::Dash);
    }
    Ok(RepositoryAddress { scheme: Scheme::Ssh, user, host, port: None, path, from_home })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_user(text: &str) -> Result<String, AddressError> {
    if text.contains([':', '@']) {
        return Err(AddressError::Credentials);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(fits) {
        return Err(AddressError::User);
    }
    Ok(text.to_owned())
}

fn parse_credentials(text: &str) -> Result<Credentials, AddressError> {
    if text.is_empty() || text.contains('@') {
        return Err(AddressError::User);
    }
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let percent_decode = |text: &str| percent_decode(text).filter(|text| !text.contains(char::is_control));
    match (percent_decode(user), percent_decode(password)) {
        (Some(user), Some(password)) => Ok(Credentials { user, password }),
        _ => Err(AddressError::User),
    }
}

/// Decodes percent-encoding; `None` if it is not valid text.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' { hex_byte(rest.next()?, rest.next()?)? } else { byte };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

/// Returns the byte of two hex digits.
fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Whether these characters are allowed in a path or a label.
pub(super) fn is_path_text(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+@=,:;!$&()*%".contains(&byte);
    !text.is_empty() && text.len() <= MAX_ADDRESS_LEN && text.bytes().all(fits)
}

/// Normalizes a path: no slash at its ends, and a single form for each character.
fn normalize_path(text: &str) -> Result<String, AddressError> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Err(AddressError::EmptyPath);
    }
    let mut path = String::with_capacity(text.len());
    for part in text.split('/') {
        if matches!(part, "" | "." | "..") {
            return Err(AddressError::DotSegment);
        }
        if !is_path_text(part) {
            return Err(AddressError::Characters);
        }
        if !path.is_empty() {
            path.push('/');
        }
        let mut bytes = part.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                path.push(char::from(byte));
                continue;
            }
            let hex = bytes.next().zip(bytes.next()).and_then(|(high, low)| hex_byte(high, low));
            match hex.ok_or(AddressError::Encoding)? {
                b'/' | b'\\' | b'.' | b'%' | 0..=0x1f | 0x7f => return Err(AddressError::Encoding),
                byte if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) => path.push(char::from(byte)),
                byte => {
                    let _ = write!(path, "%{byte:02X}");
                }
            }
        }
    }
    // Names omit one `.git` suffix.
    if path.ends_with(".git.git") {
        return Err(AddressError::DotSegment);
    }
    Ok(path)
}

fn name(host: &HostName, port: Option<u16>, path: &str) -> String {
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{host}{port}/{}", without_suffix(path))
}

/// Removes the suffixes that do not distinguish repositories.
pub(super) fn without_suffix(path: &str) -> &str {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let path = if path.is_empty() { "/" } else { path };
    let mut path = path;
    while let Some(shorter) =
        path.strip_suffix(".git").filter(|path| !path.is_empty() && !path.ends_with('/'))
    {
        path = shorter;
    }
    path
}

/// Parses `authority/path`, a repository's name.
pub(super) fn name_of(authority: &str, path: &str) -> Result<String, AddressError> {
    let (host, port) = HostName::parse_with_port(authority)?;
    Ok(name(&host, port, &normalize_path(path)?))
}
