//! Contents of the assignment of a job.

use crate::{
    context::{
        job_spec::{JobSpec, JobSpecs},
        service_context::{Context, job_of},
    },
    error::Result,
    ports::{ArtifactRecord, ExecutionRecord, ExecutionSpec, ExecutionTask, Node},
};
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};
use tidemill_core::execution::{
    assignment::{ArtifactSource, JobExtras, Origin, Preparation, SecretValue},
    facts::Facts,
    predefined::{self, JobContext},
};
use tidemill_core::{
    api::path,
    ids::JobId,
    pipeline::{self, ChildPipeline, Service},
    plan::PlannedJob,
    text::substitution::{substitute, substitute_bounded},
};

/// Number of needs above which all artifacts of the execution are read at once instead of by need.
const BULK_READ_THRESHOLD: usize = 16;
/// Maximum length of the value of a variable of a child, in bytes.
const MAX_CHILD_VALUE_LEN: usize = 32 << 10;

/// Returns what a worker can prepare before it holds the lease.
pub fn preparation(execution: &ExecutionRecord, spec: &JobSpec) -> Preparation {
    let of = &execution.spec;
    let origin = Origin { repository: of.repo.clone(), is_fork: of.facts.is_from_fork() };
    Preparation::new(&spec.planned, (&of.source, &of.facts), origin, of.id, spec.id)
}

/// Returns services, caches and other parts of a job next to its script.
pub fn extras(spec: &JobSpec) -> JobExtras {
    let options = &spec.planned.surroundings;
    JobExtras {
        after_script: options.after_script.clone(),
        services: options.services.clone(),
        caches: options.caches.clone(),
        may_keep_caches: true,
        secrets: Vec::new(),
        registries: Vec::new(),
        credential: None,
        coverage: options.coverage.clone(),
        outputs: options.outputs.clone(),
        build: options.build.as_deref().cloned(),
        shares_image: false,
        shell: None,
        discovery: spec.planned.discovery.clone(),
        child: None,
    }
}

/// Gives services the variables of their job, as GitLab does, below those that a service has of its own. They get neither the token
/// of the job nor variables that name files, which are in the job's container.
pub fn add_to_services(
    services: &mut [Service],
    variables: &IndexMap<String, String>,
    secrets: &[SecretValue],
    token: &str,
) {
    for service in services {
        let mut all = variables.clone();
        for secret in secrets {
            all.shift_remove(&secret.variable);
            if !secret.file && secret.value != token {
                all.insert(secret.variable.clone(), secret.value.clone());
            }
        }
        all.extend(std::mem::take(&mut service.variables));
        service.variables = all;
    }
}

/// The only variable that is substituted in the values of others: programs read paths from their environment, such as pip that of its
/// cache, and expand nothing.
const PROJECT_DIR: &str = "CI_PROJECT_DIR";

/// Returns the job's variables and the predefined ones; the job's take precedence. `${CI_PROJECT_DIR}` in their values is the path of
/// the sources.
///
/// `url`: the address of the execution's page.
pub fn variables(
    execution: &ExecutionRecord,
    spec: &JobSpec,
    attempt: u32,
    url: Option<&str>,
) -> IndexMap<String, String> {
    let of = &execution.spec;
    // Older records have branch and commit outside of the facts.
    let facts = Facts {
        branch: of.facts.branch.clone().or_else(|| of.branch.clone()),
        commit: of.facts.commit.clone().or_else(|| of.commit.clone()),
        repo: of.repo.clone(),
        ..of.facts.clone()
    };
    let environment = spec.planned.surroundings.environment.as_ref();
    let mut variables = predefined::job_variables(&JobContext {
        facts: &facts,
        execution: &of.id.to_string(),
        run_number: execution.run_number,
        pipeline: &of.pipeline_name,
        url,
        job: &spec.id.to_string(),
        name: &spec.planned.name,
        stage: &spec.planned.stage,
        environment: environment.map(|environment| (environment.name.as_str(), environment.url.as_deref())),
        attempt,
    });
    if let Some(environment) = environment {
        environment.add_variables(&mut variables);
    }
    let project_dir = variables.get(PROJECT_DIR).cloned().unwrap_or_default();
    let of_job = spec.planned.variables.iter().map(|(name, value)| {
        let value = substitute(value, |name| (name == PROJECT_DIR).then_some(project_dir.as_str()));
        (name.clone(), value)
    });
    variables.extend(of_job);
    variables
}

/// Adds outputs of other jobs to the variables of a job. As in GitLab, they win over variables of the file, but not over those of
/// the request.
pub fn add_outputs(
    variables: &mut IndexMap<String, String>,
    outputs: &IndexMap<String, String>,
    execution: &ExecutionRecord,
) {
    let is_free = |name: &String| !execution.spec.variables.contains_key(name);
    let free = outputs.iter().filter(|(name, _)| is_free(name));
    variables.extend(free.map(|(name, value)| (name.clone(), value.clone())));
}

/// Returns the variables that the child of a job gets: those that the file sets for the job, those of the request, and those that
/// the job names for the child, as the job says. `known` are the job's own. The inner error says why there are none.
pub async fn child_variables(
    context: &Context,
    parent: &ExecutionRecord,
    job: &PlannedJob,
    child: &ChildPipeline,
    known: &IndexMap<String, String>,
) -> Result<std::result::Result<IndexMap<String, String>, String>> {
    let mut variables = IndexMap::new();
    // A child of the repository gets those of the repository anyway, and one of another repository must not.
    let is_forwarded = |name: &str| !parent.spec.facts.external.contains(name);
    if child.forwards_run {
        let of_run = parent.spec.variables.iter().filter(|(name, _)| is_forwarded(name));
        variables.extend(of_run.map(|(name, value)| (name.clone(), value.clone())));
    }
    if child.forwards_job {
        let declared = declared_variables(context, &parent.spec, &job.base_name).await?;
        let of_job = job.variables.iter().filter(|(name, _)| declared.contains(*name) && is_forwarded(name));
        variables.extend(of_job.map(|(name, value)| (name.clone(), value.clone())));
    }
    for (name, template) in &child.variables {
        // As in GitLab, a variable that nobody sets is empty.
        let lookup = |name: &str| Some(known.get(name).map_or("", String::as_str));
        match substitute_bounded(template, MAX_CHILD_VALUE_LEN, lookup) {
            Some(value) => {
                variables.insert(name.clone(), value);
            }
            None => return Ok(Err(format!("the value of its variable `{name}` is too long"))),
        }
    }
    Ok(Ok(variables))
}

/// Returns the names of the variables that the file of an execution sets for a job.
async fn declared_variables(context: &Context, of: &ExecutionSpec, job: &str) -> Result<HashSet<String>> {
    let ExecutionTask::RunPipeline { file } = of.task.clone() else { return Ok(HashSet::new()) };
    let job = job.to_owned();
    let read = move || {
        let Ok(file) = pipeline::parse(&file) else { return HashSet::new() };
        file.variables_of(&job).map(str::to_owned).collect()
    };
    context.compute("parsing a pipeline file", read).await
}

/// Returns the jobs with outputs whose artifacts a job downloads, in order.
pub fn output_providers(execution: &ExecutionRecord, specs: &JobSpecs, job: &PlannedJob) -> Vec<u32> {
    let providers = specs.output_providers().filter(|provider| downloads_from(execution, job, *provider));
    providers.map(|(ix, _)| ix).collect()
}

/// Whether a job downloads the artifacts of the job `provider` with this index.
fn downloads_from(execution: &ExecutionRecord, job: &PlannedJob, (ix, provider): (u32, &PlannedJob)) -> bool {
    match (&job.dependencies, job.after_stages) {
        (Some(named), _) => named.contains(&ix),
        (None, None) => job.needs_jobs.contains(&ix),
        (None, Some(stages)) => {
            let earlier = &execution.spec.stages[..(stages as usize).min(execution.spec.stages.len())];
            earlier.contains(&provider.stage) && !provider.is_optional()
        }
    }
}

/// Whether another job runs in the image that the job at `ix` builds, and gets it from no registry.
pub fn shares_image(execution: &ExecutionRecord, specs: &JobSpecs, ix: u32) -> bool {
    let Some(spec) = specs.get(ix as usize) else { return false };
    let is_local = spec.planned.surroundings.build.as_ref().is_some_and(|build| !build.push);
    let runs_in_it =
        |job: &PlannedJob| job.uses_built_image() && downloads_from(execution, job, (ix, &spec.planned));
    is_local && specs.iter().any(|spec| runs_in_it(&spec.planned))
}

/// Returns the outputs of the jobs whose artifacts a job downloads; later jobs win. Reads only jobs that declare outputs.
pub async fn outputs_for(
    context: &Context,
    execution: &ExecutionRecord,
    job: &PlannedJob,
) -> Result<IndexMap<String, String>> {
    let specs = context.specs(execution.spec.id).await?;
    let providers = output_providers(execution, &specs, job);
    if providers.is_empty() {
        return Ok(IndexMap::new());
    }
    let mut nodes = context.stores.records.nodes(execution.spec.id, &providers).await?;
    nodes.sort_by_key(|node| node.key.ix);
    let mut outputs = IndexMap::new();
    for node in &nodes {
        outputs.extend(job_of(node)?.job.outputs.clone());
    }
    Ok(outputs)
}

/// Returns the artifacts that a job downloads: those of its `dependencies`, otherwise of its needs, otherwise of all jobs of earlier
/// stages.
pub async fn artifacts_for(
    context: &Context,
    execution: &ExecutionRecord,
    job: &PlannedJob,
) -> Result<Vec<ArtifactSource>> {
    let named = match (&job.dependencies, job.after_stages) {
        (Some(named), _) => Some(named),
        (None, None) => Some(&job.needs_jobs),
        (None, Some(_)) => None,
    };
    let artifacts = match (named, job.after_stages) {
        (None, None | Some(0)) => return Ok(Vec::new()),
        (Some(named), _) if named.is_empty() => return Ok(Vec::new()),
        (Some(named), _) if named.len() <= BULK_READ_THRESHOLD => of_needs(context, execution, named).await?,
        (Some(named), _) => {
            let mut all = of_execution(context, execution).await?;
            all.retain(|(ix, _)| named.contains(ix));
            all
        }
        (None, Some(stages)) => {
            let earlier = &execution.spec.stages[..(stages as usize).min(execution.spec.stages.len())];
            let mut all = of_execution(context, execution).await?;
            let specs = context.specs(execution.spec.id).await?;
            let is_earlier = |job: &PlannedJob| earlier.contains(&job.stage) && !job.is_optional();
            all.retain(|(ix, _)| specs.get(*ix as usize).is_some_and(|spec| is_earlier(&spec.planned)));
            all
        }
    };
    let mut artifacts = of_current_attempts(context, execution, artifacts).await?;
    artifacts.sort_by_key(|(ix, _)| *ix);
    Ok(artifacts.into_iter().map(|(_, record)| source(record)).collect())
}

/// Artifacts, each with the index of its job in this execution.
type ArtifactsByJob = Vec<(u32, ArtifactRecord)>;

async fn of_needs(context: &Context, execution: &ExecutionRecord, needs: &[u32]) -> Result<ArtifactsByJob> {
    let mut artifacts = Vec::new();
    for &ix in needs {
        let carried = execution.spec.carried.iter().find(|(known, _)| *known == ix).map(|(_, from)| *from);
        let job = carried.unwrap_or_else(|| JobId::of(execution.spec.id, ix));
        let records = context.stores.records.artifacts_of(job).await?;
        artifacts.extend(records.into_iter().map(|record| (ix, record)));
    }
    Ok(artifacts)
}

async fn of_execution(context: &Context, execution: &ExecutionRecord) -> Result<ArtifactsByJob> {
    let records = context.stores.records.artifacts(execution.spec.id).await?;
    let mut artifacts: ArtifactsByJob = records.into_iter().map(|record| (record.ix, record)).collect();
    for (ix, from) in &execution.spec.carried {
        let records = context.stores.records.artifacts_of(*from).await?;
        artifacts.extend(records.into_iter().map(|record| (*ix, record)));
    }
    Ok(artifacts)
}

/// Filters for artifacts of the current attempts; those of lost attempts are no input.
async fn of_current_attempts(
    context: &Context,
    execution: &ExecutionRecord,
    mut artifacts: ArtifactsByJob,
) -> Result<ArtifactsByJob> {
    let ixs: Vec<u32> = artifacts.iter().map(|(ix, _)| *ix).collect();
    let nodes = context.stores.records.nodes(execution.spec.id, &ixs).await?;
    let by_ix: HashMap<u32, &Node> = nodes.iter().map(|node| (node.key.ix, node)).collect();
    artifacts.retain(|(ix, record)| {
        let item = by_ix.get(ix).and_then(|node| job_of(node).ok());
        let own = JobId::of(execution.spec.id, *ix);
        item.is_some_and(|item| record.attempt == item.counted_attempt(own).1)
    });
    Ok(artifacts)
}

fn source(record: ArtifactRecord) -> ArtifactSource {
    ArtifactSource {
        artifact_id: record.id,
        from_job: record.job_name,
        url: path::ARTIFACT_DOWNLOAD.replace("{artifactId}", &record.id.to_string()),
        sha256: record.sha256,
        size: record.size,
        encoding: record.encoding,
        unpacked_size: record.unpacked_size,
        image: record.image,
    }
}
