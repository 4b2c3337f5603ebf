//! Filters a job's log for a terminal: only text and colours pass.

use super::sanitized_stream::write_control_sequence;
use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};
use tidemill_core::text::{escape, is_control};

/// Maximum length of a control sequence in bytes. Parsing restarts after a longer one, so that it cannot hide the rest of the log.
const MAX_SEQUENCE: usize = 4_096;
/// Control sequence that resets colours.
const RESET: &str = "\u{1b}[0m";

/// Filters a job's output, chunk by chunk. Text, line ends, tabs, carriage returns and backspaces pass, as do colours and erasing
/// the rest of a line, which progress bars use. Everything else that controls a terminal is dropped: titles, hyperlinks, the
/// clipboard, cursor movement, modes, and queries that the terminal answers as if typed.
#[derive(Debug)]
pub struct LogFilter {
    parser: Parser<DefaultCharAccumulator>,
    passed: PassedState,
    /// Number of bytes dropped since the last one that passed.
    dropped: usize,
}

#[derive(Debug)]
// Two settings and two independent states.
#[allow(clippy::struct_excessive_bools)]
struct PassedState {
    text: String,
    colours: bool,
    /// Whether carriage returns, backspaces and erasing pass.
    rewrites: bool,
    is_coloured: bool,
    line_ended: bool,
}

impl LogFilter {
    /// Creates a filter that passes or drops colours.
    pub fn new(colours: bool) -> Self {
        Self::with_rewrites(colours, true)
    }

    /// Creates a filter for a single line: it drops carriage returns, backspaces and erasing.
    pub fn for_line(colours: bool) -> Self {
        Self::with_rewrites(colours, false)
    }

    fn with_rewrites(colours: bool, rewrites: bool) -> Self {
        let passed =
            PassedState { text: String::new(), colours, rewrites, is_coloured: false, line_ended: false };
        Self { parser: Parser::default(), passed, dropped: 0 }
    }

    /// Filters the next bytes.
    pub fn filter(&mut self, bytes: &[u8]) -> String {
        for byte in bytes {
            let before = self.passed.text.len();
            self.passed.line_ended = false;
            self.parser.advance(&mut self.passed, *byte);
            let drops_line_end = *byte == b'\n' && !self.passed.line_ended;
            self.dropped = if self.passed.text.len() == before { self.dropped + 1 } else { 0 };
            if drops_line_end || self.dropped > MAX_SEQUENCE {
                // An unterminated sequence ends with its line.
                self.parser = Parser::default();
                self.dropped = 0;
                if drops_line_end {
                    self.passed.text.push('\n');
                }
            }
        }
        std::mem::take(&mut self.passed.text)
    }

    /// Returns the sequence that resets colours, if any were set.
    pub fn finish(&mut self) -> &'static str {
        if std::mem::take(&mut self.passed.is_coloured) { RESET } else { "" }
    }
}

impl Perform for PassedState {
    fn print(&mut self, c: char) {
        if is_control(c) {
            // Writing to a String cannot fail.
            let _ = escape(&mut self.text, c);
        } else {
            self.text.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        let passes = match byte {
            b'\n' | b'\t' => true,
            b'\r' | 0x08 => self.rewrites,
            _ => false,
        };
        if passes {
            self.text.push(char::from(byte));
            self.line_ended = byte == b'\n';
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        let is_harmless = match action {
            b'm' => self.colours,
            b'K' => self.colours && self.rewrites,
            _ => false,
        };
        if is_harmless && intermediates.is_empty() && !ignore {
            write_control_sequence(&mut self.text, params, char::from(action));
            self.is_coloured |= action == b'm';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LogFilter, MAX_SEQUENCE};

    fn passed(bytes: &[u8]) -> String {
        let mut filter = LogFilter::new(true);
        let whole = filter.filter(bytes) + filter.finish();
        let mut filter = LogFilter::new(true);
        let bytewise: String = bytes.iter().map(|byte| filter.filter(&[*byte])).collect();
        assert_eq!(whole, bytewise + filter.finish(), "the result does not depend on chunks");
        whole
    }

    #[test]
    fn text_and_colours_pass_and_colours_are_reset_at_the_end() {
        assert_eq!(passed("10%\r20%\tö 日\u{8}\n".as_bytes()), "10%\r20%\tö 日\u{8}\n");
        assert_eq!(passed(b"\x1b[1;32mok\x1b[m\x1b[K\n"), "\u{1b}[1;32mok\u{1b}[0m\u{1b}[0K\n\u{1b}[0m");
        assert_eq!(LogFilter::for_line(true).filter(b"\x1b[2K\x1b[31mx\r\x08"), "\u{1b}[31mx");
        assert_eq!(LogFilter::new(false).filter(b"\x1b[1;32mok\x1b[m\n"), "ok\n");
        assert_eq!(passed(b"no utf-8: \xc3(\xff.\n"), "no utf-8: \u{fffd}.\n");
    }

    #[test]
    fn other_control_sequences_are_dropped() {
        for hostile in [
            "\u{1b}]0;title\u{7}",
            "\u{1b}]52;c;cm0gLXJm\u{7}",
            "\u{1b}]8;;https://example.org\u{1b}\\",
            "\u{1b}P+q544e\u{1b}\\",
            "\u{1b}[2J",
            "\u{1b}[1;1H",
            "\u{1b}[5A",
            "\u{1b}[?1049h",
            "\u{1b}[c",
            "\u{1b}[6n",
            "\u{1b}[21t",
            "\u{1b}[>4;2m",
            "\u{1b}c",
            "\u{1b}#8",
            "\u{5}",
            "\u{7}",
            "\u{e}",
        ] {
            assert_eq!(passed(format!("a{hostile}z\n").as_bytes()), "az\n", "{hostile:?}");
        }
        assert_eq!(passed("a\u{9b}2Jz\u{202e}\n".as_bytes()), "a\\u{9b}2Jz\\u{202e}\n");
    }

    #[test]
    fn unterminated_sequence_ends_with_its_line() {
        assert_eq!(passed(b"a\x1b]0;never ended\nnext\n"), "a\nnext\n");
        assert_eq!(passed(b"a\x1bPnever ended\nnext\n"), "a\nnext\n");
        let long = [b"\x1b]", "x".repeat(2 * MAX_SEQUENCE).as_bytes(), b"end\n"].concat();
        assert!(passed(&long).ends_with("end\n"));
    }
}
