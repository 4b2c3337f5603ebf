//! Names of anchors and aliases.

use saphyr_parser::Marker;

use crate::text::diagnostics::LineIndex;

/// The name of an anchor or an alias that YAML 1.1 and 1.2 read differently, or that is none.
pub(super) struct InvalidName<'a> {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) name: &'a str,
}

/// Returns the first name with `sign` before it from `start` on, if it is not valid.
pub(super) fn invalid_name<'a>(lines: &LineIndex<'a>, start: Marker, sign: char) -> Option<InvalidName<'a>> {
    let mut skipped = start.col();
    for line in start.line()..=lines.count() {
        let text = lines.line(line);
        // Only a tag and comments can stand before the anchor.
        let mut words = words(text, skipped).take_while(|(_, word)| !word.starts_with('#'));
        let Some((column, word)) = words.find(|(_, word)| word.starts_with(sign)) else {
            skipped = 0;
            continue;
        };
        let name = word.get(1..).unwrap_or_default();
        let name = name.split([',', '[', ']', '{', '}']).next().unwrap_or_default();
        let is_valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        return (!is_valid).then_some(InvalidName { line, column, name });
    }
    None
}

/// The words of a line after its first `skipped` characters, each with its column, counted from 1.
fn words(line: &str, skipped: usize) -> impl Iterator<Item = (usize, &str)> {
    let start = line.char_indices().nth(skipped).map_or(line.len(), |(at, _)| at);
    let rest = line.get(start..).unwrap_or_default();
    let mut column = skipped + 1;
    rest.split([' ', '\t']).filter_map(move |word| {
        let at = column;
        column += word.chars().count() + 1;
        (!word.is_empty()).then_some((at, word))
    })
}
