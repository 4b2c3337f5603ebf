//! The rules for one job by itself.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::check::{Findings, variables};
use super::field::Field;
use super::field_shapes::Either;
use super::finding::{Fault, Finding, Part, Path, Spot, quoted};
use super::job_parts::Reports;
use super::model::{Artifacts, Job, Resources};
use super::raw::{RawArtifacts, RawDefaults, RawJob, RawResources, RawRetry};
use super::raw_parts::RawAllowed;
use super::shapes::Script;
use super::value::{Flag, Span, Text};
use super::{parts_check, rule_check, syntax};
use crate::retry::RetryFor;

/// How many variants a job's matrix may have.
const MOST_VARIANTS: usize = 256;
const DEFAULT_TIMEOUT_S: u64 = 3_600;
pub(super) const LONGEST_TIMEOUT_S: u64 = 30 * 86_400;
const LONGEST_KEEP_S: u64 = 10 * 366 * 86_400;
/// The least memory that the Docker engine accepts for a container.
const LEAST_MEMORY: u64 = 6 << 20;
const MOST_MEMORY: u64 = 64 << 40;

/// What a job stands in.
pub(super) struct Surroundings<'a> {
    pub(super) variables: &'a IndexMap<String, String>,
    pub(super) defaults: &'a RawDefaults,
}

/// Checks `defaults` by itself, once, rather than in each job that inherits from it.
pub(super) fn defaults(raw: &RawDefaults, findings: &mut Findings) {
    let path = Path::default().key("defaults");
    variables(raw.variables.get(), &path.key("variables"), findings);
    if let Some(image) = raw.image.get() {
        findings.check(image_spelling(&image.0), || path.key("image"));
    }
    if let Some(artifacts) = raw.artifacts.get() {
        check_artifacts(artifacts, &path.key("artifacts"), findings);
    }
    if let Some(again) = raw.retry.get() {
        check_retry(&again.0, &path, findings);
    }
    check_limits(&raw.timeout, raw.resources.get(), &raw.working_dir, &path, findings);
    check_allowed(&raw.allow_failure, &path, findings);
    parts_check::services(raw.services.get(), &path.key("services"), findings);
    parts_check::caches(raw.cache.get(), &path.key("cache"), findings);
    parts_check::secrets(raw.secrets.get(), &path.key("secrets"), findings);
    parts_check::labels(raw.runs_on.get(), &path.key("runs_on"), findings);
}

/// Checks a job and gives its normalised form.
pub(super) fn job(
    name: &str,
    stage: &str,
    raw: &RawJob,
    path: &Path,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Job {
    let defaults = around.defaults;
    check_script(name, raw, path, findings);
    let own = variables(raw.variables.get(), &path.key("variables"), findings);
    let mut all = IndexMap::with_capacity(own.len());
    let inherited = defaults.variables.get().map_or(&[][..], |entries| entries.0.as_slice());
    all.extend(inherited.iter().map(|(name, value)| (name.clone(), value.0.clone())));
    all.extend(own);
    let matrix = matrix(raw, path, &all, findings);
    let image = image(name, raw, path, around, &all, &matrix, findings);
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
    check_allowed(&raw.allow_failure, path, findings);
    let (allow_failure, allow_exit_codes) =
        raw.allow_failure.get().or(defaults.allow_failure.get()).map(allowed).unwrap_or_default();
    let rules = rule_check::rules(raw, path, findings);
    let mut names: HashSet<&str> =
        all.keys().chain(matrix.keys()).chain(around.variables.keys()).map(String::as_str).collect();
    names.extend(rules.iter().flat_map(|rule| rule.variables.keys()).map(String::as_str));
    let surroundings = parts_check::surroundings(name, raw, path, defaults, &names, findings);
    let mut runs_on = parts_check::labels(defaults.runs_on.get(), &Path::default(), &mut Findings::default());
    runs_on.extend(parts_check::labels(raw.runs_on.get(), &path.key("runs_on"), findings));
    let lines = |script: Option<&Script>| script.map(|script| script.0.clone()).unwrap_or_default();
    let mut script = lines(raw.before_script.get().or(defaults.before_script.get()));
    script.extend(lines(raw.script.get()));
    let (retry, retry_for) =
        raw.retry.get().or(defaults.retry.get()).map(|again| retry(&again.0)).unwrap_or_default();
    Job {
        name: name.to_owned(),
        stage: stage.to_owned(),
        image,
        script,
        rules,
        when: raw.when.get().map(|when| when.0).unwrap_or_default(),
        needs: raw.needs.get().map(|needs| needs.0.iter().map(|need| need.job.clone()).collect()),
        dependencies: raw
            .dependencies
            .get()
            .map(|jobs| jobs.0.iter().map(|(_, job)| job.0.clone()).collect()),
        variables: all,
        artifacts: raw.artifacts.get().or(defaults.artifacts.get()).map(artifacts),
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
        pull_policy: raw
            .pull_policy
            .get()
            .or(defaults.pull_policy.get())
            .map(|pull| pull.0)
            .unwrap_or_default(),
        surroundings,
        runs_on,
    }
}

/// Which failures are allowed: all of them, or these exit codes.
fn allowed(raw: &Either<Flag, RawAllowed>) -> (bool, Vec<i32>) {
    match raw {
        Either::Short(flag) => (flag.0, Vec::new()),
        Either::Long(raw) => {
            let codes = raw.exit_codes.get().map_or(&[][..], |codes| codes.0.as_slice());
            (false, codes.iter().map(|code| code.0).collect())
        }
    }
}

fn check_allowed(raw: &Field<Either<Flag, RawAllowed>>, path: &Path, findings: &mut Findings) {
    let Some(Either::Long(raw)) = raw.get() else { return };
    let none = raw.exit_codes.is_absent() || raw.exit_codes.get().is_some_and(|codes| codes.0.is_empty());
    if none {
        findings.add(
            Finding::value("missing-key", &path.key("allow_failure"), "`allow_failure` names no exit codes")
                .help("write `allow_failure: true`, or `{ exit_codes: [..] }` with those that are allowed"),
        );
    }
}

/// How many more times a job is tried, and after what.
fn retry(raw: &RawRetry) -> (u32, RetryFor) {
    let kinds = raw.when.get().map_or(&[][..], |kinds| kinds.0.as_slice());
    let exit_codes = raw.exit_codes.get().map_or(&[][..], |codes| codes.0.as_slice());
    let retry_for = RetryFor {
        kinds: kinds.iter().map(|kind| kind.0).collect(),
        exit_codes: exit_codes.iter().map(|code| code.0).collect(),
    };
    (raw.max.get().map_or(1, |max| max.0), retry_for)
}

/// Lists without a value would mean the opposite of what they look like.
fn check_retry(raw: &RawRetry, path: &Path, findings: &mut Findings) {
    let path = path.key("retry");
    let empty = |key: &str| {
        Finding::value("empty-list", &path.key(key), format!("`{key}` is empty, so it narrows nothing"))
            .help(format!("remove `{key}` to try again after every failure, or `retry` to never do"))
    };
    if raw.when.get().is_some_and(|kinds| kinds.0.is_empty()) {
        findings.add(empty("when"));
    }
    if raw.exit_codes.get().is_some_and(|codes| codes.0.is_empty()) {
        findings.add(empty("exit_codes"));
    }
}

fn check_script(name: &str, raw: &RawJob, path: &Path, findings: &mut Findings) {
    match &raw.script {
        Field::Bad => {}
        // Its template is missing, and with it what it would have.
        Field::Absent if !raw.extends.is_absent() => {}
        Field::Absent => findings.add(
            Finding::key("missing-key", path, format!("the job {} has no `script`", quoted(name)))
                .help("add `script:` with the shell lines to run"),
        ),
        Field::Set(script) => {
            if script.0.iter().all(|line| line.trim().is_empty()) {
                findings.add(
                    Finding::value("empty-script", &path.key("script"), "`script` has nothing to run")
                        .help("add at least one line of shell"),
                );
            }
        }
    }
}

fn matrix(
    raw: &RawJob,
    path: &Path,
    variables: &IndexMap<String, String>,
    findings: &mut Findings,
) -> IndexMap<String, Vec<String>> {
    let path = path.key("matrix");
    let Some(entries) = raw.matrix.get() else { return IndexMap::new() };
    let mut matrix = IndexMap::with_capacity(entries.0.len());
    for (key, values) in &entries.0 {
        let at = path.key(key);
        findings.check_key(syntax::check_variable_name(key), || at.clone());
        if values.0.is_empty() {
            findings.add(
                Finding::value(
                    "empty-matrix",
                    &at,
                    format!("`{key}` has no values, so the job would never run"),
                )
                .help("give it at least one value, or remove the key"),
            );
        }
        let mut first = HashMap::new();
        for (index, value) in values.0.iter().enumerate() {
            if let Some(first) = first.insert(value.0.as_str(), index) {
                let message = format!("{} stands twice in `{key}`", quoted(&value.0));
                findings.add(
                    Finding::value("duplicate-value", &at.index(index), message)
                        .help("remove one of the two: both would run the same job")
                        .related("first here", Spot::At(at.index(first), Part::Value)),
                );
            }
        }
        if variables.contains_key(key) {
            let message = format!("the matrix key `{key}` hides the variable of the same name");
            findings
                .add(Finding::key("hidden-variable", &at, message).warning().help("rename one of the two"));
        }
        matrix.insert(key.clone(), values.0.iter().map(|value| value.0.clone()).collect::<Vec<_>>());
    }
    let variants = matrix.values().fold(1_usize, |n, values| n.saturating_mul(values.len()));
    if variants > MOST_VARIANTS {
        let message = format!("this matrix has {variants} combinations, and {MOST_VARIANTS} is the limit");
        findings.add(
            Finding::key("matrix-too-large", &path, message).help("take fewer values, or split the job"),
        );
    }
    matrix
}

fn image(
    name: &str,
    raw: &RawJob,
    path: &Path,
    around: &Surroundings<'_>,
    variables: &IndexMap<String, String>,
    matrix: &IndexMap<String, Vec<String>>,
    findings: &mut Findings,
) -> String {
    let (image, at) = match (&raw.image, &around.defaults.image) {
        (Field::Set(image), _) => (&image.0, path.key("image")),
        (Field::Absent, Field::Set(image)) => (&image.0, Path::default().key("defaults").key("image")),
        (Field::Absent, Field::Absent) if !raw.extends.is_absent() => return String::new(),
        (Field::Absent, Field::Absent) => {
            findings.add(
                Finding::key("missing-image", path, format!("the job {} has no `image`", quoted(name)))
                    .help("add `image:`, or give every job one under `defaults:`"),
            );
            return String::new();
        }
        (Field::Bad, _) | (Field::Absent, Field::Bad) => return String::new(),
    };
    let own = !raw.image.is_absent();
    if own {
        findings.check(image_spelling(image), || at.clone());
    }
    let ruled = || {
        let rules = raw.rules.get().map_or(&[][..], |rules| rules.0.as_slice());
        rules
            .iter()
            .filter_map(|(_, rule)| rule.variables.get())
            .flat_map(|entries| &entries.0)
            .map(|(name, _)| name)
    };
    for reference in syntax::references(image).unwrap_or_default() {
        let known = matrix.contains_key(reference)
            || variables.contains_key(reference)
            || around.variables.contains_key(reference)
            || parts_check::is_word(reference)
            || ruled().any(|name| name == reference);
        if !known {
            let names =
                matrix.keys().chain(variables.keys()).chain(around.variables.keys()).map(String::as_str);
            let help = findings.suggestions.did_you_mean(reference, names);
            let message = format!(
                "the image of {} refers to {}, which is neither a matrix key nor a variable",
                quoted(name),
                quoted(reference)
            );
            let mut finding = Finding::value("unknown-reference", &at, message).maybe_help(help);
            if !own {
                finding = finding.related("for this job", Spot::At(path.clone(), Part::Key));
            }
            findings.add(finding);
        }
    }
    image.clone()
}

fn image_spelling(image: &str) -> Result<(), Fault> {
    syntax::references(image).and_then(|_| syntax::check_image(image))
}

fn artifacts(raw: &RawArtifacts) -> Artifacts {
    let paths = raw.paths.get().map_or(&[][..], |paths| paths.0.as_slice());
    Artifacts {
        paths: paths.iter().map(|path| path.0.clone()).collect(),
        when: raw.when.get().map(|when| when.0).unwrap_or_default(),
        expire_in_s: raw.expire_in.get().map(|span| span.0),
        reports: Reports {
            junit: raw
                .reports
                .get()
                .and_then(|reports| reports.junit.get())
                .map(|globs| globs.0.iter().map(|glob| glob.0.clone()).collect())
                .unwrap_or_default(),
        },
    }
}

fn check_artifacts(raw: &RawArtifacts, path: &Path, findings: &mut Findings) {
    if let Some(reports) = raw.reports.get() {
        parts_check::inside(reports.junit.get(), &path.key("reports").key("junit"), findings);
        if reports.junit.is_absent() {
            findings.add(
                Finding::key("missing-key", &path.key("reports"), "`reports` names no files")
                    .help("write `reports: { junit: report.xml }`"),
            );
        }
    }
    match &raw.paths {
        // Reports are read by themselves.
        Field::Absent if !raw.reports.is_absent() => {}
        Field::Absent => findings.add(
            Finding::key("missing-key", path, "`artifacts` has no `paths`")
                .help("add `paths:` with the files to keep"),
        ),
        Field::Set(paths) if paths.0.is_empty() => findings.add(
            Finding::value("empty-paths", &path.key("paths"), "`paths` is empty")
                .help("name the files to keep, or remove `artifacts`"),
        ),
        Field::Set(paths) => {
            for (index, glob) in paths.0.iter().enumerate() {
                let at = || path.key("paths").index(index);
                findings.check(syntax::check_inside(&glob.0), at);
                if glob.0.contains("${") {
                    let message = format!("variables are not expanded here: {}", quoted(&glob.0));
                    let finding = Finding::value("not-expanded", &at(), message).warning();
                    findings.add(finding.help("use a glob, such as `dist/*.tar.gz`"));
                }
            }
        }
        Field::Bad => {}
    }
    if let Some(keep) = raw.expire_in.get() {
        let fault = Fault::new("out-of-range", "must be from one minute to ten years");
        let result = if (60..=LONGEST_KEEP_S).contains(&keep.0) { Ok(()) } else { Err(fault) };
        findings.check(result, || path.key("expire_in"));
    }
}

fn check_limits(
    timeout: &Field<Span>,
    resources: Option<&RawResources>,
    working_dir: &Field<Text>,
    path: &Path,
    findings: &mut Findings,
) {
    if let Some(timeout) = timeout.get()
        && !(1..=LONGEST_TIMEOUT_S).contains(&timeout.0)
    {
        let fault = Fault::new("out-of-range", "must be from one second to 30 days");
        findings.check(Err(fault), || path.key("timeout"));
    }
    if let Some(memory) = resources.and_then(|resources| resources.memory.get())
        && !(LEAST_MEMORY..=MOST_MEMORY).contains(&memory.0)
    {
        let fault = Fault::new("out-of-range", "must be from 6 MiB to 64 TiB")
            .help("a bare number is bytes; write `512m` or `2GiB`");
        findings.check(Err(fault), || path.key("resources").key("memory"));
    }
    if let Some(dir) = working_dir.get() {
        let fault = if dir.0.is_empty() {
            Some(Fault::new("bad-path", "is empty").help("write `.` for the sources themselves"))
        } else if syntax::climbs_out(&dir.0) {
            Some(Fault::new("path-outside", format!("climbs out: {}", quoted(&dir.0))).help(
                "write it relative to the sources without `..`, or as an absolute path in the container",
            ))
        } else {
            None
        };
        findings.check(fault.map_or(Ok(()), Err), || path.key("working_dir"));
    }
}
