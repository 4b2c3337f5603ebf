//! Writes to standard output and standard error.
//!
//! [`Printable`] escapes untrusted text: names, reasons, addresses and server replies. In addition, [`SanitizedStream`] passes only
//! text, line ends and colours, so that unescaped text cannot control a terminal. Logs of jobs have their own filter, [`LogFilter`].

mod json_escape;
mod log_filter;
mod log_writer;
mod logging;
mod raw_terminal;
mod sanitized_stream;
mod server_log;

pub use log_filter::LogFilter;
pub use log_writer::{LogOutput, LogWriter};
pub use logging::{LogLevels, Logging};
pub use raw_terminal::{RawTerminal, has_terminal, restore_terminal, terminal_size, write_raw};
pub use sanitized_stream::{SanitizedStream, output_error};
pub use server_log::LogStyle;
pub use tidemill_core::text::{Printable, printable, printable_lines};

use json_escape::json_escaped;
use serde::Serialize;
use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Returns standard output, sanitized.
pub fn stdout() -> SanitizedStream<io::Stdout> {
    SanitizedStream::new(anstream::stdout())
}

/// Returns standard error, sanitized.
pub fn stderr() -> SanitizedStream<io::Stderr> {
    SanitizedStream::new(anstream::stderr())
}

/// Returns whether standard output shows colours.
pub fn stdout_has_colours() -> bool {
    anstream::stdout().current_choice() != anstream::ColorChoice::Never
}

/// Returns whether standard error is a terminal.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Returns whether standard error shows colours.
pub fn stderr_has_colours() -> bool {
    anstream::stderr().current_choice() != anstream::ColorChoice::Never
}

/// The first error of [`print_line`].
static FAILED_LINE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes a line to standard output. [`failed_line`] returns an error at the end of the command: what the line reports has happened.
pub fn print_line(line: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(stdout(), "{line}")
        && let Ok(mut failed) = FAILED_LINE.lock()
    {
        failed.get_or_insert(error);
    }
}

/// Returns the first error of [`print_line`].
pub fn failed_line() -> io::Result<()> {
    let failed = FAILED_LINE.lock().ok().and_then(|mut failed| failed.take());
    failed.map_or(Ok(()), Err)
}

/// Writes a line to standard error; errors are ignored.
pub fn print_error_line(line: fmt::Arguments<'_>) {
    let _ = writeln!(stderr(), "{line}");
}

/// Writes text with its own line ends to standard error.
pub fn print_error_text(text: &str) {
    let _ = write!(stderr(), "{text}");
}

/// Writes a line to standard output.
macro_rules! outln {
    ($($arguments:tt)*) => { $crate::output::print_line(format_args!($($arguments)*)) };
}

/// Writes a line to standard error.
macro_rules! errln {
    ($($arguments:tt)*) => { $crate::output::print_error_line(format_args!($($arguments)*)) };
}

pub(crate) use {errln, outln};

/// Whether a complete JSON document was printed.
static HAS_DOCUMENT: AtomicBool = AtomicBool::new(false);

/// Returns whether a complete JSON document was printed: the result of a command, which no error follows.
pub fn has_document() -> bool {
    HAS_DOCUMENT.load(Ordering::Relaxed)
}

/// Prints a value as indented JSON.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    HAS_DOCUMENT.store(true, Ordering::Relaxed);
    let text = serde_json::to_string_pretty(value)?;
    writeln!(stdout(), "{}", json_escaped(&text))
}

/// Prints the reply to a command as JSON, or as the line that `text` returns.
pub fn print_reply(is_json: bool, reply: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
    if is_json { print_json(reply) } else { writeln!(stdout(), "{}", text()) }
}

/// Prints a value as JSON on one line.
pub fn print_json_line(value: &impl Serialize) -> io::Result<()> {
    HAS_DOCUMENT.store(true, Ordering::Relaxed);
    let text = serde_json::to_string(value)?;
    writeln!(stdout(), "{}", json_escaped(&text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, path::Path};

    /// Writes elsewhere would not be sanitized.
    #[test]
    fn only_this_module_writes_to_standard_streams() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        // The live view moves the cursor; completions and the manual page contain no untrusted text.
        let allowed = ["output", "output.rs", "screen.rs", "lib.rs"];
        let mut pending = vec![src];
        let mut files = 0;
        while let Some(path) = pending.pop() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if allowed.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
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
        assert!(files > 30, "only {files} files were checked");
    }
}
