//! Finds the lines of a failed job's log that probably say why it failed.

use std::sync::LazyLock;

/// Number of lines of an excerpt.
pub const MAX_LINES: usize = 6;
/// Maximum number of characters of each; the rest is cut off.
pub const MAX_LINE_CHARS: usize = 200;

/// Words with which compilers, interpreters and test runners begin an error.
static ERROR: LazyLock<Option<regex::Regex>> = LazyLock::new(|| {
    let words = r"(?i)(\b(error|fatal|panicked|exception|traceback|failures?|assertion)\b|\bfailed\b|^E\s|✗|✘|not ok)";
    regex::Regex::new(words).ok()
});
/// Phrases that contain such a word and report a success.
static HARMLESS: LazyLock<Option<regex::Regex>> = LazyLock::new(|| {
    regex::Regex::new(r"(?i)(\b(0|no)\s+(errors?|failures?|failed)\b|\bfail(ed|ures)?[:=]\s*0\b)").ok()
});

/// Returns the first lines of an error in the end of a job's log, or its last lines if no line looks like an error. Escape sequences
/// and other control characters are removed. `is_whole`: the text starts at the beginning of a line.
#[must_use]
pub fn error_lines(log: &[u8], is_whole: bool) -> Vec<String> {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<String> =
        text.lines().skip(usize::from(!is_whole)).map(readable).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &String| {
        ERROR.as_ref().is_some_and(|error| error.is_match(line))
            && !HARMLESS.as_ref().is_some_and(|harmless| harmless.is_match(line))
    };
    let first = lines.iter().position(is_error).unwrap_or(lines.len().saturating_sub(MAX_LINES));
    lines.into_iter().skip(first).take(MAX_LINES).collect()
}

/// Returns the visible characters of a line: what follows its last carriage return, without escape sequences.
fn readable(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let (mut kept, mut chars) = (String::new(), line.chars().peekable());
    let mut count = 0;
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut chars),
            '\t' => kept.push(' '),
            c if c.is_control() => {}
            c => {
                if count == MAX_LINE_CHARS {
                    kept.push('…');
                    break;
                }
                count += 1;
                kept.push(c);
            }
        }
    }
    kept.trim_end().to_owned()
}

/// Skips an escape sequence after its first character: CSI (colours), OSC (titles and links), or one of two characters.
fn skip_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            for c in chars.by_ref() {
                if ('@'..='~').contains(&c) {
                    return;
                }
            }
        }
        Some(']') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    return;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_LINE_CHARS, MAX_LINES, error_lines};

    #[test]
    fn first_error_is_found_and_its_lines_are_shown() {
        let log = b"$ cargo test\ncompiling\n0 errors so far\nsrc/a.rs:3: \x1b[31merror\x1b[0m: no such name\n  help: b\nmore\n";
        assert_eq!(error_lines(log, true), ["src/a.rs:3: error: no such name", "  help: b", "more"]);
    }

    #[test]
    fn log_without_error_ends_with_its_last_lines() {
        let log: Vec<String> = (0..20).map(|n| format!("line {n}")).collect();
        let found = error_lines(log.join("\n").as_bytes(), true);
        assert_eq!(found.len(), MAX_LINES);
        assert_eq!(found.last().map(String::as_str), Some("line 19"));
        assert!(error_lines(b"", true).is_empty());
    }

    #[test]
    fn successes_that_name_errors_are_no_errors() {
        for harmless in ["0 failures", "no errors found", "failed: 0", "Failures=0, passed 3"] {
            let log = format!("{harmless}\na\nb\nc\nd\ne\nf\nlast\n");
            assert_eq!(
                error_lines(log.as_bytes(), true).last().map(String::as_str),
                Some("last"),
                "{harmless}"
            );
        }
        for error in ["E   assert 1 == 2", "FAILED tests/a.py", "thread 'main' panicked at x", "not ok 3 - y"]
        {
            let log = format!("start\n{error}\na\nb\nc\nd\ne\nf\ng\n");
            assert_eq!(error_lines(log.as_bytes(), true).first().map(String::as_str), Some(error));
        }
    }

    #[test]
    fn control_characters_and_long_lines_are_cut() {
        let log = format!(
            "half a line error\n\x1b]8;;http://x\x1b\\link\x1b]8;;\x07 10%\r 100% error: \u{7}{}\n",
            "x".repeat(500)
        );
        let found = error_lines(log.as_bytes(), false);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(" 100% error: x") && found[0].ends_with('…'), "{found:?}");
        assert_eq!(found[0].chars().count(), MAX_LINE_CHARS + 1);
        // What is not UTF-8, and sequences that never end.
        assert_eq!(error_lines(b"\xff\xfe error\n\x1b[", true), ["\u{fffd}\u{fffd} error"]);
    }
}
