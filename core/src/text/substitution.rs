//! Substitutes the values of variables in texts.

use indexmap::IndexMap;

/// Replaces each `${name}` that names a variable; others are unchanged.
#[must_use]
pub fn expand(text: &str, variables: &IndexMap<String, String>) -> String {
    substitute(text, |name| variables.get(name).map(String::as_str))
}

/// Returns the first name that `text` refers to as `${name}`.
#[must_use]
pub fn first_reference(text: &str) -> Option<&str> {
    text.split_once("${").and_then(|(_, rest)| rest.split_once('}')).map(|(name, _)| name)
}

/// Replaces each `${name}` for which `lookup` returns a value; others are unchanged.
#[must_use]
pub fn substitute<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}').map(|end| start + end) else { break };
        out.push_str(&rest[..start]);
        match lookup(&rest[start + 2..end]) {
            Some(value) => out.push_str(value),
            None => out.push_str(&rest[start..=end]),
        }
        rest = &rest[end + 1..];
    }
    out + rest
}
