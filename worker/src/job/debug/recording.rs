//! Records a shell in the log of its job.

use crate::{job::reporter::Reporter, log::mask::MaskStream};

/// What stands before each line of a shell in the log.
const PREFIX: &[u8] = b"[shell] ";
/// The longest line; a longer one is recorded as several.
const MAX_LINE: usize = 4 << 10;

/// Records the output of one shell, which shows what is typed as well. Secrets of the job are masked, apart from what the job itself
/// prints at the same time.
#[derive(Debug)]
pub struct Recording {
    reporter: Reporter,
    text: PlainText,
    stream: MaskStream,
    line: Vec<u8>,
}

impl Recording {
    /// Records that a shell was opened.
    pub async fn start(reporter: &Reporter) -> Self {
        reporter.shell_line(b"[shell] a user opened a shell").await;
        Self {
            reporter: reporter.clone(),
            text: PlainText::default(),
            stream: MaskStream::default(),
            line: Vec::new(),
        }
    }

    /// Records output to a terminal with this number of columns.
    pub async fn add(&mut self, bytes: &[u8], columns: u16) {
        let text = self.text.push(bytes, columns);
        let masked = self.reporter.mask().push(&mut self.stream, &text);
        self.add_masked(&masked).await;
    }

    /// Records the rest, and that the shell was closed.
    pub async fn finish(mut self) {
        let rest = self.reporter.mask().finish(&mut self.stream);
        self.add_masked(&rest).await;
        if !self.line.is_empty() {
            self.end_line().await;
        }
        self.reporter.shell_line(b"[shell] the shell was closed").await;
    }

    async fn add_masked(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
            }
            if *byte == b'\n' || self.line.len() >= MAX_LINE {
                self.end_line().await;
            }
        }
    }

    async fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.reporter.shell_line(&[PREFIX, line.strip_suffix(b"\r").unwrap_or(&line)].concat()).await;
    }
}

/// Leaves out what a terminal does not show as text: a secret with a colour within it, or that a shell wraps at the end of a row,
/// would not be found.
#[derive(Debug, Default)]
struct PlainText {
    state: TextState,
    /// Whether a space is held back: Bash wraps a full row with a space and a carriage return.
    has_space: bool,
    /// Whether a carriage return after a full row is held back: BusyBox wraps with that and a line feed.
    has_return: bool,
    /// Characters in the row.
    column: u16,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum TextState {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence, until its last byte.
    Control,
    /// In a string, such as a title, until BEL or ESC.
    String,
    /// After two bytes of a sequence of three.
    Charset,
}

impl PlainText {
    fn push(&mut self, bytes: &[u8], columns: u16) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.state = match (self.state, *byte) {
                (_, 0x1b) => TextState::Escape,
                (TextState::Escape, b'[') => TextState::Control,
                (TextState::Escape, b']' | b'P' | b'_' | b'^' | b'X') => TextState::String,
                (TextState::Escape, b'(' | b')' | b'#' | b'%') => TextState::Charset,
                (TextState::Escape | TextState::Charset, _)
                | (TextState::Control, 0x40..=0x7e)
                | (TextState::String, 0x07) => TextState::Text,
                // A line end is not hidden: an unfinished sequence must not hide what comes after it.
                (TextState::Control | TextState::String, b'\n') | (TextState::Text, _) => {
                    self.add(*byte, columns, &mut text);
                    TextState::Text
                }
                (state @ (TextState::Control | TextState::String), _) => state,
            };
        }
        text
    }

    fn add(&mut self, byte: u8, columns: u16, text: &mut Vec<u8>) {
        if std::mem::take(&mut self.has_return) {
            match byte {
                b'\n' => {
                    self.column = 0;
                    return;
                }
                // The terminal makes two of BusyBox's line feed.
                b'\r' => {
                    self.has_return = true;
                    return;
                }
                _ => self.put(b'\r', text),
            }
        }
        if std::mem::take(&mut self.has_space) {
            if byte == b'\r' {
                self.column = 0;
                return;
            }
            self.put(b' ', text);
        }
        match byte {
            b' ' => self.has_space = true,
            b'\r' if self.column > 0 && self.column == columns => self.has_return = true,
            0x00..=0x07 | 0x0e..=0x1a => {}
            _ => self.put(byte, text),
        }
    }

    fn put(&mut self, byte: u8, text: &mut Vec<u8>) {
        self.column = match byte {
            b'\r' | b'\n' => 0,
            0x08 => self.column.saturating_sub(1),
            // A further byte of a character.
            0x80..=0xbf => self.column,
            _ => self.column.saturating_add(1),
        };
        text.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::PlainText;

    #[test]
    fn control_sequences_and_wrapped_rows_do_not_divide_text() {
        for (printed, expected) in [
            ("tok-\x1b[31m123\x1b[0m45\r\n", "tok-12345\r\n"),
            ("tok-12 \r345\n", "tok-12345\n"),
            ("$ éxtok-12345678\r\n90\r\n", "$ éxtok-1234567890\r\n"),
            ("$ éxtok-12345678\r\r\n90\r\n", "$ éxtok-1234567890\r\n"),
            ("0123456789abcdef\rx\n", "0123456789abcdef\rx\n"),
            ("a b  c \r\n", "a b  c\n"),
            ("\x1b]0;title\x07tok-\x1b(B12345\x1b[?2004h\n", "tok-12345\n"),
            ("\x1b]0;never ends\nshown\n", "\nshown\n"),
            ("\x1b[1\n2\x1b\\3\x07\n", "\n23\n"),
        ] {
            for size in 1..=printed.len() {
                let mut text = PlainText::default();
                let plain: Vec<u8> =
                    printed.as_bytes().chunks(size).flat_map(|chunk| text.push(chunk, 16)).collect();
                assert_eq!(String::from_utf8_lossy(&plain), expected, "{printed:?} in chunks of {size}");
            }
        }
    }
}
