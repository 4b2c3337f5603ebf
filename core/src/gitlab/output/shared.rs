//! Values that several jobs have, which a large file has once, with an anchor.

use std::collections::HashMap;
use std::fmt;

use serde_yaml::Value;

use crate::gitlab::file::TranslatedJob;

/// Minimum size of a value that is written once, in bytes.
const MIN_BYTES: usize = 128;

/// Values that several jobs have, by their text.
#[derive(Default)]
pub(super) struct SharedValues {
    /// The number of the anchor, once the value is written.
    anchors: HashMap<String, Option<usize>>,
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

/// Returns the text of a list or a mapping that is large enough.
fn text_of(value: &Value) -> Option<String> {
    let is_large = match value {
        Value::Sequence(items) => !items.is_empty(),
        Value::Mapping(parts) => !parts.is_empty(),
        _ => false,
    };
    let text = is_large.then(|| serde_yaml::to_string(value).ok())??;
    (text.len() >= MIN_BYTES).then_some(text)
}

impl SharedValues {
    /// Returns those of these jobs.
    pub(super) fn of(jobs: &[TranslatedJob]) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for text in jobs.iter().flat_map(|job| job.body.values()).filter_map(text_of) {
            *counts.entry(text).or_default() += 1;
        }
        let several = counts.into_iter().filter(|(_, count)| *count > 1);
        Self { anchors: several.map(|(text, _)| (text, None)).collect(), count: 0 }
    }

    /// Returns how to write a value; `None` if only one job has it.
    pub(super) fn reference(&mut self, value: &Value) -> Option<Reference> {
        if self.anchors.is_empty() {
            return None;
        }
        let anchor = self.anchors.get_mut(&text_of(value)?)?;
        if let Some(number) = anchor {
            return Some(Reference::Alias(*number));
        }
        self.count += 1;
        *anchor = Some(self.count);
        Some(Reference::First(self.count))
    }
}
