//! The plan: which jobs an execution has, and what each waits for.
//!
//! A job without `needs` waits for every job of every earlier stage. Written out as edges that would be
//! quadratic, so groups (the jobs of a stage, the variants of a matrix) are joined by gates: nodes that run nothing
//! and pass on once all that they wait for has ended. Edges stay linear in the size of the file.

mod order;
mod selection;
mod size;

pub(crate) use size::expanded_bytes;

use crate::{
    discovery::Discovery,
    facts::Facts,
    hex::hex,
    pipeline::{Artifacts, Pipeline, PullPolicy, Resources, RunWhen, Surroundings, substitute},
    predefined,
    retry::RetryFor,
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// The most jobs that one execution may have.
pub const MAX_JOBS: usize = 10_000;

/// The most bytes that a plan's texts may come to. Each variant of a matrix has the variables, the script and the names of its
/// needs for its own, so that a file of a few hundred bytes could else ask for gigabytes.
pub const MAX_PLAN_BYTES: u64 = 64 << 20;

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
    pub left_out: Vec<LeftOut>,
}

/// A job that its rules left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name in the file.
    pub job: String,
    /// What decided so, such as "does not hold: if branch == default_branch".
    pub why: String,
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
    #[serde(default, skip_serializing_if = "RunWhen::is_default")]
    pub when: RunWhen,
    /// Exit codes of its script that count as success for what waits for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_exit_codes: Vec<i32>,
    /// Labels that its worker must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs_on: BTreeMap<String, String>,
    /// What it has around its script, references put in.
    #[serde(default, skip_serializing_if = "Surroundings::is_empty")]
    pub surroundings: Surroundings,
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
    pub fn may_be_left_undone(&self) -> bool {
        self.when == RunWhen::Manual && self.allow_failure
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

/// A pipeline that cannot be planned. The checker finds these with their place in the file; this is the guard for
/// a pipeline that did not come through it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A need that is no job.
    #[error("job `{job}` needs `{need}`, which is not a job of this pipeline")]
    UnknownNeed {
        /// Who needs.
        job: String,
        /// What.
        need: String,
    },
    /// A stage that is not declared.
    #[error("job `{job}` is in stage `{stage}`, which is not a stage of this pipeline")]
    UnknownStage {
        /// Who.
        job: String,
        /// Where.
        stage: String,
    },
    /// A need that runs after the job.
    #[error("job `{job}` needs `{need}`, which is in a later stage")]
    LaterStage {
        /// Who needs.
        job: String,
        /// What.
        need: String,
    },
    /// Jobs that wait for each other.
    #[error("jobs wait for each other: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// Too many jobs after matrix expansion.
    #[error("the pipeline has {0} jobs once its matrices are expanded; {MAX_JOBS} are the most")]
    TooManyJobs(usize),
    /// Too much text after matrix expansion.
    #[error(
        "the pipeline's jobs come to {0} bytes once its matrices are expanded; {MAX_PLAN_BYTES} are the most"
    )]
    TooLarge(u64),
    /// A condition that came to nothing.
    #[error("the condition of job `{job}` cannot be told: {why}; it is: {condition}")]
    Condition {
        /// Whose.
        job: String,
        /// Its text.
        condition: String,
        /// Why.
        why: String,
    },
    /// No job at all.
    #[error("the pipeline has no job")]
    Empty,
    /// Conditions left out all jobs.
    #[error(
        "no job takes part, as conditions (`if` or `rules`) left out all: {}",
        .0.iter().map(|left| format!("`{}`: {}", left.job, left.why)).collect::<Vec<_>>().join("; ")
    )]
    AllLeftOut(Vec<LeftOut>),
}

impl Plan {
    /// The plan of `pipeline` where nothing is known but `overrides`, variables that win over the file's.
    pub fn new(pipeline: &Pipeline, overrides: &IndexMap<String, String>) -> Result<Self, PlanError> {
        Self::of(pipeline, &Facts::of_variables(overrides.clone()))
    }

    /// The plan of `pipeline` for an execution of which `facts` are known.
    pub fn of(pipeline: &Pipeline, facts: &Facts) -> Result<Self, PlanError> {
        Self::of_decisive(pipeline, facts).map(|(plan, _)| plan)
    }

    /// The same, and the facts without the paths that decided nothing: with these, the same plan comes out. They are what is to be
    /// recorded, since a commit may have very many paths and a file only so many globs.
    pub fn of_decisive(pipeline: &Pipeline, facts: &Facts) -> Result<(Self, Facts), PlanError> {
        let all = pipeline.jobs.iter().fold(0_usize, |all, job| all.saturating_add(count(&job.matrix)));
        if all > MAX_JOBS {
            return Err(PlanError::TooManyJobs(all));
        }
        let bytes = expanded_bytes(pipeline, facts);
        if bytes > MAX_PLAN_BYTES {
            return Err(PlanError::TooLarge(bytes));
        }
        let selection::Selected { pipeline: selected, left_out, paths } = selection::select(pipeline, facts)?;
        let pipeline = selected.as_ref();
        if pipeline.jobs.is_empty() && !left_out.is_empty() {
            return Err(PlanError::AllLeftOut(left_out));
        }
        let overrides = &facts.variables;
        let stage_of: HashMap<&str, usize> =
            pipeline.stages.iter().enumerate().map(|(ix, name)| (name.as_str(), ix)).collect();
        let order = order::order(pipeline, &stage_of)?;
        let predefined = predefined::of_execution(facts, &pipeline.name);
        let mut jobs: Vec<PlannedJob> = Vec::new();
        // By the job's place in the file: the indices of its variants.
        let mut variants_of: Vec<Vec<u32>> = vec![Vec::new(); pipeline.jobs.len()];
        for file_ix in order {
            let job = &pipeline.jobs[file_ix];
            let stage = stage_of[job.stage.as_str()];
            for values in combinations(&job.matrix) {
                variants_of[file_ix].push(index(jobs.len()));
                let mut variables = pipeline.variables.clone();
                variables.extend(job.variables.clone());
                variables.extend(values.iter().map(|(key, value)| (key.clone(), value.clone())));
                variables.extend(overrides.clone());
                let name = variant_name(&job.name, &values);
                let put_in = |text: &str| {
                    substitute(text, |reference| {
                        let given = variables.get(reference).map(String::as_str);
                        given
                            .or_else(|| word(reference, &pipeline.name, &name, facts))
                            .or_else(|| predefined.get(reference).map(String::as_str))
                            .or_else(|| predefined::is_of_execution(reference).then_some(""))
                    })
                };
                let image = put_in(&job.image);
                let surroundings = job.surroundings.with_texts(put_in);
                jobs.push(PlannedJob {
                    name,
                    base_name: job.name.clone(),
                    stage: job.stage.clone(),
                    image,
                    script: job.script.clone(),
                    variables,
                    needs: Vec::new(),
                    after_stages: job.needs.is_none().then(|| index(stage)),
                    waits_for: 0,
                    releases: Vec::new(),
                    needs_jobs: Vec::new(),
                    dependencies: None,
                    allow_failure: job.allow_failure,
                    retry: job.retry,
                    retry_for: job.retry_for.clone(),
                    timeout_s: job.timeout_s,
                    working_dir: job.working_dir.clone(),
                    resources: job.resources,
                    pull_policy: job.pull_policy,
                    artifacts: job.artifacts.clone(),
                    when: job.when,
                    allow_exit_codes: job.allow_exit_codes.clone(),
                    runs_on: job.runs_on.clone(),
                    surroundings,
                    discovery: None,
                });
            }
        }
        if jobs.is_empty() {
            return Err(PlanError::Empty);
        }
        let mut plan = Self {
            pipeline_name: pipeline.name.clone(),
            stages: pipeline.stages.clone(),
            jobs,
            gates: Vec::new(),
            left_out,
        };
        plan.join_needs(pipeline, &variants_of);
        plan.join_stages(&stage_of);
        plan.name_dependencies(pipeline, &variants_of);
        let (changed, files) = paths;
        let decisive = Facts {
            trigger: facts.trigger,
            branch: facts.branch.clone(),
            tag: facts.tag.clone(),
            commit: facts.commit.clone(),
            default_branch: facts.default_branch.clone(),
            pull_request: facts.pull_request.clone(),
            changed,
            files,
            variables: facts.variables.clone(),
        };
        Ok((plan, decisive))
    }

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
        hex(&hash.finalize()[..16])
    }

    /// The jobs that others name for their artifacts, matrix variants put in.
    fn name_dependencies(&mut self, pipeline: &Pipeline, variants_of: &[Vec<u32>]) {
        let by_name: HashMap<&str, usize> =
            pipeline.jobs.iter().enumerate().map(|(ix, job)| (job.name.as_str(), ix)).collect();
        for (file_ix, job) in pipeline.jobs.iter().enumerate() {
            let Some(named) = &job.dependencies else { continue };
            let places = named.iter().filter_map(|name| by_name.get(name.as_str()));
            let mut from: Vec<u32> = places.flat_map(|ix| &variants_of[*ix]).copied().collect();
            from.sort_unstable();
            for variant in &variants_of[file_ix] {
                self.jobs[*variant as usize].dependencies = Some(from.clone());
            }
        }
    }

    /// Edges of the jobs that name their needs; a need with several variants goes through one gate.
    fn join_needs(&mut self, pipeline: &Pipeline, variants_of: &[Vec<u32>]) {
        let by_name: HashMap<&str, usize> =
            pipeline.jobs.iter().enumerate().map(|(ix, job)| (job.name.as_str(), ix)).collect();
        let mut gate_of: HashMap<usize, NodeIx> = HashMap::new();
        for (file_ix, job) in pipeline.jobs.iter().enumerate() {
            for need in job.needs.iter().flatten() {
                let need_ix = by_name[need.as_str()];
                let from = match variants_of[need_ix].as_slice() {
                    [only] => NodeIx::Job(*only),
                    many => *gate_of.entry(need_ix).or_insert_with(|| {
                        let gate = self.add_gate();
                        for variant in many {
                            self.connect(NodeIx::Job(*variant), gate);
                        }
                        gate
                    }),
                };
                for variant in &variants_of[file_ix] {
                    self.connect(from, NodeIx::Job(*variant));
                    for needed in &variants_of[need_ix] {
                        let name = self.jobs[*needed as usize].name.clone();
                        let job = &mut self.jobs[*variant as usize];
                        job.needs.push(name);
                        job.needs_jobs.push(*needed);
                    }
                }
            }
        }
    }

    /// Edges of the jobs that name no needs: one gate after each stage that somebody waits for.
    fn join_stages(&mut self, stage_of: &HashMap<&str, usize>) {
        let last = self.jobs.iter().filter_map(|job| job.after_stages).max().unwrap_or(0) as usize;
        let mut before: Option<NodeIx> = None;
        for stage in 0..=last {
            let members: Vec<u32> = (0..index(self.jobs.len()))
                .filter(|ix| stage_of[self.jobs[*ix as usize].stage.as_str()] == stage)
                .collect();
            if let Some(gate) = before {
                for ix in &members {
                    if self.jobs[*ix as usize].after_stages.is_some() {
                        self.connect(gate, NodeIx::Job(*ix));
                    }
                }
            }
            let awaited: Vec<u32> =
                members.into_iter().filter(|ix| !self.jobs[*ix as usize].may_be_left_undone()).collect();
            if stage < last && !(awaited.is_empty() && before.is_none()) {
                let gate = self.add_gate();
                for ix in awaited {
                    self.connect(NodeIx::Job(ix), gate);
                }
                if let Some(earlier) = before {
                    self.connect(earlier, gate);
                }
                before = Some(gate);
            }
        }
    }

    fn add_gate(&mut self) -> NodeIx {
        self.gates.push(Gate { waits_for: 0, releases: Vec::new() });
        NodeIx::Gate(index(self.gates.len() - 1))
    }

    fn connect(&mut self, from: NodeIx, to: NodeIx) {
        match from {
            NodeIx::Job(ix) => self.jobs[ix as usize].releases.push(to),
            NodeIx::Gate(ix) => self.gates[ix as usize].releases.push(to),
        }
        match to {
            NodeIx::Job(ix) => self.jobs[ix as usize].waits_for += 1,
            NodeIx::Gate(ix) => self.gates[ix as usize].waits_for += 1,
        }
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
                let awaited = |job: &PlannedJob| earlier.contains(&job.stage) && !job.may_be_left_undone();
                (0..index(self.jobs.len())).filter(|ix| awaited(&self.jobs[*ix as usize])).collect()
            }
        }
    }
}

/// Plans are bounded by [`MAX_JOBS`], so an index always fits.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn count(matrix: &IndexMap<String, Vec<String>>) -> usize {
    matrix.values().fold(1, |count, values| count.saturating_mul(values.len()))
}

/// Every combination of the matrix's values, the last key varying fastest; one empty one without a matrix.
fn combinations(matrix: &IndexMap<String, Vec<String>>) -> Vec<Vec<(String, String)>> {
    let mut all = vec![Vec::new()];
    for (key, values) in matrix {
        all = all
            .into_iter()
            .flat_map(|before: Vec<(String, String)>| {
                values.iter().map(move |value| {
                    let mut longer = before.clone();
                    longer.push((key.clone(), value.clone()));
                    longer
                })
            })
            .take(MAX_JOBS + 1)
            .collect();
    }
    all
}

fn variant_name(base: &str, values: &[(String, String)]) -> String {
    if values.is_empty() {
        return base.to_owned();
    }
    let values: Vec<String> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{base} [{}]", values.join(", "))
}

/// What a reference may stand for besides a variable; a variable of the same name wins.
fn word<'a>(reference: &str, pipeline: &'a str, job: &'a str, facts: &'a Facts) -> Option<&'a str> {
    match reference {
        "branch" => Some(facts.branch.as_deref().unwrap_or_default()),
        "tag" => Some(facts.tag.as_deref().unwrap_or_default()),
        "job" | "CI_JOB_NAME" => Some(job),
        "pipeline" => Some(pipeline),
        _ => None,
    }
}
