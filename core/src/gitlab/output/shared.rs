//! Values that several jobs have, which a large file has once, with an anchor.

use std::collections::HashMap;
use std::fmt;

use serde_yaml::Value;

use crate::gitlab::file::TranslatedJob;

/// Minimum size of a value that is written once, in bytes.
const MIN_BYTES: usize = 128;

/// Values that several jobs have.
#[derive(Default)]
pub(super) struct SharedValues<'a> {
    /// The number of the anchor, once the value is written.
    anchors: HashMap<&'a Value, Option<usize>>,
    count: usize,
}

/// How a value is written that several jobs have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reference {
    /// Its anchor; the value follows.
    First(usize),
    /// An alias of it.
    Alias(usize),
}

impl Reference {
    pub(super) const fn is_first(self) -> bool {
        matches!(self, Self::First(_))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(number) => write!(f, "&shared-{number}"),
            Self::Alias(number) => write!(f, "*shared-{number}"),
        }
    }
}

/// Returns about how long the text of a value is, in bytes.
pub(super) fn size(value: &Value) -> usize {
    // A line has an indentation, and a `:` or a `-`.
    const LINE: usize = 6;
    match value {
        Value::String(text) => text.len() + LINE,
        Value::Sequence(items) => items.iter().fold(LINE, |sum, item| sum.saturating_add(size(item))),
        Value::Mapping(parts) => parts.iter().fold(LINE, |sum, (key, value)| {
            sum.saturating_add(key.as_str().map_or(0, str::len)).saturating_add(size(value))
        }),
        _ => LINE,
    }
}

/// Whether a value is a list or a mapping that is large enough.
fn is_large(value: &Value) -> bool {
    matches!(value, Value::Sequence(_) | Value::Mapping(_)) && size(value) >= MIN_BYTES
}

impl<'a> SharedValues<'a> {
    /// Returns those of these jobs.
    pub(super) fn of(jobs: &'a [TranslatedJob]) -> Self {
        let mut counts: HashMap<&Value, usize> = HashMap::new();
        for value in jobs.iter().flat_map(|job| job.body.values()).filter(|value| is_large(value)) {
            *counts.entry(value).or_default() += 1;
        }
        let several = counts.into_iter().filter(|(_, count)| *count > 1);
        Self { anchors: several.map(|(value, _)| (value, None)).collect(), count: 0 }
    }

    /// Returns how to write a value; `None` if only one job has it.
    pub(super) fn reference(&mut self, value: &Value) -> Option<Reference> {
        if self.anchors.is_empty() || !is_large(value) {
            return None;
        }
        let anchor = self.anchors.get_mut(value)?;
        if let Some(number) = anchor {
            return Some(Reference::Alias(*number));
        }
        self.count += 1;
        *anchor = Some(self.count);
        Some(Reference::First(self.count))
    }
}
