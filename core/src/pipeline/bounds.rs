//! Bounds on what reading a hostile text may cost: its nesting, seen before a parser reads it, and the number of mistakes that are
//! told.

use super::finding::{Finding, Path, Spot};
use crate::diagnostics::{Location, Severity};

/// The deepest nesting that one line may open. Parsers read a line of nested lists to its end before they give out the first of
/// them, and look at all that are open for each: beyond this their time would grow with the square of the line's length.
const MAX_LINE_DEPTH: usize = 256;
/// Mistakes, and warnings, that are told of one file.
pub(crate) const MAX_FINDINGS: usize = 200;

/// The place at which a line of `source` nests deeper than any file does.
pub(crate) fn deep_line(source: &str) -> Option<Location> {
    source.lines().zip(1..).find_map(|(text, line)| {
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

/// Keeps the first findings of each severity, and says how many are left out.
pub(crate) fn first_findings(findings: &mut Vec<Finding>) {
    let (mut errors, mut warnings, before) = (0_usize, 0_usize, findings.len());
    findings.retain(|finding| {
        let count = if finding.severity == Severity::Error { &mut errors } else { &mut warnings };
        *count += 1;
        *count <= MAX_FINDINGS
    });
    let left_out = before - findings.len();
    if left_out > 0 {
        let words = format!("{left_out} more are not shown; fix these first");
        let last = Finding::error("too-many", Spot::At(Path::default(), super::finding::Part::Key), words);
        findings.push(if errors > MAX_FINDINGS { last } else { last.warning() });
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_FINDINGS, MAX_LINE_DEPTH, deep_line, first_findings};
    use crate::pipeline::{
        finding::{Finding, Path},
        parse,
    };

    #[test]
    fn only_nesting_beyond_the_limit_is_too_deep() {
        let shallow = format!("jobs: {}{}\n", "[".repeat(MAX_LINE_DEPTH), "]".repeat(MAX_LINE_DEPTH));
        assert_eq!(deep_line(&shallow), None);
        assert_eq!(deep_line(&"[]{}- ? ".repeat(10_000)), None);
        let deep = format!("a: b\njobs: {}", "[".repeat(MAX_LINE_DEPTH + 1));
        let place = deep_line(&deep);
        assert_eq!(place.map(|place| (place.line, place.column)), Some((2, 7 + MAX_LINE_DEPTH)));
        assert!(deep_line(&"- ".repeat(MAX_LINE_DEPTH + 1)).is_some());
        assert!(deep_line(&"? ".repeat(MAX_LINE_DEPTH + 1)).is_some());
    }

    #[test]
    fn findings_beyond_the_limit_are_counted() {
        let finding = Finding::value("x", &Path::default(), "x");
        let mut few = vec![finding.clone(); MAX_FINDINGS];
        first_findings(&mut few);
        assert_eq!(few.len(), MAX_FINDINGS);
        let mut many = vec![finding; 3 * MAX_FINDINGS];
        first_findings(&mut many);
        assert_eq!(many.len(), MAX_FINDINGS + 1);
        assert!(many[MAX_FINDINGS].message.starts_with("400 more"));
    }

    /// Each of these took minutes, or for ever. They are bounded by the test runner's limit, and take milliseconds.
    #[test]
    fn hostile_texts_are_answered_at_once() {
        let needs: Vec<String> = (0..60).map(|need| format!("none{need}")).collect();
        let job = |number: usize| {
            format!("  j{number}: {{ image: i, script: x, needs: [{}] }}\n", needs.join(", "))
        };
        let jobs: String = (0..200).map(job).collect();
        let keys: Vec<String> = (0..60_000).map(|key| format!("key{key}: 1\n")).collect();
        for text in [
            format!("jobs: {}", "[".repeat(1_000_000)),
            format!("jobs: {}", "{a: ".repeat(250_000)),
            "? a\n".repeat(60_000),
            "- ".repeat(400_000),
            format!("name: n\n{}", keys.concat()),
            format!("name: n\njobs:\n{jobs}"),
        ] {
            let found = parse(&text).err();
            assert!(found.is_some_and(|found| found.len() <= 2 * MAX_FINDINGS + 1), "{text:.40}");
        }
    }
}
