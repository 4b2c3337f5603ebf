//! Finds the comments of GitLab files.

use crate::pipeline::SourceFile;
use crate::pipeline::yaml::line_scanner::LineScanner;
use crate::pipeline::yaml::tree::LINES_PER_FILE;

/// Maximum total length of the comments that are kept, in bytes; further ones are left out.
const MAX_BYTES: usize = 128 << 10;

/// A comment of a line of its own, or behind a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comment {
    /// Its text, from the `#` on.
    pub(crate) text: String,
    /// Its line, counted through all files.
    pub(crate) line: usize,
    /// The line that it is about: its own, or the next one with content; `None` at the end of a file.
    pub(crate) target: Option<usize>,
    /// Whether a blank line separates it from the line that it is about.
    pub(crate) is_apart: bool,
}

/// Returns the comments of the files, in order.
pub(crate) fn of_files(files: &[SourceFile]) -> Vec<Comment> {
    let mut all = Vec::new();
    let mut bytes = 0;
    for (file, source) in files.iter().enumerate() {
        for comment in of_text(&source.text) {
            bytes += comment.text.len();
            if bytes > MAX_BYTES {
                return all;
            }
            let first_line = file * LINES_PER_FILE;
            let target = comment.target.map(|line| line + first_line);
            all.push(Comment { line: comment.line + first_line, target, ..comment });
        }
    }
    all
}

/// Returns the comments of one file.
fn of_text(text: &str) -> Vec<Comment> {
    let mut all: Vec<Comment> = Vec::new();
    let mut scanner = LineScanner::default();
    // The comments that wait for the next line with content.
    let mut waiting = 0;
    // The number of comments that a blank line has followed.
    let mut apart_until = 0;
    for (line, text) in (1..).zip(text.lines()) {
        if scanner.is_within_scalar(text) {
            continue;
        }
        let comment = scanner.comment_of(text);
        let has_content = !text[..comment.unwrap_or(text.len())].trim().is_empty();
        if has_content {
            let start = all.len() - waiting;
            all[start..].iter_mut().for_each(|comment| comment.target = Some(line));
            waiting = 0;
        } else if comment.is_none() {
            let start = apart_until.max(all.len() - waiting);
            all[start..].iter_mut().for_each(|comment| comment.is_apart = true);
            apart_until = all.len();
        }
        let Some(at) = comment else { continue };
        // An editor would read the native file as one of GitLab's.
        if text[at..].contains("yaml-language-server") {
            continue;
        }
        let target = has_content.then_some(line);
        waiting += usize::from(!has_content);
        all.push(Comment { text: text[at..].trim_end().to_owned(), line, target, is_apart: false });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::of_text;

    #[test]
    fn comments_are_distinguished_from_values() {
        for (text, expected) in [
            ("# head\n\na: b # behind\n", vec!["# head 3 apart", "# behind 3"]),
            ("# a\n\n# b\n\n# c\na: b", vec!["# a 6 apart", "# b 6 apart", "# c 6"]),
            ("a: |\n  # no\n# yes\nb: c", vec!["# yes 4"]),
            ("- |\n  # no\n- x # yes", vec!["# yes 3"]),
            ("- a: >-\n    # no\n  b: c # yes", vec!["# yes 3"]),
            ("a: 'x # no' # yes", vec!["# yes 1"]),
            ("a: \"x \\\" # no\" # yes", vec!["# yes 1"]),
            ("a: it's # yes\nb: don't", vec!["# yes 1"]),
            ("a: 'it''s # no' # yes", vec!["# yes 1"]),
            ("a: 'b\n  # no\n  c' # yes", vec!["# yes 3"]),
            ("a: b#no", vec![]),
            ("a: [x, # yes\n  'y # no']\n# end", vec!["# yes 1", "# end -"]),
            ("# yaml-language-server: $schema=x\na: b", vec![]),
            ("- echo 'a # yes", vec!["# yes 1"]),
        ] {
            let found: Vec<String> = of_text(text)
                .into_iter()
                .map(|comment| {
                    let target = comment.target.map_or("-".to_owned(), |line| line.to_string());
                    format!("{} {target}{}", comment.text, if comment.is_apart { " apart" } else { "" })
                })
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
