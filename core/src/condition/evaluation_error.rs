//! Why a condition that is valid has no value.

/// Why a condition that is valid has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A variable that is used as a pattern is none.
    #[error("`{pattern}` is not a pattern: {error}")]
    Pattern {
        /// The value of the variable, or its beginning.
        pattern: String,
        /// What is wrong with it.
        error: PatternError,
    },
    /// `+` makes a text of more bytes than the limit.
    #[error("`+` builds a string of more than {0} bytes")]
    TextTooLong(usize),
    /// Changes cannot be compared with a ref.
    #[error(
        "the repository has no branch, tag or commit `{0}` that shares history with this commit, to compare with"
    )]
    UnknownReference(String),
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It would take more memory than the limit.
    #[error("it is too large")]
    TooLarge,
    /// It is not a regular expression; the text says where.
    #[error("{0}")]
    Syntax(String),
}

impl From<regex::Error> for PatternError {
    fn from(error: regex::Error) -> Self {
        match error {
            regex::Error::CompiledTooBig(_) => Self::TooLarge,
            // The parser prints the pattern first; its last line is the error.
            other => {
                let message = other.to_string();
                let last = message.lines().last().unwrap_or_default();
                Self::Syntax(last.trim_start_matches("error: ").to_owned())
            }
        }
    }
}
