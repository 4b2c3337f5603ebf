//! Bounds on what reading a hostile text may cost. The nesting of a line is seen before a parser reads it.

use crate::text::diagnostics::{LineIndex, Location};

/// The largest pipeline file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// How deep lists and mappings may be nested; a pipeline needs six.
pub(crate) const MAX_DEPTH: u32 = 64;
/// How many values a document may have with every alias written out.
pub(crate) const MAX_NODES: u32 = 1_000_000;
/// How many bytes of text a document may have with every alias written out.
pub(crate) const MAX_TEXT_BYTES: u32 = 16 << 20;
/// The deepest nesting that one line may open. Parsers read a line of nested lists to its end before they return the first of
/// them, and look at all open ones for each: beyond this their time would grow with the square of the line's length.
const MAX_LINE_DEPTH: usize = 256;

/// The position at which a line nests deeper than any file does.
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

/// Where brackets and braces nest too deep.
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

/// Where the indicators at a line's begin (`- - -`, `? ? ?`) nest too deep.
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
        let place = deep_line(&deep);
        assert_eq!(place.map(|place| (place.line, place.column)), Some((2, 7 + MAX_LINE_DEPTH)));
        assert!(deep_line(&"- ".repeat(MAX_LINE_DEPTH + 1)).is_some());
        assert!(deep_line(&"? ".repeat(MAX_LINE_DEPTH + 1)).is_some());
    }
}
