//! A pipeline that a job starts.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of jobs of one execution that start a pipeline.
pub const MAX_CHILDREN: usize = 100;

/// Maximum number of such jobs of an execution that is a child itself.
pub const MAX_CHILDREN_OF_CHILD: usize = 10;

/// Maximum depth of children: 1 for a child of an execution that has no parent.
pub const MAX_CHILD_DEPTH: u32 = 3;

/// Maximum number of executions below one that has no parent: its children, theirs, and so on.
pub const MAX_DESCENDANTS: u32 = 1_000;

/// Returns how many executions there may be below each child of an execution below which there may be `allowed`, and of which
/// `starting` jobs start one: what remains is divided equally.
#[must_use]
pub fn descendants_of_child(allowed: u32, starting: u32) -> u32 {
    allowed.saturating_sub(starting).checked_div(starting).unwrap_or_default()
}

/// Maximum number of files of a child pipeline.
pub const MAX_CHILD_FILES: usize = 10;

/// A pipeline that a job starts instead of running a script. The execution of it is a child of the job's execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct ChildPipeline {
    /// The paths of its files. Several are files of GitLab, read as if one file included them.
    pub files: Vec<String>,
    /// Whether they are files of GitLab.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_gitlab: bool,
    /// The job whose artifacts have the file. `None`: it is in the sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_of: Option<String>,
    /// Whether the jobs that wait for the job, and its execution, wait for the end of the child and depend on its outcome.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// Whether the child gets the variables that the file sets for the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forwards_job: bool,
    /// Whether the child gets the variables that the job's execution was started with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forwards_run: bool,
    /// Variables of the child. Values may hold `${NAME}` references, also to variables that only the running job has.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub variables: IndexMap<String, String>,
    /// Inputs of the files of GitLab. Values may hold `${NAME}` references.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, String>,
}

impl ChildPipeline {
    /// Returns the texts that may hold references.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &String> {
        self.files.iter().chain(self.inputs.values())
    }

    /// Returns the texts whose references are complete when the job runs.
    pub(crate) fn late_templates(&self) -> impl Iterator<Item = &String> {
        self.variables.values()
    }

    /// Returns the other texts.
    pub(crate) fn fixed_texts(&self) -> impl Iterator<Item = &String> {
        self.artifact_of.iter().chain(self.variables.keys()).chain(self.inputs.keys())
    }

    /// Applies `put_in` to each text that may hold references.
    pub(crate) fn map_texts(&self, put_in: impl Fn(&str) -> String) -> Self {
        let values = |values: &IndexMap<String, String>| {
            values.iter().map(|(name, value)| (name.clone(), put_in(value))).collect()
        };
        Self {
            files: self.files.iter().map(|file| put_in(file)).collect(),
            variables: values(&self.variables),
            inputs: values(&self.inputs),
            ..self.clone()
        }
    }
}
