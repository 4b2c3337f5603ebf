//! Which providers people sign in with.

use crate::ports::is_provider_address;
use std::fmt;
use tidemill_core::access::provider::ProviderKind;
use url::Url;

/// The claim in which OpenID providers usually list groups.
pub const DEFAULT_GROUPS_CLAIM: &str = "groups";

/// The secret of this server at a provider. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// Returns the secret, to send it to the provider.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret")
    }
}

/// A provider, as the operator configures it.
#[derive(Debug, Clone, Default)]
pub struct ProviderOptions {
    /// Issuer of an OpenID provider, or address of a git provider.
    pub url: Option<String>,
    /// Id of this server at the provider.
    pub client_id: Option<String>,
    /// Secret of this server at the provider; absent for a public client of an OpenID provider.
    pub client_secret: Option<String>,
    /// Claim with the groups; for OpenID providers.
    pub groups_claim: Option<String>,
}

/// A provider with which people can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    pub(crate) kind: ProviderKind,
    /// Issuer, exactly as configured, or address without a slash at its end.
    pub(crate) url: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<ClientSecret>,
    pub(crate) groups_claim: String,
}

/// A provider is not configured correctly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderSettingsError {
    /// The id or the address is missing.
    #[error("signing in with {} needs {what}", .kind.as_str())]
    Missing {
        /// The provider.
        kind: ProviderKind,
        /// What is missing.
        what: &'static str,
    },
    /// The address is no address of a provider.
    #[error("`{0}` is not the address of a provider: use https://HOST, or http:// for this machine only")]
    Address(String),
}

impl ProviderSettings {
    /// Checks the options of a provider.
    pub fn new(kind: ProviderKind, options: ProviderOptions) -> Result<Self, ProviderSettingsError> {
        let given =
            |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let default = match kind {
            ProviderKind::Github => Some("https://github.com"),
            ProviderKind::Gitlab => Some("https://gitlab.com"),
            ProviderKind::Oidc | ProviderKind::Gitea => None,
        };
        let url = given(options.url).or_else(|| default.map(str::to_owned));
        let url = url.ok_or(ProviderSettingsError::Missing { kind, what: "the provider's address" })?;
        if !is_provider_address(&url) {
            return Err(ProviderSettingsError::Address(url));
        }
        let url = if kind == ProviderKind::Oidc { url } else { url.trim_end_matches('/').to_owned() };
        let client_id = given(options.client_id);
        let client_id = client_id.ok_or(ProviderSettingsError::Missing { kind, what: "a client id" })?;
        let client_secret = given(options.client_secret).map(ClientSecret);
        if client_secret.is_none() && kind != ProviderKind::Oidc {
            return Err(ProviderSettingsError::Missing { kind, what: "a client secret" });
        }
        let groups_claim = given(options.groups_claim).unwrap_or_else(|| DEFAULT_GROUPS_CLAIM.to_owned());
        Ok(Self { kind, url, client_id, client_secret, groups_claim })
    }

    /// Returns the name for the button.
    pub(crate) fn name(&self) -> String {
        match self.kind {
            ProviderKind::Github => "GitHub".to_owned(),
            ProviderKind::Gitlab => "GitLab".to_owned(),
            ProviderKind::Gitea => "Gitea".to_owned(),
            ProviderKind::Oidc => {
                let url = Url::parse(&self.url).ok();
                url.as_ref().and_then(Url::host_str).unwrap_or(&self.url).to_owned()
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ProviderOptions, ProviderSettings, ProviderSettingsError};
    use tidemill_core::access::provider::ProviderKind;

    fn options(url: &str, secret: &str) -> ProviderOptions {
        let text = |text: &str| Some(text.to_owned());
        ProviderOptions {
            url: text(url),
            client_id: text("id"),
            client_secret: text(secret),
            groups_claim: None,
        }
    }

    #[test]
    fn provider_needs_tls_an_id_and_a_secret() {
        let new = |kind, url: &str, secret: &str| ProviderSettings::new(kind, options(url, secret));
        assert_eq!(new(ProviderKind::Github, "", "s").unwrap().url, "https://github.com");
        assert_eq!(
            new(ProviderKind::Gitea, "https://git.example.org/x/", "s").unwrap().url,
            "https://git.example.org/x"
        );
        assert_eq!(
            new(ProviderKind::Oidc, "https://id.example.org/", "").unwrap().url,
            "https://id.example.org/"
        );
        assert!(new(ProviderKind::Oidc, "http://[::1]:8080", "").is_ok());
        for address in
            ["http://id.example.org", "ftp://id.example.org", "https://u:p@id.example.org", "id.example.org"]
        {
            let rejected = Err(ProviderSettingsError::Address(address.into()));
            assert_eq!(new(ProviderKind::Oidc, address, "s"), rejected);
        }
        for (kind, url, secret) in [
            (ProviderKind::Oidc, "", "s"),
            (ProviderKind::Gitea, "", "s"),
            (ProviderKind::Github, "", ""),
            (ProviderKind::Gitlab, "https://git.example.org", " "),
        ] {
            assert!(matches!(new(kind, url, secret), Err(ProviderSettingsError::Missing { .. })), "{kind:?}");
        }
        let no_id = ProviderOptions { client_id: None, ..options("", "s") };
        assert!(ProviderSettings::new(ProviderKind::Github, no_id).is_err());
        let settings = new(ProviderKind::Github, "", "hidden").unwrap();
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}
