//! Line coverage of a job: found by the job's pattern in the output of its script while it runs.
//!
//! As in GitLab: the last line in which the pattern finds a number; of that line, the last match; of the match, or of
//! its first group if the pattern has groups, the first number.

use crate::condition::{self, PatternError};
use regex::Regex;
use std::sync::LazyLock;

/// Maximum length of a pattern in bytes.
pub const MAX_PATTERN_LEN: usize = 1_000;
/// Number of bytes of a line that are searched.
const MAX_LINE_LEN: usize = 16 << 10;
/// A larger number is not a coverage.
const MAX_PERCENT: f64 = 100.0;

static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[0-9]+(\.[0-9]+)?").ok());

/// Why a text is not a coverage pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoveragePatternError {
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// It has more bytes than the limit.
    #[error("it has more than {MAX_PATTERN_LEN} bytes")]
    TooLong,
    /// It is not a regular expression.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// The coverage pattern of a job.
#[derive(Debug, Clone)]
pub struct CoveragePattern(Regex);

impl CoveragePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// It is empty, too long, or not a regular expression.
    pub fn new(text: &str) -> Result<Self, CoveragePatternError> {
        if text.is_empty() {
            return Err(CoveragePatternError::Empty);
        }
        if text.len() > MAX_PATTERN_LEN {
            return Err(CoveragePatternError::TooLong);
        }
        Ok(Self(condition::compile_pattern(text)?))
    }

    /// Returns the coverage in percent that a line reports, if any.
    #[must_use]
    pub fn find_in_line(&self, line: &str) -> Option<f64> {
        let last = self.0.captures_iter(line).last()?;
        let group = last.iter().skip(1).flatten().next();
        let found = group.or_else(|| last.get(0))?;
        let number = NUMBER.as_ref()?.find(found.as_str())?.as_str();
        number.parse().ok().filter(|share| *share <= MAX_PERCENT)
    }
}

/// Finds the coverage in a stream of output, independently of its division into chunks, in bounded memory.
#[derive(Debug)]
pub struct CoverageFinder {
    pattern: CoveragePattern,
    line: Vec<u8>,
    state: EscapeState,
    found: Option<f64>,
}

/// The state after the last byte. Escape sequences that set colors or move the cursor are not part of a line (ECMA-48).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EscapeState {
    Text,
    /// After an escape character.
    Escape,
    /// In a control sequence: `ESC [` up to a byte from `@` to `~`.
    Sequence,
    /// In a control string: `ESC ]` up to a bell or `ESC \`.
    ControlString,
    /// After an escape character in a control string.
    ControlStringEscape,
}

impl CoverageFinder {
    /// Creates a finder for `pattern`.
    #[must_use]
    pub const fn new(pattern: CoveragePattern) -> Self {
        Self { pattern, line: Vec::new(), state: EscapeState::Text, found: None }
    }

    /// Processes a chunk of output.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // A line break ends the line even within an escape sequence. A carriage return restarts the line.
            if matches!(byte, b'\n' | b'\r') {
                self.state = EscapeState::Text;
                self.end_line();
                continue;
            }
            self.state = match (self.state, byte) {
                (EscapeState::ControlStringEscape, b'\\') | (EscapeState::ControlString, 0x07) => {
                    EscapeState::Text
                }
                (EscapeState::ControlString, 0x1b) => EscapeState::ControlStringEscape,
                (EscapeState::ControlString | EscapeState::ControlStringEscape, _)
                | (EscapeState::Escape, b']' | b'P' | b'X' | b'^' | b'_') => EscapeState::ControlString,
                (_, 0x1b) | (EscapeState::Escape, 0x20..=0x2f) => EscapeState::Escape,
                (EscapeState::Escape, b'[') => EscapeState::Sequence,
                (EscapeState::Escape, _) | (EscapeState::Sequence, 0x40..=0x7e) => EscapeState::Text,
                (EscapeState::Sequence, _) => EscapeState::Sequence,
                (EscapeState::Text, byte) => {
                    if self.line.len() < MAX_LINE_LEN {
                        self.line.push(*byte);
                    }
                    EscapeState::Text
                }
            };
        }
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            if let Some(share) = self.pattern.find_in_line(&String::from_utf8_lossy(&self.line)) {
                self.found = Some(share);
            }
            self.line.clear();
        }
    }

    /// Returns the coverage at the end of the output.
    #[must_use]
    pub fn finish(mut self) -> Option<f64> {
        self.end_line();
        self.found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CoverageFinder, CoveragePattern, MAX_LINE_LEN};
    use proptest::prelude::*;

    fn found(pattern: &str, chunks: &[&[u8]]) -> Option<f64> {
        let mut finder = CoverageFinder::new(CoveragePattern::new(pattern).unwrap());
        for chunk in chunks {
            finder.push(chunk);
        }
        finder.finish()
    }

    #[test]
    fn coverage_uses_last_line_last_match_first_number() {
        for (pattern, output, share) in [
            // Patterns from GitLab's documentation, applied to the output of the tools.
            (
                r"TOTAL.*? (100(?:\.0+)?\%|[1-9]?\d(?:\.\d+)?\%)$",
                "a.py 9 0 50%\nTOTAL   120   15    87.5%\n",
                Some(87.5),
            ),
            (r"\(\d+.\d+\%\) covered", "Coverage: 13.1 of 15 LOC (93.75%) covered.\n", Some(93.75)),
            (
                r"Total.*?([0-9]{1,3})%",
                "<td>Total</td><td class=\"ctr2\">2 of 3</td><td>66%</td>",
                Some(66.0),
            ),
            (r"Statements\s*:\s*([^%]+)", "Statements   : 98.2% ( 55/56 )\n", Some(98.2)),
            (r"^\s*Lines:\s*\d+.\d+\%", "  Lines:   75.00% (3/4)\n", Some(75.0)),
            (
                r"^\d+.\d+% coverage, \d+/\d+ lines covered",
                "62.50% coverage, 5/8 lines covered\n",
                Some(62.5),
            ),
            (r"Covered (\d{1,3}(\.|,)?\d{0,2}%)", "Covered 85.71% / 75%. 7 analyzed\n", Some(85.71)),
            (r"coverage: \d+.\d+% of statements", "ok  a 0.1s coverage: 41.5% of statements\n", Some(41.5)),
            // The last line, the last match, the first number.
            (r"\d+%", "1%\n2% 3%\n4\n", Some(3.0)),
            (r"of \d+ lines \d+", "of 10 lines 9\n", Some(10.0)),
            (r"(?:a|b(\d+))", "b7\na\n", Some(7.0)),
            (r"lines (\w+)", "lines 50\nlines none\n", Some(50.0)),
            (r"(?i)COVER: (\d+)", "cover: 007\r\nnothing", Some(7.0)),
            (r"^(\d+)$", "12\r34\r", Some(34.0)),
            (r"x (\d+)", "x 100.0\nx 101\n", Some(100.0)),
            (r"(\d+)", "99999999999999999999999999999999999999999999\n", None),
            (r"(.*)", "100.5\n100.0", Some(100.0)),
            (r"at (.+)$", "at \u{663}\u{664}\n", None),
            (r"\d+%", "none\n", None),
            (r"\d+%", "", None),
            // Colors and other escape sequences.
            (
                r"^total: (\d+)%$",
                "\u{1b}[1m\u{1b}[38;5;2mtotal: \u{1b}[0m\u{1b}]0;9%\u{7}8\u{1b}(B7%\u{1b}[K\n",
                Some(87.0),
            ),
            (r"^total: (\d+)%$", "\u{1b}]8;;x\u{1b}\\total: 6%\u{1b}]8;;\u{1b}\\", Some(6.0)),
            (r"^(\d+)%$", "\u{1b}[3\n5%\n", Some(5.0)),
        ] {
            assert_eq!(found(pattern, &[output.as_bytes()]), share, "{pattern} in {output}");
        }
    }

    #[test]
    fn coverage_line_memory_is_bounded() {
        let mut finder = CoverageFinder::new(CoveragePattern::new("(\\d+)%").unwrap());
        finder.push(b"5%");
        for _ in 0..1_000 {
            finder.push(&[b'x'; 1_000]);
            assert!(finder.line.capacity() <= 2 * MAX_LINE_LEN);
        }
        finder.push(b"6%");
        assert_eq!(finder.finish(), Some(5.0), "only the beginning of a long line is searched");
    }

    #[test]
    fn invalid_pattern_returns_reason() {
        for (text, why) in [
            ("", "empty"),
            ("(", "unclosed group"),
            (r"\d+(?=%)", "look-around"),
            (r"(?<!x)\d", "look-around"),
            (r"(a)\1", "backreferences"),
            ("[z-a]", "invalid character class range"),
            (r"(\w{1000}){1000}", "too large"),
            (&"x".repeat(1_001), "1000 bytes"),
        ] {
            let message = CoveragePattern::new(text).unwrap_err().to_string();
            assert!(message.contains(why) && !message.contains('\n'), "{text}: {message}");
        }
    }

    fn chunk_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            "(cover(ed)? )?[0-9]{1,3}(\\.[0-9])?%?".prop_map(String::into_bytes),
            "\u{1b}(\\[[0-9;]{0,5}m?|\\][a-z]{0,4}(\u{7}|\u{1b}\\\\)?|\\(B)".prop_map(String::into_bytes),
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"x".repeat(MAX_LINE_LEN - 3)),
        ]
    }

    proptest! {
        #[test]
        fn chunking_does_not_change_coverage(
            pieces in proptest::collection::vec(chunk_bytes(), 0..16),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
            pattern in prop_oneof![Just("(\\d+(\\.\\d+)?)%"), Just("^covered .*$"), Just(".")],
        ) {
            let bytes = pieces.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let whole = found(pattern, &[&bytes]);
            prop_assert_eq!(found(pattern, &chunks), whole);
            prop_assert!(whole.is_none_or(|share| (0.0..=100.0).contains(&share)));
        }
    }
}
