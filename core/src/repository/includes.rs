//! Files of a pipeline that come from elsewhere than its own repository, and what they were when the pipeline was read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::text::is_control;

/// Maximum number of included files that are recorded with an execution: that of a GitLab file, the larger of the two.
pub const MAX_PINNED_INCLUDES: usize = 150;
/// Maximum length of a text of such a record, in bytes.
const MAX_TEXT_LEN: usize = 2_048;
/// Maximum length of all texts of such records, in bytes.
const MAX_TOTAL_LEN: usize = 64 << 10;
/// Number of digits of a short commit.
const SHORT_COMMIT_LEN: usize = 8;

/// An included file from elsewhere, with the version of it that the pipeline was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PinnedInclude {
    /// A file of another git repository.
    Git {
        /// The address of the repository.
        url: String,
        /// The branch, tag or version that the pipeline names; absent: the default branch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// The full hash of the commit.
        commit: String,
        /// The path of the file in the repository.
        file: String,
    },
    /// A file on the web.
    Remote {
        /// Its address, without a query.
        url: String,
        /// Its SHA-256 in hex.
        sha256: String,
    },
    /// A template of the operator.
    Template {
        /// Its name.
        name: String,
        /// Its SHA-256 in hex.
        sha256: String,
    },
}

impl PinnedInclude {
    /// Returns the version: a commit, or a SHA-256.
    #[must_use]
    pub fn version(&self) -> &str {
        match self {
            Self::Git { commit, .. } => commit,
            Self::Remote { sha256, .. } | Self::Template { sha256, .. } => sha256,
        }
    }

    fn texts(&self) -> [&str; 3] {
        match self {
            Self::Git { url, reference, file, .. } => [url, reference.as_deref().unwrap_or_default(), file],
            Self::Remote { url, .. } => [url, "", ""],
            Self::Template { name, .. } => [name, "", ""],
        }
    }
}

impl fmt::Display for PinnedInclude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git { url, reference, commit, file } => {
                let short = commit.get(..SHORT_COMMIT_LEN).unwrap_or(commit);
                let reference = reference.as_deref().map(|name| format!("{name}, ")).unwrap_or_default();
                write!(f, "{file} of {url} ({reference}commit {short})")
            }
            Self::Remote { url, sha256 } => write!(f, "{url} (sha256 {sha256})"),
            Self::Template { name, sha256 } => write!(f, "template {name} (sha256 {sha256})"),
        }
    }
}

/// Why the list of included files of a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinnedIncludesError {
    /// There are too many.
    #[error("`includes` has more than {MAX_PINNED_INCLUDES} files or {MAX_TOTAL_LEN} bytes")]
    TooMany,
    /// A text is too long or has control characters.
    #[error("a text of `includes` has more than {MAX_TEXT_LEN} bytes, or control characters")]
    Text,
    /// A version is no hash.
    #[error("a version in `includes` is not the full hash of a commit, or a SHA-256, in hex")]
    Version,
}

/// Checks the included files of a request.
///
/// # Errors
/// Returns the first violation.
pub fn check_pinned(includes: &[PinnedInclude]) -> Result<(), PinnedIncludesError> {
    let mut total = 0_usize;
    for include in includes {
        let is_git = matches!(include, PinnedInclude::Git { .. });
        let version = include.version();
        let is_length = if is_git { matches!(version.len(), 40 | 64) } else { version.len() == 64 };
        if !is_length || !version.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(PinnedIncludesError::Version);
        }
        for text in include.texts() {
            if text.len() > MAX_TEXT_LEN || text.chars().any(is_control) {
                return Err(PinnedIncludesError::Text);
            }
            total = total.saturating_add(text.len());
        }
    }
    if includes.len() > MAX_PINNED_INCLUDES || total > MAX_TOTAL_LEN {
        return Err(PinnedIncludesError::TooMany);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MAX_PINNED_INCLUDES, PinnedInclude, PinnedIncludesError, check_pinned};

    fn git(commit: &str, file: &str) -> PinnedInclude {
        PinnedInclude::Git {
            url: "https://git.example.org/group/lib".to_owned(),
            reference: Some("v2".to_owned()),
            commit: commit.to_owned(),
            file: file.to_owned(),
        }
    }

    #[test]
    fn includes_are_shown_with_their_versions() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(
            git(commit, "ci/a.yml").to_string(),
            "ci/a.yml of https://git.example.org/group/lib (v2, commit 01234567)"
        );
        let sha256 = "ab".repeat(32);
        let template = PinnedInclude::Template { name: "Go.yml".to_owned(), sha256: sha256.clone() };
        assert_eq!(template.to_string(), format!("template Go.yml (sha256 {sha256})"));
    }

    #[test]
    fn lists_beyond_limits_are_rejected() {
        let good = git(&"a".repeat(40), "ci/a.yml");
        assert_eq!(check_pinned(&vec![good.clone(); MAX_PINNED_INCLUDES]), Ok(()));
        assert_eq!(check_pinned(&vec![good; MAX_PINNED_INCLUDES + 1]), Err(PinnedIncludesError::TooMany));
        let long = git(&"a".repeat(40), &"x".repeat(2_000));
        assert_eq!(check_pinned(&vec![long; 100]), Err(PinnedIncludesError::TooMany));
        for (include, error) in [
            (git("main", "a.yml"), PinnedIncludesError::Version),
            (git(&"g".repeat(40), "a.yml"), PinnedIncludesError::Version),
            (git(&"a".repeat(40), "a\u{1b}.yml"), PinnedIncludesError::Text),
            (git(&"a".repeat(40), &"x".repeat(3_000)), PinnedIncludesError::Text),
            (
                PinnedInclude::Remote { url: String::new(), sha256: "a".repeat(40) },
                PinnedIncludesError::Version,
            ),
        ] {
            assert_eq!(check_pinned(&[include]), Err(error));
        }
    }
}
