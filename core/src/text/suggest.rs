//! Suggests similar names for an unknown one.

use super::Printable;
use std::{cell::Cell, fmt::Write as _};

/// Maximum number of names in a list.
const MAX_LISTED: usize = 20;

/// Returns the candidate most similar to `name`, if it is similar enough to be a typo.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    if length > 64 {
        return None;
    }
    let max_distance = if length <= 3 { 1 } else { (length / 3).clamp(2, 4) };
    let lower = name.to_lowercase();
    let mut best = None;
    for candidate in candidates {
        if candidate.chars().count().abs_diff(length) > max_distance {
            continue;
        }
        let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
        if distance <= max_distance
            && distance < length
            && best.is_none_or(|(best_distance, _)| distance < best_distance)
        {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

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

/// [`nearest`] with a limit for a whole run: a file with thousands of unknown names must not take minutes.
pub(crate) struct Suggestions {
    comparisons_left: Cell<usize>,
}

impl Default for Suggestions {
    fn default() -> Self {
        Self { comparisons_left: Cell::new(200_000) }
    }
}

impl Suggestions {
    /// Returns [`nearest`], while comparisons are left.
    pub(crate) fn nearest<'a>(
        &self,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        let candidates = candidates.into_iter().take(self.comparisons_left.get()).inspect(|_| {
            self.comparisons_left.set(self.comparisons_left.get().saturating_sub(1));
        });
        nearest(name, candidates)
    }

    /// Returns "did you mean `x`?" if a candidate is similar enough.
    pub(crate) fn did_you_mean<'a>(
        &self,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        self.nearest(name, candidates).map(|near| format!("did you mean `{near}`?"))
    }
}
