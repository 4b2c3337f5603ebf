//! When a job is part of an execution, and on what end of its needs it runs.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// On what end of what it waits for a job runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunWhen {
    /// When all of it ended well, or was allowed to fail.
    #[default]
    OnSuccess,
    /// When some of it did not; else the job is skipped, which counts as well.
    OnFailure,
    /// However it ended.
    Always,
    /// When all of it ended well and a person said so.
    Manual,
}

impl RunWhen {
    /// Whether it is the usual one.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::OnSuccess
    }
}

/// One of a job's rules: the first that holds says whether and how the job is part of an execution. A job with rules none
/// of which holds is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// A condition; see `docs/pipeline-reference.md`. `None`: it holds.
    #[serde(default, rename = "if")]
    pub condition: Option<String>,
    /// Globs of changed files, one of which must have changed. Where nothing is known of changes they hold.
    #[serde(default)]
    pub changes: Vec<String>,
    /// Globs of files, one of which must exist at the commit. Where nothing is known of files they hold.
    #[serde(default)]
    pub exists: Vec<String>,
    /// How the job takes part. `None`: as its own `when` says.
    #[serde(default)]
    pub then: Option<RuleThen>,
    /// In place of the job's own.
    #[serde(default)]
    pub allow_failure: Option<bool>,
    /// Over the job's own.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
}

/// How a job takes part when a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleThen {
    /// It is left out.
    Never,
    /// It runs on this end of what it waits for.
    #[serde(untagged)]
    When(RunWhen),
}
