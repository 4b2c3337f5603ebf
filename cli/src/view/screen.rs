//! The part of a terminal that is redrawn in place.

use anstream::AutoStream;
use rustix::termios::tcgetwinsize;
use std::{
    fmt::Write as _,
    io::{Stdout, Write},
};
use unicode_width::UnicodeWidthChar;

use super::frame::Size;

/// Asks the terminal to show what follows at once; terminals that do not know it ignore it.
const BEGIN_UPDATE: &str = "\u{1b}[?2026h";
const END_UPDATE: &str = "\u{1b}[?2026l";
const CLEAR_REST_OF_ROW: &str = "\u{1b}[K";
const CLEAR_ROW: &str = "\u{1b}[2K";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Rows at the cursor that are redrawn in place. Only rows that changed are written, and the screen is never cleared as a whole: so
/// nothing flickers, and no terminal takes it for a full screen to keep in its history.
#[derive(Debug)]
pub struct Screen {
    out: AutoStream<Stdout>,
    /// The rows on the screen. The cursor is at the start of the last one.
    shown: Vec<String>,
    /// The terminal's size at that time.
    size: Size,
}

impl Screen {
    /// Starts at the cursor, which must be at the start of a row.
    pub fn new() -> Self {
        Self { out: anstream::stdout(), shown: Vec::new(), size: terminal_size() }
    }

    /// Returns the terminal's size.
    pub fn current_size() -> Size {
        terminal_size()
    }

    /// Shows these rows instead of the previous ones.
    pub fn show(&mut self, rows: Vec<String>) -> std::io::Result<()> {
        let size = terminal_size();
        let is_resized = size != std::mem::replace(&mut self.size, size);
        let mut text = String::from(BEGIN_UPDATE);
        self.move_to_first_row(&mut text, is_resized, size);
        let before = if is_resized { Vec::new() } else { std::mem::take(&mut self.shown) };
        for index in 0..rows.len().max(before.len()) {
            if index > 0 {
                text.push_str("\r\n");
            }
            match rows.get(index) {
                // Keys echo at the cursor, which is in the last row.
                Some(row) if before.get(index) != Some(row) || index + 1 >= before.len() => {
                    text.push_str(row);
                    text.push_str(CLEAR_REST_OF_ROW);
                }
                Some(_) => {}
                None => text.push_str(CLEAR_ROW),
            }
        }
        if is_resized {
            text.push_str(CLEAR_BELOW);
        }
        let below = before.len().saturating_sub(rows.len().max(1));
        move_up(&mut text, below);
        text.push('\r');
        text.push_str(END_UPDATE);
        self.shown = rows;
        self.write(&text)
    }

    /// Removes the rows, and writes lines in their place that stay.
    pub fn print(&mut self, lines: &[String]) -> std::io::Result<()> {
        let rows = lines.iter().cloned().chain([String::new()]).collect();
        self.show(rows)?;
        self.shown.clear();
        Ok(())
    }

    /// Leaves the rows as they are, and moves the cursor below them.
    pub fn leave(&mut self) -> std::io::Result<()> {
        let Some(last) = self.shown.pop() else { return Ok(()) };
        self.shown.clear();
        // A key may have been echoed in the last row.
        self.write(&format!("{last}{CLEAR_REST_OF_ROW}\r\n"))
    }

    fn move_to_first_row(&self, text: &mut String, is_resized: bool, size: Size) {
        let above = self.shown.len().saturating_sub(1);
        let above = if is_resized && reflows() {
            // The terminal has wrapped rows that do not fit any longer.
            let rows_of = |row: &String| visible_columns(row).div_ceil(size.columns.max(1)).max(1);
            self.shown.iter().take(above).map(rows_of).sum()
        } else {
            above
        };
        move_up(text, above);
        text.push('\r');
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // An error cannot be reported any more.
        let _ = self.leave();
    }
}

fn move_up(text: &mut String, rows: usize) {
    if rows > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, "\u{1b}[{rows}A");
    }
}

fn terminal_size() -> Size {
    let (columns, rows) = tcgetwinsize(std::io::stdout()).map_or((0, 0), |size| (size.ws_col, size.ws_row));
    // A terminal without a size reports 0.
    let or = |value: u16, default: usize| if value == 0 { default } else { usize::from(value) };
    Size { columns: or(columns, 80), rows: or(rows, 24) }
}

/// Whether the terminal wraps rows again when its width changes. Others cut them, as xterm does.
fn reflows() -> bool {
    const MARKS: [&str; 8] = [
        "TMUX",
        "VTE_VERSION",
        "KITTY_WINDOW_ID",
        "ALACRITTY_WINDOW_ID",
        "WEZTERM_PANE",
        "KONSOLE_VERSION",
        "TERM_PROGRAM",
        "WT_SESSION",
    ];
    MARKS.iter().any(|name| std::env::var_os(name).is_some())
}

/// Returns the number of columns of a row, without its control sequences.
fn visible_columns(row: &str) -> usize {
    let mut columns = 0;
    let mut is_sequence = false;
    for c in row.chars() {
        match c {
            '\u{1b}' => is_sequence = true,
            _ if is_sequence => is_sequence = c == '[' || !c.is_ascii_alphabetic(),
            c => columns += c.width().unwrap_or(0),
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::visible_columns;

    #[test]
    fn control_sequences_have_no_columns() {
        assert_eq!(visible_columns("\u{1b}[1;31mab\u{1b}[0m 日"), 5);
    }
}
