//! Arguments of the server for the providers with which people sign in.

use crate::env_vars;
use clap::Args;
use std::path::{Path, PathBuf};
use tidemill_core::access::provider::ProviderKind;

/// The providers with which people sign in.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Sign-in")]
pub struct SignInArgs {
    /// Issuer of the OpenID provider with which people sign in, exactly as it names itself
    #[arg(long, env = env_vars::OIDC_ISSUER, hide_env_values = true, value_name = "URL", requires = "oidc_client_id")]
    pub oidc_issuer: Option<String>,
    /// Id of this server at the OpenID provider
    #[arg(long, env = env_vars::OIDC_CLIENT_ID, hide_env_values = true, value_name = "ID", requires = "oidc_issuer")]
    pub oidc_client_id: Option<String>,
    /// File with the secret of this server at the OpenID provider [default: none, for a public client]
    #[arg(long, env = env_vars::OIDC_CLIENT_SECRET_FILE, hide_env_values = true, value_name = "FILE", requires = "oidc_client_id")]
    pub oidc_client_secret_file: Option<PathBuf>,
    /// Claim in which the OpenID provider lists groups [default: groups]
    #[arg(long, env = env_vars::OIDC_GROUPS_CLAIM, hide_env_values = true, value_name = "NAME", requires = "oidc_client_id")]
    pub oidc_groups_claim: Option<String>,
    /// Id of this server as an OAuth app of GitHub
    #[arg(long, env = env_vars::GITHUB_CLIENT_ID, hide_env_values = true, value_name = "ID", requires = "github_client_secret_file")]
    pub github_client_id: Option<String>,
    /// File with the secret of the OAuth app of GitHub
    #[arg(long, env = env_vars::GITHUB_CLIENT_SECRET_FILE, hide_env_values = true, value_name = "FILE", requires = "github_client_id")]
    pub github_client_secret_file: Option<PathBuf>,
    /// Address of a GitHub Enterprise Server [default: https://github.com]
    #[arg(long, env = env_vars::GITHUB_URL, hide_env_values = true, value_name = "URL", requires = "github_client_id")]
    pub github_url: Option<String>,
    /// Id of this server as an application of GitLab
    #[arg(long, env = env_vars::GITLAB_CLIENT_ID, hide_env_values = true, value_name = "ID", requires = "gitlab_client_secret_file")]
    pub gitlab_client_id: Option<String>,
    /// File with the secret of the application of GitLab
    #[arg(long, env = env_vars::GITLAB_CLIENT_SECRET_FILE, hide_env_values = true, value_name = "FILE", requires = "gitlab_client_id")]
    pub gitlab_client_secret_file: Option<PathBuf>,
    /// Address of GitLab [default: https://gitlab.com]
    #[arg(long, env = env_vars::GITLAB_URL, hide_env_values = true, value_name = "URL", requires = "gitlab_client_id")]
    pub gitlab_url: Option<String>,
    /// Id of this server as an OAuth2 application of Gitea or Forgejo
    #[arg(long, env = env_vars::GITEA_CLIENT_ID, hide_env_values = true, value_name = "ID", requires_all = ["gitea_client_secret_file", "gitea_url"])]
    pub gitea_client_id: Option<String>,
    /// File with the secret of the application of Gitea or Forgejo
    #[arg(long, env = env_vars::GITEA_CLIENT_SECRET_FILE, hide_env_values = true, value_name = "FILE", requires = "gitea_client_id")]
    pub gitea_client_secret_file: Option<PathBuf>,
    /// Address of Gitea or Forgejo
    #[arg(long, env = env_vars::GITEA_URL, hide_env_values = true, value_name = "URL", requires = "gitea_client_id")]
    pub gitea_url: Option<String>,
}

/// The arguments of one provider.
#[derive(Debug, Clone, Copy)]
pub struct ProviderArgs<'a> {
    /// The provider.
    pub kind: ProviderKind,
    /// Id of this server there.
    pub client_id: &'a str,
    /// File with the secret of this server there.
    pub client_secret_file: Option<&'a Path>,
    /// Issuer or address.
    pub url: Option<&'a str>,
    /// Claim with the groups.
    pub groups_claim: Option<&'a str>,
}

impl SignInArgs {
    /// Returns the providers that are configured.
    pub fn providers(&self) -> Vec<ProviderArgs<'_>> {
        let all = [
            (ProviderKind::Oidc, &self.oidc_client_id, &self.oidc_client_secret_file, &self.oidc_issuer),
            (ProviderKind::Github, &self.github_client_id, &self.github_client_secret_file, &self.github_url),
            (ProviderKind::Gitlab, &self.gitlab_client_id, &self.gitlab_client_secret_file, &self.gitlab_url),
            (ProviderKind::Gitea, &self.gitea_client_id, &self.gitea_client_secret_file, &self.gitea_url),
        ];
        let configured = all.into_iter().filter_map(|(kind, client_id, file, url)| {
            let groups_claim = self.oidc_groups_claim.as_deref().filter(|_| kind == ProviderKind::Oidc);
            Some(ProviderArgs {
                kind,
                client_id: client_id.as_deref()?,
                client_secret_file: file.as_deref(),
                url: url.as_deref(),
                groups_claim,
            })
        });
        configured.collect()
    }
}
