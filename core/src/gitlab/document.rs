//! Merges a GitLab file and the files that it includes, and expands `extends` and `!reference`.

mod conditions;
mod event;
mod extends;
mod include;
mod inputs;
mod items;
mod locations;
mod lookup;
mod merger;

pub(crate) use event::IncludeMode;
pub(crate) use extends::{ExpandedDocument, expand};
pub use include::MAX_INCLUDES;
pub(crate) use include::{MergedDocument, read};
pub(super) use items::{IncludeItem, IncludeKind, LocatedText};
