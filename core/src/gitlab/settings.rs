//! Options of a translation.

/// The image of jobs without `image`: the default of GitLab's own runners.
pub const DEFAULT_IMAGE: &str = "ruby:3.1";

/// What a translation depends on besides the GitLab files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslateOptions {
    /// The pipeline's name, where `workflow: name` does not give one.
    pub name: String,
    /// The image of jobs without `image`.
    pub default_image: String,
    /// Whether `tags` are labels that a job's worker must have. Otherwise any worker may run it, which is reported.
    pub tags_are_labels: bool,
}

impl TranslateOptions {
    /// Those for a repository of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned(), default_image: DEFAULT_IMAGE.to_owned(), tags_are_labels: true }
    }
}
