//! The pipeline as every later step sees it: checked, defaults merged, one spelling for each thing.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use super::job_parts::{Reports, Surroundings};
use super::rules::{Rule, RunWhen};
use crate::retry::RetryFor;

/// A checked pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pipeline {
    /// The pipeline's name, unique in its repository.
    pub name: String,
    /// What starts it besides a person.
    #[serde(default)]
    pub on: Triggers,
    /// The stages in the order they run; each has at least one job.
    pub stages: Vec<String>,
    /// Environment variables of every job; a job's own variables win over these.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// Which executions give way to newer ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// How long an execution may last from its creation on, in seconds; then it is canceled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// The jobs in file order, with `defaults` already merged in.
    pub jobs: Vec<Job>,
}

/// Which executions of one repository give way to newer ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Concurrency {
    /// The group's name; may hold `${branch}`, `${pipeline}` and variables of the pipeline.
    pub group: String,
    /// Whether a newer execution of the group cancels the older one; else it waits for its end.
    pub cancel_superseded: bool,
}

impl Pipeline {
    /// The concurrency group of one execution, its references put in; of a variable `overrides` win.
    #[must_use]
    pub fn group(&self, branch: Option<&str>, overrides: &IndexMap<String, String>) -> Option<String> {
        let concurrency = self.concurrency.as_ref()?;
        let mut known = self.variables.clone();
        known.extend(overrides.clone());
        known.insert("branch".to_owned(), branch.unwrap_or_default().to_owned());
        known.insert("pipeline".to_owned(), self.name.clone());
        Some(crate::substitution::expand(&concurrency.group, &known))
    }
}

/// One job as the file declares it, before its matrix is expanded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The job's name, unique in the pipeline.
    pub name: String,
    /// The stage it belongs to; one of [`Pipeline::stages`].
    pub stage: String,
    /// The container image. May hold `${NAME}` references to matrix keys and variables.
    pub image: String,
    /// The shell lines to run, in order, those of `before_script` first; at least one is not blank.
    pub script: Vec<String>,
    /// Whether it is part of an execution; without rules it always is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// On what end of its needs it runs.
    #[serde(default, skip_serializing_if = "RunWhen::is_usual")]
    pub when: RunWhen,
    /// The jobs that must end well first, by their names in the file (before matrix expansion).
    /// `None`: every job of every earlier stage. `Some([])`: nothing, the job may start at once.
    #[serde(default)]
    pub needs: Option<Vec<String>>,
    /// The jobs whose artifacts it gets, by their names in the file. `None`: all that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<String>>,
    /// The job's own environment variables, those of `defaults` included.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// What the job leaves behind.
    #[serde(default)]
    pub artifacts: Option<Artifacts>,
    /// Whether the pipeline goes on, and may still succeed, when this job fails.
    #[serde(default)]
    pub allow_failure: bool,
    /// Exit codes of the script that are allowed, where not every failure is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_exit_codes: Vec<i32>,
    /// How many more times a failed job is tried: 0 to 10.
    #[serde(default)]
    pub retry: u32,
    /// Which failures it is tried again after.
    #[serde(default, skip_serializing_if = "RetryFor::is_any")]
    pub retry_for: RetryFor,
    /// How long one try may run, in seconds.
    pub timeout_s: u64,
    /// The directory the script starts in; relative to the sources unless absolute.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Limits of the container.
    #[serde(default)]
    pub resources: Resources,
    /// Keys and the values each takes; the job runs once for every combination. Empty: it runs once.
    #[serde(default)]
    pub matrix: IndexMap<String, Vec<String>>,
    /// When the image is pulled.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// What it has around its script.
    #[serde(default, skip_serializing_if = "Surroundings::is_empty")]
    pub surroundings: Surroundings,
    /// Labels that a worker must have to run it. Empty: any worker without demands of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs_on: BTreeMap<String, String>,
}

/// The files a job leaves for later jobs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifacts {
    /// Globs relative to the sources; never absolute, never climbing out.
    pub paths: Vec<String>,
    /// After which ends of the job they are kept.
    #[serde(default)]
    pub when: ArtifactsWhen,
    /// How long they are kept, in seconds. `None`: as long as the server keeps the execution.
    #[serde(default)]
    pub expire_in_s: Option<u64>,
    /// Files that are read for what they say.
    #[serde(default, skip_serializing_if = "Reports::is_empty")]
    pub reports: Reports,
}

/// After which ends of a job its artifacts are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactsWhen {
    /// Only when the job succeeds.
    #[default]
    OnSuccess,
    /// Only when the job fails.
    OnFailure,
    /// Whatever happens.
    Always,
}

/// When a job's image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// Only when the engine does not have the image yet.
    #[default]
    IfNotPresent,
    /// Before every job.
    Always,
    /// Never: the job fails when the engine does not have the image.
    Never,
}

/// Limits of a job's container; what is absent is not limited by the pipeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// Processors, where 1.5 is one and a half.
    #[serde(default)]
    pub cpus: Option<f64>,
    /// Memory in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// What starts a pipeline besides a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Triggers {
    /// Commits pushed to the repository.
    #[serde(default)]
    pub push: Option<PushTrigger>,
    /// Pull requests opened or updated.
    #[serde(default)]
    pub pull_request: Option<PullRequestTrigger>,
    /// Times.
    #[serde(default)]
    pub schedule: Vec<Schedule>,
}

/// Times at which the pipeline of the default branch starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    /// A cron expression of five fields.
    pub cron: String,
    /// The IANA name of the time zone that it is in.
    pub time_zone: String,
}

/// Which pushes start the pipeline; an empty list does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushTrigger {
    /// Globs of branch names.
    #[serde(default)]
    pub branches: Vec<String>,
    /// Globs of tag names.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Globs of changed files.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// Which pull requests start the pipeline; an empty list does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequestTrigger {
    /// Globs of the target branch's name.
    #[serde(default)]
    pub branches: Vec<String>,
    /// Globs of changed files.
    #[serde(default)]
    pub paths: Vec<String>,
}
