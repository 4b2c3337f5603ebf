//! The plan: jobs, gates, and their dependencies.

use super::{due_condition::DueCondition, due_texts::DueTexts, error::ExcludedJob};
use crate::execution::{discovery::Discovery, outputs::IMAGE_OUTPUTS, retry::RetryFor};
use crate::pipeline::{Artifacts, ImageOptions, JobOptions, PullPolicy, Resources, When};
use crate::text::substitution::{expand_bounded, first_reference};
use data_encoding::HEXLOWER;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A node of the plan's graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeIx {
    /// Index into [`Plan::jobs`].
    Job(u32),
    /// Index into [`Plan::gates`].
    Gate(u32),
}

/// All jobs of one execution, in an order in which they could run one after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline_name: String,
    /// Stage names in order.
    pub stages: Vec<String>,
    /// Jobs: each comes after all jobs that it waits for.
    pub jobs: Vec<PlannedJob>,
    /// Gates.
    pub gates: Vec<Gate>,
    /// Jobs that are excluded from the execution, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<ExcludedJob>,
}

/// One job with its matrix values applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedJob {
    /// Unique name: the name in the file with the matrix values, such as `unit [features=all]`.
    pub name: String,
    /// The name in the file.
    pub base_name: String,
    /// Stage.
    pub stage: String,
    /// Image, with variables substituted.
    pub image: String,
    /// How the image is used, with variables substituted.
    #[serde(default, skip_serializing_if = "ImageOptions::is_empty")]
    pub image_options: ImageOptions,
    /// Commands.
    pub script: Vec<String>,
    /// Variables of the pipeline, the job, its matrix values and the overrides; later ones win.
    pub variables: IndexMap<String, String>,
    /// Names of the jobs that it waits for, for display; empty for a job without `needs`, see `after_stages`.
    pub needs: Vec<String>,
    /// For a job without `needs`: the number of stages that must end before it starts.
    pub after_stages: Option<u32>,
    /// Number of arrivals that it waits for.
    pub waits_for: u32,
    /// The nodes that its end arrives at.
    pub releases: Vec<NodeIx>,
    /// Jobs whose artifacts it receives if it has `needs`; without `needs` it receives those of all earlier stages.
    pub needs_jobs: Vec<u32>,
    /// Jobs whose artifacts it receives instead, if it has `dependencies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<u32>>,
    /// Whether its failure is tolerated.
    pub allow_failure: bool,
    /// Number of additional attempts.
    pub retry: u32,
    /// The failures that `retry` applies to.
    #[serde(default, skip_serializing_if = "RetryFor::is_default")]
    pub retry_for: RetryFor,
    /// Time limit in seconds.
    pub timeout_s: u64,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Resource limits.
    pub resources: Resources,
    /// When the image is pulled. `None`: as its worker is set up.
    pub pull_policy: Option<PullPolicy>,
    /// The artifacts to upload.
    pub artifacts: Option<Artifacts>,
    /// When to run, given how its dependencies ended.
    #[serde(default, skip_serializing_if = "When::is_default")]
    pub when: When,
    /// How long it waits, in seconds, once its dependencies have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_in_s: Option<u64>,
    /// Exit codes of its script that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_exit_codes: Vec<i32>,
    /// Labels that its worker must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs_on: BTreeMap<String, String>,
    /// The options besides its script, with references substituted.
    #[serde(default, skip_serializing_if = "JobOptions::is_empty")]
    pub surroundings: JobOptions,
    /// The texts that may refer to outputs of other jobs.
    #[serde(default, skip_serializing_if = "DueTexts::is_empty")]
    pub due_texts: DueTexts,
    /// For a discovery job, which has no script: what to find out about the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// What decides when it is due whether it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<DueCondition>,
}

impl PlannedJob {
    /// Whether `name` is its own name, or the name in the file, which its variants share.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        self.name == name || self.base_name == name
    }

    /// Whether its image is known only when it is due.
    #[must_use]
    pub fn has_due_image(&self) -> bool {
        first_reference(&self.image).is_some()
    }

    /// Whether it runs in an image that another job builds, or one of its services does.
    #[must_use]
    pub fn uses_built_image(&self) -> bool {
        let names = |text: &String| IMAGE_OUTPUTS.iter().any(|name| text.contains(&format!("${{{name}}}")));
        self.due_texts.image.iter().chain(&self.due_texts.services).any(names)
    }

    /// Puts the values of `variables`, which include outputs of other jobs, into the texts that may refer to these.
    pub fn apply_outputs(&mut self, variables: &IndexMap<String, String>) {
        let texts = std::mem::take(&mut self.due_texts);
        if let Some(image) = texts.image {
            self.image = expand_bounded(&image, variables);
        }
        if !texts.services.is_empty() {
            let images = texts.services.iter().map(|image| expand_bounded(image, variables));
            self.surroundings.name_services(images);
        }
        if let (Some(url), Some(environment)) = (texts.url, &mut self.surroundings.environment) {
            environment.url = Some(expand_bounded(&url, variables));
        }
    }

    /// Whether later stages do not wait for it, because its approval is optional.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.when == When::Manual && self.allow_failure
    }
}

/// A node that runs nothing: it notifies its dependents once all its dependencies have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Number of arrivals that it waits for.
    pub waits_for: u32,
    /// The nodes that it then arrives at.
    pub releases: Vec<NodeIx>,
    /// Whether it joins the jobs of a stage, not variants that a job needs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joins_stage: bool,
}

impl Plan {
    /// Returns a digest of the nodes and edges. Records refer to nodes by index, so that a plan that is computed again
    /// must have the same digest.
    #[must_use]
    pub fn digest(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        let mut add = |node: NodeIx| match node {
            NodeIx::Job(ix) => hash.update([&b"j"[..], &ix.to_be_bytes()].concat()),
            NodeIx::Gate(ix) => hash.update([&b"g"[..], &ix.to_be_bytes()].concat()),
        };
        for (ix, releases) in (0..).zip(self.jobs.iter().map(|job| &job.releases)) {
            add(NodeIx::Job(ix));
            releases.iter().copied().for_each(&mut add);
        }
        for (ix, gate) in (0..).zip(&self.gates) {
            add(NodeIx::Gate(ix));
            gate.releases.iter().copied().for_each(&mut add);
        }
        for job in &self.jobs {
            hash.update((job.name.len() as u64).to_be_bytes());
            hash.update(job.name.as_bytes());
        }
        HEXLOWER.encode(&hash.finalize()[..16])
    }

    /// Returns the nodes that `node` arrives at.
    #[must_use]
    pub fn releases(&self, node: NodeIx) -> &[NodeIx] {
        match node {
            NodeIx::Job(ix) => &self.jobs[ix as usize].releases,
            NodeIx::Gate(ix) => &self.gates[ix as usize].releases,
        }
    }

    /// Whether a job starts another pipeline.
    #[must_use]
    pub fn starts_children(&self) -> bool {
        self.jobs.iter().any(|job| job.surroundings.child.is_some())
    }

    /// Returns the jobs that wait for nothing, in order.
    pub fn roots(&self) -> impl Iterator<Item = u32> + '_ {
        self.jobs.iter().enumerate().filter(|(_, job)| job.waits_for == 0).map(|(ix, _)| index(ix))
    }

    /// Returns the indices of the jobs whose artifacts `job` receives, in order: its `dependencies`, else its `needs`,
    /// else all jobs of earlier stages.
    #[must_use]
    pub fn artifact_sources(&self, job: u32) -> Vec<u32> {
        let named = self.jobs[job as usize].dependencies.clone();
        named.unwrap_or_else(|| self.awaited_jobs(job))
    }

    /// Returns the indices of the jobs that `job` waits for, in order: its `needs`, or all jobs of earlier stages.
    pub(super) fn awaited_jobs(&self, job: u32) -> Vec<u32> {
        let job = &self.jobs[job as usize];
        match job.after_stages {
            None => job.needs_jobs.clone(),
            Some(stages) => {
                let earlier = &self.stages[..(stages as usize).min(self.stages.len())];
                let awaited = |job: &PlannedJob| earlier.contains(&job.stage) && !job.is_optional();
                (0..index(self.jobs.len())).filter(|ix| awaited(&self.jobs[*ix as usize])).collect()
            }
        }
    }
}

/// Converts an index. Plans are bounded by [`MAX_JOBS`], so it always fits.
pub(super) fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
