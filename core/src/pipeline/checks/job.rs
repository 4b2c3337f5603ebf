//! Checks one job.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::artifacts::{artifacts, check_artifacts};
use super::containers::{options, services};
use super::context::{FindingSink, MAX_TIMEOUT_S, PipelineContext, variables};
use super::failures::{check_allow_failure, check_retry, retry, tolerated_failures};
use super::{checkout, child, image, matrix, rules, surroundings};
use crate::pipeline::finding::{Fault, Finding, Path, quoted};
use crate::pipeline::model::{Job, Resources};
use crate::pipeline::names;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::job_parts::RawResources;
use crate::pipeline::raw::needs::NeedList;
use crate::pipeline::raw::quantities::Duration;
use crate::pipeline::raw::records::{RawDefaults, RawJob};
use crate::pipeline::raw::scalars::Text;
use crate::pipeline::raw::script::Script;

const DEFAULT_TIMEOUT_S: u64 = 3_600;

/// The minimum memory that Docker accepts for a container.
const MIN_MEMORY: u64 = 6 << 20;

const MAX_MEMORY: u64 = 64 << 40;

/// Checks `defaults` once, instead of in each job that inherits from it.
pub(crate) fn defaults(raw: &RawDefaults, findings: &mut FindingSink) {
    let path = Path::default().key("defaults");
    variables(raw.variables.get(), || path.key("variables"), findings);
    if let Some(image) = raw.image.get() {
        image::check_image(image, &path.key("image"), findings);
    }
    image::check_pull_policies(&raw.image, &raw.pull_policy, &path, findings);
    if let Some(artifacts) = raw.artifacts.get() {
        check_artifacts(artifacts, &path.key("artifacts"), findings);
    }
    if let Some(again) = raw.retry.get() {
        check_retry(&again.0, &path, findings);
    }
    check_limits(&raw.timeout, raw.resources.get(), &raw.working_dir, &path, findings);
    check_allow_failure(&raw.allow_failure, &path, findings);
    services::services(raw.services.get(), &path.key("services"), findings);
    surroundings::caches(raw.cache.get(), &path.key("cache"), findings);
    surroundings::secrets(raw.secrets.get(), &path.key("secrets"), findings);
    surroundings::labels(raw.runs_on.get(), &path.key("runs_on"), findings);
    options::container(raw.container.get(), &path.key("container"), findings);
    if let Some(raw) = raw.checkout.get() {
        checkout::checkout(raw, &path.key("checkout"), findings);
    }
}

/// Checks a job, and returns its model.
pub(crate) fn job(
    name: &str,
    stage: &str,
    raw: &RawJob,
    path: &Path,
    around: &PipelineContext<'_>,
    findings: &mut FindingSink,
) -> Job {
    let defaults = around.defaults;
    check_script(name, raw, path, findings);
    let own = variables(raw.variables.get(), || path.key("variables"), findings);
    let mut all = IndexMap::with_capacity(own.len());
    let inherited = defaults.variables.get().map_or(&[][..], |entries| entries.0.as_slice());
    all.extend(inherited.iter().map(|(name, value)| (name.clone(), value.0.clone())));
    all.extend(own);
    let matrix = matrix::matrix(raw, path, &[&all, around.variables], findings);
    let image = image::image(name, raw, path, around, &all, &matrix, findings);
    if let Some(artifacts) = raw.artifacts.get() {
        check_artifacts(artifacts, &path.key("artifacts"), findings);
    }
    check_limits(&raw.timeout, raw.resources.get(), &raw.working_dir, path, findings);
    let resources = |raw: Option<&RawResources>| {
        raw.map(|raw| Resources {
            cpus: raw.cpus.get().map(|cpus| cpus.0),
            memory_bytes: raw.memory.get().map(|memory| memory.0),
        })
        .unwrap_or_default()
    };
    let (own_limits, default_limits) = (resources(raw.resources.get()), resources(defaults.resources.get()));
    if let Some(again) = raw.retry.get() {
        check_retry(&again.0, path, findings);
    }
    check_allow_failure(&raw.allow_failure, path, findings);
    let (allow_failure, allow_exit_codes) =
        raw.allow_failure.get().or(defaults.allow_failure.get()).map(tolerated_failures).unwrap_or_default();
    let rules = rules::rules(raw, path, findings);
    rules::check_start_in(raw.start_in.get(), path, findings);
    let names = || -> HashSet<&str> {
        let ruled = rules.iter().flat_map(|rule| rule.variables.keys());
        let names = all.keys().chain(around.variables.keys()).chain(ruled);
        names.map(String::as_str).chain(matrix.keys()).collect()
    };
    let surroundings = surroundings::job_options(name, raw, path, around, names, findings);
    image::check_without_image(&image, &surroundings, raw, path, findings);
    let mut runs_on =
        surroundings::labels(defaults.runs_on.get(), &Path::default(), &mut FindingSink::default());
    if let own @ Some(_) = raw.runs_on.get() {
        runs_on.extend(surroundings::labels(own, &path.key("runs_on"), findings));
    }
    let lines = |script: Option<&Script>| script.map(|script| script.0.clone()).unwrap_or_default();
    let starts_child = surroundings.child.is_some();
    let only_builds = raw.script.is_absent() && raw.build.get().is_some();
    let mut script = if only_builds || starts_child {
        Vec::new()
    } else {
        lines(raw.before_script.get().or(defaults.before_script.get()))
    };
    script.extend(lines(raw.script.get()).into_iter().filter(|_| !starts_child));
    let (retry, mut retry_for) =
        raw.retry.get().or(defaults.retry.get()).map(|again| retry(&again.0)).unwrap_or_default();
    retry_for.lost_is_final |=
        raw.interruptible.get().or(defaults.interruptible.get()).is_some_and(|flag| !flag.0);
    Job {
        name: name.to_owned(),
        stage: stage.to_owned(),
        image: image.name,
        image_options: image.options,
        script,
        rules,
        when: raw.when.get().map(|when| when.0).unwrap_or_default(),
        start_in_s: raw.start_in.get().map(|delay| delay.0),
        needs: raw.needs.get().map(NeedList::models),
        dependencies: raw.dependencies.get().map(NeedList::models),
        variables: all,
        artifacts: raw.artifacts.get().or(defaults.artifacts.get()).filter(|_| !starts_child).map(artifacts),
        allow_failure,
        allow_exit_codes,
        retry,
        retry_for,
        timeout_s: raw.timeout.get().or(defaults.timeout.get()).map_or(DEFAULT_TIMEOUT_S, |span| span.0),
        working_dir: raw.working_dir.get().or(defaults.working_dir.get()).map(|dir| dir.0.clone()),
        resources: Resources {
            cpus: own_limits.cpus.or(default_limits.cpus),
            memory_bytes: own_limits.memory_bytes.or(default_limits.memory_bytes),
        },
        matrix,
        parallel: raw.parallel.get().map(|count| count.0),
        variant_name: raw.variant_name.get().map(|name| name.0.clone()),
        pull_policy: image.pull_policy,
        surroundings,
        runs_on,
    }
}

fn check_script(name: &str, raw: &RawJob, path: &Path, findings: &mut FindingSink) {
    match &raw.script {
        Field::Invalid => {}
        _ if !raw.pipeline.is_absent() => child::check_other_keys(raw, path, findings),
        // The missing template, which is reported, may have the script.
        Field::Absent if !raw.extends.is_absent() => {}
        Field::Absent if !raw.build.is_absent() => check_build_only(raw, path, findings),
        Field::Absent => findings.push(
            Finding::key("missing-key", path, format!("the job {} has no `script`", quoted(name)))
                .help("add `script:` with the shell lines to run"),
        ),
        Field::Set(script) => {
            if script.0.iter().all(|line| line.trim().is_empty()) {
                findings.push(
                    Finding::value("empty-script", &path.key("script"), "`script` has nothing to run")
                        .help("add at least one line of shell"),
                );
            }
        }
    }
}

/// Reports keys that have no effect on a job that only builds an image.
fn check_build_only(raw: &RawJob, path: &Path, findings: &mut FindingSink) {
    let keys = [
        (!raw.before_script.is_absent(), "before_script"),
        (!raw.after_script.is_absent(), "after_script"),
        (!raw.services.is_absent(), "services"),
        (!raw.cache.is_absent(), "cache"),
        (!raw.artifacts.is_absent(), "artifacts"),
        (!raw.container.is_absent(), "container"),
        (!raw.id_tokens.is_absent(), "id_tokens"),
    ];
    for (_, key) in keys.into_iter().filter(|(is_set, _)| *is_set) {
        findings.push(
            Finding::key(
                "conflicting-keys",
                &path.key(key),
                format!("`{key}` has no effect on a job with `build` and without `script`"),
            )
            .help("remove it, or add a `script`, which runs before the build"),
        );
    }
}

fn check_limits(
    timeout: &Field<Duration>,
    resources: Option<&RawResources>,
    working_dir: &Field<Text>,
    path: &Path,
    findings: &mut FindingSink,
) {
    if let Some(timeout) = timeout.get()
        && !(1..=MAX_TIMEOUT_S).contains(&timeout.0)
    {
        let fault = Fault::new("out-of-range", "must be from one second to 30 days");
        findings.check(Err(fault), || path.key("timeout"));
    }
    if let Some(memory) = resources.and_then(|resources| resources.memory.get())
        && !(MIN_MEMORY..=MAX_MEMORY).contains(&memory.0)
    {
        let fault = Fault::new("out-of-range", "must be from 6 MiB to 64 TiB")
            .help("a bare number is bytes; write `512m` or `2GiB`");
        findings.check(Err(fault), || path.key("resources").key("memory"));
    }
    if let Some(dir) = working_dir.get() {
        let fault = if dir.0.is_empty() {
            Some(Fault::new("bad-path", "is empty").help("write `.` for the sources themselves"))
        } else if names::climbs_out(&dir.0) {
            Some(Fault::new("path-outside", format!("climbs out: {}", quoted(&dir.0))).help(
                "write it relative to the sources without `..`, or as an absolute path in the container",
            ))
        } else {
            None
        };
        findings.check(fault.map_or(Ok(()), Err), || path.key("working_dir"));
    }
}
