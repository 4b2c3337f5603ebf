//! The part of a git provider's API that is about one repository.

use super::message::{Method, OutgoingRequest};
use crate::repository::{canonical_name, webhook::Provider};
use serde_json::Value;

/// The API of a repository at its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryApi {
    /// The git provider.
    pub provider: Provider,
    /// The address of the provider's API, without a slash at its end.
    pub base: String,
    /// The repository's path at its host, such as `owner/name`.
    pub path: String,
}

impl RepositoryApi {
    /// Creates the API of the repository at address `repo`. `api_url`: the provider's API, if it is not the default for that host.
    #[must_use]
    pub fn new(provider: Provider, api_url: Option<&str>, repo: &str) -> Self {
        let name = canonical_name(repo);
        let (host, path) = name.split_once('/').unwrap_or(("", &name));
        let base = match (api_url, provider) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Provider::Github) if host == "github.com" => "https://api.github.com".to_owned(),
            (None, Provider::Github) => format!("https://{host}/api/v3"),
            (None, Provider::Gitlab) => format!("https://{host}/api/v4"),
            (None, Provider::Gitea) => format!("https://{host}/api/v1"),
            (None, Provider::Bitbucket) => "https://api.bitbucket.org/2.0".to_owned(),
        };
        Self { provider, base, path: path.to_owned() }
    }

    /// Returns the repository's name without its owner.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Returns the address of the repository in the API.
    #[must_use]
    pub fn url(&self) -> String {
        let (base, path) = (&self.base, &self.path);
        match self.provider {
            Provider::Github | Provider::Gitea => format!("{base}/repos/{path}"),
            Provider::Gitlab => format!("{base}/projects/{}", path.replace('/', "%2F")),
            Provider::Bitbucket => format!("{base}/repositories/{path}"),
        }
    }

    /// Returns the header that authenticates requests with `token`.
    #[must_use]
    pub fn authorization(&self, token: &str) -> (&'static str, String) {
        match self.provider {
            Provider::Github | Provider::Bitbucket => ("authorization", format!("Bearer {token}")),
            Provider::Gitea => ("authorization", format!("token {token}")),
            Provider::Gitlab => ("private-token", token.to_owned()),
        }
    }

    /// Returns a request to `path` below the repository; without a body if that is null.
    #[must_use]
    pub fn request(&self, method: Method, path: &str, token: &str, body: &Value) -> OutgoingRequest {
        let mut headers = vec![self.authorization(token)];
        if self.provider == Provider::Github {
            headers.push(("accept", "application/vnd.github+json".to_owned()));
            headers.push(("x-github-api-version", "2022-11-28".to_owned()));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        OutgoingRequest { method, url: format!("{}{path}", self.url()), headers, body }
    }
}
