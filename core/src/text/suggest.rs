//! Suggests similar names for an unknown one.

use std::cell::Cell;

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
