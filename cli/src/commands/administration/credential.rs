//! The credential and the GitHub App of a repository, read from where the user keeps them.

use crate::{
    args::{AddRepo, GithubAppArgs},
    failure::{Failure, Outcome},
    settings::input::{MAX_VALUE_LEN, read, read_file},
};
use std::path::Path;
use tidemill_core::repository::{
    RepositoryAddress,
    credential::{CredentialKind, RepositoryCredential},
    github_app::{GithubApp, GithubAppChange},
    registration::CredentialChange,
    webhook::Provider,
};

/// Begins the name of an environment variable.
const VARIABLE_PREFIX: &str = "env:";

/// Returns the change of the credential that the options of `repo add` ask for.
pub fn change(add: &AddRepo) -> Outcome<Option<CredentialChange>> {
    let args = &add.credential;
    if args.no_credential {
        return Ok(Some(CredentialChange::Remove));
    }
    let Some(place) = &args.credential else { return Ok(None) };
    let address = RepositoryAddress::parse(&add.url).map_err(|error| Failure::usage(error.to_string()))?;
    let is_key = CredentialKind::of_scheme(address.scheme()) == Some(CredentialKind::SshKey);
    let credential = if is_key {
        let hosts = args.known_hosts.as_deref().ok_or_else(|| {
            Failure::usage(format!(
                "an SSH key needs the keys of its host: write those that `ssh-keyscan {}` prints into a file, compare them with \
                 what your git provider publishes, and pass the file with --known-hosts",
                address.host()
            ))
        })?;
        let key = text(place)?;
        RepositoryCredential::SshKey { key, known_hosts: read_file(hosts, MAX_VALUE_LEN)? }
    } else {
        if args.known_hosts.is_some() {
            return Err(Failure::usage("--known-hosts is for ssh addresses only"));
        }
        let user = args.credential_user.clone().unwrap_or_else(|| token_user(add.provider).to_owned());
        let token = text(place)?.trim_end_matches(['\n', '\r']).to_owned();
        RepositoryCredential::Token { user, token }
    };
    credential.check(&address).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(CredentialChange::Set(credential)))
}

/// Returns the user name that a provider expects with a token. Most ignore it.
const fn token_user(provider: Provider) -> &'static str {
    match provider {
        Provider::Bitbucket => "x-token-auth",
        Provider::Gitlab => "oauth2",
        Provider::Github | Provider::Gitea => "x-access-token",
    }
}

fn text(place: &str) -> Outcome<String> {
    if let Some(name) = place.strip_prefix(VARIABLE_PREFIX) {
        return std::env::var(name).map_err(|error| {
            Failure::usage(format!("the environment variable {name} cannot be read: {error}"))
        });
    }
    if place == "-" {
        return read(std::io::stdin().lock(), "standard input", MAX_VALUE_LEN);
    }
    read_file(Path::new(place), MAX_VALUE_LEN)
}

/// Returns the change of the GitHub App that the options of `repo add` ask for.
pub fn app_change(args: &GithubAppArgs) -> Outcome<Option<GithubAppChange>> {
    if args.no_app {
        return Ok(Some(GithubAppChange::Remove));
    }
    let (Some(app_id), Some(installation_id), Some(key)) =
        (args.app_id, args.app_installation, &args.app_key_file)
    else {
        return Ok(None);
    };
    let private_key = read_file(key, MAX_VALUE_LEN)?;
    Ok(Some(GithubAppChange::Set(GithubApp { app_id, installation_id, private_key })))
}
