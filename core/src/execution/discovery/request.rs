//! What a worker is asked to find out about a commit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to find out about the commit that the assignment's source names. Where that commit is empty, it is what `fetch_ref` shows; where
/// it is shortened, it must be what `fetch_ref` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discovery {
    /// A ref to fetch when the commit is not reachable from a branch: a pull request's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_ref: Option<String>,
    /// The commit that changes are counted from. Absent: from the merge base with `target_branch`, or nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The branch that a pull request is to go into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_branch: Option<String>,
    /// Only these files; empty: all below `.pipelines/`, and `.gitlab-ci.yml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}
