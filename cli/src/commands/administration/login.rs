//! `login` and `logout`: save and remove profiles of deployments.

use super::browser_login::token_of_browser;
use crate::{
    args::{Login, Logout},
    env_vars,
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::profiles::{LOCAL_PROFILE, Profile},
    settings::{Settings, input},
    view::hint::quoted,
};
use serde_json::json;
use std::{
    io::{BufRead, IsTerminal, Read},
    time::Duration,
};
use tidemill_core::access::sessions::EndSessionReply;
use tidemill_core::api::{Health, HealthStatus, path};
use tidemill_core::text::{check_line, choices::listed, without_byte_order_mark};
use tidemill_worker::client::{ApiClient, ApiError, CertificateAuthorities, check_server_address};
use tokio::time::timeout;

/// Timeout of revoking a token: a profile is also removed if its server is gone.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum length of the name of a profile in bytes.
const MAX_PROFILE_NAME_LEN: usize = 200;

/// `tidemill login`.
pub async fn login(settings: &Settings, args: &Login) -> Outcome {
    let url = args.url.trim_end_matches('/').to_owned();
    check_server_address(&url)?;
    let name = match &settings.profile {
        Some(name) => name.clone(),
        None => host(&url)?,
    };
    check_profile_name(&name)?;
    if args.access.token.is_some() {
        crate::output::errln!(
            "warning: other users of this machine can read --token in the list of processes; without it, the token is read from \
             standard input"
        );
    }
    if name == LOCAL_PROFILE {
        return Err(Failure::usage(format!(
            "profile `{LOCAL_PROFILE}` is reserved for this machine: use another name with --profile"
        )));
    }
    // Do not send the token to a server that is not a Tidemill deployment.
    check_health(&ApiClient::new(&url, "").with_certificate_authorities(settings.ca_cert.clone())).await?;
    let connect = |token: &str| {
        let api = ApiClient::new(&url, token).with_certificate_authorities(settings.ca_cert.clone());
        api.with_insecure_http(settings.insecure_http)
    };
    // Do not prompt for a token that could not be sent.
    connect("").check_transport().await?;
    let token = match &settings.token {
        _ if args.browser => Box::pin(token_of_browser(&connect(""))).await?,
        Some(token) => token.clone(),
        None => read_token(&url)?,
    };
    let api = connect(&token);
    match api.fetch(&format!("{}?limit=1", path::EXECUTIONS), None).await {
        Ok(_) => {}
        // The person may get a role later; the token was just made for this machine.
        Err(ApiError::Rejected { status: 403, message, .. }) if args.browser => {
            crate::output::errln!("warning: you are signed in, but {}", Printable(&message));
        }
        Err(ApiError::Rejected { status: 401 | 403, .. }) => {
            return Err(Failure::usage(format!("{url} rejected the token; nothing was saved")));
        }
        Err(error) => return Err(error.into()),
    }
    // The file may be moved or deleted later.
    let ca_cert = settings.ca_cert.as_ref().filter(|_| url.starts_with("https://"));
    let ca_cert = ca_cert.map(CertificateAuthorities::pem).transpose()?;
    let mut profiles = settings.profiles()?;
    let insecure_http = settings.insecure_http;
    profiles.put(&name, Profile { server: url.clone(), token, insecure_http, ca_cert });
    if args.default {
        profiles.default = Some(name.clone());
    }
    profiles.save()?;
    if url.starts_with("http://") && !api.is_on_this_machine() {
        crate::output::errln!("warning: {url} does not use https: the token can be read in transit");
    }
    let is_default = profiles.default.as_ref() == Some(&name);
    let reply = json!({ "server": url, "profile": name, "default": is_default });
    output::print_reply(args.format.is_json(), &reply, || {
        if is_default {
            return format!(
                "logged in to {url}, which is now the default (--profile {LOCAL_PROFILE} selects this machine)"
            );
        }
        let name = quoted(&name);
        format!("logged in to {url}; use it with --profile {name}, or {}={name}", env_vars::PROFILE)
    })?;
    Ok(())
}

/// Fails if a name of a profile cannot be shown in one line, or is no name.
fn check_profile_name(name: &str) -> Outcome {
    if name.is_empty() {
        return Err(Failure::usage("the name of the profile is empty: use another one with --profile"));
    }
    check_line("profile", name, MAX_PROFILE_NAME_LEN).map_err(|error| Failure::usage(error.to_string()))
}

/// `tidemill logout`.
pub async fn logout(settings: &Settings, args: &Logout) -> Outcome {
    let mut profiles = settings.profiles()?;
    let names: Vec<String> = profiles.names().map(str::to_owned).collect();
    let listed = listed(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let name = match (&settings.profile, &profiles.default, names.as_slice()) {
        (Some(name), _, _) | (None, Some(name), _) | (None, None, [name]) => name.clone(),
        (None, None, []) => return Err(Failure::usage("no profiles")),
        (None, None, _) => {
            return Err(Failure::usage(format!("several profiles: {listed}; select one with --profile")));
        }
    };
    let Some(removed) = profiles.remove(&name) else {
        let known = if names.is_empty() { "none".to_owned() } else { listed };
        return Err(Failure::usage(format!("no profile `{}` (known: {known})", Printable(name))));
    };
    profiles.save()?;
    let is_revoked = revoke(&removed).await;
    let reply = json!({ "removed": name, "server": removed.server, "revoked": is_revoked });
    output::print_reply(args.format.is_json(), &reply, || {
        let state = if is_revoked { "was revoked" } else { "itself stays valid" };
        format!(
            "removed profile {} with its token for {}; the token {state}",
            Printable(&name),
            Printable(&removed.server)
        )
    })?;
    Ok(())
}

/// Revokes the token of a profile if it belongs to a person who signed in with a browser. The server keeps those of machines.
async fn revoke(profile: &Profile) -> bool {
    let authorities = profile.ca_cert.clone().map(CertificateAuthorities::Pem);
    let api = ApiClient::new(&profile.server, &profile.token).with_certificate_authorities(authorities);
    let api = api.with_insecure_http(profile.insecure_http);
    let reply = timeout(REVOKE_TIMEOUT, api.delete::<EndSessionReply>(path::SESSION)).await;
    reply.is_ok_and(|reply| reply.is_ok_and(|reply| reply.ended))
}

/// Fails unless the server is a healthy deployment.
async fn check_health(api: &ApiClient) -> Outcome {
    let url = api.server();
    let not_a_deployment =
        |message: String| Failure::usage(format!("{url} is not a Tidemill deployment: {message}"));
    let reply = match api.fetch(path::HEALTH, None).await {
        Ok(reply) => reply.map(|reply| reply.body).unwrap_or_default(),
        Err(ApiError::Rejected { status, message, .. }) if status < 500 => {
            return Err(not_a_deployment(format!(
                "{} returned {status}: {}",
                path::HEALTH,
                Printable(&message)
            )));
        }
        Err(error) => return Err(error.into()),
    };
    let health: Health = serde_json::from_slice(&reply).map_err(|error| {
        not_a_deployment(format!(
            "{} returned an invalid reply: {}",
            path::HEALTH,
            Printable(error.to_string())
        ))
    })?;
    match health.status {
        HealthStatus::Ok | HealthStatus::Degraded => Ok(()),
        HealthStatus::Failing => {
            let problems = format!("{:?}", health.problems);
            Err(Failure::system(format!("{url} is unhealthy: {}", Printable(problems))))
        }
    }
}

/// Prompts for the token without echo, or reads the first line of standard input.
fn read_token(url: &str) -> Outcome<String> {
    let stdin = std::io::stdin();
    let token = if stdin.is_terminal() {
        rpassword::prompt_password(format!("Token for {}: ", Printable(url)))?
    } else {
        let mut line = Vec::new();
        stdin.lock().take(input::MAX_VALUE_LEN).read_until(b'\n', &mut line)?;
        input::read(line.as_slice(), "the token", input::MAX_VALUE_LEN)?
    };
    let token = without_byte_order_mark(&token).trim().to_owned();
    if token.is_empty() {
        return Err(Failure::usage("no token: enter it, pipe it to standard input, or use --token"));
    }
    Ok(token)
}

/// Returns the host of a URL, the default name of a profile.
fn host(url: &str) -> Outcome<String> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = host.and_then(|rest| rest.split(['/', '?', '#']).next()).filter(|host| !host.is_empty());
    host.map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("`{url}` is not the URL of a deployment: expected https:// or http://"))
    })
}
