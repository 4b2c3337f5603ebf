//! Putting the values of variables into texts.

use indexmap::IndexMap;

/// `text` with each `${name}` replaced that names a variable; others stay as they are.
#[must_use]
pub fn expand(text: &str, variables: &IndexMap<String, String>) -> String {
    substitute(text, |name| variables.get(name).map(String::as_str))
}

/// `text` with each `${name}` replaced for which `known` gives a value; others stay as they are.
#[must_use]
pub fn substitute<'a>(text: &str, known: impl Fn(&str) -> Option<&'a str>) -> String {
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
