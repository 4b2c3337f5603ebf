//! `secret`: manages the secrets of repositories.

use crate::{
    args::{Secret, SecretAction, SecretRemoveArgs, SecretScope},
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
            ValueKind::Secret.set(settings, &request, format.is_json()).await?;
        }
        SecretAction::List(args) => {
            let list = ValueKind::Secret.list(settings, &args.scope).await?;
            let mut out = output::stdout();
            if args.format.is_json() {
                output::print_json(&list)?;
            }
            for secret in list.secrets.iter().filter(|_| !args.format.is_json()) {
                let (name, scope) = (Printable(&secret.name), Printable(scope_of(secret)));
                writeln!(out, "{name}  {scope}  {}", last_set(secret))?;
            }
        }
        SecretAction::Remove(args) => ValueKind::Secret.remove(settings, args).await?,
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

/// What a repository stores for its jobs. Secrets and variables have the same requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Secret,
    Variable,
}

impl ValueKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Variable => "variable",
        }
    }

    /// Creates or updates a secret or a variable, and prints that.
    pub(super) async fn set(self, settings: &Settings, request: &SetSecretRequest, json: bool) -> Outcome {
        let deployment = Deployment::connect(settings).await?;
        let set: SecretView = deployment.post(path::SECRETS, request).await?;
        output::print_reply(json, &set, || {
            let (kind, name) = (self.name(), Printable(&set.name));
            format!("{kind} `{name}` set for {}", Printable(scope_of(&set)))
        })?;
        deployment.close().await;
        Ok(())
    }

    /// Returns those of a repository, or of an environment of it.
    pub(super) async fn list(self, settings: &Settings, scope: &SecretScope) -> Outcome<SecretList> {
        let repo = repository::address(scope.repo.as_deref())?;
        let deployment = Deployment::connect(settings).await?;
        let path = format!("{}?repo={}", path::SECRETS, query_encoded(&repo));
        let mut list: SecretList = deployment.get(&path).await?;
        deployment.close().await;
        let is_variable = self == Self::Variable;
        list.secrets.retain(|one| one.variable.is_some() == is_variable && is_within(one, scope));
        Ok(list)
    }

    /// Deletes one of them, and prints that.
    pub(super) async fn remove(self, settings: &Settings, args: &SecretRemoveArgs) -> Outcome {
        let SecretRemoveArgs { name, scope, format } = args;
        let request = RemoveSecretRequest {
            repo: repository::address(scope.repo.as_deref())?,
            environment: scope.environment.clone(),
            name: name.clone(),
            is_variable: self == Self::Variable,
        };
        let deployment = Deployment::connect(settings).await?;
        let reply: RemoveSecretReply = deployment.post(path::REMOVE_SECRET, &request).await?;
        deployment.close().await;
        let kind = self.name();
        if !reply.removed {
            return Err(Failure::usage(format!("no {kind} `{name}` for {}", request.repo)));
        }
        output::print_reply(format.is_json(), &reply, || format!("{kind} `{}` removed", Printable(name)))?;
        Ok(())
    }
}

/// Returns repository and environment of a secret as text.
pub(super) fn scope_of(secret: &SecretView) -> String {
    match &secret.environment {
        Some(environment) => format!("{} ({environment})", canonical_name(&secret.repo)),
        None => canonical_name(&secret.repo),
    }
}

/// Whether a secret or a variable is one of the environment that the arguments name, if they do.
fn is_within(secret: &SecretView, scope: &SecretScope) -> bool {
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
        piped_value(input::read(stdin.lock(), "standard input", input::MAX_VALUE_LEN)?)
    };
    if value.is_empty() {
        return Err(Failure::usage(format!(
            "no value for {name}: pass it on standard input or with --value-file"
        )));
    }
    Ok(value)
}

/// Returns the value in a text from standard input: a single line without the line end that `echo` appends, or the whole text. The
/// last line of a private key needs its end.
fn piped_value(text: String) -> String {
    match text.strip_suffix('\n') {
        Some(line) if !line.contains('\n') => line.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::piped_value;

    #[test]
    fn only_the_line_end_of_a_single_line_is_removed() {
        for (text, value) in [
            ("token\n", "token"),
            ("token", "token"),
            ("\n", ""),
            ("token\n\n", "token\n\n"),
            ("-----BEGIN-----\nkey\n-----END-----\n", "-----BEGIN-----\nkey\n-----END-----\n"),
            ("a\nb", "a\nb"),
        ] {
            assert_eq!(piped_value(text.to_owned()), value, "{text:?}");
        }
    }
}
