//! The one way to standard output and standard error.
//!
//! Text from outside (names, reasons, addresses, what servers answer) is shown through [`Printable`], and what is
//! written goes through a guard that lets only text, line ends and colours out: what somebody forgot to escape is
//! still no command to a terminal. Logs of jobs have a filter of their own, [`LogFilter`].

mod guard;
mod log_filter;
mod server_log;

pub use guard::Guarded;
pub use log_filter::LogFilter;
pub use server_log::{LogStyle, ServerLog};
pub use tidemill_core::text::{Printable, printable, printable_lines};

use serde::Serialize;
use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
};
use tidemill_core::text::{is_control, is_invisible};

/// Standard output, guarded.
pub fn stdout() -> Guarded<io::Stdout> {
    Guarded::new(anstream::stdout())
}

/// Standard error, guarded.
pub fn stderr() -> Guarded<io::Stderr> {
    Guarded::new(anstream::stderr())
}

/// Where a job's log is printed: filtered on a terminal, and as it is in files and pipes.
#[derive(Debug)]
pub struct LogWriter(Option<LogFilter>);

impl LogWriter {
    /// Standard output; `raw`: as it is, even on a terminal.
    pub fn to_stdout(raw: bool) -> Self {
        let is_filtered = !raw && io::stdout().is_terminal();
        Self(is_filtered.then(|| LogFilter::new(stdout_has_colours())))
    }

    /// Writes bytes that the job printed.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match &mut self.0 {
            Some(filter) => out.write_all(filter.pass(bytes).as_bytes())?,
            None => out.write_all(bytes)?,
        }
        out.flush()
    }

    /// The log is over: the terminal is as it was.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some(filter) = &mut self.0 else { return Ok(()) };
        let mut out = io::stdout().lock();
        out.write_all(filter.finish().as_bytes())?;
        out.flush()
    }
}

/// Whether standard output shows colours.
pub fn stdout_has_colours() -> bool {
    anstream::stdout().current_choice() != anstream::ColorChoice::Never
}

/// Whether somebody at a terminal reads standard error.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard error shows colours.
pub fn stderr_has_colours() -> bool {
    anstream::stderr().current_choice() != anstream::ColorChoice::Never
}

/// Writes a line to standard output; there is nobody to tell when that cannot be done.
pub fn print_line(line: fmt::Arguments<'_>) {
    let _ = writeln!(stdout(), "{line}");
}

/// Writes a line to standard error; there is nobody to tell when that cannot be done.
pub fn print_error_line(line: fmt::Arguments<'_>) {
    let _ = writeln!(stderr(), "{line}");
}

/// Writes text that has its own line ends to standard error.
pub fn print_error_text(text: &str) {
    let _ = write!(stderr(), "{text}");
}

/// Writes a line to standard output.
#[macro_export]
macro_rules! outln {
    ($($words:tt)*) => { $crate::output::print_line(format_args!($($words)*)) };
}

/// Writes a line to standard error.
#[macro_export]
macro_rules! errln {
    ($($words:tt)*) => { $crate::output::print_error_line(format_args!($($words)*)) };
}

/// Prints a value as JSON for people and programs.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    writeln!(stdout(), "{}", json_escaped(&text))
}

/// Prints a value as JSON on one line.
pub fn print_json_line(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value)?;
    writeln!(stdout(), "{}", json_escaped(&text))
}

/// JSON in which strings hold nothing that a terminal acts on: JSON itself escapes only the characters below U+0020.
fn json_escaped(json: &str) -> String {
    let is_odd = |c: char| c >= '\u{7f}' && (is_control(c) || is_invisible(c));
    if !json.contains(is_odd) {
        return json.to_owned();
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_odd(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::json_escaped;
    use std::{fs, path::Path};

    #[test]
    fn json_strings_hold_no_control_characters_and_keep_their_value() {
        let value = serde_json::json!({ "a\u{9b}": "\u{1b}[31m\u{202e}\u{e0041}ü\u{7f}", "b": ["\u{200b}"] });
        let escaped = json_escaped(&serde_json::to_string_pretty(&value).unwrap());
        assert!(escaped.chars().all(|c| c == '\n' || c == 'ü' || (' '..='~').contains(&c)), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    /// What is written otherwise is not guarded.
    #[test]
    fn everything_is_written_through_this_module() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        // The live view moves the cursor; completions and the manual page are made of nothing from outside.
        let allowed = ["output", "output.rs", "live.rs", "main.rs"];
        let mut left = vec![src];
        let mut files = 0;
        while let Some(path) = left.pop() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if allowed.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            files += 1;
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            for word in ["anstream::", "io::stderr()", "println!", "print!(", "to_writer"] {
                assert!(!text.contains(word), "{} has `{word}`: use crate::output", path.display());
            }
            let locked = text.matches("io::stdout()").count();
            assert!(
                locked <= usize::from(name == "view.rs"),
                "{} writes to standard output: use crate::output",
                path.display()
            );
        }
        assert!(files > 30, "only {files} files were looked at");
    }
}
