//! `variable`: manages the variables of repositories.

use super::secret::{ValueKind, last_set, read_value, scope_of};
use crate::{
    args::{Variable, VariableAction, VariableType},
    execution::repository,
    failure::Outcome,
    output::{self, Printable},
    settings::Settings,
};
use std::io::Write;
use tidemill_core::api::{SecretView, SetSecretRequest, VariableOptions};

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
            ValueKind::Variable.set(settings, &request, format.is_json()).await?;
        }
        VariableAction::List(args) => {
            let list = ValueKind::Variable.list(settings, &args.scope).await?;
            if args.format.is_json() {
                let json = serde_json::json!({ "variables": list.secrets });
                output::print_json(&json)?;
            } else {
                let mut out = output::stdout();
                for variable in &list.secrets {
                    writeln!(out, "{}", line(variable))?;
                }
            }
        }
        VariableAction::Remove(args) => ValueKind::Variable.remove(settings, args).await?,
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
