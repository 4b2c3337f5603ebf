//! References to variables: `${NAME}`.

use indexmap::IndexMap;

use super::finding::{Fault, quoted};
use super::names::check_variable_name;

/// The names that `text` refers to as `${NAME}`; an error when a `$` is not part of such a reference.
pub(crate) fn parse_references(text: &str) -> Result<Vec<&str>, Fault> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let body = rest[at..].strip_prefix("${").and_then(|inner| inner.split_once('}'));
        let Some((name, after)) = body.filter(|(name, _)| check_variable_name(name).is_ok()) else {
            return Err(Fault::new(
                "bad-reference",
                format!("has a `$` that starts no reference: {}", quoted(text)),
            )
            .help("write `${NAME}`"));
        };
        names.push(name);
        rest = after;
    }
    Ok(names)
}

/// `text` with each `${name}` replaced that names a variable; others stay as they are.
pub(crate) fn expand(text: &str, variables: &IndexMap<String, String>) -> String {
    substitute(text, |name| variables.get(name).map(String::as_str))
}

/// `text` with each `${name}` replaced that is `known`; others stay as they are.
pub(crate) fn substitute<'a>(text: &str, known: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}').map(|end| start + end) else { break };
        out.push_str(&rest[..start]);
        match known(&rest[start + 2..end]) {
            Some(value) => out.push_str(value),
            None => out.push_str(&rest[start..=end]),
        }
        rest = &rest[end + 1..];
    }
    out + rest
}
