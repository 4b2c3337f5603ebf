//! The pipeline as every later step sees it: checked, defaults merged, one spelling for each thing.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::Job;
use super::triggers::Triggers;
use crate::text::substitution::expand;

/// A checked pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pipeline {
    /// The pipeline's name, unique in its repository.
    pub name: String,
    /// Events that start it, besides a manual start.
    #[serde(default)]
    pub on: Triggers,
    /// The stages in the order they run; each has at least one job.
    pub stages: Vec<String>,
    /// Environment variables of every job; a job's own variables win over these.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// Which of its executions may run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Time limit of an execution from its creation on, in seconds; then it is canceled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// The jobs in file order, with `defaults` already merged in.
    pub jobs: Vec<Job>,
}

/// Which executions of one repository may run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Concurrency {
    /// The group's name; may hold `${branch}`, `${pipeline}` and variables of the pipeline.
    pub group: String,
    /// Whether a newer execution of the group cancels the older ones; otherwise it waits for them.
    pub cancel_superseded: bool,
}

impl Pipeline {
    /// Returns the names of the variables that the file sets for a job, for all of its variants.
    pub fn variables_of(&self, job: &str) -> impl Iterator<Item = &str> {
        let own = self.jobs.iter().filter(move |one| one.name == job).flat_map(|one| {
            let ruled = one.rules.iter().flat_map(|rule| rule.variables.keys());
            one.variables.keys().chain(ruled).map(String::as_str).chain(one.matrix.keys())
        });
        own.chain(self.variables.keys().map(String::as_str))
    }

    /// The concurrency group of one execution, its references expanded; `overrides` win over the pipeline's variables.
    #[must_use]
    pub fn group(&self, branch: Option<&str>, overrides: &IndexMap<String, String>) -> Option<String> {
        let concurrency = self.concurrency.as_ref()?;
        let mut known = self.variables.clone();
        known.extend(overrides.clone());
        known.insert("branch".to_owned(), branch.unwrap_or_default().to_owned());
        known.insert("pipeline".to_owned(), self.name.clone());
        Some(expand(&concurrency.group, &known))
    }
}
