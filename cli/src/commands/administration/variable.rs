//! `variable`: manages the variables of repositories.

use super::secret::{is_within, last_set, read_value, scope_of};
use crate::{
    args::{Variable, VariableAction, VariableType},
    deployment::{Deployment, query_encoded},
    execution::repository,
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
};
use std::io::Write;
use tidemill_core::api::{
    RemoveSecretReply, RemoveSecretRequest, SecretList, SecretView, SetSecretRequest, VariableOptions, path,
};

/// `tidemill variable`.
pub async fn variable(settings: &Settings, args: &Variable) -> Outcome {
    match &args.action {
        VariableAction::Set { name, value, scope, value_file, masked, protected, kind, forks, format } => {
            let repo = repository::address(scope.repo.as_deref())?;
            let value = match value {
                Some(value) => value.clone(),
                None => read_value(name, value_file.as_deref())?,
            };
            let file = *kind == VariableType::File;
            let options = VariableOptions { masked: *masked, protected: *protected, file, forks: *forks };
            let (name, environment) = (name.clone(), scope.environment.clone());
            let request = SetSecretRequest { repo, environment, name, value, variable: Some(options) };
            let deployment = Deployment::connect(settings).await?;
            let set: SecretView = deployment.post(path::SECRETS, &request).await?;
            output::print_reply(format.is_json(), &set, || {
                format!("variable `{}` set for {}", Printable(&set.name), Printable(scope_of(&set)))
            })?;
            deployment.close().await;
        }
        VariableAction::List { scope, format } => {
            let repo = repository::address(scope.repo.as_deref())?;
            let deployment = Deployment::connect(settings).await?;
            let path = format!("{}?repo={}", path::SECRETS, query_encoded(&repo));
            let mut list: SecretList = deployment.get(&path).await?;
            list.secrets.retain(|variable| variable.variable.is_some() && is_within(variable, scope));
            if format.is_json() {
                let json = serde_json::json!({ "variables": list.secrets });
                output::print_json(&json)?;
            } else {
                let mut out = output::stdout();
                for variable in &list.secrets {
                    writeln!(out, "{}", line(variable))?;
                }
            }
            deployment.close().await;
        }
        VariableAction::Remove { name, scope, format } => {
            let request = RemoveSecretRequest {
                repo: repository::address(scope.repo.as_deref())?,
                environment: scope.environment.clone(),
                name: name.clone(),
                is_variable: true,
            };
            let deployment = Deployment::connect(settings).await?;
            let reply: RemoveSecretReply = deployment.post(path::REMOVE_SECRET, &request).await?;
            deployment.close().await;
            if !reply.removed {
                return Err(Failure::usage(format!("no variable `{name}` for {}", request.repo)));
            }
            output::print_reply(format.is_json(), &reply, || {
                format!("variable `{}` removed", Printable(name))
            })?;
        }
    }
    Ok(())
}

/// Returns the line about a variable, with the first line of its value.
fn line(variable: &SecretView) -> String {
    let options = variable.variable.unwrap_or_default();
    let value = match &variable.value {
        Some(value) => match value.split_once('\n') {
            Some((first, _)) => format!("{} ...", Printable(first)),
            None => Printable(value).to_string(),
        },
        None => "***".to_owned(),
    };
    let names = [
        (options.masked, "masked"),
        (options.protected, "protected"),
        (options.file, "file"),
        (options.forks, "forks"),
    ];
    let names: Vec<&str> = names.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)).collect();
    let names = if names.is_empty() { String::new() } else { format!("  {}", names.join(", ")) };
    let (name, scope) = (Printable(&variable.name), Printable(scope_of(variable)));
    format!("{name} = {value}  {scope}{names}  {}", last_set(variable))
}
