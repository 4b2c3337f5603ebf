//! Finds the comments of GitLab files.

use crate::pipeline::SourceFile;
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
    let mut scanner = Scanner::default();
    // The comments that wait for the next line with content.
    let mut waiting = 0;
    for (line, text) in text.lines().zip(1..).map(|(text, line)| (line, text)) {
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
            let start = all.len() - waiting;
            all[start..].iter_mut().for_each(|comment| comment.is_apart = true);
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

/// Recognizes the values of several lines, in which a `#` begins no comment.
#[derive(Default)]
struct Scanner {
    /// The indentation that the lines of a literal or folded value exceed.
    block_indent: Option<usize>,
    /// The quotation mark that ends the current value.
    quote: Option<char>,
}

impl Scanner {
    /// Whether a line belongs to a literal or folded value.
    fn is_within_scalar(&mut self, text: &str) -> bool {
        let Some(indent) = self.block_indent else { return false };
        let is_within = text.trim().is_empty() || indentation(text) > indent;
        if !is_within {
            self.block_indent = None;
        }
        is_within
    }

    /// Returns the position of the comment of a line, and remembers the value that continues behind the line.
    fn comment_of(&mut self, text: &str) -> Option<usize> {
        let mut before = ' ';
        // Whether a value may begin here.
        let mut starts_value = true;
        let mut escaped = false;
        let mut comment = None;
        for (at, c) in text.char_indices() {
            if let Some(quote) = self.quote {
                if escaped {
                    escaped = false;
                } else if quote == '"' && c == '\\' {
                    escaped = true;
                } else if c == quote {
                    // A doubled `'` opens it again.
                    self.quote = None;
                    starts_value = c == '\'' && text[at + 1..].starts_with('\'');
                }
            } else if c == '#' && before.is_whitespace() {
                comment = Some(at);
                break;
            } else if matches!(c, '"' | '\'') && starts_value {
                self.quote = Some(c);
            } else if !c.is_whitespace() {
                let begins = matches!(c, '[' | '{' | ',')
                    || matches!(c, ':' | '-' | '?') && {
                        let rest = &text[at + 1..];
                        rest.is_empty() || rest.starts_with(char::is_whitespace)
                    };
                starts_value = begins;
            }
            before = c;
        }
        let content = text[..comment.unwrap_or(text.len())].trim_end();
        if self.quote.is_none() && is_block_header(content) {
            self.block_indent = Some(parent_indentation(content));
        }
        comment
    }
}

fn indentation(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// Whether a line ends with the header of a literal or folded value, such as `|-`.
fn is_block_header(content: &str) -> bool {
    let word = content.rsplit(char::is_whitespace).next().unwrap_or_default();
    let is_alone = content.len() > word.len() || content == word;
    is_alone
        && word.len() <= 3
        && word
            .strip_prefix(['|', '>'])
            .is_some_and(|rest| rest.chars().all(|c| matches!(c, '+' | '-') || c.is_ascii_digit()))
}

/// Returns the indentation of the item or the key that a line ends with.
fn parent_indentation(content: &str) -> usize {
    let mut indent = indentation(content);
    let mut rest = &content[indent..];
    while let Some(after) = rest.strip_prefix("- ") {
        let next = after.trim_start_matches(' ');
        if next.starts_with(['|', '>']) {
            return indent;
        }
        indent += rest.len() - next.len();
        rest = next;
    }
    indent
}

#[cfg(test)]
mod tests {
    use super::of_text;

    #[test]
    fn comments_are_told_from_values() {
        for (text, expected) in [
            ("# head\n\na: b # behind\n", vec!["# head 3 apart", "# behind 3"]),
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
