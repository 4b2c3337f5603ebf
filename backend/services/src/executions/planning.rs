//! The jobs of an execution, made again from what is recorded of it: its pipeline's text and facts. Nothing of a job is stored that
//! follows from these, so that what a request stores does not grow with what its matrices come to.

use super::discovery_plan;
use crate::{
    context::{
        job_spec::{JobSpec, weight},
        lru_cache::LruCache,
        service_context::Context,
    },
    error::{Error, Result},
    ports::{ExecutionSpec, ExecutionTask},
};
use std::sync::Arc;
use tidemill_core::execution::facts::Facts;
use tidemill_core::{
    ids::{ExecutionId, JobId},
    pipeline::{self, Pipeline},
    plan::Plan,
};

/// The file and the plan that an execution was made from; no file where it looks at a commit.
pub(crate) fn plan_of(spec: &ExecutionSpec) -> Result<(Option<Pipeline>, Plan)> {
    let text = match &spec.task {
        ExecutionTask::RunPipeline { file } => file,
        ExecutionTask::DiscoverPipelines(discovery) => {
            return Ok((None, discovery_plan::plan(discovery.clone())));
        }
    };
    let id = spec.id;
    let file = pipeline::parse(text)
        .map_err(|_| Error::Invalid(format!("the file of execution {id} is not valid any more")))?;
    let facts = Facts { variables: spec.variables.clone(), ..spec.facts.clone() };
    let plan = Plan::of(&file, &facts).map_err(|error| Error::Invalid(error.to_string()))?;
    Ok((Some(file), plan))
}

/// The same, of an execution whose nodes are recorded: what is planned must be what they were made from.
pub(crate) fn same_plan_of(spec: &ExecutionSpec) -> Result<(Option<Pipeline>, Plan)> {
    let planned = plan_of(spec)?;
    if planned.1.digest() != spec.plan_digest {
        return Err(Error::Conflict(format!(
            "execution {} was planned by a version of Tidemill that plans its pipeline otherwise: cancel and retry it",
            spec.id
        )));
    }
    Ok(planned)
}

/// The specs of a plan's jobs.
pub(crate) fn specs_of(execution: ExecutionId, plan: Plan) -> Vec<JobSpec> {
    let spec = |(ix, planned)| JobSpec { id: JobId::of(execution, ix), planned };
    (0..).zip(plan.jobs).map(spec).collect()
}

impl Context {
    /// The specs of all jobs of an execution, in order.
    pub async fn specs(&self, id: ExecutionId) -> Result<Arc<Vec<JobSpec>>> {
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
            let (_, plan) = same_plan_of(&execution.spec)?;
            Ok(keep_specs(&planned, id, plan))
        };
        self.compute("planning an execution", plan).await?
    }

    /// The spec of one job.
    pub async fn spec(&self, id: ExecutionId, ix: u32) -> Result<JobSpec> {
        let specs = self.specs(id).await?;
        let spec = specs.get(ix as usize).cloned();
        spec.ok_or_else(|| Error::NotFound(format!("execution {id} has no job {ix}")))
    }

    /// Keeps the jobs of a plan at hand.
    pub fn keep_specs(&self, id: ExecutionId, plan: Plan) -> Arc<Vec<JobSpec>> {
        keep_specs(&self.planned, id, plan)
    }
}

fn keep_specs(planned: &LruCache<Vec<JobSpec>>, id: ExecutionId, plan: Plan) -> Arc<Vec<JobSpec>> {
    let specs = Arc::new(specs_of(id, plan));
    planned.put(id, specs.clone(), weight(&specs));
    specs
}
