//! Limits on the cost of reading hostile files. The nesting of each line is checked before the parser reads it.

use crate::text::diagnostics::{LineIndex, Location};

/// Maximum size of a pipeline file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Maximum nesting depth of lists and mappings; a pipeline needs six.
pub(crate) const MAX_DEPTH: u32 = 64;
/// Maximum number of values in a document after alias expansion.
pub(crate) const MAX_NODES: u32 = 1_000_000;
/// Maximum number of bytes of text in a document after alias expansion.
pub(crate) const MAX_TEXT_BYTES: u32 = 16 << 20;
/// Maximum nesting depth that one line may open. The parser reads a line of nested lists to its end before it returns the first
/// list, and visits all open lists for each one, so its time grows with the square of the line's length.
const MAX_LINE_DEPTH: usize = 256;

/// The position at which a line exceeds [`MAX_LINE_DEPTH`].
pub(crate) fn deep_line(lines: &LineIndex<'_>) -> Option<Location> {
    (1..=lines.count()).find_map(|line| {
        let text = lines.line(line);
        if text.len() <= MAX_LINE_DEPTH {
            return None;
        }
        let at = deep_flow(text).or_else(|| deep_block(text))?;
        Some(Location { line, column: text[..at].chars().count() + 1, length: 1 })
    })
}

/// The byte at which brackets and braces nest too deep.
fn deep_flow(line: &str) -> Option<usize> {
    let mut depth = 0_usize;
    line.bytes().enumerate().find_map(|(at, byte)| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth > MAX_LINE_DEPTH).then_some(at)
    })
}

/// The byte at which the indicators at the start of a line (`- - -`, `? ? ?`) nest too deep.
fn deep_block(line: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'-' | b'?' | b':' => depth += 1,
            b' ' | b'\t' => {}
            _ => return None,
        }
        if depth > MAX_LINE_DEPTH {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{LineIndex, Location, MAX_LINE_DEPTH};

    fn deep_line(source: &str) -> Option<Location> {
        super::deep_line(&LineIndex::new(source))
    }

    #[test]
    fn only_nesting_beyond_limit_is_too_deep() {
        let shallow = format!("jobs: {}{}\n", "[".repeat(MAX_LINE_DEPTH), "]".repeat(MAX_LINE_DEPTH));
        assert_eq!(deep_line(&shallow), None);
        assert_eq!(deep_line(&"[]{}- ? ".repeat(10_000)), None);
        let deep = format!("a: b\njobs: {}", "[".repeat(MAX_LINE_DEPTH + 1));
        let location = deep_line(&deep);
        assert_eq!(location.map(|location| (location.line, location.column)), Some((2, 7 + MAX_LINE_DEPTH)));
        assert!(deep_line(&"- ".repeat(MAX_LINE_DEPTH + 1)).is_some());
        assert!(deep_line(&"? ".repeat(MAX_LINE_DEPTH + 1)).is_some());
    }
}
