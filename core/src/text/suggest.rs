//! Finds the name that was probably meant.

use std::cell::Cell;

/// The candidate nearest to `name`, when it is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    if length > 64 {
        return None;
    }
    let most = if length <= 3 { 1 } else { (length / 3).clamp(2, 4) };
    let lower = name.to_lowercase();
    let mut best = None;
    for candidate in candidates {
        if candidate.chars().count().abs_diff(length) > most {
            continue;
        }
        let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
        if distance <= most && distance < length && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// [`nearest`] for a whole run, with an end: a file of thousands of unknown names must not cost minutes.
pub(crate) struct Suggestions {
    comparisons_left: Cell<usize>,
}

impl Default for Suggestions {
    fn default() -> Self {
        Self { comparisons_left: Cell::new(200_000) }
    }
}

impl Suggestions {
    /// [`nearest`], while comparisons are left.
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

    /// "did you mean `x`?", when a candidate is near enough.
    pub(crate) fn did_you_mean<'a>(
        &self,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        self.nearest(name, candidates).map(|near| format!("did you mean `{near}`?"))
    }
}
