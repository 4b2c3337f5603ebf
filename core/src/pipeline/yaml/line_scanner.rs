//! Recognizes values of several lines line by line, for what the parser does not return or accept.

use super::limits::MAX_FILE_BYTES;

/// Maximum indentation of a quoted value whose lines are indented.
const MAX_REPAIRED_INDENT: usize = 256;

/// Recognizes the values of several lines, in which a `#` begins no comment.
#[derive(Default)]
pub(crate) struct LineScanner {
    /// The indentation that the lines of a literal or folded value exceed.
    block_indent: Option<usize>,
    /// The quotation mark that ends the current value.
    quote: Option<char>,
    /// The indentation that the lines of the current quoted value exceed.
    quote_indent: usize,
    /// The number of brackets that are open.
    brackets: usize,
    /// The indentation that the lines of the current value in brackets exceed.
    bracket_indent: usize,
}

impl LineScanner {
    /// Whether a line belongs to a literal or folded value.
    pub(crate) fn is_within_scalar(&mut self, text: &str) -> bool {
        let Some(indent) = self.block_indent else { return false };
        let is_within = text.trim().is_empty() || indentation(text) > indent;
        if !is_within {
            self.block_indent = None;
        }
        is_within
    }

    /// Returns the position of the comment of a line, and remembers the value that continues behind the line.
    pub(crate) fn comment_of(&mut self, text: &str) -> Option<usize> {
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
                self.quote_indent = parent_indentation(&text[..at]);
            } else if !c.is_whitespace() {
                match c {
                    '[' | '{' if starts_value || self.brackets > 0 => {
                        if self.brackets == 0 {
                            self.bracket_indent = parent_indentation(&text[..at]);
                        }
                        self.brackets += 1;
                    }
                    ']' | '}' => self.brackets = self.brackets.saturating_sub(1),
                    _ => {}
                }
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
    let mut words = content.rsplit(char::is_whitespace).filter(|word| !word.is_empty());
    let Some(rest) = words.next().and_then(|word| word.strip_prefix(['|', '>'])) else { return false };
    let begins_value = words
        .next()
        .is_none_or(|before| before.ends_with(':') || before == "-" || before.starts_with(['&', '!']));
    begins_value && rest.len() <= 2 && rest.chars().all(|c| matches!(c, '+' | '-') || c.is_ascii_digit())
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

/// Indents the lines of values in quotes or brackets that are indented less than YAML demands, which Ruby's parser accepts. `None`
/// if there are none, or if the result would be too large.
pub(crate) fn with_indented_lines(text: &str) -> Option<String> {
    let mut scanner = LineScanner::default();
    let mut out = String::with_capacity(text.len());
    let mut has_changed = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        let parent = match (scanner.quote, scanner.brackets) {
            (Some(_), _) => Some(scanner.quote_indent),
            (None, 1..) => Some(scanner.bracket_indent),
            (None, 0) => None,
        };
        if let Some(parent) = parent.filter(|parent| indentation(content) <= *parent)
            && !content.trim().is_empty()
        {
            if parent > MAX_REPAIRED_INDENT || out.len() > 2 * MAX_FILE_BYTES {
                return None;
            }
            out.extend(std::iter::repeat_n(' ', parent + 1));
            has_changed = true;
        }
        out.push_str(line);
        if scanner.quote.is_some() || !scanner.is_within_scalar(content) {
            scanner.comment_of(content);
        }
    }
    has_changed.then_some(out)
}
