//! Checks a whole pipeline, and converts its records into the model.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::context::{FindingSink, KnownJob, PipelineContext, provides_outputs, variables};
use super::graph::{dependencies, environments, needs::needs, outputs};
use super::stages::{IMPLICIT_STAGES, job_stage, stages, unused_stages};
use super::{child, job, triggers};
use crate::execution::facts::Facts;
use crate::pipeline::finding::{Finding, FindingLocation, Path, PathPart, Segment, quoted};
use crate::pipeline::model::{Input, Job, Pipeline};
use crate::pipeline::names;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::records::{RawDefaults, RawPipeline};
use crate::plan::{MAX_JOBS, MAX_PLAN_BYTES, expanded_bytes, max_variants, name_clash};

/// Checks the records and converts them into the model, which is valid only without errors.
pub(crate) fn pipeline(raw: &RawPipeline) -> (Pipeline, FindingSink) {
    let mut findings = FindingSink::default();
    let root = Path::default();
    let name = match &raw.name {
        Field::Set(name) => {
            findings.check(names::check_name(&name.0), || root.key("name"));
            name.0.clone()
        }
        field => {
            if field.is_absent() {
                findings.push(
                    Finding::value("missing-key", &root, "the pipeline has no `name`")
                        .help("add `name: build-and-test`, or what it does; runs are listed under it"),
                );
            }
            String::new()
        }
    };
    if !raw.include.is_absent() {
        findings.push(
            Finding::key("include-unread", &root.key("include"), "the included files cannot be read here")
                .help("`tidemill check`, `plan` and `run` read them, and send one text to a server"),
        );
    }
    let on = raw.on.get().map(|on| triggers::triggers(on, &name, &mut findings)).unwrap_or_default();
    let mut variables = variables(raw.variables.get(), || root.key("variables"), &mut findings);
    let mut inputs = IndexMap::new();
    for input in on.all_inputs() {
        let variable = Input::variable(&input.name);
        if variables.contains_key(&variable) {
            let message =
                format!("{} is the variable of the input {}", quoted(&variable), quoted(&input.name));
            let finding = Finding::key("conflicting-keys", &root.key("variables").key(&variable), message);
            findings.push(finding.help("remove it, and give the input a `default`"));
        }
        inputs.insert(variable, input.default.unwrap_or_default());
    }
    variables.extend(inputs);
    let concurrency = triggers::concurrency(raw, &variables, &mut findings);
    let timeout_s = triggers::timeout(raw, &mut findings);
    let written_stages = stages(raw, &mut findings);
    let no_defaults = RawDefaults::default();
    let defaults = raw.defaults.get().unwrap_or(&no_defaults);
    job::defaults(defaults, &mut findings);

    let known = known_jobs(raw, &mut findings);
    let implicit = raw.stages.is_absent();
    let stage_names: Vec<&str> = match &written_stages {
        Some(stages) => stages.iter().map(String::as_str).collect(),
        None => IMPLICIT_STAGES.to_vec(),
    };
    let stage_order: HashMap<&str, usize> =
        stage_names.iter().enumerate().rev().map(|(at, stage)| (*stage, at)).collect();
    let output_jobs = known.iter().filter(|job| job.raw.is_some_and(provides_outputs)).count();
    let surroundings = PipelineContext { variables: &variables, defaults, output_jobs };
    let mut jobs: Vec<Job> = Vec::with_capacity(known.len());
    let mut stage_of: Vec<Option<usize>> = vec![None; known.len()];
    for (at, job) in known.iter().enumerate() {
        let Some(raw_job) = job.raw else { continue };
        // Without valid stages, the stage of a job cannot be checked.
        let stages_known = implicit || written_stages.is_some();
        let stage =
            if stages_known { job_stage(job, raw_job, &stage_names, implicit, &mut findings) } else { None };
        stage_of[at] = stage.and_then(|stage| stage_order.get(stage).copied());
        let name = job.name.unwrap_or_default();
        jobs.push(job::job(
            name,
            stage.unwrap_or_default(),
            raw_job,
            &job.path,
            &surroundings,
            &mut findings,
        ));
    }
    needs(&known, &stage_of, &stage_names, &mut findings);
    dependencies::check(&known, &stage_of, &mut findings);
    environments::check(&known, &mut findings);
    outputs::check(&known, &jobs, &stage_of, &mut findings);
    child::check_all(&known, &mut findings);
    let used: HashSet<usize> = stage_of.iter().copied().flatten().collect();
    // An invalid job, or one of an unknown stage, may belong to a stage that seems unused.
    let all_placed = stage_of.iter().all(Option::is_some) && !known.is_empty();
    let stages = if implicit {
        let used = stage_names.iter().enumerate().filter(|(at, _)| used.contains(at));
        used.map(|(_, stage)| (*stage).to_owned()).collect()
    } else {
        if all_placed {
            unused_stages(&stage_names, &used, &stage_order, &mut findings);
        }
        stage_names.iter().map(|stage| (*stage).to_owned()).collect()
    };
    let pipeline = Pipeline { name, on, stages, variables, concurrency, timeout_s, jobs };
    bound_plan(&pipeline, &root, &mut findings);
    (pipeline, findings)
}

/// Checks the names of jobs, and returns the jobs in file order.
fn known_jobs<'a>(raw: &'a RawPipeline, findings: &mut FindingSink) -> Vec<KnownJob<'a>> {
    let path = Path::default().key("jobs");
    let jobs = match &raw.jobs {
        Field::Set(jobs) if !jobs.0.is_empty() => &jobs.0,
        Field::Invalid => return Vec::new(),
        Field::Set(_) => {
            findings.push(Finding::value("no-jobs", &path, "`jobs` is empty").help("add at least one job"));
            return Vec::new();
        }
        Field::Absent => {
            let help = if raw.name.is_absent() {
                "add `jobs:` with at least one job below it; if this is a GitLab CI file, use `--gitlab`, or translate it with \
                 `tidemill import FILE`"
            } else {
                "add `jobs:` with at least one job below it"
            };
            findings.push(
                Finding::value("missing-key", &Path::default(), "the pipeline has no `jobs`").help(help),
            );
            return Vec::new();
        }
    };
    let mut known: Vec<KnownJob<'a>> = Vec::with_capacity(jobs.len());
    let mut first: HashMap<&str, Path> = HashMap::new();
    for (segment, job) in jobs {
        let path = path.join(segment.clone());
        let raw = job.get();
        let name = match segment {
            Segment::Key(name) => {
                findings.check_key(names::check_name(name), || path.clone());
                if raw.is_some_and(|job| !job.name.is_absent()) {
                    findings.push(
                        Finding::key("unknown-key", &path.key("name"), "the name of this job is its key")
                            .help("remove `name`; it is only for jobs in a list"),
                    );
                }
                Some(name.as_ref())
            }
            Segment::Index(_) => match raw.map(|job| &job.name) {
                Some(Field::Set(name)) => {
                    findings.check(names::check_name(&name.0), || path.key("name"));
                    if let Some(first) = first.get(name.0.as_str()) {
                        findings.push(
                            Finding::value(
                                "duplicate-job",
                                &path.key("name"),
                                format!("two jobs are named {}", quoted(&name.0)),
                            )
                            .help("give each job a name of its own")
                            .related(
                                "first used here",
                                FindingLocation::Path(first.clone(), PathPart::Value),
                            ),
                        );
                    } else {
                        first.insert(&name.0, path.key("name"));
                    }
                    Some(name.0.as_str())
                }
                Some(Field::Absent) => {
                    findings.push(
                        Finding::value("missing-key", &path, "this job has no `name`")
                            .help("jobs written as a list each need a `name`"),
                    );
                    None
                }
                _ => None,
            },
        };
        known.push(KnownJob { path, name, raw });
    }
    known
}

/// Rejects a pipeline that its matrices make too large.
fn bound_plan(pipeline: &Pipeline, root: &Path, findings: &mut FindingSink) {
    let total = pipeline.jobs.iter().fold(0_usize, |n, job| n.saturating_add(max_variants(job)));
    if total > MAX_JOBS {
        let message = format!("this pipeline has {total} jobs, and {MAX_JOBS} is the limit");
        findings.push(
            Finding::key("too-many-jobs", &root.key("jobs"), message).help("split it into several pipelines"),
        );
        return;
    }
    if let Some((job, name)) = name_clash(&pipeline.jobs) {
        let message = format!("with all matrix variants two jobs have the name {}", quoted(&name));
        findings.push(
            Finding::key("duplicate-job", &root.key("jobs").key(job), message)
                .help("give the job that is named like a variant another name"),
        );
    }
    let bytes = expanded_bytes(pipeline, &Facts::default());
    if bytes > MAX_PLAN_BYTES {
        let message = format!(
            "with all matrix variants this pipeline has {bytes} bytes, and {MAX_PLAN_BYTES} is \
             the limit"
        );
        findings.push(Finding::key("plan-too-large", &root.key("jobs"), message).help(
            "each variant has the variables, the script and the names of its needs for its own: use a smaller matrix, keep \
             long values in files, or give the variants' `needs` one job that waits for all of them",
        ));
    }
}
