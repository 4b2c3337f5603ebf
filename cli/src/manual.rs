//! The manual pages, one for each command.

use crate::{
    args::{Cli, ManualArgs},
    failure::{Failure, Outcome},
    pipeline::new_file,
};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use tidemill_core::text::choices::suggestion;

/// Returns the page of a command as roff text, or writes the pages of all commands if the arguments name a directory.
pub fn page(args: &ManualArgs) -> Outcome<Vec<u8>> {
    // `help` has no page, also not in commands with actions.
    let mut root = without_help(Cli::command());
    root.build();
    let mut command = &root;
    for name in &args.command {
        let found = command.get_subcommands().find(|candidate| candidate.get_name() == name);
        command = found.ok_or_else(|| {
            let names: Vec<&str> = visible(command).map(Command::get_name).collect();
            Failure::usage(format!("no command `{name}`; {}", suggestion(name, &names, "commands")))
        })?;
    }
    let Some(directory) = &args.output else { return render(command) };
    let mut pending = vec![command];
    while let Some(command) = pending.pop() {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let text = String::from_utf8_lossy(&render(command)?).into_owned();
        new_file::write(&directory.join(format!("{name}.1")), args.force, &text)?;
        pending.extend(visible(command));
    }
    Ok(Vec::new())
}

fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

fn render(command: &Command) -> Outcome<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text)?;
    Ok(text)
}
