//! Addresses of repositories on a network, read once and by one parser.

use super::host::{HostError, HostName};
use std::{fmt, fmt::Write as _, str::FromStr};

/// The longest address.
pub const MAX_ADDRESS_LEN: usize = 1000;

/// How a repository is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// HTTP with TLS.
    Https,
    /// HTTP without.
    Http,
    /// SSH.
    Ssh,
    /// Git's own protocol, which nobody signs in to.
    Git,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Https, Self::Http, Self::Ssh, Self::Git];

    /// As it stands in an address.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::Git => "git",
        }
    }

    /// The port where none is said.
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

/// The address of a repository on a network. It holds no password, and nothing that git could take for anything else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryAddress {
    scheme: Scheme,
    /// Who signs in, over SSH.
    user: Option<String>,
    host: HostName,
    /// The port, unless it is the scheme's.
    port: Option<u16>,
    /// Below the server's root, without a slash at either end.
    path: String,
    /// Whether the path begins in the user's directory: `host:path`.
    from_home: bool,
}

/// Who signs in, and with what.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password or token; empty: there is none.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Why a text is no address of a repository on a network. It never shows the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is none.
    #[error("the repository's address is empty")]
    Empty,
    /// It is too long.
    #[error("the repository's address is longer than {MAX_ADDRESS_LEN} bytes")]
    TooLong,
    /// It begins with `-`.
    #[error("the repository's address begins with `-`")]
    Dash,
    /// It has characters that no address needs.
    #[error(
        "the repository's address has characters that none needs, such as spaces, control characters, quotes or `\\`"
    )]
    Characters,
    /// It names a program of git.
    #[error("the repository's address names a transport program of git (`name::address`)")]
    Transport,
    /// The scheme is another.
    #[error("the repository's address begins with none of https://, http://, ssh://, git:// and user@host:")]
    UnknownScheme,
    /// It is a path of some machine.
    #[error("the repository's address is a path of one machine (or file://), and not of a network")]
    LocalPath,
    /// It is neither.
    #[error(
        "the repository's address has no scheme; write https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH"
    )]
    NoScheme,
    /// It may be a host with a port, or a path.
    #[error(
        "the repository's address can be read in two ways; write ssh://HOST/PATH, or https://HOST:PORT/PATH"
    )]
    Ambiguous,
    /// It has a query or a fragment.
    #[error("the repository's address has a `?` or `#`")]
    Query,
    /// It has a user where that is, or may be, a secret.
    #[error(
        "the repository's address has a user name or a password in it; give credentials by a credential helper of git or an SSH key"
    )]
    Credentials,
    /// What stands before the `@` is no user.
    #[error("what stands before the `@` of the repository's address is no user name")]
    User,
    /// The host is none.
    #[error("the repository's address is not valid: {0}")]
    Host(#[from] HostError),
    /// There is no path.
    #[error("the repository's address has no path")]
    EmptyPath,
    /// The path has an empty part, `.` or `..`, or ends with `.git` twice.
    #[error("the path of the repository's address has an empty part, `.` or `..`, or ends with `.git` twice")]
    DotSegment,
    /// The path has an encoded character that hides what it is.
    #[error(
        "the path of the repository's address has a percent sign that encodes a separator, a dot, a control character, or nothing"
    )]
    Encoding,
    /// `file://host/path`.
    #[error("a file's address names a host; write file:///PATH")]
    FileHost,
}

impl RepositoryAddress {
    /// The address that `text` is: `https://`, `http://`, `ssh://`, `git://` or `user@host:path`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match Self::parse_with_credentials(text)? {
            (address, None) => Ok(address),
            (_, Some(_)) => Err(AddressError::Credentials),
        }
    }

    /// The same, with the credentials that it has in it taken off.
    pub fn parse_with_credentials(text: &str) -> Result<(Self, Option<Credentials>), AddressError> {
        check(text)?;
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme_of(scheme)?, rest),
            None => return Ok((of_scp(text)?, None)),
        };
        let (authority, path) = rest.split_once('/').ok_or(AddressError::EmptyPath)?;
        let (userinfo, place) = match authority.rsplit_once('@') {
            Some((userinfo, place)) => (Some(userinfo), place),
            None => (None, authority),
        };
        let (host, port) = HostName::parse_with_port(place)?;
        let (mut user, mut credentials) = (None, None);
        if let Some(userinfo) = userinfo {
            match scheme {
                Scheme::Ssh => user = Some(user_of(userinfo)?),
                Scheme::Https | Scheme::Http => credentials = Some(credentials_of(userinfo)?),
                Scheme::Git => return Err(AddressError::Credentials),
            }
        }
        let port = port.filter(|port| *port != scheme.port());
        let path = path_of(path)?;
        Ok((Self { scheme, user, host, port, path, from_home: false }, credentials))
    }

    /// How it is fetched.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &HostName {
        &self.host
    }

    /// The port, said or not.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.port())
    }

    /// The path below the server's root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The repository's name: `host/path`, or `host:port/path` where the port is not the scheme's.
    #[must_use]
    pub fn canonical(&self) -> String {
        name(&self.host, self.port, &self.path)
    }

    /// What git is given: made of the parts, so that git cannot read it in another way.
    #[must_use]
    pub fn to_git_url(&self) -> String {
        self.git_url_at(&self.host, self.port)
    }

    /// The same at another host, such as the IP address that its name has.
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
        format!("{}://{user}{host}{port}/{}", self.scheme.word(), self.path)
    }

    /// `https://host:port`: what credentials are for.
    #[must_use]
    pub fn origin(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.scheme.word(), self.host)
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

/// What holds of every address, whatever its form.
fn check(text: &str) -> Result<(), AddressError> {
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
    // As git sees it: letters and digits, then `::`.
    let word = text.find(|one: char| !one.is_ascii_alphanumeric()).unwrap_or(text.len());
    if text[word..].starts_with("::") {
        return Err(AddressError::Transport);
    }
    Ok(())
}

fn scheme_of(text: &str) -> Result<Scheme, AddressError> {
    let known = Scheme::ALL.into_iter().find(|scheme| scheme.word().eq_ignore_ascii_case(text));
    known.ok_or({
        if text.eq_ignore_ascii_case("file") || text.contains('/') {
            AddressError::LocalPath
        } else {
            AddressError::UnknownScheme
        }
    })
}

/// `user@host:path`, as scp has it; git takes it so where no slash comes before the colon.
fn of_scp(text: &str) -> Result<RepositoryAddress, AddressError> {
    // The colon of an IPv6 address is none.
    let from = text.find(']').unwrap_or(0);
    let colon = text[from..].find(':').map(|at| at + from);
    let slash = text.find('/').unwrap_or(text.len());
    let Some(colon) = colon.filter(|colon| *colon < slash) else {
        let is_path = text.starts_with(['/', '.', '~']);
        return Err(if is_path { AddressError::LocalPath } else { AddressError::NoScheme });
    };
    let (place, path) = (&text[..colon], &text[colon + 1..]);
    let (user, host) = match place.rsplit_once('@') {
        Some((user, host)) => (Some(user_of(user)?), host),
        None => (None, place),
    };
    let from_home = !path.starts_with('/');
    let path = path_of(path.strip_prefix('/').unwrap_or(path))?;
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

fn user_of(text: &str) -> Result<String, AddressError> {
    if text.contains([':', '@']) {
        return Err(AddressError::Credentials);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(fits) {
        return Err(AddressError::User);
    }
    Ok(text.to_owned())
}

fn credentials_of(text: &str) -> Result<Credentials, AddressError> {
    if text.is_empty() || text.contains('@') {
        return Err(AddressError::User);
    }
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text: &str| decoded(text).filter(|text| !text.contains(char::is_control));
    match (decoded(user), decoded(password)) {
        (Some(user), Some(password)) => Ok(Credentials { user, password }),
        _ => Err(AddressError::User),
    }
}

/// Without percent signs; `None`: they encode no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' { encoded(rest.next()?, rest.next()?)? } else { byte };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

/// The byte of two hex digits.
fn encoded(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Whether these characters can stand in a path, or a label.
pub(super) fn is_path_text(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+@=,:;!$&()*%".contains(&byte);
    !text.is_empty() && text.len() <= MAX_ADDRESS_LEN && text.bytes().all(fits)
}

/// A path as all addresses have it: no slash at its ends, and no two ways to write one character.
fn path_of(text: &str) -> Result<String, AddressError> {
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
            let hex = bytes.next().zip(bytes.next()).and_then(|(high, low)| encoded(high, low));
            match hex.ok_or(AddressError::Encoding)? {
                b'/' | b'\\' | b'.' | b'%' | 0..=0x1f | 0x7f => return Err(AddressError::Encoding),
                byte if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) => path.push(char::from(byte)),
                byte => {
                    let _ = write!(path, "%{byte:02X}");
                }
            }
        }
    }
    // What names leave out stands there once.
    if path.ends_with(".git.git") {
        return Err(AddressError::DotSegment);
    }
    Ok(path)
}

fn name(host: &HostName, port: Option<u16>, path: &str) -> String {
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{host}{port}/{}", without_suffix(path))
}

/// Without what makes no difference at its end.
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

/// The name that `place/path` is, which was a name before.
pub(super) fn name_of(place: &str, path: &str) -> Result<String, AddressError> {
    let (host, port) = HostName::parse_with_port(place)?;
    Ok(name(&host, port, &path_of(path)?))
}
