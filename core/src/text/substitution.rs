//! Substitutes the values of variables in texts.

use indexmap::IndexMap;

/// Replaces each `${name}` that names a variable; others are unchanged.
#[must_use]
pub fn expand(text: &str, variables: &IndexMap<String, String>) -> String {
    substitute(text, |name| variables.get(name).map(String::as_str))
}

/// Maximum length in bytes of a text in which outputs of jobs are substituted.
pub const MAX_EXPANDED_LEN: usize = 4096;

/// Replaces each `${name}` that names a variable, or returns the text unchanged if the result would be longer than
/// [`MAX_EXPANDED_LEN`]. A text names a variable as often as it likes, and values are not known when the file is checked.
#[must_use]
pub fn expand_bounded(text: &str, variables: &IndexMap<String, String>) -> String {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    let values = names.map(|name| variables.get(name).map_or(0, String::len));
    if values.fold(text.len(), usize::saturating_add) > MAX_EXPANDED_LEN {
        return text.to_owned();
    }
    expand(text, variables)
}

/// Replaces each `${name}` for which `lookup` returns a value; `None` if the result would be longer than `max` bytes.
#[must_use]
pub fn substitute_bounded<'a>(
    text: &str,
    max: usize,
    lookup: impl Fn(&str) -> Option<&'a str>,
) -> Option<String> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    let bytes = names.fold(text.len(), |bytes, name| bytes.saturating_add(lookup(name).map_or(0, str::len)));
    // The names themselves are counted, so that the limit is one for texts of usual length only.
    (bytes <= max.saturating_add(text.len())).then(|| substitute(text, lookup))
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

#[cfg(test)]
mod tests {
    use super::{MAX_EXPANDED_LEN, expand_bounded};
    use indexmap::IndexMap;

    #[test]
    fn text_that_would_be_too_long_is_not_expanded() {
        let variables: IndexMap<_, _> = [("A".to_owned(), "x".repeat(1000))].into_iter().collect();
        assert_eq!(expand_bounded("${A}${B}", &variables), "x".repeat(1000) + "${B}");
        let long = "${A}".repeat(5);
        assert_eq!(expand_bounded(&long, &variables), long);
        assert_eq!(expand_bounded(&"y".repeat(MAX_EXPANDED_LEN + 1), &variables).len(), MAX_EXPANDED_LEN + 1);
    }
}
