//! Tests of the definition of all commands.
#![allow(clippy::unwrap_used)]

use super::Cli;
use crate::env_vars;
use clap::{Arg, ArgAction, Command, CommandFactory};
use std::collections::BTreeMap;

/// Commands that print nothing that a program would read.
const WITHOUT_FORMAT: [&str; 18] = [
    "logs",
    "open",
    "init",
    "import",
    "completions",
    "man",
    "server",
    "worker",
    "login",
    "logout",
    "deploy",
    "destroy",
    "secret set",
    "secret remove",
    "secret rekey",
    "repo remove",
    "repo sync",
    "repo redeliver",
];
/// Further commands that print nothing that a program would read.
const ALSO_WITHOUT_FORMAT: [&str; 4] = ["repo add", "token revoke", "registry add", "registry remove"];

/// Returns all visible commands by their full names, without parents of other commands.
fn commands() -> Vec<(String, Command, Vec<Command>)> {
    fn visit(
        name: &str,
        command: &Command,
        parents: &[Command],
        all: &mut Vec<(String, Command, Vec<Command>)>,
    ) {
        for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
            let name = format!("{name} {}", child.get_name()).trim().to_owned();
            let parents = [parents, std::slice::from_ref(command)].concat();
            if child.has_subcommands() {
                visit(&name, child, &parents, all);
            } else {
                all.push((name, child.clone(), parents));
            }
        }
    }
    let mut all = Vec::new();
    visit("", &Cli::command(), &[], &mut all);
    all
}

/// Returns the options of a command, with those of its parents.
fn options<'a>(command: &'a Command, parents: &'a [Command]) -> impl Iterator<Item = &'a Arg> {
    let inherited = parents.iter().flat_map(Command::get_arguments).filter(|arg| arg.is_global_set());
    command.get_arguments().chain(inherited).filter(|arg| !arg.is_positional() && !arg.is_hide_set())
}

fn find<'a>(command: &'a Command, parents: &'a [Command], long: &str) -> Option<&'a Arg> {
    options(command, parents).find(|arg| arg.get_long() == Some(long))
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

#[test]
fn short_options_have_one_meaning() {
    let mut long_of: BTreeMap<char, (String, String)> = BTreeMap::new();
    for (name, command, parents) in commands() {
        for arg in options(&command, &parents) {
            let (Some(short), Some(long)) = (arg.get_short(), arg.get_long()) else { continue };
            let (known, by) = long_of.entry(short).or_insert_with(|| (long.to_owned(), name.clone()));
            assert_eq!(known, long, "-{short} is --{known} of `{by}`, but --{long} of `{name}`");
        }
    }
    assert_eq!(long_of[&'f'].0, "file");
    assert_eq!(long_of[&'o'].0, "output");
    assert_eq!(long_of[&'j'].0, "jobs");
}

#[test]
fn long_options_have_the_same_letter_and_kind_in_every_command() {
    let mut known: BTreeMap<String, (Option<char>, bool, String)> = BTreeMap::new();
    for (name, command, parents) in commands() {
        for arg in options(&command, &parents) {
            let long = arg.get_long().unwrap_or_else(|| panic!("`{name}` has an option without a long name"));
            // `logs` follows the one log that it prints; `run` names the jobs whose logs it follows.
            if matches!(long, "follow" | "approve") {
                continue;
            }
            let is = (arg.get_short(), takes_value(arg));
            let (short, value, by) =
                known.entry(long.to_owned()).or_insert_with(|| (is.0, is.1, name.clone()));
            assert_eq!((*short, *value), is, "--{long} differs in `{by}` and `{name}`");
        }
    }
}

#[test]
fn every_command_has_an_example() {
    for (name, command, parents) in commands() {
        let helps = parents.iter().chain([&command]).filter_map(Command::get_after_help);
        let examples = helps.map(ToString::to_string).collect::<String>();
        assert!(examples.contains(&format!("tidemill {name}")), "no example of `{name}`: {examples}");
    }
}

#[test]
fn commands_on_executions_have_all_selectors() {
    let mut checked = 0;
    for (name, command, parents) in commands() {
        if !command.get_arguments().any(|arg| arg.get_id() == "execution") {
            continue;
        }
        checked += 1;
        for selector in ["repo", "branch", "pipeline", "file", "status"] {
            assert!(find(&command, &parents, selector).is_some(), "`{name}` lacks --{selector}");
        }
        for option in ["server", "profile", "token", "ca-cert", "data-dir"] {
            assert!(find(&command, &parents, option).is_some(), "`{name}` lacks --{option}");
        }
    }
    assert!(checked >= 9, "{checked} commands on executions");
}

#[test]
fn commands_that_print_records_have_a_format() {
    for (name, command, parents) in commands() {
        let without = WITHOUT_FORMAT.contains(&name.as_str()) || ALSO_WITHOUT_FORMAT.contains(&name.as_str());
        let format = find(&command, &parents, "format");
        assert_eq!(format.is_none(), without, "`{name}`");
        let Some(format) = format else { continue };
        let values: Vec<String> =
            format.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        assert!(values.starts_with(&["human".to_owned()]) && values.contains(&"json".to_owned()), "`{name}`");
    }
}

#[test]
fn connection_options_are_those_of_commands_that_connect() {
    for name in ["check", "plan", "init", "import", "completions", "man", "deploy", "destroy"] {
        let (_, command, parents) = commands().into_iter().find(|(known, ..)| known == name).unwrap();
        for option in ["server", "profile", "token", "ca-cert", "insecure-http", "data-dir"] {
            assert!(find(&command, &parents, option).is_none(), "`{name}` has --{option}");
        }
    }
}

#[test]
fn output_is_a_path_and_does_not_overwrite_without_force() {
    for (name, command, parents) in commands() {
        let Some(output) = find(&command, &parents, "output") else { continue };
        let value = output.get_value_names().unwrap()[0].as_str();
        assert!(["DIR", "PATH"].contains(&value), "`{name}`: {value}");
        assert!(find(&command, &parents, "force").is_some(), "`{name}` lacks --force");
    }
}

#[test]
fn variables_of_options_are_registered() {
    for (name, command, parents) in commands() {
        for variable in options(&command, &parents).filter_map(Arg::get_env) {
            let variable = variable.to_str().unwrap();
            assert!(env_vars::ALL.iter().any(|(known, _)| *known == variable), "`{name}`: {variable}");
        }
    }
}
