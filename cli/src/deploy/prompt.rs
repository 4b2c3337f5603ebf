//! Questions to whoever is at the terminal.

use crate::failure::{Exit, Failure, Outcome};
use std::io::{IsTerminal, Write};

/// Asks a question whose answer is `yes`; anything else ends the command, with nothing changed.
pub fn confirm(question: &str) -> Outcome {
    answer(&format!("{question} [y/N] "), |answer| matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// Has `word` typed; anything else ends the command, with nothing changed.
pub fn confirm_by(word: &str, question: &str) -> Outcome {
    answer(&format!("{question}\nType {word} to go on: "), |answer| answer == word)
}

fn answer(question: &str, is_yes: impl Fn(&str) -> bool) -> Outcome {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask at: give --yes to go on without being asked",
        ));
    }
    let mut stderr = crate::output::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    if is_yes(line.trim()) {
        return Ok(());
    }
    Err(Failure { exit: Exit::Canceled, words: "nothing was changed".to_owned() })
}
