//! Options of a translation.

use crate::execution::facts::{ExternalVariables, Facts};
use indexmap::IndexMap;

/// The image of jobs without `image`: the default of GitLab's own runners.
pub const DEFAULT_IMAGE: &str = "ruby:3.1";

/// Options of a translation, in addition to the GitLab files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct TranslateOptions {
    /// The pipeline's name, unless `workflow: name` sets one.
    pub name: String,
    /// The image of jobs without `image`.
    pub default_image: String,
    /// Whether `tags` become required labels of workers. Otherwise any worker may run the job, which is reported.
    pub tags_are_labels: bool,
    /// Whether variables that the file uses and nobody sets are reported, as far as that can be known.
    pub reports_unset_variables: bool,
    /// The variables that are set outside of the file.
    pub external: ExternalVariables,
    /// The values of the inputs that the file's own header declares.
    pub inputs: IndexMap<String, String>,
    /// Whether the file gives its includes all values of inputs as texts, whatever their types.
    pub has_untyped_inputs: bool,
    /// The event for which the file is read. Only a file that is not the same pipeline for all events depends on it: one that
    /// includes keys of all jobs under a condition.
    pub event: Option<Box<Facts>>,
    /// Whether what cannot be translated without the value of such a variable is an error although they are reported: the
    /// translation is kept.
    pub rejects_unset_variables: bool,
    /// Whether a file that depends on the event becomes a pipeline that starts on that event only: the translation is kept.
    pub is_for_event: bool,
}

impl TranslateOptions {
    /// Returns the options for a repository of this name.
    #[must_use]
    pub fn for_pipeline(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            default_image: DEFAULT_IMAGE.to_owned(),
            tags_are_labels: true,
            reports_unset_variables: false,
            external: ExternalVariables::default(),
            inputs: IndexMap::new(),
            has_untyped_inputs: false,
            event: None,
            rejects_unset_variables: false,
            is_for_event: false,
        }
    }
}
