//! What a worker must find out about a commit.

use crate::execution::facts::{ExternalVariables, Facts};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to find out about the commit of the assignment's source. An empty commit stands for the one that `fetch_ref`
/// points to; an abbreviated one must be the one that `fetch_ref` points to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discovery {
    /// A ref to fetch if the commit is not reachable from a branch: the head of a pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_ref: Option<String>,
    /// The commit that changes are computed from. Absent: the merge base with `target_branch`; without that, changes
    /// are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The target branch of a pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_branch: Option<String>,
    /// Whether the commit starts nothing if its message has `[skip ci]` or `[ci skip]`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_skip: bool,
    /// Only these files; empty: all below `.pipelines/`, and `.gitlab-ci.yml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// The variables that are set outside of the files, which the translation of a GitLab file needs. Not recorded: the assignment
    /// has those of its time.
    #[serde(default, skip_serializing_if = "ExternalVariables::is_empty")]
    pub external: ExternalVariables,
    /// Only the pipelines in these files start, and others are read for what follows them; empty: all whose triggers match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_only: Vec<String>,
    /// The values of the inputs of a GitLab file.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, String>,
    /// Whether one pipeline starts, as the child of the discovery, which a job of another repository started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starts_child: bool,
    /// What is known of the event before the discovery, for GitLab files that are not the same for all events. Not recorded: the
    /// assignment has those of its execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub event: Option<Box<Facts>>,
}
