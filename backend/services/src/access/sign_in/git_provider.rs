//! GitHub, GitLab and Gitea as providers: OAuth (RFC 6749) with PKCE, and who the person is by their API.

use super::{
    failure::SignInError,
    openid::{get, json, post},
    settings::ProviderSettings,
};
use crate::ports::{ProviderClient, ProviderRequest};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tidemill_core::access::{provider::ProviderKind, roles::Person, sign_in::PendingSignIn};

const PAGE_LEN: usize = 100;
/// Maximum number of pages of groups.
const MAX_PAGES: usize = 5;

/// A git provider.
#[derive(Debug)]
pub struct GitProvider {
    settings: ProviderSettings,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
}

#[derive(Deserialize)]
struct GithubUser {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct GithubOrganization {
    login: String,
}

#[derive(Deserialize)]
struct GithubTeam {
    slug: String,
    organization: GithubOrganization,
}

/// What GitLab and Gitea say of the person, as an OpenID provider does.
#[derive(Deserialize)]
struct UserInfo {
    sub: Value,
    preferred_username: Option<String>,
    nickname: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

impl GitProvider {
    pub fn new(settings: ProviderSettings) -> Self {
        Self { settings }
    }

    /// Returns the address at which the person consents, and the scopes to request.
    pub fn authorization(&self) -> (String, &'static str) {
        let url = &self.settings.url;
        match self.settings.kind {
            ProviderKind::Github => (format!("{url}/login/oauth/authorize"), "read:org"),
            ProviderKind::Gitea => (format!("{url}/login/oauth/authorize"), "openid profile groups"),
            ProviderKind::Gitlab | ProviderKind::Oidc => (format!("{url}/oauth/authorize"), "openid profile"),
        }
    }

    /// Exchanges the code of a sign-in for a token, and reads with it who the person is. The token is not kept.
    pub async fn person(
        &self,
        client: &dyn ProviderClient,
        pending: &PendingSignIn,
        code: &str,
        redirect_uri: &str,
    ) -> Result<Person, SignInError> {
        let secret = self.settings.client_secret.as_ref().map(|secret| secret.expose().to_owned());
        let form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", redirect_uri.to_owned()),
            ("code_verifier", pending.verifier.clone()),
            ("client_id", self.settings.client_id.clone()),
            ("client_secret", secret.unwrap_or_default()),
        ];
        let url = &self.settings.url;
        let endpoint = match self.settings.kind {
            ProviderKind::Github | ProviderKind::Gitea => format!("{url}/login/oauth/access_token"),
            ProviderKind::Gitlab | ProviderKind::Oidc => format!("{url}/oauth/token"),
        };
        let request = ProviderRequest { url: endpoint, form: Some(form), authorization: None };
        let tokens: Tokens = post(client, &request).await?;
        let authorization = format!("Bearer {}", tokens.access_token);
        match self.settings.kind {
            ProviderKind::Github => self.github_person(client, &authorization).await,
            ProviderKind::Gitea => {
                self.described_person(client, &authorization, &format!("{url}/login/oauth/userinfo")).await
            }
            ProviderKind::Gitlab | ProviderKind::Oidc => {
                self.described_person(client, &authorization, &format!("{url}/oauth/userinfo")).await
            }
        }
    }

    async fn described_person(
        &self,
        client: &dyn ProviderClient,
        authorization: &str,
        url: &str,
    ) -> Result<Person, SignInError> {
        let info: UserInfo = read(client, url, authorization).await?;
        let id = match &info.sub {
            Value::String(id) if !id.is_empty() => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return Err(SignInError::rejected("the provider names no id of the person")),
        };
        let login = info.preferred_username.or(info.nickname);
        let groups = info.groups.iter().map(String::as_str);
        Ok(Person::new(self.settings.kind, &id, login.as_deref(), login.as_deref(), groups))
    }

    async fn github_person(
        &self,
        client: &dyn ProviderClient,
        authorization: &str,
    ) -> Result<Person, SignInError> {
        let url = &self.settings.url;
        let api = if url == "https://github.com" {
            "https://api.github.com".to_owned()
        } else {
            format!("{url}/api/v3")
        };
        let user: GithubUser = read(client, &format!("{api}/user"), authorization).await?;
        let organizations: Vec<GithubOrganization> =
            read_pages(client, &format!("{api}/user/orgs"), authorization).await?;
        let teams: Vec<GithubTeam> = read_pages(client, &format!("{api}/user/teams"), authorization).await?;
        let teams: Vec<String> =
            teams.iter().map(|team| format!("{}/{}", team.organization.login, team.slug)).collect();
        let groups =
            organizations.iter().map(|one| one.login.as_str()).chain(teams.iter().map(String::as_str));
        let login = Some(user.login.as_str());
        Ok(Person::new(ProviderKind::Github, &user.id.to_string(), login, login, groups))
    }
}

async fn read<T: DeserializeOwned>(
    client: &dyn ProviderClient,
    url: &str,
    authorization: &str,
) -> Result<T, SignInError> {
    let body = get(client, url, Some(authorization.to_owned())).await?;
    Ok(json(&body)?)
}

async fn read_pages<T: DeserializeOwned>(
    client: &dyn ProviderClient,
    url: &str,
    authorization: &str,
) -> Result<Vec<T>, SignInError> {
    let mut all = Vec::new();
    for page in 1..=MAX_PAGES {
        let address = format!("{url}?per_page={PAGE_LEN}&page={page}");
        let items: Vec<T> = read(client, &address, authorization).await?;
        let is_full = items.len() >= PAGE_LEN;
        all.extend(items);
        if !is_full {
            break;
        }
    }
    Ok(all)
}
