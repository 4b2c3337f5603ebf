//! A writer that passes only text, line ends and colours, and escapes everything else.

use anstream::{AutoStream, stream::RawStream};
use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};
use std::io::{self, Write};
use tidemill_core::text::{escape, is_control, is_invisible};

/// A stream that passes text, line ends and, if enabled, colours. It escapes everything else.
pub struct SanitizedStream<S: RawStream> {
    stream: AutoStream<S>,
    parser: Parser<DefaultCharAccumulator>,
    passed: AllowedText,
}

/// The text that passed the filter.
#[derive(Debug, Default)]
struct AllowedText(String);

impl<S: RawStream> SanitizedStream<S> {
    /// Wraps `stream`.
    pub fn new(stream: AutoStream<S>) -> Self {
        Self { stream, parser: Parser::default(), passed: AllowedText::default() }
    }
}

impl<S: RawStream> Write for SanitizedStream<S>
where
    AutoStream<S>: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.parser.advance(&mut self.passed, *byte);
        }
        let passed = std::mem::take(&mut self.passed.0);
        self.stream.write_all(passed.as_bytes()).map_err(|error| output_error(&error))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().map_err(|error| output_error(&error))
    }
}

impl Perform for AllowedText {
    fn print(&mut self, c: char) {
        if is_control(c) || is_invisible(c) {
            // Writing to a String cannot fail.
            let _ = escape(&mut self.0, c);
        } else {
            self.0.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' | b'\t' => self.0.push(char::from(byte)),
            _ => drop(escape(&mut self.0, char::from(byte))),
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if action == b'm' && intermediates.is_empty() && !ignore {
            write_control_sequence(&mut self.0, params, 'm');
        } else {
            self.0.push_str("\\x1b[");
        }
    }

    fn osc_dispatch(&mut self, _: &[&[u8]], _: bool) {
        self.0.push_str("\\x1b]");
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        // A backslash terminates a string whose start was escaped already.
        if byte != b'\\' {
            self.0.push_str("\\x1b");
        }
    }

    fn hook(&mut self, _: &Params, _: &[u8], _: bool, _: u8) {
        self.0.push_str("\\x1bP");
    }
}

/// Adds to an error that it is about the output, for messages.
pub fn output_error(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the output cannot be written: {error}"))
}

/// Writes a control sequence with these parameters.
pub fn write_control_sequence(out: &mut String, params: &Params, action: char) {
    out.push_str("\u{1b}[");
    for (ix, values) in params.iter().enumerate() {
        if ix > 0 {
            out.push(';');
        }
        for (ix, value) in values.iter().enumerate() {
            if ix > 0 {
                out.push(':');
            }
            out.push_str(&value.to_string());
        }
    }
    out.push(action);
}

#[cfg(test)]
mod tests {
    use super::{AllowedText, Parser, is_control, is_invisible};

    fn passed(text: &str) -> String {
        let (mut parser, mut passed) =
            (Parser::<anstyle_parse::DefaultCharAccumulator>::default(), AllowedText::default());
        for byte in text.bytes() {
            parser.advance(&mut passed, byte);
        }
        passed.0
    }

    #[test]
    fn colours_pass_and_other_sequences_are_escaped() {
        assert_eq!(passed("\u{1b}[1;31mred\u{1b}[0m\nö\t."), "\u{1b}[1;31mred\u{1b}[0m\nö\t.");
        assert_eq!(passed("\u{1b}[38:2:1:2:3mx"), "\u{1b}[38:2:1:2:3mx");
        for hostile in [
            "\u{1b}[2J",
            "\u{1b}[?1049h",
            "\u{1b}]0;title\u{7}",
            "\u{1b}]8;;https://example.org\u{1b}\\link",
            "\u{1b}P1$qm\u{1b}\\",
            "\u{1b}c",
            "\u{1b}[c",
            "\u{9b}2J",
            "\r",
            "\u{8}",
            "\u{7f}",
            "\u{202e}",
            "\u{200b}",
            "\u{1b}[>4;2m",
        ] {
            let shown = passed(&format!("a{hostile}z"));
            assert!(!shown.contains(|c| is_control(c) || is_invisible(c)), "{hostile:?} gave {shown:?}");
        }
    }
}
