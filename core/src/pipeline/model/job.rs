//! One job: a script that runs in a container of its own.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::artifacts::Artifacts;
use super::image::{ImageOptions, PullPolicy};
use super::matrix::{Matrix, Need};
use super::rules::{Rule, When};
use super::surroundings::JobOptions;
use crate::execution::retry::RetryFor;

/// One job as the file declares it, before its matrix is expanded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The job's name, unique in the pipeline.
    pub name: String,
    /// The stage it belongs to; one of [`Pipeline::stages`].
    pub stage: String,
    /// The container image. May hold `${NAME}` references to matrix keys and variables.
    pub image: String,
    /// How the image is used.
    #[serde(default, skip_serializing_if = "ImageOptions::is_empty")]
    pub image_options: ImageOptions,
    /// The shell lines to run, in order, those of `before_script` first; at least one is not blank.
    pub script: Vec<String>,
    /// Whether the job is part of an execution; without rules it always is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// When the job runs, given how its dependencies ended.
    #[serde(default, skip_serializing_if = "When::is_default")]
    pub when: When,
    /// How long the job waits, in seconds, once its dependencies have ended. `None`: it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_in_s: Option<u64>,
    /// The jobs that must succeed first.
    /// `None`: every job of every earlier stage. `Some([])`: nothing, the job may start at once.
    #[serde(default)]
    pub needs: Option<Vec<Need>>,
    /// The jobs whose artifacts it downloads. `None`: all that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<Need>>,
    /// The job's own environment variables, those of `defaults` included.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// The files that are stored after the job.
    #[serde(default)]
    pub artifacts: Option<Artifacts>,
    /// Whether the pipeline goes on, and may still succeed, when this job fails.
    #[serde(default)]
    pub allow_failure: bool,
    /// Exit codes of the script that are tolerated, where not every failure is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_exit_codes: Vec<i32>,
    /// How many times a failed job is retried: 0 to 10.
    #[serde(default)]
    pub retry: u32,
    /// Which failures it is retried after.
    #[serde(default, skip_serializing_if = "RetryFor::is_default")]
    pub retry_for: RetryFor,
    /// Time limit of one attempt, in seconds.
    pub timeout_s: u64,
    /// The directory the script starts in; relative to the sources unless absolute.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Limits of the container.
    #[serde(default)]
    pub resources: Resources,
    /// Variables and values; the job runs once for every combination.
    #[serde(default)]
    pub matrix: Matrix,
    /// How many times the job runs side by side, if it has no matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// The name of each variant; `${KEY}` refers to a matrix value, `${matrix}` to all of them. `None`: the job's name with the
    /// keys and values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant_name: Option<String>,
    /// When the image is pulled. `None`: as its worker is set up.
    #[serde(default)]
    pub pull_policy: Option<PullPolicy>,
    /// Services, caches, secrets and the like.
    #[serde(default, skip_serializing_if = "JobOptions::is_empty")]
    pub surroundings: JobOptions,
    /// Labels that a worker must have to run it. Empty: any worker that does not require labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs_on: BTreeMap<String, String>,
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
