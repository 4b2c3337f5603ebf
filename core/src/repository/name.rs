//! Names of repositories, independent of the form of their address.

use super::address::{
    AddressError, MAX_ADDRESS_LEN, RepositoryAddress, is_path_text, name_of, without_suffix,
};
use std::fmt;

/// The name of a repository, which identifies it for tokens, secrets, caches and schedules.
///
/// The texts of different kinds never coincide: a network name is `host/path` or `host:port/path`, a directory begins
/// with `/`, and a label has no `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepositoryName {
    /// A repository that is reached over a network.
    Network(String),
    /// A repository in a directory of one machine.
    Directory(String),
    /// A name chosen by a user, from which nothing can be fetched.
    Label(String),
}

impl RepositoryName {
    /// Parses an address, a path or a name.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = local_path(text)? {
            return Ok(Self::Directory(without_suffix(&path).to_owned()));
        }
        match RepositoryAddress::parse(text) {
            Ok(address) => return Ok(Self::Network(address.canonical())),
            // A name with a port looks like `host:path`.
            Err(AddressError::NoScheme | AddressError::Ambiguous) => {}
            Err(error) => return Err(error),
        }
        match text.split_once('/') {
            Some((host, path)) => name_of(host, path).map(Self::Network),
            None if is_path_text(text) && !text.starts_with('-') => Ok(Self::Label(text.to_owned())),
            None => Err(AddressError::Characters),
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Network(text) | Self::Directory(text) | Self::Label(text)) = self;
        f.write_str(text)
    }
}

/// Returns the name of the repository at `address`. If it is not valid, returns the text itself, which is the name of
/// no repository.
#[must_use]
pub fn canonical_name(address: &str) -> String {
    RepositoryName::parse(address).map_or_else(|_| address.to_owned(), |name| name.to_string())
}

/// Whether two texts identify the same repository.
#[must_use]
pub fn names_same_repository(one: &str, other: &str) -> bool {
    one == other || canonical_name(one) == canonical_name(other)
}

/// Returns the path if `text` is an absolute path or a `file://` address; otherwise `None`.
pub fn local_path(text: &str) -> Result<Option<String>, AddressError> {
    let is_file = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file://"));
    let path = if is_file { &text[7..] } else { text };
    if !is_file && !path.starts_with('/') {
        return Ok(None);
    }
    if path.len() > MAX_ADDRESS_LEN {
        return Err(AddressError::TooLong);
    }
    // Git decodes a `file://` address, but not a path.
    let is_invalid = |one: char| one.is_control() || (is_file && matches!(one, '%' | '?' | '#' | '\\'));
    if path.contains(is_invalid) {
        return Err(AddressError::Characters);
    }
    if !path.starts_with('/') {
        return Err(AddressError::FileHost);
    }
    if path.split('/').any(|part| part == "..") {
        return Err(AddressError::DotSegment);
    }
    Ok(Some(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{MAX_ADDRESS_LEN, RepositoryName, canonical_name, names_same_repository};

    #[test]
    fn every_address_of_repository_has_one_name() {
        for address in [
            "https://Git.Example.org/team/app.git",
            "https://git.example.org/team/app",
            "https://git.example.org/team/app/",
            "https://git.example.org:443/team/app.git",
            "http://git.example.org:80/team/app",
            "ssh://git@git.example.org:22/team/app.git",
            "git://git.example.org:9418/team/app.git",
            "git@git.example.org:team/app.git",
            "git.example.org:/team/app",
            "git.example.org/team/app",
        ] {
            assert_eq!(canonical_name(address), "git.example.org/team/app", "{address}");
        }
        for (address, name) in [
            ("/srv/git/app.git", "/srv/git/app"),
            ("file:///srv/git/app.git/", "/srv/git/app"),
            ("/srv/git/app/.git", "/srv/git/app/.git"),
            ("/home/me/my work", "/home/me/my work"),
            ("http://127.0.0.1:3000/x/y.git", "127.0.0.1:3000/x/y"),
            ("127.0.0.1:3000/x/y", "127.0.0.1:3000/x/y"),
            ("http://git.example.org:443/x", "git.example.org:443/x"),
            ("ssh://git@[fd00::1]:2222/x.git", "[fd00::1]:2222/x"),
            ("[fd00::1]:2222/x", "[fd00::1]:2222/x"),
            ("app", "app"),
            ("/", "/"),
        ] {
            assert_eq!(canonical_name(address), name, "{address}");
            assert_eq!(canonical_name(name), name, "the name of a name is itself");
        }
    }

    #[test]
    fn names_of_every_kind_have_one_maximum_length() {
        for prefix in ["https://git.example.org/", "git.example.org/", "/srv/", "file:///srv/", "label"] {
            let name = |len: usize| format!("{prefix}{}", "x".repeat(len - prefix.len()));
            let scheme = if prefix.starts_with("file") { "file://".len() } else { 0 };
            let (longest, longer) = (name(MAX_ADDRESS_LEN + scheme), name(MAX_ADDRESS_LEN + 1 + scheme));
            assert!(RepositoryName::parse(&longest).is_ok(), "{prefix}");
            assert!(RepositoryName::parse(&longer).is_err(), "{prefix}");
        }
    }

    #[test]
    fn similar_addresses_have_distinct_names() {
        let app = "https://git.example.org/team/app";
        for other in [
            "http://127.0.0.1:8080?@git.example.org/team/app",
            "http://127.0.0.1:8080#@git.example.org/team/app",
            "http://127.0.0.1\\@git.example.org/team/app",
            "/srv/x://git.example.org/team/app",
            "x/x://git.example.org/team/app",
            "file://git.example.org/team/app",
            "file:///git.example.org/team/app",
            "https://git.example.org:8443/team/app",
            "https://git.example.org/team/app/../other",
            "https://git.example.org/team%2Fapp",
            "https://user:pw@git.example.org/team/app",
            "ext::sh -c git.example.org/team/app",
            "",
        ] {
            assert!(!names_same_repository(other, app), "{other}");
        }
        assert!(matches!(RepositoryName::parse("/srv/x://h/p"), Ok(RepositoryName::Directory(_))));
        assert!(matches!(RepositoryName::parse("here"), Ok(RepositoryName::Label(_))));
        assert!(RepositoryName::parse("").is_err() && RepositoryName::parse("a b").is_err());
    }
}
