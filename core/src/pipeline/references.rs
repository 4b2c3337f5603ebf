//! References to variables: `${NAME}`.

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
