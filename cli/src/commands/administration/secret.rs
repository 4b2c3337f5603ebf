//! `secret`: manages the secrets of repositories.

use crate::{
    args::{Secret, SecretAction, SecretScope},
    deployment::{Deployment, query_encoded},
    execution::repository,
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::{Settings, input},
};
use std::{
    io::{IsTerminal, Write},
    path::Path,
};
use tidemill_core::api::{
    RekeyReply, RemoveSecretReply, RemoveSecretRequest, SecretList, SecretView, SetSecretRequest, path,
};
use tidemill_core::repository::canonical_name;

/// `tidemill secret`.
pub async fn secret(settings: &Settings, args: &Secret) -> Outcome {
    match &args.action {
        SecretAction::Set { name, scope, value_file, format } => {
            let repo = repository::address(scope.repo.as_deref())?;
            let value = read_value(name, value_file.as_deref())?;
            let (name, environment) = (name.clone(), scope.environment.clone());
            let request = SetSecretRequest { repo, environment, name, value, variable: None };
            let deployment = Deployment::connect(settings).await?;
            let secret: SecretView = deployment.post(path::SECRETS, &request).await?;
            output::print_reply(format.is_json(), &secret, || {
                format!("secret `{}` set for {}", Printable(&secret.name), Printable(scope_of(&secret)))
            })?;
            deployment.close().await;
        }
        SecretAction::List { scope, format } => {
            let repo = repository::address(scope.repo.as_deref())?;
            let deployment = Deployment::connect(settings).await?;
            let path = format!("{}?repo={}", path::SECRETS, query_encoded(&repo));
            let mut list: SecretList = deployment.get(&path).await?;
            list.secrets.retain(|secret| secret.variable.is_none() && is_within(secret, scope));
            let mut out = output::stdout();
            if format.is_json() {
                output::print_json(&list)?;
            }
            for secret in list.secrets.iter().filter(|_| !format.is_json()) {
                let (name, scope) = (Printable(&secret.name), Printable(scope_of(secret)));
                writeln!(out, "{name}  {scope}  {}", last_set(secret))?;
            }
            deployment.close().await;
        }
        SecretAction::Remove { name, scope, format } => {
            let environment = scope.environment.clone();
            let request = RemoveSecretRequest {
                repo: repository::address(scope.repo.as_deref())?,
                environment,
                name: name.clone(),
                is_variable: false,
            };
            let deployment = Deployment::connect(settings).await?;
            let reply: RemoveSecretReply = deployment.post(path::REMOVE_SECRET, &request).await?;
            deployment.close().await;
            if !reply.removed {
                return Err(Failure::usage(format!("no secret `{name}` for {}", request.repo)));
            }
            output::print_reply(format.is_json(), &reply, || {
                format!("secret `{}` removed", Printable(name))
            })?;
        }
        SecretAction::Rekey { format } => {
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
            let result = serde_json::json!({ "renewed": renewed, "unreadable": unreadable });
            output::print_reply(format.is_json(), &result, || {
                format!("re-encrypted {renewed} secret(s) under the newest key")
            })?;
            for secret in &unreadable {
                crate::output::errln!(
                    "secret {} cannot be decrypted with any key; set it again",
                    Printable(secret)
                );
            }
            if !unreadable.is_empty() {
                return Err(Failure::usage("some secrets cannot be decrypted"));
            }
        }
    }
    Ok(())
}

/// Returns repository and environment of a secret as text.
pub(super) fn scope_of(secret: &SecretView) -> String {
    match &secret.environment {
        Some(environment) => format!("{} ({environment})", canonical_name(&secret.repo)),
        None => canonical_name(&secret.repo),
    }
}

/// Whether a secret or a variable is one of the environment that the arguments name, if they do.
pub(super) fn is_within(secret: &SecretView, scope: &SecretScope) -> bool {
    scope.environment.is_none() || secret.environment == scope.environment
}

/// Returns when and by whom it was set.
pub(super) fn last_set(secret: &SecretView) -> String {
    let by = Some(secret.updated_by.as_str()).filter(|by| !by.is_empty());
    let by = by.map(|by| format!(" by {}", Printable(by))).unwrap_or_default();
    format!("set {}{by}", secret.updated_at)
}

/// Reads the value from a file or from standard input, or prompts for it without echo.
pub(super) fn read_value(name: &str, file: Option<&Path>) -> Outcome<String> {
    if let Some(path) = file {
        return input::read_file(path, input::MAX_VALUE_LEN);
    }
    let stdin = std::io::stdin();
    let value = if stdin.is_terminal() {
        rpassword::prompt_password(format!("value of {}: ", Printable(name)))?
    } else {
        let text = input::read(stdin.lock(), "standard input", input::MAX_VALUE_LEN)?;
        // `echo` and editors append a line end.
        text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
    };
    if value.is_empty() {
        return Err(Failure::usage(format!(
            "no value for {name}: pass it on standard input or with --value-file"
        )));
    }
    Ok(value)
}
