//! Whether a job is part of an execution, and when it runs, given how its dependencies ended.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::matrix::Need;

/// When a job runs, given how its dependencies ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// When all dependencies succeeded, or failed with `allow_failure`.
    #[default]
    OnSuccess,
    /// When a dependency failed; otherwise the job is skipped, which counts as success.
    OnFailure,
    /// Whatever the outcome of the dependencies.
    Always,
    /// When all dependencies succeeded and a user approved the job.
    Manual,
}

impl When {
    /// Whether it is the default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::OnSuccess
    }
}

/// A rule of a job: the first that matches decides whether and how the job is part of an execution. A job none of whose rules
/// matches is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// A condition; see `docs/pipeline-reference.md`. `None` is always true.
    #[serde(default, rename = "if")]
    pub condition: Option<String>,
    /// Globs of files, one of which must have changed. They match where the changed files are unknown.
    #[serde(default)]
    pub changes: Vec<String>,
    /// Globs of files, one of which must exist at the commit. They match where the files are unknown.
    #[serde(default)]
    pub exists: Vec<String>,
    /// When the job runs if the rule matches. `None`: the job's own `when`.
    #[serde(default)]
    pub then: Option<RuleOutcome>,
    /// Overrides the job's own, in seconds.
    #[serde(default)]
    pub start_in_s: Option<u64>,
    /// Overrides the job's own.
    #[serde(default)]
    pub allow_failure: Option<bool>,
    /// Override the job's own.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// Replace the job's own, and its `dependencies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<Need>>,
    /// Replace the job's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<Need>>,
    /// Its number in messages, if other rules were merged into those that the job was written with; 0: one of those others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
}

/// What a matching rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleOutcome {
    /// The job is left out.
    Never,
    /// The job runs, given how its dependencies ended.
    #[serde(untagged)]
    When(When),
}
