//! Recomputes the plan of an execution from its recorded pipeline file and facts. What follows from these is not stored, so the size of
//! the records does not grow with the size of matrices.

use super::discovery_plan;
use crate::{
    context::{
        job_spec::{JobSpec, JobSpecs, memory_bytes},
        lru_cache::LruCache,
        service_context::Context,
    },
    error::{Error, Result},
    ports::{ExecutionSpec, ExecutionTask, Node},
};
use std::sync::Arc;
use tidemill_core::execution::facts::Facts;
use tidemill_core::{
    ids::{ExecutionId, JobId},
    pipeline::{self, Pipeline},
    plan::{Plan, PlannedJob},
    scheduler::{NextStep, child_gates, decide, next_step, nodes_to_decide},
};

/// Returns the pipeline file and the plan of an execution; a discovery has no file.
pub(crate) fn plan_of(spec: &ExecutionSpec) -> Result<(Option<Pipeline>, Plan)> {
    let text = match &spec.task {
        ExecutionTask::RunPipeline { file } => file,
        ExecutionTask::DiscoverPipelines(discovery) => {
            return Ok((None, discovery_plan::plan((**discovery).clone())));
        }
    };
    let id = spec.id;
    let file = pipeline::parse(text).map_err(|_| {
        Error::Invalid(format!("this version of Tidemill rejects the pipeline file of execution {id}"))
    })?;
    let facts = Facts { variables: spec.variables.clone(), repo: spec.repo.clone(), ..spec.facts.clone() };
    let plan = Plan::for_facts(&file, &facts).map_err(|error| Error::Invalid(error.to_string()))?;
    Ok((Some(file), plan))
}

/// Like [`plan_of`], for an execution with recorded nodes. Returns an error if the plan differs from the one the nodes were created from.
pub(crate) fn recorded_plan_of(spec: &ExecutionSpec) -> Result<(Option<Pipeline>, Plan)> {
    let planned = plan_of(spec)?;
    if planned.1.digest() != spec.plan_digest {
        return Err(Error::Conflict(format!(
            "execution {} was planned by a version of Tidemill with another plan for its pipeline; cancel and retry it",
            spec.id
        )));
    }
    Ok(planned)
}

/// Returns the specs of the jobs of a plan.
pub(crate) fn specs_of(execution: ExecutionId, plan: Plan) -> JobSpecs {
    let spec = |(ix, planned)| JobSpec { id: JobId::of(execution, ix), planned };
    JobSpecs::new((0..).zip(plan.jobs).map(spec).collect())
}

impl Context {
    /// Returns the specs of all jobs of an execution, in order.
    pub async fn specs(&self, id: ExecutionId) -> Result<Arc<JobSpecs>> {
        if let Some(specs) = self.planned.get(id) {
            return Ok(specs);
        }
        let execution = self.cached_execution(id).await?;
        let planned = self.planned.clone();
        let plan = move || {
            // Another request may have planned it in the meantime.
            if let Some(specs) = planned.get(id) {
                return Ok(specs);
            }
            let (_, plan) = recorded_plan_of(&execution.spec)?;
            Ok(keep_specs(&planned, id, plan))
        };
        self.compute("planning an execution", plan).await?
    }

    /// Returns the spec of a job.
    pub async fn spec(&self, id: ExecutionId, ix: u32) -> Result<JobSpec> {
        let specs = self.specs(id).await?;
        let spec = specs.get(ix as usize).cloned();
        spec.ok_or_else(|| unknown_job(id, ix))
    }

    /// Reads the nodes that decide about jobs with conditions on outputs, or that need such jobs: each once, and in order.
    pub async fn deciding_nodes(&self, execution: ExecutionId, jobs: &[&PlannedJob]) -> Result<Vec<Node>> {
        let mut read: Vec<u32> = jobs.iter().flat_map(|job| nodes_to_decide(job)).collect();
        read.sort_unstable();
        read.dedup();
        let mut nodes = self.stores.records.nodes(execution, &read).await?;
        let gates = child_gates(&nodes);
        if !gates.is_empty() {
            nodes.extend(self.stores.records.nodes(execution, &gates).await?);
        }
        nodes.sort_by_key(|node| node.key.ix);
        Ok(nodes)
    }

    /// Returns the next step of each of these nodes. The nodes that decide about jobs are read once for all of them; without
    /// `decides`, such steps stay open.
    pub async fn next_steps(
        &self,
        execution: ExecutionId,
        nodes: &[Node],
        decides: bool,
    ) -> Result<Vec<NextStep>> {
        let now = self.now();
        let mut steps: Vec<NextStep> = nodes.iter().map(|node| next_step(node, now)).collect();
        let is_open = |step: &NextStep| matches!(step, NextStep::Decide { .. });
        if !decides || !steps.iter().any(is_open) {
            return Ok(steps);
        }
        let specs = self.specs(execution).await?;
        let mut planned: Vec<Option<&PlannedJob>> = Vec::with_capacity(steps.len());
        for step in &steps {
            planned.push(match step {
                NextStep::Decide { job } => {
                    let spec = specs.get(*job as usize);
                    Some(&spec.ok_or_else(|| unknown_job(execution, *job))?.planned)
                }
                _ => None,
            });
        }
        let jobs: Vec<&PlannedJob> = planned.iter().copied().flatten().collect();
        let read = self.deciding_nodes(execution, &jobs).await?;
        for ((node, step), job) in nodes.iter().zip(&mut steps).zip(planned) {
            if let Some(job) = job {
                *step = decide(node, job, &read, now);
            }
        }
        Ok(steps)
    }

    /// Caches the jobs of a plan.
    pub fn cache_specs(&self, id: ExecutionId, plan: Plan) -> Arc<JobSpecs> {
        keep_specs(&self.planned, id, plan)
    }
}

fn unknown_job(execution: ExecutionId, ix: u32) -> Error {
    Error::NotFound(format!("execution {execution} has no job {ix}"))
}

fn keep_specs(planned: &LruCache<JobSpecs>, id: ExecutionId, plan: Plan) -> Arc<JobSpecs> {
    let specs = Arc::new(specs_of(id, plan));
    planned.put(id, specs.clone(), memory_bytes(&specs));
    specs
}
