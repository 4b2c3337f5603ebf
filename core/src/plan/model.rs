//! A plan: its jobs, its gates, and who waits for whom.

use super::error::ExcludedJob;
use crate::execution::{discovery::Discovery, retry::RetryFor};
use crate::pipeline::{Artifacts, JobOptions, PullPolicy, Resources, When};
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

/// All jobs of one execution, in an order in which they could run one by one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the pipeline.
    pub pipeline_name: String,
    /// Stages in order.
    pub stages: Vec<String>,
    /// Jobs: each comes after everything that it waits for.
    pub jobs: Vec<PlannedJob>,
    /// Gates.
    pub gates: Vec<Gate>,
    /// Jobs that are no part of the execution, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<ExcludedJob>,
}

/// One job, its matrix values put in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedJob {
    /// Unique: the name in the file, and its matrix values: `unit [features=all]`.
    pub name: String,
    /// The name in the file.
    pub base_name: String,
    /// Stage.
    pub stage: String,
    /// Image, variables put in.
    pub image: String,
    /// Commands.
    pub script: Vec<String>,
    /// Variables of the pipeline, the job, its matrix values and the overrides, the later winning.
    pub variables: IndexMap<String, String>,
    /// What it waits for, for people: names of jobs; for a job without `needs` empty, see `after_stage`.
    pub needs: Vec<String>,
    /// For a job without `needs`: how many stages must be over before it starts.
    pub after_stages: Option<u32>,
    /// How many nodes must arrive before it may start.
    pub waits_for: u32,
    /// The nodes at which it arrives when it ends.
    pub releases: Vec<NodeIx>,
    /// Jobs whose artifacts it gets when it named its `needs`; without `needs` it gets those of all earlier stages.
    pub needs_jobs: Vec<u32>,
    /// Jobs whose artifacts it gets instead, where it names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<u32>>,
    /// Whether its failure counts as success for what waits for it.
    pub allow_failure: bool,
    /// Extra tries.
    pub retry: u32,
    /// Which failures they are for.
    #[serde(default, skip_serializing_if = "RetryFor::is_any")]
    pub retry_for: RetryFor,
    /// Seconds.
    pub timeout_s: u64,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Limits.
    pub resources: Resources,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// What it leaves.
    pub artifacts: Option<Artifacts>,
    /// On what end of what it waits for it runs.
    #[serde(default, skip_serializing_if = "When::is_default")]
    pub when: When,
    /// Exit codes of its script that count as success for what waits for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_exit_codes: Vec<i32>,
    /// Labels that its worker must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs_on: BTreeMap<String, String>,
    /// What it has around its script, references put in.
    #[serde(default, skip_serializing_if = "JobOptions::is_empty")]
    pub surroundings: JobOptions,
    /// Instead of a script: what the worker is to find out about the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
}

impl PlannedJob {
    /// Whether `name` is its own, or that in the file, which its variants share.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.base_name == name
    }

    /// Whether nobody has to approve it: later stages do not wait for it.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.when == When::Manual && self.allow_failure
    }
}

/// A node that runs nothing: it passes on once all that it waits for has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// How many nodes must arrive.
    pub waits_for: u32,
    /// The nodes at which it arrives then.
    pub releases: Vec<NodeIx>,
}

impl Plan {
    /// A digest of which nodes there are and how they hang together. What is recorded of an execution names its nodes by their
    /// index, so that a plan that is made again must have the same digest.
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

    /// The nodes that `node` arrives at.
    #[must_use]
    pub fn releases(&self, node: NodeIx) -> &[NodeIx] {
        match node {
            NodeIx::Job(ix) => &self.jobs[ix as usize].releases,
            NodeIx::Gate(ix) => &self.gates[ix as usize].releases,
        }
    }

    /// Jobs that wait for nothing, in order.
    pub fn roots(&self) -> impl Iterator<Item = u32> + '_ {
        self.jobs.iter().enumerate().filter(|(_, job)| job.waits_for == 0).map(|(ix, _)| index(ix))
    }

    /// Indices of the jobs whose artifacts `job` gets, in order: those it names, else those it needs, else all of earlier stages.
    #[must_use]
    pub fn artifact_sources(&self, job: u32) -> Vec<u32> {
        let job = &self.jobs[job as usize];
        match job.after_stages {
            _ if job.dependencies.is_some() => job.dependencies.clone().unwrap_or_default(),
            None => job.needs_jobs.clone(),
            Some(stages) => {
                let earlier = &self.stages[..(stages as usize).min(self.stages.len())];
                let awaited = |job: &PlannedJob| earlier.contains(&job.stage) && !job.is_optional();
                (0..index(self.jobs.len())).filter(|ix| awaited(&self.jobs[*ix as usize])).collect()
            }
        }
    }
}

/// Plans are bounded by [`MAX_JOBS`], so an index always fits.
pub(super) fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
