//! Writes logs of jobs to standard output.

use super::{json_escape::json_escaped, log_filter::LogFilter, sanitized_stream::output_error};
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use tidemill_core::text::Printable;

/// Maximum length in bytes of a line without an end that is held back.
const MAX_LINE_LEN: usize = 64 << 10;

/// The form in which a log is written.
#[derive(Debug, Clone, Copy)]
pub enum LogOutput<'a> {
    /// Its text.
    Text {
        /// Unfiltered, even on a terminal.
        raw: bool,
        /// Name before each line, if several logs are printed at once.
        prefix: Option<&'a str>,
    },
    /// A JSON object for each line.
    JsonLines {
        /// Name of the job.
        job: &'a str,
    },
}

/// A writer of a job's log: text is filtered on a terminal, and unchanged in files and pipes.
#[derive(Debug)]
pub struct LogWriter {
    filter: Option<LogFilter>,
    form: Form,
    /// Unless the form is unchanged text: the bytes of a line that has not ended.
    line: Vec<u8>,
}

#[derive(Debug)]
enum Form {
    Unchanged,
    /// With this text before each line.
    Prefixed(String),
    /// As JSON objects with the name of this job.
    Json(String),
}

impl LogWriter {
    /// Creates a writer to standard output.
    pub fn to_stdout(style: LogOutput<'_>) -> Self {
        let (raw, form) = match style {
            LogOutput::Text { raw, prefix: None } => (raw, Form::Unchanged),
            LogOutput::Text { raw, prefix: Some(name) } => {
                (raw, Form::Prefixed(format!("{} | ", Printable(name))))
            }
            LogOutput::JsonLines { job } => (true, Form::Json(job.to_owned())),
        };
        let is_filtered = !raw && io::stdout().is_terminal();
        let has_colours = anstream::stdout().current_choice() != anstream::ColorChoice::Never;
        let filter = is_filtered.then(|| LogFilter::new(has_colours));
        Self { filter, form, line: Vec::new() }
    }

    /// Writes bytes of the log.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.form, Form::Unchanged) {
            return self.write_filtered(bytes);
        }
        self.line.extend_from_slice(bytes);
        // A line without an end is not kept in memory forever.
        let end = match self.line.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if self.line.len() > MAX_LINE_LEN => self.line.len(),
            None => return Ok(()),
        };
        let rest = self.line.split_off(end);
        let lines = std::mem::replace(&mut self.line, rest);
        self.write_lines(&lines)
    }

    /// Ends the log and resets colours.
    pub fn finish(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.line);
        self.write_lines(&rest)?;
        let Some(filter) = &mut self.filter else { return Ok(()) };
        let mut out = io::stdout().lock();
        out.write_all(filter.finish().as_bytes())?;
        out.flush()
    }

    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut text = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            text.extend(self.form.line(line.strip_suffix(b"\n").unwrap_or(line)));
            text.push(b'\n');
        }
        self.write_filtered(&text)
    }

    fn write_filtered(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match &mut self.filter {
            Some(filter) => out.write_all(filter.filter(bytes).as_bytes()),
            None => out.write_all(bytes),
        }
        .and_then(|()| out.flush())
        .map_err(|error| output_error(&error))
    }
}

impl Form {
    /// Returns a line of the log without its end in this form.
    fn line(&self, line: &[u8]) -> Vec<u8> {
        match self {
            Self::Unchanged => line.to_vec(),
            Self::Prefixed(prefix) => [prefix.as_bytes(), line].concat(),
            Self::Json(job) => {
                let object = json!({ "job": job, "line": String::from_utf8_lossy(line) });
                json_escaped(&object.to_string()).into_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn lines_have_the_form_of_the_output() {
        let line = b"a \"b\" \x1b[1m\xff";
        assert_eq!(Form::Unchanged.line(line), line);
        assert_eq!(Form::Prefixed("unit | ".into()).line(b"x"), b"unit | x");
        let json = String::from_utf8_lossy(&Form::Json("unit".into()).line(line)).into_owned();
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
        assert_eq!(parsed["line"], "a \"b\" \u{1b}[1m\u{fffd}");
        assert!(parsed["job"] == "unit" && !json.contains('\u{1b}'), "{json}");
    }
}
