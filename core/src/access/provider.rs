//! Providers of identities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Providers with which people sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Any OpenID provider.
    Oidc,
    /// GitHub, or GitHub Enterprise Server.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea or Forgejo.
    Gitea,
}

impl ProviderKind {
    /// All providers.
    pub const ALL: [Self; 4] = [Self::Oidc, Self::Github, Self::Gitlab, Self::Gitea];

    /// Returns the name in texts, settings and names of people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
        }
    }

    /// Returns the provider of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns a name or a group of the provider, as rules write it. Git providers ignore the case of names.
    #[must_use]
    pub fn qualified(self, name: &str) -> String {
        match self {
            Self::Oidc => format!("{}:{name}", self.as_str()),
            Self::Github | Self::Gitlab | Self::Gitea => format!("{}:{}", self.as_str(), name.to_lowercase()),
        }
    }
}
