//! What an execution was planned from: its pipeline file, and the jobs that its rules left out.

use crate::repository::includes::PinnedInclude;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pipeline file of an execution, as it was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineFileView {
    /// Its path in the repository, if the request named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its text; files that it includes are part of it.
    pub content: String,
    /// The files from elsewhere that its text was made from, with their versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<PinnedInclude>,
    /// The variables that the execution got besides those of the file, in their order. Masked ones, which only jobs get, are not
    /// among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<PlannedVariable>,
}

/// A variable of an execution that its file does not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedVariable {
    /// Its name.
    pub name: String,
    /// Its value when the execution was planned. Values of the repository's variables, which may be protected, are only for callers
    /// who may start executions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where it is from.
    pub source: VariableSource,
}

/// Where a variable of an execution is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VariableSource {
    /// The request, the parent's job, or an input.
    Request,
    /// The repository.
    Repository,
}

/// The jobs of a file that take no part in an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExcludedJobList {
    /// In the order of the file; at most 500.
    pub jobs: Vec<ExcludedJobView>,
    /// The number of all of them.
    pub total: u32,
}

/// A job that takes no part in an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExcludedJobView {
    /// Its name in the file, or that of one of its variants.
    pub job_name: String,
    /// The reason, such as "`branch == default_branch` does not hold".
    pub reason: String,
}
