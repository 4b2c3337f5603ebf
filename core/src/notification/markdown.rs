//! Quotes texts of jobs, pipeline files and logs for the Markdown of git providers.
//!
//! A backslash keeps Markdown from reading a character, but not the provider from reading what is left: GitHub, GitLab and Gitea find
//! mentions, references and addresses in the text after Markdown was read, except in code. So such texts are always code.

use crate::text::{is_control, is_invisible};

/// Keeps a run of characters from ending a block of code.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// Returns a text as code on one line, of at most `max` characters.
#[must_use]
pub fn code(text: &str, max: usize) -> String {
    let text = visible(text, max);
    let text = text.trim();
    if text.is_empty() {
        return "` `".to_owned();
    }
    let fence = "`".repeat(longest_run(text, '`') + 1);
    // A space at both ends is removed by Markdown, and separates backquotes of the text from the fence.
    let space = if text.contains('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// Returns lines as a block of code, each of at most `max` characters.
#[must_use]
pub fn code_block(lines: &[String], max: usize) -> String {
    let mut block = String::from("```text\n");
    for line in lines {
        let line = unfenced(&visible(line, max));
        // At GitLab, a slash at the start of a line begins a command to GitLab itself, and what is code there depends on its version.
        let line = line.trim_end();
        block.push_str(if line.trim_start().starts_with('/') { " " } else { "" });
        block.push_str(line);
        block.push('\n');
    }
    block.push_str("```");
    block
}

/// Returns plain text on one line, of at most `max` characters, for fields in which nothing is markup.
#[must_use]
pub fn plain(text: &str, max: usize) -> String {
    visible(text, max).trim().to_owned()
}

/// Separates backquotes, so that they cannot end a block of code.
pub(super) fn unfenced(code: &str) -> String {
    let mut text = String::with_capacity(code.len());
    for c in code.chars() {
        text.push(c);
        if c == '`' {
            text.push(ZERO_WIDTH_SPACE);
        }
    }
    text
}

/// Returns at most `max` characters of a text, on one line and without what is invisible or changes how others are shown.
fn visible(text: &str, max: usize) -> String {
    let chars = text.chars().filter(|c| !is_invisible(*c)).map(|c| if is_control(c) { ' ' } else { c });
    let mut kept = String::new();
    for (count, c) in chars.enumerate() {
        if count == max {
            kept.push('…');
            break;
        }
        kept.push(c);
    }
    kept
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(|run| run.chars().count()).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{code, code_block, plain};

    #[test]
    fn code_cannot_be_left() {
        for (text, expected) in [
            ("test", "`test`"),
            ("", "` `"),
            ("@all `x` ``", "``` @all `x` `` ```"),
            ("a\nb\u{202e}c\u{200b}d", "`a b cd`"),
            ("[x](https://e.example)", "`[x](https://e.example)`"),
            ("<img src=x>", "`<img src=x>`"),
        ] {
            assert_eq!(code(text, 100), expected);
        }
        assert_eq!(code("abcdef", 3), "`abc…`");
        assert_eq!(plain(" a\tb\u{feff} ", 10), "a b");
    }

    #[test]
    fn block_has_one_fence_and_no_commands() {
        let lines = ["```".to_owned(), "/close".into(), "@all".into(), "  /merge".into(), "x\n```".into()];
        let block = code_block(&lines, 100);
        let inner: Vec<&str> = block.lines().collect();
        assert_eq!((inner[0], inner[inner.len() - 1], inner.len()), ("```text", "```", lines.len() + 2));
        for line in &inner[1..inner.len() - 1] {
            assert!(!line.contains("```") && !line.starts_with('/'), "{line:?}");
        }
    }
}
