//! `secret`: what jobs may be given that nobody else is to see.

use crate::{
    args::{Secret, SecretAction, SecretPlace},
    deployment::{Deployment, percent_encoded},
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
};
use std::io::{IsTerminal, Read, Write};
use tidemill_core::{
    api::{
        RekeyReply, RemoveSecretReply, RemoveSecretRequest, SecretList, SecretView, SetSecretRequest, path,
    },
    repo::canonical,
};
use tidemill_worker::source;

/// `tidemill secret`.
pub async fn secret(settings: &Settings, args: &Secret) -> Outcome {
    match &args.action {
        SecretAction::Set { name, place, file } => {
            let repo = repository(place)?;
            let value = match file {
                Some(path) => std::fs::read_to_string(path).map_err(|error| {
                    Failure::usage(format!("{} cannot be read as text: {error}", path.display()))
                })?,
                None => ask(name)?,
            };
            let request =
                SetSecretRequest { repo, environment: place.environment.clone(), name: name.clone(), value };
            let deployment = Deployment::connect(settings).await?;
            let set: SecretView = deployment.post(path::SECRETS, &request).await?;
            crate::outln!("`{}` is kept for {}", Printable(&set.name), Printable(of(&set)));
            deployment.close().await;
        }
        SecretAction::List { place, json } => {
            let repo = repository(place)?;
            let deployment = Deployment::connect(settings).await?;
            let path = format!("{}?repo={}", path::SECRETS, percent_encoded(&repo));
            let mut list: SecretList = deployment.get(&path).await?;
            if let Some(environment) = &place.environment {
                list.secrets.retain(|secret| secret.environment.as_ref() == Some(environment));
            }
            let mut out = output::stdout();
            if *json {
                output::print_json(&list)?;
            }
            for secret in list.secrets.iter().filter(|_| !*json) {
                let by = Some(secret.updated_by.as_str())
                    .filter(|by| !by.is_empty())
                    .map(|by| format!(" by {}", Printable(by)));
                let by = by.unwrap_or_default();
                let (name, of) = (Printable(&secret.name), Printable(of(secret)));
                writeln!(out, "{name}  {of}  set {}{by}", secret.updated_at)?;
            }
            deployment.close().await;
        }
        SecretAction::Remove { name, place } => {
            let environment = place.environment.clone();
            let request = RemoveSecretRequest { repo: repository(place)?, environment, name: name.clone() };
            let deployment = Deployment::connect(settings).await?;
            let reply: RemoveSecretReply = deployment.post(path::REMOVE_SECRET, &request).await?;
            deployment.close().await;
            if !reply.removed {
                return Err(Failure::usage(format!("there is no secret `{name}` for {}", request.repo)));
            }
            crate::outln!("`{name}` is forgotten");
        }
        SecretAction::Rekey => {
            let deployment = Deployment::connect(settings).await?;
            let mut renewed = 0;
            let unreadable = loop {
                let reply: RekeyReply = deployment.post(path::REKEY_SECRETS, &serde_json::json!({})).await?;
                renewed += reply.renewed;
                if !reply.more {
                    break reply.unreadable;
                }
            };
            deployment.close().await;
            crate::outln!("{renewed} secrets were under an older key, and are under the newest now");
            for what in &unreadable {
                crate::errln!("no key opens {}; set it again", Printable(what));
            }
            if !unreadable.is_empty() {
                return Err(Failure::usage("some secrets cannot be read"));
            }
        }
    }
    Ok(())
}

fn of(secret: &SecretView) -> String {
    match &secret.environment {
        Some(environment) => format!("{} ({environment})", canonical(&secret.repo)),
        None => canonical(&secret.repo),
    }
}

/// The repository that is named, or the one that `tidemill run` would record from here.
fn repository(place: &SecretPlace) -> Outcome<String> {
    match &place.repo {
        Some(repo) => source::repository_named(repo).map_err(|error| Failure::usage(error.to_string())),
        None => super::run::repository_here(),
    }
}

/// The value from standard input, or asked for without showing it.
fn ask(name: &str) -> Outcome<String> {
    let stdin = std::io::stdin();
    let value = if stdin.is_terminal() {
        rpassword::prompt_password(format!("value of {name}: "))?
    } else {
        let mut text = String::new();
        stdin.lock().read_to_string(&mut text)?;
        // What `echo` and editors put at the end is not meant.
        text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
    };
    if value.is_empty() {
        return Err(Failure::usage(format!(
            "there is no value for {name}: give it on standard input, or with --file"
        )));
    }
    Ok(value)
}
