//! What can be wrong in the body of a webhook.

/// Why the body of a webhook is not what the provider sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The header that names the event is missing.
    #[error("there is no header {0}")]
    NoEvent(&'static str),
    /// It is not JSON, or a field is missing or of another type.
    #[error("{0}")]
    Json(String),
    /// It lacks what the event is about.
    #[error("it has no `{0}`")]
    Incomplete(&'static str),
    /// It reports more changes than the limit.
    #[error("it has {count} changes; the limit is {limit}")]
    TooManyChanges {
        /// Their number.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A branch or tag has no valid name.
    #[error(transparent)]
    RefName(#[from] RefNameError),
    /// A commit is not a hash. The text has no control characters.
    #[error("`{0}` is not a commit hash")]
    Commit(String),
}

impl From<serde_json::Error> for BodyError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

/// A text that cannot be the name of a branch or tag. It has no control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid branch or tag name")]
pub struct RefNameError(pub(super) String);
