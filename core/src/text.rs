//! Makes untrusted text safe to display: terminals interpret control characters as commands, and invisible characters
//! hide part of the text.

pub mod choices;
pub mod diagnostics;
pub(crate) mod shell_variables;
pub mod slug;
pub mod substitution;
pub(crate) mod suggest;

pub use suggest::nearest;

use std::fmt::{self, Write};

/// Whether a terminal interprets this character instead of displaying it: C0 and C1 controls, DEL, and characters that
/// change the direction of text.
#[must_use]
pub const fn is_control(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether this character is invisible although it is part of the text.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// Returns at most the first `max` bytes of `text`, cut at a character boundary.
#[must_use]
pub fn prefix(text: &str, max: usize) -> &str {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    &text[..(0..=max.min(text.len())).rev().find(is_boundary).unwrap_or_default()]
}

/// Displays untrusted text on one line, with every character escaped that is not visible: `
/// `, `\x1b`, `\u{202e}`. Padding and precision of a format apply to the escaped text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Printable<T>(pub T);

impl<T: AsRef<str>> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_ref();
        if !text.contains(|c| is_control(c) || is_invisible(c)) {
            return f.pad(text);
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            escape(&mut escaped, c)?;
        }
        f.pad(&escaped)
    }
}

/// Returns `text` on one line, escaped like [`Printable`].
#[must_use]
pub fn printable(text: &str) -> String {
    Printable(text).to_string()
}

/// Returns `text` with its line breaks, and everything else escaped like [`Printable`].
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(|line| printable(line.trim_end_matches('\r'))).collect::<Vec<_>>().join("\n")
}

/// Returns `text` without a byte order mark at its start, which some editors write.
#[must_use]
pub fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Writes one character, escaped if it is not visible.
pub fn escape(out: &mut impl Write, c: char) -> fmt::Result {
    match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
        c if is_control(c) || is_invisible(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
        c => out.write_char(c),
    }
}

/// Why a text is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The text is too long.
    #[error("`{field}` has {length} bytes; the limit is {max}")]
    TooLong {
        /// The name of the field.
        field: &'static str,
        /// Length of the text in bytes.
        length: usize,
        /// Maximum length in bytes.
        max: usize,
    },
    /// The text contains a control character.
    #[error("`{field}` contains a control character: {}", Printable(.text))]
    Control {
        /// The name of the field.
        field: &'static str,
        /// The beginning of the text.
        text: String,
    },
}

/// Rejects a text that is longer than `max` bytes or contains control characters.
pub fn check_line(field: &'static str, text: &str, max: usize) -> Result<(), TextError> {
    if text.len() > max {
        return Err(TextError::TooLong { field, length: text.len(), max });
    }
    if text.contains(is_control) {
        return Err(TextError::Control { field, text: text.chars().take(100).collect() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Printable, TextError, check_line, printable, printable_lines};

    #[test]
    fn printable_escapes_everything_that_is_not_visible() {
        for (text, escaped) in [
            ("plain text, ünï¢ode 日本 🚀", "plain text, ünï¢ode 日本 🚀"),
            ("\u{1b}[31mred", "\\x1b[31mred"),
            ("\u{1b}]0;title\u{7}", "\\x1b]0;title\\x07"),
            ("two\nlines\r\tx", "two\\nlines\\r\\tx"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}", "\\x7f"),
            ("\u{202e}gpj\u{2066}", "\\u{202e}gpj\\u{2066}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{2028}", "\\u{2028}"),
        ] {
            assert_eq!(printable(text), escaped, "{text:?}");
        }
        assert_eq!(format!("[{:6}]", Printable("a\n")), "[a\\n   ]", "padding applies to the escaped text");
        assert_eq!(printable_lines("one\r\ntwo\u{1b}c"), "one\ntwo\\x1bc");
    }

    #[test]
    fn check_line_rejects_control_characters_and_long_text() {
        assert_eq!(check_line("branch", "feature/日本", 200), Ok(()));
        assert!(matches!(check_line("branch", "a\u{1b}[2J", 200), Err(TextError::Control { .. })));
        assert!(matches!(check_line("branch", "a\u{202e}b", 200), Err(TextError::Control { .. })));
        assert!(matches!(check_line("branch", "aaa", 2), Err(TextError::TooLong { length: 3, max: 2, .. })));
        let message = check_line("branch", "a\u{1b}[2J\n", 200).map_err(|error| error.to_string());
        assert_eq!(message, Err("`branch` contains a control character: a\\x1b[2J\\n".to_owned()));
    }
}
