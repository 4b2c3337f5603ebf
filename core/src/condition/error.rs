//! Errors of conditions, and the translation of the CEL parser's syntax errors.

use super::predicate::{MAX_DEPTH, truncate};

/// An error in a condition, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionError {
    /// Position of the first affected character, counted from 0.
    pub start: usize,
    /// Number of affected characters; at least 1.
    pub length: usize,
    /// The error message.
    pub message: String,
    /// A suggestion how to fix it.
    pub help: Option<String>,
}

/// Translates the parser's error message, which lists tokens.
pub(super) fn syntax_fault(
    text: &str,
    (line, column): (isize, isize),
    parser_message: &str,
) -> ConditionError {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    let before: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    let at = (before + column).min(text.chars().count());
    let token = |marker: &str| {
        parser_message
            .split_once(marker)
            .and_then(|(_, rest)| rest.split_once('\''))
            .map(|(token, _)| token.to_owned())
    };
    let unknown = token("token recognition error at: '");
    let unexpected = token("mismatched input '")
        .or_else(|| token("extraneous input '"))
        .or_else(|| token("no viable alternative at input '"));
    let length = unexpected
        .as_deref()
        .filter(|unexpected| *unexpected != "<EOF>")
        .map_or(1, |unexpected| unexpected.chars().count().max(1));
    let message = match (&unknown, unexpected.as_deref()) {
        (Some(sign), _) => format!("{} is not valid here", quoted(sign.trim())),
        (None, Some("<EOF>")) => "the condition is incomplete".to_owned(),
        (None, Some(unexpected)) => format!("{} is not expected here", quoted(unexpected)),
        (None, None) if parser_message.contains("recursion") => {
            format!("the condition is nested more than {MAX_DEPTH} levels deep")
        }
        (None, None) => match parser_message.split_once("reserved identifier: ") {
            Some((_, word)) => format!("{} is a reserved word of CEL", quoted(word)),
            None => "its syntax is not valid".to_owned(),
        },
    };
    ConditionError { start: at, length, message, help: syntax_hint(text) }
}

/// Suggests a fix for the syntax of other languages.
fn syntax_hint(text: &str) -> Option<String> {
    let advice = if text.contains("=~") {
        "write `text.matches(\"regex\")` instead of `=~`"
    } else if text.contains("${{") {
        "write the condition without `${{ }}`, as in `branch == \"main\"`"
    } else if text.contains('$') || text.contains("var(") {
        "write `env(\"NAME\")` for a variable"
    } else if text.contains(" and ")
        || text.contains(" or ")
        || text.starts_with("not ")
        || text.contains(" not ")
    {
        "write `&&`, `||` and `!`"
    } else if text.replace("==", "").replace("!=", "").contains('=') {
        "write `==` to compare"
    } else {
        return None;
    };
    Some(advice.to_owned())
}

/// Returns a shortened text in backticks.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", truncate(text))
}
