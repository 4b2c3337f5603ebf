//! Conditions that begin with `!` without quotes, which YAML reads as a tag.

use crate::pipeline::finding::{Finding, FindingLocation, Path};
use crate::text::diagnostics::Location;

/// The key of conditions.
const KEY: &str = "if:";

/// A condition that begins with `!` and is not between quotes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnquotedCondition<'a> {
    /// The column of its first character, from 1.
    column: usize,
    text: &'a str,
}

/// Returns such a condition of a line.
pub(super) fn condition(line: &str) -> Option<UnquotedCondition<'_>> {
    let is_start = |before: &str| before.ends_with([' ', '\t', '{', ',', '-']) || before.is_empty();
    let (at, _) = line.match_indices(KEY).find(|(at, _)| is_start(&line[..*at]))?;
    let rest = &line[at + KEY.len()..];
    let written = rest.trim_start();
    // A comment and the end of a mapping in braces are not part of it.
    let text = written.split(" #").next().unwrap_or_default();
    let text =
        if line[..at].contains('{') { text.split([',', '}']).next().unwrap_or_default() } else { text };
    let text = text.trim_end();
    let is_condition = rest.len() > written.len() && text.starts_with('!') && !text.starts_with("!!");
    let column = line[..line.len() - written.len()].chars().count() + 1;
    is_condition.then_some(UnquotedCondition { column, text })
}

impl UnquotedCondition<'_> {
    /// Returns where it is on line `line`.
    pub(super) fn location(&self, line: usize) -> Location {
        Location { line, column: self.column, length: self.text.chars().count() }
    }

    /// Returns what is wrong with it, at its location.
    pub(super) fn finding(&self, location: Location) -> Finding {
        let spot = FindingLocation::Position(Path::default(), location);
        let mark = if self.text.contains('"') { '\'' } else { '"' };
        let text = if mark == '\'' { self.text.replace('\'', "''") } else { self.text.to_owned() };
        Finding::error("unknown-tag", spot, "a condition that begins with `!` must be between quotes")
            .help(format!("write `if: {mark}{text}{mark}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::{UnquotedCondition, condition};

    #[test]
    fn condition_ends_before_comments_and_other_keys() {
        let found = |column, text| Some(UnquotedCondition { column, text });
        for (line, expected) in [
            ("    if: !fork && draft", found(9, "!fork && draft")),
            ("if:  !fork # not of forks", found(6, "!fork")),
            ("  - {if: !fork && draft, when: manual}", found(10, "!fork && draft")),
            ("  - if: !defined(\"X\")", found(9, "!defined(\"X\")")),
            ("    if: \"!fork\"", None),
            ("    if: !!str fork", None),
            ("    if: fork", None),
            ("    notif: !fork", None),
            ("    if:!fork", None),
        ] {
            assert_eq!(condition(line), expected, "{line}");
        }
    }
}
