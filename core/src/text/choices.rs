//! Names to choose from, for messages about an unknown one.

use super::{Printable, suggest::nearest};
use std::fmt::Write as _;

/// Maximum number of names in a list.
const MAX_LISTED: usize = 20;

/// Returns what to write instead of the unknown `name`: the nearest of the known ones, otherwise the first of them. `kind` is what
/// they are, in the plural.
#[must_use]
pub fn suggestion(name: &str, known: &[&str], kind: &str) -> String {
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("did you mean `{}`?", Printable(nearest)),
        None if known.is_empty() => format!("it has no {kind}"),
        None => format!("its {kind} are {}", listed(known)),
    }
}

/// Formats the first names, and the number of those that are too many to list.
#[must_use]
pub fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(MAX_LISTED).map(|name| format!("`{}`", Printable(name)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if names.len() > MAX_LISTED {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", names.len() - MAX_LISTED);
    }
    text
}
