//! Logins in the format of `~/.docker/config.json`, which Docker's clients write and `DOCKER_AUTH_CONFIG` holds.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};
use std::fmt;
use tidemill_core::pipeline::RegistryScope;

/// Maximum size of a file or variable in bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;
/// Base64 as clients write it, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A login: a user with a password, or a token.
#[derive(Clone, PartialEq, Eq)]
pub enum Account {
    /// A user name and a password.
    Password {
        /// The user's name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token with which the registry's authorization server issues access tokens.
    IdentityToken {
        /// The user's name, if it is known.
        username: String,
        /// The token.
        token: String,
    },
    /// A bearer token for the registry itself.
    RegistryToken(String),
}

impl Account {
    /// Returns the name of the user, or what stands in for it.
    pub fn user(&self) -> &str {
        match self {
            Self::Password { username, .. } => username,
            Self::IdentityToken { username, .. } if !username.is_empty() => username,
            Self::IdentityToken { .. } | Self::RegistryToken(_) => "<token>",
        }
    }

    /// Returns the part that must not be shown.
    pub fn secret(&self) -> &str {
        match self {
            Self::Password { password, .. } => password,
            Self::IdentityToken { token, .. } | Self::RegistryToken(token) => token,
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("user", &self.user()).finish_non_exhaustive()
    }
}

/// Why a configuration, or an entry of it, cannot be used. Never contains a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is larger than [`MAX_CONFIG_BYTES`].
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// It is not JSON.
    #[error("it is not valid JSON: line {line}, column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// It is JSON, but no object.
    #[error("it is not a JSON object with `auths`, `credHelpers` or `credsStore`")]
    NotAnObject,
    /// The `auth` of an entry is not base64 of `user:password`.
    #[error("its `auth` for this registry is not base64 of `user:password`")]
    InvalidAuth,
}

/// The logins of one configuration.
#[derive(Debug, Default)]
pub struct DockerConfig {
    auths: Vec<(RegistryScope, Result<Account, ConfigError>)>,
    helpers: Vec<(RegistryScope, String)>,
    /// The credential helper for registries that have none of their own.
    pub store: Option<String>,
}

impl DockerConfig {
    /// Parses a configuration. Keys that name no registry are skipped.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge);
        }
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| ConfigError::Syntax { line: error.line(), column: error.column() })?;
        let Value::Object(root) = value else { return Err(ConfigError::NotAnObject) };
        let entries = |name: &str| root.get(name).and_then(Value::as_object).into_iter().flatten();
        let auths = entries("auths").filter_map(|(key, entry)| {
            Some((RegistryScope::parse(key)?, account(entry.as_object()?).transpose()?))
        });
        let helpers = entries("credHelpers")
            .filter_map(|(key, helper)| Some((RegistryScope::parse(key)?, helper.as_str()?.to_owned())));
        Ok(Self {
            auths: auths.collect(),
            helpers: helpers.collect(),
            store: text_of(&root, "credsStore").map(str::to_owned),
        })
    }

    /// Returns the login for `image`, from the entry with the longest path that covers it.
    pub fn account(&self, image: &RegistryScope) -> Option<&Result<Account, ConfigError>> {
        most_specific(&self.auths, image)
    }

    /// Returns the name of the credential helper for `image`.
    pub fn helper(&self, image: &RegistryScope) -> Option<&str> {
        most_specific(&self.helpers, image).map(String::as_str)
    }

    /// Returns the secrets of all logins.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.auths.iter().filter_map(|(_, account)| account.as_ref().ok().map(Account::secret))
    }
}

fn most_specific<'a, T>(entries: &'a [(RegistryScope, T)], image: &RegistryScope) -> Option<&'a T> {
    let covering = entries.iter().filter(|(scope, _)| scope.covers(image));
    covering.max_by_key(|(scope, _)| scope.path.len()).map(|(_, value)| value)
}

/// Returns a text that is not empty.
fn text_of<'a>(entry: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Returns the login of an entry of `auths`; `None` if it has none, as its login is in a credential helper.
fn account(entry: &Map<String, Value>) -> Result<Option<Account>, ConfigError> {
    let text = |name: &str| text_of(entry, name);
    let pair = match text("auth") {
        Some(auth) => Some(decode_auth(auth)?),
        None => {
            text("username").map(|name| (name.to_owned(), text("password").unwrap_or_default().to_owned()))
        }
    };
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Account::RegistryToken(token.to_owned())));
    }
    if let Some(token) = text("identitytoken") {
        let username = pair.map(|(username, _)| username).unwrap_or_default();
        return Ok(Some(Account::IdentityToken { username, token: token.to_owned() }));
    }
    Ok(pair.map(|(username, password)| Account::Password { username, password }))
}

/// Decodes base64 of `user:password`. Old clients pad the password with NUL characters.
fn decode_auth(auth: &str) -> Result<(String, String), ConfigError> {
    let decoded = BASE64.decode(auth.trim()).map_err(|_| ConfigError::InvalidAuth)?;
    let decoded = String::from_utf8(decoded).map_err(|_| ConfigError::InvalidAuth)?;
    let (username, password) = decoded.split_once(':').ok_or(ConfigError::InvalidAuth)?;
    if username.is_empty() {
        return Err(ConfigError::InvalidAuth);
    }
    Ok((username.to_owned(), password.trim_matches('\0').to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Account, ConfigError, DockerConfig, MAX_CONFIG_BYTES};
    use tidemill_core::pipeline::RegistryScope;

    fn password(username: &str, password: &str) -> Account {
        Account::Password { username: username.into(), password: password.into() }
    }

    fn account(text: &str, image: &str) -> Option<Result<Account, ConfigError>> {
        DockerConfig::parse(text.as_bytes()).unwrap().account(&RegistryScope::of_image(image)).cloned()
    }

    #[test]
    fn each_form_of_a_login_is_read() {
        // base64 of `mill:grain:4711`, and the same without padding and with NULs.
        for (entry, expected) in [
            (r#"{"auth":"bWlsbDpncmFpbjo0NzEx"}"#, password("mill", "grain:4711")),
            (r#"{"auth":"bWlsbDpncg"}"#, password("mill", "gr")),
            (r#"{"auth":"bWlsbDpncgAA"}"#, password("mill", "gr")),
            (r#"{"username":"mill","password":"gr"}"#, password("mill", "gr")),
            (
                r#"{"auth":"bWlsbDo=","identitytoken":"t"}"#,
                Account::IdentityToken { username: "mill".into(), token: "t".into() },
            ),
            (r#"{"registrytoken":"t"}"#, Account::RegistryToken("t".into())),
        ] {
            let text = format!(r#"{{"auths":{{"r.example:5000":{entry}}}}}"#);
            assert_eq!(account(&text, "r.example:5000/a:1"), Some(Ok(expected)), "{entry}");
            assert_eq!(account(&text, "r.example/a:1"), None, "the port counts");
        }
    }

    #[test]
    fn docker_hub_has_many_names_and_the_longest_path_wins() {
        for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"] {
            let text = format!(r#"{{"auths":{{"{key}":{{"auth":"bWlsbDpncg=="}}}}}}"#);
            assert_eq!(account(&text, "alpine"), Some(Ok(password("mill", "gr"))), "{key}");
        }
        let text =
            r#"{"auths":{"r.io":{"username":"all"},"r.io/a/b":{"username":"b"},"r.io/a":{"username":"a"}}}"#;
        for (image, user) in [("r.io/a/b/c:1", "b"), ("r.io/a/x", "a"), ("r.io/ab", "all")] {
            assert_eq!(account(text, image), Some(Ok(password(user, ""))), "{image}");
        }
    }

    #[test]
    fn invalid_configurations_are_errors_without_content() {
        let parse = |text: &str| DockerConfig::parse(text.as_bytes());
        assert_eq!(parse("{\n \"x").unwrap_err(), ConfigError::Syntax { line: 2, column: 3 });
        assert_eq!(parse("[]").unwrap_err(), ConfigError::NotAnObject);
        let large = format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_CONFIG_BYTES));
        assert_eq!(parse(&large).unwrap_err(), ConfigError::TooLarge);
        for auth in ["!!!", "bWlsbA==", "OnBhc3M=", "/////w=="] {
            let text = format!(r#"{{"auths":{{"a.io":{{"auth":"{auth}"}},"b.io":{{"username":"b"}}}}}}"#);
            assert_eq!(account(&text, "a.io/x"), Some(Err(ConfigError::InvalidAuth)), "{auth}");
            assert_eq!(account(&text, "b.io/x"), Some(Ok(password("b", ""))), "other entries still count");
        }
        // Wrong types, and entries of logins that a helper has.
        for text in
            ["{}", r#"{"auths":[]}"#, r#"{"auths":{"a.io":{}}}"#, r#"{"auths":{"a.io":3},"credsStore":3}"#]
        {
            assert_eq!(account(text, "a.io/x"), None, "{text}");
        }
    }

    #[test]
    fn helpers_are_found_by_registry() {
        let text = r#"{"credHelpers":{"1.dkr.ecr.eu-west-1.amazonaws.com":"ecr-login","docker.io":"hub"},"credsStore":"pass"}"#;
        let config = DockerConfig::parse(text.as_bytes()).unwrap();
        let helper = |image: &str| config.helper(&RegistryScope::of_image(image)).map(str::to_owned);
        assert_eq!(helper("1.dkr.ecr.eu-west-1.amazonaws.com/app:1").as_deref(), Some("ecr-login"));
        assert_eq!(helper("alpine").as_deref(), Some("hub"));
        assert_eq!(helper("ghcr.io/a"), None);
        assert_eq!(config.store.as_deref(), Some("pass"));
    }
}
