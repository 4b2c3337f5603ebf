//! Tests of the definition of all commands, and the reference pages that are generated from it.
//!
//! `make docs` writes the pages; without the variable `UPDATE_DOCS`, the tests compare them.
#![allow(clippy::unwrap_used)]

use super::Cli;
use crate::env_vars;
use clap::{Arg, ArgAction, Command, CommandFactory};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use tidemill_worker::source::SourceSettings;

/// Maximum length of a line of the pages.
const WIDTH: usize = 100;
/// Commands whose output is no result: pages, scripts, and what a process does while it runs.
const WITHOUT_FORMAT: [&str; 8] =
    ["completions", "cp", "debug", "export", "forward", "man", "server", "worker"];

/// Returns all visible commands by their full names, without parents of other commands.
fn commands() -> Vec<(String, Command, Vec<Command>)> {
    commands_of(&Cli::command())
}

fn commands_of(root: &Command) -> Vec<(String, Command, Vec<Command>)> {
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
    visit("", root, &[], &mut all);
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

/// Returns the mistakes in a definition of all commands: letters with two meanings, commands without an example, and commands on
/// executions that lack a selector or a connection option.
fn mistakes(root: &Command) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut long_of: BTreeMap<char, (String, String)> = BTreeMap::new();
    let mut on_executions = 0;
    for (name, command, parents) in commands_of(root) {
        for arg in options(&command, &parents) {
            let (Some(short), Some(long)) = (arg.get_short(), arg.get_long()) else { continue };
            let (known, by) = long_of.entry(short).or_insert_with(|| (long.to_owned(), name.clone()));
            if known != long {
                mistakes.push(format!("-{short} is --{known} of `{by}`, but --{long} of `{name}`"));
            }
        }
        let helps = parents.iter().chain([&command]).filter_map(Command::get_after_help);
        let examples = helps.map(ToString::to_string).collect::<String>();
        if !examples.contains(&format!("tidemill {name}")) {
            mistakes.push(format!("no example of `{name}`"));
        }
        if !command.get_arguments().any(|arg| arg.get_id() == "execution") {
            continue;
        }
        on_executions += 1;
        let selectors = ["repo", "branch", "pipeline", "file", "status"];
        for option in selectors.iter().chain(&["server", "profile", "token", "ca-cert", "data-dir"]) {
            if find(&command, &parents, option).is_none() {
                mistakes.push(format!("`{name}` lacks --{option}"));
            }
        }
    }
    assert!(on_executions >= 9, "{on_executions} commands on executions");
    assert_eq!((long_of[&'f'].0.as_str(), long_of[&'o'].0.as_str()), ("file", "output"));
    assert_eq!(long_of[&'j'].0, "jobs");
    mistakes
}

#[test]
fn definition_has_one_meaning_for_a_letter_an_example_for_each_command_and_all_selectors() {
    assert_eq!(mistakes(&Cli::command()), Vec::<String>::new());
}

#[test]
fn definition_with_a_mistake_is_found() {
    let letter = Cli::command()
        .mut_subcommand("watch", |command| command.arg(Arg::new("fast").short('o').long("fast")));
    assert!(
        mistakes(&letter).iter().any(|mistake| mistake.starts_with("-o is --")),
        "{:?}",
        mistakes(&letter)
    );
    let example = Cli::command().mut_subcommand("open", |command| command.after_help("Examples:"));
    assert_eq!(mistakes(&example), ["no example of `open`"]);
    let nested = Cli::command().mut_subcommand("secret", |command| {
        let examples = command.get_after_help().unwrap().to_string();
        command.after_help(examples.replace("tidemill secret rekey", ""))
    });
    assert_eq!(mistakes(&nested), ["no example of `secret rekey`"]);
    for selector in ["repo", "branch", "pipeline", "file", "status"] {
        let lacking = Cli::command()
            .mut_subcommand("cancel", |command| command.mut_arg(selector, |arg| arg.hide(true)));
        assert_eq!(mistakes(&lacking), [format!("`cancel` lacks --{selector}")]);
    }
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
fn commands_that_print_records_have_a_format() {
    for (name, command, parents) in commands() {
        let without = WITHOUT_FORMAT.contains(&name.as_str());
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
    // What checks a file may ask a server, and has no records.
    let of_server = ["server", "profile", "token", "ca-cert", "insecure-http"];
    for name in ["check", "plan", "init", "import", "completions", "version", "man", "deploy", "destroy"] {
        let (_, command, parents) = commands().into_iter().find(|(known, ..)| known == name).unwrap();
        for option in of_server.iter().chain(&["data-dir"]) {
            let expected = ["check", "plan"].contains(&name) && *option != "data-dir";
            assert_eq!(find(&command, &parents, option).is_some(), expected, "`{name}`: --{option}");
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

/// Returns the commands of this program in the code blocks of a page, each on one line, without comments.
fn documented_commands(page: &str) -> Vec<String> {
    let joined = page.replace("\\\n", " ");
    let mut is_code = false;
    let mut found = Vec::new();
    for line in joined.lines().map(str::trim) {
        if line.starts_with("```") {
            is_code = !is_code;
            continue;
        }
        let command = line.strip_prefix("$ ").unwrap_or(line);
        if is_code && command.starts_with("tidemill ") {
            let end = ["  #", " # ", " < ", " > ", " | "].iter().filter_map(|mark| command.find(mark)).min();
            found.push(command[..end.unwrap_or(command.len())].trim().to_owned());
        }
    }
    found
}

#[test]
fn commands_in_the_documentation_parse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut checked = 0;
    for page in pages.chain([root.join("README.md"), root.join("CONTRIBUTING.md")]) {
        if page.extension().is_none_or(|extension| extension != "md") || page.ends_with("cli.md") {
            continue;
        }
        for line in documented_commands(&fs::read_to_string(&page).unwrap()) {
            let words = shlex::split(&line).unwrap_or_else(|| panic!("{}: {line}", page.display()));
            if let Err(error) = Cli::command().try_get_matches_from(words) {
                panic!("{}: {line}: {error}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} commands");
}

#[test]
fn command_reference_is_current() {
    let mut page = String::from(
        "# Commands\n\n<!-- Generated by `make docs` from the definition of the commands. -->\n\nEvery command and \
         option, as `tidemill help COMMAND` and `tidemill man COMMAND` show them.\n[operations.md](operations.md#which-execution-a-command-acts-on) explains how `[EXECUTION]`, `[JOB]`\nand the selectors choose an execution.\n\n",
    );
    let all = commands();
    for (name, command, _) in &all {
        let about = command.get_about().unwrap().to_string();
        page += &item(&format!("[`{name}`](#tidemill-{})", name.replace(' ', "-")), &about);
    }
    let mut shown: Vec<String> = Vec::new();
    for (name, command, parents) in &all {
        let usage = command.clone().bin_name(format!("tidemill {name}")).render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let _ = write!(
            page,
            "\n## tidemill {name}\n\n{}.\n\n```text\n{usage}\n```\n\n",
            command.get_about().unwrap()
        );
        for arg in command.get_arguments().filter(|arg| arg.is_positional() && !arg.is_hide_set()) {
            page += &item(&format!("`{}`", arg.get_value_names().unwrap()[0]), &describe(arg));
        }
        let mut connects = false;
        for arg in
            options(command, parents).filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
        {
            if arg.get_help_heading() == Some("Connection") {
                connects = true;
                let text = option_item(arg);
                if !shown.contains(&text) {
                    shown.push(text);
                }
            } else {
                page += &option_item(arg);
            }
        }
        if connects {
            page += &item("[connection options](#connection-options)", "where the records are");
        }
        let helps = parents.iter().rev().take(1).chain([command]).filter_map(Command::get_after_help);
        let lines: Vec<String> = helps
            .flat_map(|help| help.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| line.contains(&format!("tidemill {name}")))
            .collect();
        if !lines.is_empty() {
            page += "\n```sh\n";
            page.extend(lines.iter().flat_map(|line| [line.trim_start(), "\n"]));
            page += "```\n";
        }
    }
    page += "\n## Connection options\n\nCommands have those of these options that apply to them.\n\n";
    page.extend(shown);
    page += "\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n| 0 | success |\n| 1 | the pipeline failed |\n| 2 | usage error or invalid file |\n| 3 | system error: engine, disk, network |\n| 130 | canceled |\n\nA command whose reader closes the pipe ends without a message, with code 3.\n\nWith `--format json`, a command that has no result prints its error as JSON, too:\n\n```json\n{\"error\":{\"message\":\"no profiles\",\"exit_code\":2}}\n```\n";
    check_page("cli.md", &page);
}

#[test]
fn reference_of_environment_variables_is_current() {
    let mut page = String::from(
        "# Environment variables\n\n<!-- Generated by `make docs` from the registry of the variables. -->\n\nA flag \
         overrides its variable, and a variable overrides the config file. An empty\nvariable counts as unset.\n\n",
    );
    let all = commands();
    for (variable, description) in env_vars::ALL {
        let marker = format!("[env: {variable}]");
        let has = |arg: &&Arg| {
            arg.get_env().is_some_and(|name| name == *variable)
                || arg.get_help().is_some_and(|help| help.to_string().contains(&marker))
        };
        let found = all.iter().find_map(|(_, command, parents)| {
            options(command, parents).find(has).and_then(Arg::get_long).map(str::to_owned)
        });
        let option = found.map(|long| format!(" Option: `--{long}`.")).unwrap_or_default();
        page += &item(&format!("`{variable}`"), &format!("{}{option}", description.trim()));
    }
    page += "\n## Sources\n\nLimits of checkouts and of what workers keep; [sources.md](sources.md) has the details.\n\n";
    for (variable, description) in SourceSettings::VARIABLES {
        page += &item(&format!("`{variable}`"), description);
    }
    page += "\n## Variables of other programs\n\n";
    page += &item("`CLICOLOR_FORCE`", "Switches colours on where there is no terminal.");
    page += &item("`SSL_CERT_FILE`", "Certificate authorities to trust instead of the system's.");
    check_page("environment.md", &page);
}

fn option_item(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let long = arg.get_long().unwrap();
    let value = takes_value(arg).then(|| {
        let name = arg.get_value_names().map(|names| names[0].to_string());
        format!(" {}", name.unwrap_or_else(|| arg.get_id().as_str().to_uppercase()))
    });
    item(&format!("`{short}--{long}{}`", value.unwrap_or_default()), &describe(arg))
}

fn describe(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if takes_value(arg) && !values.is_empty() {
        let _ = write!(text, " ({})", values.join(", "));
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if takes_value(arg) && !defaults.is_empty() && !text.contains("[default") {
        let _ = write!(text, " [default: {}]", defaults.join(", "));
    }
    if let Some(variable) = arg.get_env().and_then(|name| name.to_str()) {
        let _ = write!(text, " [env: {variable}]");
    }
    text
}

/// Returns an item of a list, wrapped.
fn item(name: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = format!("- {name}:");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines = format!("{lines}{line}\n");
            line = " ".to_owned();
        }
        line = format!("{line} {word}");
    }
    format!("{lines}{line}\n")
}

fn check_page(name: &str, text: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let current = fs::read_to_string(&path).unwrap_or_default();
    assert!(current == text, "docs/{name} is not current: run `make docs`");
}
