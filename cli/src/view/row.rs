//! A styled row of text that fits a number of terminal columns.

use anstyle::Style;
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Marks text that was cut.
const ELLIPSIS: char = '…';

/// A row of styled text without control characters.
#[derive(Debug, Clone, Default)]
pub struct Row {
    parts: Vec<(Style, String)>,
}

impl Row {
    /// Creates a row with one part.
    pub fn new(style: Style, text: impl Into<String>) -> Self {
        Self { parts: vec![(style, text.into())] }
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, style: Style, text: impl Into<String>) -> Self {
        self.parts.push((style, text.into()));
        self
    }

    /// Returns the row with its control sequences, cut with an ellipsis if it has more than `columns`.
    pub fn render(&self, columns: usize) -> String {
        let total: usize = self.parts.iter().map(|(_, text)| text.width()).sum();
        let mut left = if total > columns { columns.saturating_sub(1) } else { columns };
        let mut rendered = String::new();
        for (style, text) in &self.parts {
            let (shown, used) = prefix(text, left);
            left -= used;
            if !shown.is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(rendered, "{style}{shown}{style:#}");
            }
            if shown.len() < text.len() {
                break;
            }
        }
        if total > columns && columns > 0 {
            rendered.push(ELLIPSIS);
        }
        rendered
    }
}

/// Returns `text` with exactly `columns`: cut with an ellipsis, or padded.
pub fn fitted(text: &str, columns: usize) -> String {
    let width = text.width();
    if width <= columns {
        return format!("{text}{}", " ".repeat(columns - width));
    }
    let (shown, used) = prefix(text, columns.saturating_sub(1));
    let ellipsis = if columns > 0 { ELLIPSIS.to_string() } else { String::new() };
    format!("{shown}{ellipsis}{}", " ".repeat(columns.saturating_sub(used + 1)))
}

/// Splits text at spaces into lines of at most `columns`. Longer words are split anywhere.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let space = usize::from(!line.is_empty());
        if line.width() + space + word.width() > columns && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        } else if space > 0 {
            line.push(' ');
        }
        let mut rest = word;
        while rest.width() > columns {
            let (start, _) = prefix(rest, columns);
            // A character wider than the row.
            let start = if start.is_empty() { rest } else { start };
            lines.push(start.to_owned());
            rest = &rest[start.len()..];
        }
        line.push_str(rest);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Returns the longest start of `text` with at most `columns`, and its width.
fn prefix(text: &str, columns: usize) -> (&str, usize) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let width = c.width().unwrap_or(0);
        if used + width > columns {
            return (&text[..at], used);
        }
        used += width;
    }
    (text, used)
}

#[cfg(test)]
mod tests {
    use super::{Row, fitted, wrapped};
    use anstyle::Style;

    #[test]
    fn rows_are_cut_by_columns_and_not_by_characters() {
        let row = Row::new(Style::new(), "日本語").with(Style::new().bold(), "text");
        assert_eq!(row.render(10), "日本語\u{1b}[1mtext\u{1b}[0m");
        assert_eq!(row.render(9), "日本語\u{1b}[1mte\u{1b}[0m…");
        assert_eq!(row.render(6), "日本…");
        assert_eq!(row.render(1), "…");
        assert_eq!(row.render(0), "");
        assert_eq!(
            (fitted("日本", 5), fitted("日本", 3), fitted("ab", 0)),
            ("日本 ".into(), "日…".into(), String::new())
        );
    }

    #[test]
    fn text_is_wrapped_at_spaces() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrapped("日本語", 1), ["日本語"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
