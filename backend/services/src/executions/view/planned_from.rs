//! What an execution was planned from, as shown by the API.

use crate::{
    error::{Error, Result},
    ports::{ExecutionSpec, ExecutionTask},
};
use tidemill_core::{
    api::{ExcludedJobList, ExcludedJobView, PipelineFileView, PlannedVariable, VariableSource},
    plan::ExcludedJob,
};

/// Maximum number of listed jobs.
const MAX_EXCLUDED_JOBS: usize = 500;

/// Converts the pipeline file of an execution. `shows_values`: with the values of the repository's variables.
pub fn pipeline_file(spec: &ExecutionSpec, shows_values: bool) -> Result<PipelineFileView> {
    let content = match &spec.task {
        ExecutionTask::RunPipeline { file } => file.clone(),
        ExecutionTask::DiscoverPipelines(_) => {
            return Err(Error::NotFound(format!(
                "execution {} discovers pipelines, so it has no pipeline file; see those that it started",
                spec.id
            )));
        }
    };
    let source = |name: &str| {
        if spec.facts.external.contains(name) { VariableSource::Repository } else { VariableSource::Request }
    };
    let variables = spec.variables.iter().map(|(name, value)| {
        let source = source(name);
        let is_shown = shows_values || source == VariableSource::Request;
        PlannedVariable { name: name.clone(), value: is_shown.then(|| value.clone()), source }
    });
    Ok(PipelineFileView {
        path: spec.facts.path.clone(),
        content,
        includes: spec.facts.includes.clone(),
        variables: variables.collect(),
    })
}

/// Converts the jobs that take no part in an execution.
pub fn excluded_jobs(excluded: Vec<ExcludedJob>) -> ExcludedJobList {
    let total = u32::try_from(excluded.len()).unwrap_or(u32::MAX);
    let jobs = excluded.into_iter().take(MAX_EXCLUDED_JOBS);
    let jobs = jobs.map(|ExcludedJob { job, why }| ExcludedJobView { job_name: job, reason: why });
    ExcludedJobList { jobs: jobs.collect(), total }
}
