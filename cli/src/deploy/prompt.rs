//! Confirmation prompts.

use crate::failure::{Exit, Failure, Outcome};
use std::io::{IsTerminal, Write};

/// Asks for confirmation. Any answer but yes cancels the command.
pub fn confirm(question: &str) -> Outcome {
    prompt(&format!("{question} [y/N] "), |answer| matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// Asks to type `word`. Any other answer cancels the command.
pub fn confirm_by_typing(word: &str, question: &str) -> Outcome {
    prompt(&format!("{question}\nType {word} to continue: "), |answer| answer == word)
}

fn prompt(question: &str, is_yes: impl Fn(&str) -> bool) -> Outcome {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage("no terminal for the confirmation prompt: use --yes to skip it"));
    }
    let mut stderr = crate::output::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    if is_yes(line.trim()) {
        return Ok(());
    }
    Err(Failure { message: "nothing was changed".to_owned(), ..Failure::silent(Exit::Canceled) })
}
