//! Creates the plan of a pipeline.

use super::{
    due_texts::DueTexts,
    error::PlanError,
    matrix::{self, MAX_JOBS},
    model::{Plan, PlannedJob, index},
    order,
    references::JobReferences,
    requested,
    selection::{self, SelectedVariant},
    size::{self, MAX_PLAN_BYTES},
};
use crate::condition::DecisivePaths;
use crate::execution::{facts::Facts, predefined};
use crate::pipeline::labels::{EXECUTOR_LABEL, PROCESS_EXECUTOR};
use crate::pipeline::{
    Artifacts, JobOptions, MAX_AUTO_STOP_S, MAX_CHILDREN, MAX_CHILDREN_OF_CHILD, MAX_JOB_GROUP_BYTES,
    NO_IMAGE, Pipeline, is_label, span_s,
};
use crate::text::substitution::substitute;
use indexmap::IndexMap;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Maximum size in bytes of the changed paths that are recorded for the conditions of children.
const MAX_KEPT_CHANGES_BYTES: usize = 64 << 10;

/// Whether the changed paths are known and may be recorded for the conditions of children.
fn has_few_paths(changed: Option<&[String]>) -> bool {
    changed
        .is_some_and(|paths| paths.iter().map(|path| path.len() + 1).sum::<usize>() <= MAX_KEPT_CHANGES_BYTES)
}

/// Returns an error if two jobs have the same name.
fn check_names(jobs: &[PlannedJob]) -> Result<(), PlanError> {
    let mut names = HashSet::with_capacity(jobs.len());
    match jobs.iter().find(|job| !names.insert(job.name.as_str())) {
        Some(job) => Err(PlanError::SameName(job.name.clone())),
        None => Ok(()),
    }
}

impl Plan {
    /// Plans `pipeline` without any facts except `overrides`, variables that override the file's.
    pub fn new(pipeline: &Pipeline, overrides: &IndexMap<String, String>) -> Result<Self, PlanError> {
        Self::for_facts(pipeline, &Facts::with_variables(overrides.clone()))
    }

    /// Plans `pipeline` for an execution with these facts.
    pub fn for_facts(pipeline: &Pipeline, facts: &Facts) -> Result<Self, PlanError> {
        Self::with_decisive_facts(pipeline, facts).map(|(plan, _)| plan)
    }

    /// Like [`Self::of`], and also returns the facts without the paths that decided nothing, which give the same plan.
    /// These are recorded, because a commit may have very many paths, but a file only few globs.
    pub fn with_decisive_facts(pipeline: &Pipeline, facts: &Facts) -> Result<(Self, Facts), PlanError> {
        let job_count =
            pipeline.jobs.iter().fold(0_usize, |count, job| count.saturating_add(matrix::max_variants(job)));
        if job_count > MAX_JOBS {
            return Err(PlanError::TooManyJobs(job_count));
        }
        let bytes = size::expanded_bytes(pipeline, facts);
        if bytes > MAX_PLAN_BYTES {
            return Err(PlanError::TooLarge(bytes));
        }
        let selection::Selection { pipeline: selected, variants, excluded: left_out, paths } =
            requested::restrict(selection::select(pipeline, facts)?, &facts.jobs)?;
        let pipeline = selected.as_ref();
        if pipeline.jobs.is_empty() && !left_out.is_empty() {
            return Err(PlanError::AllExcluded(left_out));
        }
        let overrides = &facts.variables;
        let has_outputs = pipeline.jobs.iter().any(|job| job.surroundings.provides_outputs());
        let stage_of: HashMap<&str, usize> =
            pipeline.stages.iter().enumerate().map(|(ix, name)| (name.as_str(), ix)).collect();
        let order = order::order(pipeline, &variants, &stage_of)?;
        let predefined = predefined::execution_variables(facts, &pipeline.name);
        let mut jobs: Vec<PlannedJob> = Vec::new();
        // For each job, by its position in the file: the indices of its variants.
        let mut variants_of: Vec<Vec<u32>> = vec![Vec::new(); pipeline.jobs.len()];
        for file_ix in order {
            let job = &pipeline.jobs[file_ix];
            let stage = stage_of[job.stage.as_str()];
            for SelectedVariant { variant, job: changed, condition } in &variants[file_ix] {
                variants_of[file_ix].push(index(jobs.len()));
                let own = changed.as_deref().unwrap_or(job);
                let mut variables = pipeline.variables.clone();
                variables.extend(own.variables.clone());
                variables.extend(overrides.clone());
                // The name of the job says them.
                variables.extend(variant.cell.clone());
                variant.add_position(&mut variables);
                let name = selection::name(variant, job)?;
                let node = variant.position;
                let references =
                    JobReferences::new(job, (&name, node), &pipeline.name, facts, &predefined, &variables);
                let expand = |text: &str| {
                    substitute(text, |reference| {
                        let value = variables.get(reference).map(String::as_str);
                        value.or_else(|| references.predefined(reference))
                    })
                };
                let due_texts = if has_outputs || DueTexts::has_due_variables(job) {
                    DueTexts::of(job, |text| {
                        substitute(text, |reference| {
                            let is_set = variables.contains_key(reference);
                            let value = overrides.get(reference).map(String::as_str);
                            let fixed = value.filter(|_| !variant.cell.contains_key(reference));
                            fixed.or_else(|| references.predefined(reference).filter(|_| !is_set))
                        })
                    })
                } else {
                    DueTexts::default()
                };
                let image = expand(&job.image);
                let services = job.surroundings.services.iter().map(|service| &service.image);
                let mut images = services.chain([&job.image]).filter(|_| !has_outputs);
                if let Some(variable) = images.find_map(|image| references.unset_registry(image, &variables))
                {
                    return Err(PlanError::UnsetVariable { variable: variable.to_owned(), job: name });
                }
                let artifacts = job.artifacts.clone().map(|artifacts| Artifacts {
                    name: artifacts.name.as_deref().map(expand),
                    expose_as: artifacts.expose_as.as_deref().map(expand),
                    ..artifacts
                });
                let image_options = job.image_options.map_texts(expand);
                let mut surroundings = job.surroundings.map_texts(expand);
                set_auto_stop(&mut surroundings);
                // A name made of variables that are not set names no group.
                surroundings.concurrency.take_if(|one| one.group.trim().is_empty());
                if let Some(one) = &surroundings.concurrency
                    && (one.group.len() > MAX_JOB_GROUP_BYTES || one.group.contains(char::is_control))
                {
                    return Err(PlanError::BadGroup(name));
                }
                let mut runs_on = BTreeMap::new();
                for (label, value) in &job.runs_on {
                    let (label, value) = (expand(label), expand(value));
                    if !is_label(&label) || !is_label(&value) {
                        return Err(PlanError::bad_label(name, &label, &value));
                    }
                    runs_on.insert(label, value);
                }
                if image == NO_IMAGE {
                    runs_on.insert(EXECUTOR_LABEL.to_owned(), PROCESS_EXECUTOR.to_owned());
                }
                jobs.push(PlannedJob {
                    name: name.clone(),
                    base_name: job.name.clone(),
                    stage: job.stage.clone(),
                    image,
                    image_options,
                    script: job.script.clone(),
                    variables,
                    needs: Vec::new(),
                    after_stages: own.needs.is_none().then(|| index(stage)),
                    waits_for: 0,
                    releases: Vec::new(),
                    needs_jobs: Vec::new(),
                    dependencies: None,
                    allow_failure: own.allow_failure,
                    retry: job.retry,
                    retry_for: job.retry_for.clone(),
                    timeout_s: job.timeout_s,
                    working_dir: job.working_dir.clone(),
                    resources: job.resources,
                    pull_policy: job.pull_policy,
                    artifacts,
                    when: own.when,
                    start_in_s: own.start_in_s,
                    allow_exit_codes: own.allow_exit_codes.clone(),
                    runs_on,
                    surroundings,
                    due_texts,
                    discovery: None,
                    condition: condition.clone(),
                });
            }
        }
        if jobs.is_empty() {
            return Err(PlanError::Empty);
        }
        check_names(&jobs)?;
        let children = jobs.iter().filter(|job| job.surroundings.child.is_some()).count();
        let limit = if facts.parent.is_some() { MAX_CHILDREN_OF_CHILD } else { MAX_CHILDREN };
        if children > limit {
            return Err(PlanError::TooManyChildren { children, limit });
        }
        let mut plan = Self {
            pipeline_name: pipeline.name.clone(),
            stages: pipeline.stages.clone(),
            jobs,
            gates: Vec::new(),
            left_out,
        };
        plan.join_needs(pipeline, &variants, &variants_of);
        plan.join_stages(&stage_of);
        plan.resolve_dependencies(pipeline, &variants, &variants_of);
        plan.resolve_conditions();
        let DecisivePaths { changed, compared, files } = paths;
        let keeps_changes = plan.starts_children() && has_few_paths(facts.changed.as_deref());
        let changed = if keeps_changes { facts.changed.clone() } else { changed };
        let decisive = Facts {
            trigger: facts.trigger,
            repo: facts.repo.clone(),
            registry: facts.registry.clone(),
            schedule: facts.schedule.clone(),
            branch: facts.branch.clone(),
            tag: facts.tag.clone(),
            commit: facts.commit.clone(),
            details: facts.details.clone(),
            default_branch: facts.default_branch.clone(),
            pull_request: facts.pull_request.clone(),
            changed,
            compared,
            files,
            variables: facts.variables.clone(),
            is_assumed: facts.is_assumed,
            includes: facts.includes.clone(),
            jobs: facts.jobs.clone(),
            has_all_changes: keeps_changes,
            parent: facts.parent,
            merge_target: facts.merge_target.clone(),
            comment: facts.comment.clone(),
            upstream: facts.upstream.clone(),
            inputs: facts.inputs.clone(),
            is_claimed: facts.is_claimed,
            is_of_artifact: facts.is_of_artifact,
            external: facts.external.clone(),
            path: facts.path.clone(),
        };
        Ok((plan, decisive))
    }
}

/// Sets after how long the environment is stopped from the value of the variables in it. As in GitLab, what is no duration is never.
fn set_auto_stop(options: &mut JobOptions) {
    let Some(environment) = &mut options.environment else { return };
    let Some(text) = environment.auto_stop_in_reference.take() else { return };
    let seconds = span_s(&text).ok().filter(|seconds| *seconds > 0);
    environment.auto_stop_in_s = seconds.map(|seconds| seconds.min(MAX_AUTO_STOP_S));
}
