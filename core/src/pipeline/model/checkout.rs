//! How a job gets its sources.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The maximum depth of history that a file may ask for.
pub const MAX_DEPTH: u32 = 1_000_000;

/// How the sources of a job are checked out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Checkout {
    /// What the workspace starts with.
    #[serde(skip_serializing_if = "CheckoutContent::is_default")]
    pub content: CheckoutContent,
    /// How many commits of history the repository has; 0: all of them. `None`: 50, and more where the nearest tag or
    /// the base of the branch is further away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Whether all tags are there, or none. `None`: those that the history leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<bool>,
    /// Which submodules are checked out.
    #[serde(skip_serializing_if = "Submodules::is_default")]
    pub submodules: Submodules,
    /// Whether files that Git LFS keeps elsewhere stay the pointers that the commit holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lfs_pointers: bool,
    /// Whether uncommitted changes and untracked files of a working tree are left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub clean: bool,
    /// Whether the job may push to its repository, with the credential that the server has for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub push: bool,
}

/// What a workspace starts with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckoutContent {
    /// The files and the repository.
    #[default]
    Files,
    /// The repository without its files.
    Repository,
    /// Nothing.
    Nothing,
}

impl CheckoutContent {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it with a reference.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which submodules are checked out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Submodules {
    /// How deep submodules of submodules are checked out.
    #[serde(skip_serializing_if = "SubmoduleLevel::is_default")]
    pub level: SubmoduleLevel,
    /// Paths of the submodules to check out, or to leave out with `:(exclude)` in front. Empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// How many commits of history a submodule has; 0: all. `None`: as many as the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
}

/// How deep submodules are checked out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubmoduleLevel {
    /// Submodules, and theirs.
    #[default]
    Recursive,
    /// The repository's own submodules only.
    Direct,
    /// None.
    Off,
}

impl SubmoduleLevel {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it with a reference.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Submodules {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the submodule at `path`, relative to the top of the repository, is checked out. `is_nested`: it is one of a
    /// submodule, whose own choice follows that of its parent.
    #[must_use]
    pub fn includes(&self, path: &str, is_nested: bool) -> bool {
        match self.level {
            SubmoduleLevel::Off => return false,
            SubmoduleLevel::Direct if is_nested => return false,
            SubmoduleLevel::Direct | SubmoduleLevel::Recursive => {}
        }
        if is_nested {
            return true;
        }
        let covers = |pattern: &str| {
            let pattern = pattern.trim_end_matches('/');
            path == pattern || path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('/'))
        };
        let excluded = |pattern: &&String| EXCLUDE.iter().any(|prefix| pattern.starts_with(prefix));
        let inner = |pattern: &str| {
            EXCLUDE.iter().find_map(|prefix| pattern.strip_prefix(prefix)).unwrap_or(pattern).to_owned()
        };
        let mut chosen = self.paths.iter().filter(|pattern| !excluded(pattern)).peekable();
        let is_chosen = chosen.peek().is_none() || chosen.any(|pattern| covers(pattern));
        is_chosen && !self.paths.iter().filter(excluded).any(|pattern| covers(&inner(pattern)))
    }
}

/// Prefixes of paths to leave out, as in git.
const EXCLUDE: [&str; 3] = [":(exclude)", ":!", ":^"];

#[cfg(test)]
mod tests {
    use super::{SubmoduleLevel, Submodules};

    #[test]
    fn submodules_are_chosen_by_level_and_path() {
        let all = Submodules::default();
        assert!(all.includes("a/b", false) && all.includes("a/b/c", true));
        let direct = Submodules { level: SubmoduleLevel::Direct, ..Submodules::default() };
        assert!(direct.includes("a", false) && !direct.includes("a/b", true));
        let off = Submodules { level: SubmoduleLevel::Off, ..Submodules::default() };
        assert!(!off.includes("a", false));
        let paths = |paths: &[&str]| Submodules {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..Submodules::default()
        };
        assert!(paths(&["lib"]).includes("lib", false) && paths(&["lib/"]).includes("lib/x", false));
        assert!(!paths(&["lib"]).includes("library", false));
        let without = paths(&[":(exclude)lib", ":!docs"]);
        assert!(without.includes("src", false));
        assert!(!without.includes("lib", false) && !without.includes("docs/x", false));
    }
}
