//! Credentials with which workers fetch a repository.

use super::{Credentials, RepositoryAddress, Scheme};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Maximum length of a token in bytes.
pub const MAX_TOKEN_LEN: usize = 16 << 10;
/// Minimum length of a token in bytes: shorter values could not be masked.
pub const MIN_TOKEN_LEN: usize = 4;
/// Maximum length of an SSH key, and of its host keys, in bytes.
pub const MAX_KEY_LEN: usize = 32 << 10;
const MAX_USER_LEN: usize = 256;

/// A credential of a repository. It applies to the host of the repository's address, and to no other.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RepositoryCredential {
    /// A token or password, for addresses with `https://` or `http://`.
    Token {
        /// The user's name.
        user: String,
        /// The token.
        token: String,
    },
    /// An SSH key, for addresses with `ssh://`, or `user@host:path`.
    SshKey {
        /// The private key, without a passphrase, in the form that OpenSSH writes.
        key: String,
        /// The host's keys, in the form of OpenSSH's `known_hosts`.
        known_hosts: String,
    },
}

impl fmt::Debug for RepositoryCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RepositoryCredential").field(&self.kind()).finish()
    }
}

/// The kind of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A token or password.
    Token,
    /// An SSH key.
    SshKey,
}

impl CredentialKind {
    /// Returns the kind that addresses with `scheme` need; `None`: the scheme has no authentication.
    #[must_use]
    pub const fn of_scheme(scheme: Scheme) -> Option<Self> {
        match scheme {
            Scheme::Https | Scheme::Http => Some(Self::Token),
            Scheme::Ssh => Some(Self::SshKey),
            Scheme::Git => None,
        }
    }

    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::SshKey => "SSH key",
        }
    }
}

/// Why a credential cannot be stored for a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The kind does not fit the address.
    #[error("an address that begins with {0}:// needs {1}")]
    Kind(&'static str, &'static str),
    /// The user's name is not usable.
    #[error("the user name of a token has 1 to {MAX_USER_LEN} bytes, without `:` and control characters")]
    User,
    /// The token is not usable.
    #[error("a token has {MIN_TOKEN_LEN} to {MAX_TOKEN_LEN} bytes of visible ASCII characters, on one line")]
    Token,
    /// The key is not in the form that OpenSSH writes.
    #[error(
        "this is not a private SSH key: it must begin with `-----BEGIN` and have at most {MAX_KEY_LEN} bytes"
    )]
    Key,
    /// The host's keys are missing.
    #[error(
        "the host's keys are missing or longer than {MAX_KEY_LEN} bytes; `ssh-keyscan HOST` prints them, and your git \
         provider publishes them to compare"
    )]
    KnownHosts,
}

impl RepositoryCredential {
    /// Returns its kind.
    #[must_use]
    pub const fn kind(&self) -> CredentialKind {
        match self {
            Self::Token { .. } => CredentialKind::Token,
            Self::SshKey { .. } => CredentialKind::SshKey,
        }
    }

    /// Checks that it is complete and can be used for `address`.
    pub fn check(&self, address: &RepositoryAddress) -> Result<(), CredentialError> {
        let scheme = address.scheme();
        if CredentialKind::of_scheme(scheme) != Some(self.kind()) {
            let wanted = match CredentialKind::of_scheme(scheme) {
                Some(CredentialKind::Token) => "a token",
                Some(CredentialKind::SshKey) => "an SSH key and the keys of its host",
                None => "no credential, as the protocol has no authentication",
            };
            return Err(CredentialError::Kind(scheme.as_str(), wanted));
        }
        match self {
            Self::Token { user, token } => {
                let is_user = !user.is_empty()
                    && user.len() <= MAX_USER_LEN
                    && !user.contains(|c: char| c.is_control() || c == ':');
                if !is_user {
                    return Err(CredentialError::User);
                }
                let is_token = (MIN_TOKEN_LEN..=MAX_TOKEN_LEN).contains(&token.len())
                    && token.bytes().all(|byte| byte.is_ascii_graphic());
                is_token.then_some(()).ok_or(CredentialError::Token)
            }
            Self::SshKey { key, known_hosts } => {
                let is_text = |text: &str| text.len() <= MAX_KEY_LEN && !text.contains('\0');
                if !key.starts_with("-----BEGIN ") || !is_text(key) {
                    return Err(CredentialError::Key);
                }
                let has_hosts = known_hosts.lines().any(|line| {
                    let line = line.trim();
                    !line.is_empty() && !line.starts_with('#')
                });
                (has_hosts && is_text(known_hosts)).then_some(()).ok_or(CredentialError::KnownHosts)
            }
        }
    }
}

/// A credential as passed to a worker with a job of its repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceCredential {
    /// The registered address of the repository, whose host the credential is for.
    pub url: String,
    /// The credential.
    pub credential: RepositoryCredential,
    /// Whether the job itself gets it, to push.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_push: bool,
}

impl SourceCredential {
    /// Whether `address` is on the host, and of the protocol, that the credential is for.
    #[must_use]
    pub fn applies_to(&self, address: &RepositoryAddress) -> bool {
        RepositoryAddress::parse(&self.url).is_ok_and(|own| own.origin() == address.origin())
    }

    /// Returns the user and token for `address`, if it has them.
    #[must_use]
    pub fn http_credentials(&self, address: &RepositoryAddress) -> Option<Credentials> {
        match &self.credential {
            RepositoryCredential::Token { user, token } if self.applies_to(address) => {
                Some(Credentials { user: user.clone(), password: token.clone() })
            }
            _ => None,
        }
    }

    /// Returns the text that must not be shown.
    #[must_use]
    pub fn secret(&self) -> &str {
        match &self.credential {
            RepositoryCredential::Token { token, .. } => token,
            RepositoryCredential::SshKey { key, .. } => key,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CredentialError, RepositoryCredential, SourceCredential};
    use crate::repository::RepositoryAddress;

    fn address(text: &str) -> RepositoryAddress {
        RepositoryAddress::parse(text).unwrap()
    }

    fn token(user: &str, token: &str) -> RepositoryCredential {
        RepositoryCredential::Token { user: user.into(), token: token.into() }
    }

    #[test]
    fn credential_must_fit_its_address_and_be_complete() {
        let https = address("https://git.example.org/a.git");
        let ssh = address("git@git.example.org:a.git");
        let key = |key: &str, hosts: &str| RepositoryCredential::SshKey {
            key: key.into(),
            known_hosts: hosts.into(),
        };
        let good = key("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n", "git.example.org ssh-ed25519 AAAA\n");
        assert_eq!(token("ci", "abcd").check(&https), Ok(()));
        assert_eq!(good.check(&ssh), Ok(()));
        for (credential, address) in [
            (token("ci", "abcd"), &ssh),
            (token("", "abcd"), &https),
            (token("a:b", "abcd"), &https),
            (token("ci", "abc"), &https),
            (token("ci", "two words"), &https),
            (token("ci", "two\nlines"), &https),
            (token("ci", &"x".repeat((16 << 10) + 1)), &https),
            (good.clone(), &https),
            (key("ssh-ed25519 AAAA", "h ssh-ed25519 AAAA"), &ssh),
            (key("-----BEGIN X", "# only a comment\n"), &ssh),
        ] {
            assert!(credential.check(address).is_err(), "{address}");
        }
        let error = token("ci", "abcd").check(&address("git://git.example.org/a.git")).unwrap_err();
        assert!(matches!(error, CredentialError::Kind("git", _)), "{error}");
        assert!(!format!("{good:?} {:?}", token("ci", "abcd")).contains("abcd"));
    }

    #[test]
    fn credential_applies_to_its_own_host_and_protocol_only() {
        let url = "https://git.example.org/team/app.git".to_owned();
        let credential = SourceCredential { url, credential: token("ci", "abcd"), may_push: false };
        for (other, applies) in [
            ("https://git.example.org/team/lib.git", true),
            ("https://GIT.example.org/team/app", true),
            ("https://git.example.org:8443/team/app.git", false),
            ("http://git.example.org/team/app.git", false),
            ("https://git.example.org.evil.example/team/app.git", false),
            ("https://example.org/team/app.git", false),
            ("git@git.example.org:team/app.git", false),
        ] {
            assert_eq!(credential.http_credentials(&address(other)).is_some(), applies, "{other}");
        }
    }
}
