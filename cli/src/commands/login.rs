//! `login` and `logout`: deployments that commands can be pointed at by a name.

use crate::{
    args::Login,
    failure::{Failure, Outcome},
    output::Printable,
    profiles::{LOCAL, Profile},
    settings::Settings,
};
use std::io::{BufRead, IsTerminal};
use tidemill_core::api::{Health, HealthStatus, path};
use tidemill_worker::client::{ApiClient, ApiError};

/// `tidemill login`.
pub async fn login(settings: &Settings, args: &Login) -> Outcome {
    let url = args.url.trim_end_matches('/').to_owned();
    let name = match &settings.profile {
        Some(name) => name.clone(),
        None => host(&url)?,
    };
    if name == LOCAL {
        return Err(Failure::usage(format!(
            "`{LOCAL}` is this machine's own: name it otherwise with --profile"
        )));
    }
    // What is no deployment must not see the token.
    greet(&ApiClient::new(&url, "").trusting(settings.ca_cert.clone())).await?;
    let connect = |token: &str| {
        let api = ApiClient::new(&url, token).trusting(settings.ca_cert.clone());
        api.with_insecure_http(settings.insecure_http)
    };
    // Nor is it asked for where it could not be sent.
    connect("").check_transport().await?;
    let token = match &settings.token {
        Some(token) => token.clone(),
        None => ask(&url)?,
    };
    let api = connect(&token);
    match api.fetch(&format!("{}?limit=1", path::EXECUTIONS), None).await {
        Ok(_) => {}
        Err(ApiError::Refused { status: 401 | 403, .. }) => {
            return Err(Failure::usage(format!("{url} does not take this token; nothing is kept")));
        }
        Err(error) => return Err(error.into()),
    }
    let mut profiles = settings.profiles()?;
    profiles.put(&name, Profile { server: url.clone(), token, insecure_http: settings.insecure_http });
    if args.default {
        profiles.default = Some(name.clone());
    }
    profiles.save()?;
    if url.starts_with("http://") && !api.is_on_this_machine() {
        crate::errln!("note: {url} is not on https, so that who is on the way can read the token");
    }
    if profiles.default.as_ref() == Some(&name) {
        crate::outln!(
            "logged in to {url}; commands are on it from now on (--profile {LOCAL}: on this machine)"
        );
    } else {
        crate::outln!("logged in to {url}; use it with --profile {name}, or TIDEMILL_PROFILE={name}");
    }
    Ok(())
}

/// `tidemill logout`.
pub fn logout(settings: &Settings) -> Outcome {
    let mut profiles = settings.profiles()?;
    let names: Vec<String> = profiles.names().map(str::to_owned).collect();
    let name = match (&settings.profile, &profiles.default, names.as_slice()) {
        (Some(name), _, _) | (None, Some(name), _) | (None, None, [name]) => name.clone(),
        (None, None, []) => return Err(Failure::usage("no deployment is logged in to")),
        (None, None, _) => {
            let all = names.join(", ");
            return Err(Failure::usage(format!("which one? Name it with --profile: {all}")));
        }
    };
    let Some(gone) = profiles.remove(&name) else {
        return Err(Failure::usage(format!("there is no profile `{name}`; there are: {}", names.join(", "))));
    };
    profiles.save()?;
    crate::outln!("forgot profile {name} and its token for {}; the token itself stays valid", gone.server);
    Ok(())
}

/// Whether a deployment answers.
async fn greet(api: &ApiClient) -> Outcome {
    let url = api.server();
    let other = |words: String| Failure::usage(format!("{url} is no Tidemill deployment: {words}"));
    let reply = match api.fetch(path::HEALTH, None).await {
        Ok(reply) => reply.map(|reply| reply.body).unwrap_or_default(),
        Err(ApiError::Refused { status, message, .. }) if status < 500 => {
            return Err(other(format!("{} answers {status}, {}", path::HEALTH, Printable(&message))));
        }
        Err(error) => return Err(error.into()),
    };
    let health: Health = serde_json::from_slice(&reply).map_err(|error| {
        other(format!("{} gave an unreadable reply, {}", path::HEALTH, Printable(error.to_string())))
    })?;
    match health.status {
        HealthStatus::Ok | HealthStatus::Degraded => Ok(()),
        HealthStatus::Failing => {
            let problems = format!("{:?}", health.problems);
            Err(Failure::system(format!("{url} is not well: {}", Printable(problems))))
        }
    }
}

/// The token, typed in without being shown, or the first line of what is piped in.
fn ask(url: &str) -> Outcome<String> {
    let stdin = std::io::stdin();
    let token = if stdin.is_terminal() {
        rpassword::prompt_password(format!("Token for {url}: "))?
    } else {
        let mut line = String::new();
        stdin.lock().read_line(&mut line)?;
        line
    };
    let token = token.trim().to_owned();
    if token.is_empty() {
        return Err(Failure::usage("no token was given: pipe it in, type it in, or give --token"));
    }
    Ok(token)
}

/// The host in a URL: a profile's name, unless it gets another.
fn host(url: &str) -> Outcome<String> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = host.and_then(|rest| rest.split(['/', '?', '#']).next()).filter(|host| !host.is_empty());
    host.map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("`{url}` is no address of a deployment: it begins with https:// or http://"))
    })
}
