//! The log of this process, one line per event. Untrusted text in an event is escaped, so that it can neither control a terminal
//! nor add lines.

use super::json_escape::json_escaped;
use std::io::{self, Write};
use tidemill_core::text::printable;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Writes events to standard error; each call is one event.
#[derive(Debug)]
pub struct ServerLog(pub LogStyle);

impl Write for ServerLog {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = format_line(self.0, event);
        io::stderr().lock().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn format_line(style: LogStyle, event: &[u8]) -> String {
    let text = String::from_utf8_lossy(event);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let mut line = match style {
        LogStyle::Text => printable(text),
        LogStyle::Json => json_escaped(text),
    };
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::{LogStyle, format_line};

    #[test]
    fn event_is_one_line_without_control_characters() {
        let event = "INFO branch=a\u{1b}[2J\u{9b}31m\nINFO faked=true\n".as_bytes();
        assert_eq!(format_line(LogStyle::Text, event), "INFO branch=a\\x1b[2J\\u{9b}31m\\nINFO faked=true\n");
        let event = "{\"branch\":\"a\u{9b}\"}\n".as_bytes();
        assert_eq!(format_line(LogStyle::Json, event), "{\"branch\":\"a\\u009b\"}\n");
    }
}
