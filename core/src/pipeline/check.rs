//! The rules that reach across a whole pipeline, and the way from the raw form to the model.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::cycle;
use super::field::{Entries, Field};
use super::finding::{Fault, Finding, Part, Path, Segment, Spot, quoted};
use super::job_check::{self, Surroundings};
use super::model::{Job, Pipeline};
use super::raw::{RawDefaults, RawJob, RawPipeline};
use super::suggest::Suggestions;
use super::value::Text;
use super::{dependencies, syntax, top_check};
use crate::condition;
use crate::facts::Facts;
use crate::plan::{MAX_JOBS, MAX_PLAN_BYTES, expanded_bytes};

/// The stages of a file that names none; those without jobs are left out.
const IMPLICIT_STAGES: [&str; 3] = ["build", "test", "deploy"];
/// The stage of a job that names none.
const IMPLICIT_STAGE: &str = "test";

/// What the rules gather.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
    pub(super) suggestions: Suggestions,
    /// What is wrong with conditions that were looked at: jobs that share rules have the same ones.
    conditions: HashMap<String, Option<condition::Fault>>,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// What is wrong with a condition, if anything is.
    pub(super) fn condition(&mut self, text: &str) -> Option<condition::Fault> {
        if let Some(known) = self.conditions.get(text) {
            return known.clone();
        }
        let fault = condition::check(text).err();
        self.conditions.insert(text.to_owned(), fault.clone());
        fault
    }

    /// Adds a fault of the value at `path`, if there is one.
    pub(super) fn check(&mut self, result: Result<(), Fault>, path: impl FnOnce() -> Path) {
        if let Err(fault) = result {
            self.list.push(fault.at(&path()));
        }
    }

    /// Adds a fault of the key that leads to `path`, if there is one.
    pub(super) fn check_key(&mut self, result: Result<(), Fault>, path: impl FnOnce() -> Path) {
        if let Err(fault) = result {
            let path = path();
            let message = format!("{} {}", path.called(), fault.message);
            self.list.push(Finding::key(fault.code, &path, message).maybe_help(fault.help));
        }
    }
}

/// A job's place and name, known even where the rest of it could not be read.
pub(super) struct Known<'a> {
    pub(super) path: Path,
    pub(super) name: Option<&'a str>,
    pub(super) raw: Option<&'a RawJob>,
}

/// Turns the raw form into the model, and finds everything that is wrong with it on the way. The model is
/// only worth something when no error was found.
pub(super) fn pipeline(raw: &RawPipeline) -> (Pipeline, Findings) {
    let mut findings = Findings::default();
    let root = Path::default();
    let name = match &raw.name {
        Field::Set(name) => {
            findings.check(syntax::check_name(&name.0), || root.key("name"));
            name.0.clone()
        }
        field => {
            if field.is_absent() {
                findings.add(
                    Finding::value("missing-key", &root, "the pipeline has no `name`")
                        .help("add `name: build-and-test`, or what it does; runs are listed under it"),
                );
            }
            String::new()
        }
    };
    if !raw.include.is_absent() {
        findings.add(
            Finding::key("include-unread", &root.key("include"), "the included files cannot be read here")
                .help("`tidemill check`, `plan` and `run` read them, and send one text to a server"),
        );
    }
    let on = raw.on.get().map(|on| top_check::triggers(on, &mut findings)).unwrap_or_default();
    let variables = variables(raw.variables.get(), &root.key("variables"), &mut findings);
    let concurrency = top_check::concurrency(raw, &variables, &mut findings);
    let timeout_s = top_check::timeout(raw, &mut findings);
    let written_stages = stages(raw, &mut findings);
    let no_defaults = RawDefaults::default();
    let defaults = raw.defaults.get().unwrap_or(&no_defaults);
    job_check::defaults(defaults, &mut findings);

    let known = known_jobs(raw, &mut findings);
    let implicit = raw.stages.is_absent();
    let stage_names: Vec<&str> = match &written_stages {
        Some(stages) => stages.iter().map(String::as_str).collect(),
        None => IMPLICIT_STAGES.to_vec(),
    };
    let stage_order: HashMap<&str, usize> =
        stage_names.iter().enumerate().rev().map(|(at, stage)| (*stage, at)).collect();
    let surroundings = Surroundings { variables: &variables, defaults };
    let mut jobs: Vec<Job> = Vec::with_capacity(known.len());
    let mut stage_of: Vec<Option<usize>> = vec![None; known.len()];
    for (at, job) in known.iter().enumerate() {
        let Some(raw_job) = job.raw else { continue };
        // Where the stages could not be read, nothing can be said of a job's stage.
        let stages_known = implicit || written_stages.is_some();
        let stage =
            if stages_known { job_stage(job, raw_job, &stage_names, implicit, &mut findings) } else { None };
        stage_of[at] = stage.and_then(|stage| stage_order.get(stage).copied());
        let name = job.name.unwrap_or_default();
        jobs.push(job_check::job(
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
    let used: HashSet<usize> = stage_of.iter().copied().flatten().collect();
    // A job that could not be read, or whose stage is unknown, may be the one a stage waits for.
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

/// The stages as written; `None` where there are none, or none that could be read.
fn stages(raw: &RawPipeline, findings: &mut Findings) -> Option<Vec<String>> {
    let path = Path::default().key("stages");
    let stages = &raw.stages.get()?.0;
    if stages.is_empty() {
        findings.add(
            Finding::value("empty-stages", &path, "`stages` is empty").help(
                "name at least one stage, or remove the key: build, test and deploy are there by default",
            ),
        );
        return None;
    }
    let mut first = HashMap::new();
    for (at, stage) in stages.iter().enumerate() {
        findings.check(syntax::check_name(&stage.0), || path.index(at));
        if let Some(first) = first.insert(stage.0.as_str(), at) {
            findings.add(
                Finding::value(
                    "duplicate-stage",
                    &path.index(at),
                    format!("the stage {} is listed twice", quoted(&stage.0)),
                )
                .help("remove one of the two")
                .related("first listed here", Spot::At(path.index(first), Part::Value)),
            );
        }
    }
    Some(stages.iter().map(|stage| stage.0.clone()).collect())
}

fn unused_stages(
    stages: &[&str],
    used: &HashSet<usize>,
    order: &HashMap<&str, usize>,
    findings: &mut Findings,
) {
    for (at, stage) in stages.iter().enumerate() {
        if order.get(stage) == Some(&at) && !used.contains(&at) {
            let path = Path::default().key("stages").index(at);
            findings.add(
                Finding::value("empty-stage", &path, format!("the stage {} has no jobs", quoted(stage)))
                    .help("remove it, or give a job this `stage`"),
            );
        }
    }
}

/// The jobs in file order, their names checked.
fn known_jobs<'a>(raw: &'a RawPipeline, findings: &mut Findings) -> Vec<Known<'a>> {
    let path = Path::default().key("jobs");
    let jobs = match &raw.jobs {
        Field::Set(jobs) if !jobs.0.is_empty() => &jobs.0,
        Field::Bad => return Vec::new(),
        Field::Set(_) => {
            findings.add(Finding::value("no-jobs", &path, "`jobs` is empty").help("add at least one job"));
            return Vec::new();
        }
        Field::Absent => {
            findings.add(
                Finding::value("missing-key", &Path::default(), "the pipeline has no `jobs`")
                    .help("add `jobs:` with at least one job below it"),
            );
            return Vec::new();
        }
    };
    let mut known: Vec<Known<'a>> = Vec::with_capacity(jobs.len());
    let mut first: HashMap<&str, Path> = HashMap::new();
    for (segment, job) in jobs {
        let path = path.with(segment.clone());
        let raw = job.get();
        let name = match segment {
            Segment::Key(name) => {
                findings.check_key(syntax::check_name(name), || path.clone());
                if raw.is_some_and(|job| !job.name.is_absent()) {
                    findings.add(
                        Finding::key(
                            "unknown-key",
                            &path.key("name"),
                            "this job has its name already: its key",
                        )
                        .help("remove `name`; it is for jobs that are written as a list"),
                    );
                }
                Some(name.as_str())
            }
            Segment::Index(_) => match raw.map(|job| &job.name) {
                Some(Field::Set(name)) => {
                    findings.check(syntax::check_name(&name.0), || path.key("name"));
                    if let Some(first) = first.get(name.0.as_str()) {
                        findings.add(
                            Finding::value(
                                "duplicate-job",
                                &path.key("name"),
                                format!("two jobs are named {}", quoted(&name.0)),
                            )
                            .help("give each job a name of its own")
                            .related("first used here", Spot::At(first.clone(), Part::Value)),
                        );
                    } else {
                        first.insert(&name.0, path.key("name"));
                    }
                    Some(name.0.as_str())
                }
                Some(Field::Absent) => {
                    findings.add(
                        Finding::value("missing-key", &path, "this job has no `name`")
                            .help("jobs written as a list each need a `name`"),
                    );
                    None
                }
                _ => None,
            },
        };
        known.push(Known { path, name, raw });
    }
    known
}

/// The stage a job belongs to; `None` when that cannot be said, which has then been reported.
fn job_stage<'a>(
    job: &Known<'_>,
    raw: &'a RawJob,
    stages: &[&'a str],
    implicit: bool,
    findings: &mut Findings,
) -> Option<&'a str> {
    match &raw.stage {
        Field::Bad => None,
        Field::Set(stage) => {
            if stages.contains(&stage.0.as_str()) {
                return Some(&stage.0);
            }
            let help =
                findings.suggestions.did_you_mean(&stage.0, stages.iter().copied()).unwrap_or_else(|| {
                    let list = stages.join(", ");
                    if implicit {
                        format!("without a `stages` list the stages are {list}; add one to name your own")
                    } else {
                        format!("the stages are {list}")
                    }
                });
            let path = job.path.key("stage");
            findings.add(
                Finding::value("unknown-stage", &path, format!("there is no stage {}", quoted(&stage.0)))
                    .help(help),
            );
            None
        }
        Field::Absent => {
            let chosen = match stages {
                [only] => Some(*only),
                _ => stages.iter().copied().find(|stage| *stage == IMPLICIT_STAGE),
            };
            if chosen.is_none() {
                findings.add(
                    Finding::key("missing-stage", &job.path, format!("{} has no `stage`", calls(job)))
                        .help(format!("add `stage:` with one of {}", stages.join(", "))),
                );
            }
            chosen
        }
    }
}

pub(super) fn calls(job: &Known<'_>) -> String {
    job.name.map_or_else(|| "this job".to_owned(), |name| format!("the job {}", quoted(name)))
}

/// Checks what jobs wait for.
fn needs(known: &[Known<'_>], stage_of: &[Option<usize>], stages: &[&str], findings: &mut Findings) {
    let mut by_name: HashMap<&str, usize> = HashMap::with_capacity(known.len());
    for (at, job) in known.iter().enumerate() {
        if let Some(name) = job.name {
            by_name.entry(name).or_insert(at);
        }
    }
    let mut edges: Vec<Vec<usize>> = vec![Vec::new(); known.len()];
    for (at, job) in known.iter().enumerate() {
        let Some(needs) = job.raw.and_then(|raw| raw.needs.get()) else { continue };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for need in &needs.0 {
            let path = || need_path(&job.path, need.index, need.long);
            if let Some(first) = seen.insert(&need.job, need.index) {
                findings.add(
                    Finding::value(
                        "duplicate-need",
                        &path(),
                        format!("{} is needed twice", quoted(&need.job)),
                    )
                    .help("remove one of the two")
                    .related("first needed here", Spot::At(need_path(&job.path, first, false), Part::Value)),
                );
                continue;
            }
            let Some(target) = by_name.get(need.job.as_str()).copied() else {
                let names = known.iter().filter_map(|job| job.name).filter(|name| Some(*name) != job.name);
                let help = match stages.iter().find(|stage| **stage == need.job) {
                    Some(_) => Some(format!(
                        "{} is a stage; `needs` takes jobs, and without `needs` a job waits for all earlier stages",
                        quoted(&need.job)
                    )),
                    None => findings.suggestions.did_you_mean(&need.job, names),
                };
                findings.add(
                    Finding::value(
                        "unknown-need",
                        &path(),
                        format!("there is no job {} to need", quoted(&need.job)),
                    )
                    .maybe_help(help),
                );
                continue;
            };
            if target == at {
                findings.add(
                    Finding::value("needs-itself", &path(), format!("{} needs itself", calls(job)))
                        .help("remove it from its own `needs`"),
                );
                continue;
            }
            edges[at].push(target);
            if let (Some(own), Some(theirs)) = (stage_of[at], stage_of[target])
                && theirs > own
            {
                findings.add(
                    Finding::value(
                        "needs-later-stage",
                        &path(),
                        format!(
                            "{} of stage {} cannot need {} of the later stage {}",
                            calls(job),
                            quoted(stages[own]),
                            quoted(&need.job),
                            quoted(stages[theirs])
                        ),
                    )
                    .help("move one of the two to another stage, or change the order of `stages`")
                    .related("needed job", Spot::At(known[target].path.clone(), Part::Key)),
                );
            }
        }
    }
    for ring in cycle::find(&edges) {
        report_ring(&ring, known, findings);
    }
}

fn need_path(job: &Path, index: usize, long: bool) -> Path {
    let path = job.key("needs").index(index);
    if long { path.key("job") } else { path }
}

fn report_ring(ring: &[usize], known: &[Known<'_>], findings: &mut Findings) {
    const MOST_PLACES: usize = 8;
    let name = |at: usize| known[at].name.unwrap_or_default();
    let mut names: Vec<&str> = ring.iter().map(|at| name(*at)).collect();
    names.push(name(ring[0]));
    let place = |from: usize, to: usize| {
        let needs = known[from].raw.and_then(|raw| raw.needs.get());
        let need = needs.and_then(|needs| needs.0.iter().find(|need| need.job == name(to)));
        need.map_or_else(
            || known[from].path.clone(),
            |need| need_path(&known[from].path, need.index, need.long),
        )
    };
    let mut arrows = ring.iter().copied().zip(ring.iter().copied().cycle().skip(1));
    let message = format!("these jobs wait for each other: {}", names.join(" -> "));
    let Some((from, to)) = arrows.next() else { return };
    let mut finding = Finding::value("cycle", &place(from, to), message)
        .help("remove one of these needs; an arrow reads \"needs\"");
    for (from, to) in arrows.take(MOST_PLACES) {
        let message = format!("{} needs {}", name(from), name(to));
        finding = finding.related(message, Spot::At(place(from, to), Part::Value));
    }
    findings.add(finding);
}

/// Refuses what its matrices would make too large.
fn bound_plan(pipeline: &Pipeline, root: &Path, findings: &mut Findings) {
    let variants = |job: &Job| job.matrix.values().fold(1_usize, |n, values| n.saturating_mul(values.len()));
    let total = pipeline.jobs.iter().fold(0_usize, |n, job| n.saturating_add(variants(job)));
    if total > MAX_JOBS {
        let message = format!("this pipeline comes to {total} jobs, and {MAX_JOBS} is the limit");
        findings.add(
            Finding::key("too-many-jobs", &root.key("jobs"), message).help("split it into several pipelines"),
        );
        return;
    }
    let bytes = expanded_bytes(pipeline, &Facts::default());
    if bytes > MAX_PLAN_BYTES {
        let message = format!(
            "with every variant of its matrices written out this pipeline comes to {bytes} bytes, and {MAX_PLAN_BYTES} is \
             the limit"
        );
        findings.add(Finding::key("plan-too-large", &root.key("jobs"), message).help(
            "each variant has the variables, the script and the names of its needs for its own: use a smaller matrix, keep \
             long values in files, or give the variants' `needs` one job that waits for all of them",
        ));
    }
}

/// Checks variables and gives them in file order.
pub(super) fn variables(
    entries: Option<&Entries<Text>>,
    path: &Path,
    findings: &mut Findings,
) -> IndexMap<String, String> {
    const LONGEST_VALUE: usize = 32 << 10;
    let entries = entries.map_or(&[][..], |entries| entries.0.as_slice());
    let mut variables = IndexMap::with_capacity(entries.len());
    for (name, value) in entries {
        findings.check_key(syntax::check_variable_name(name), || path.key(name));
        if value.0.len() > LONGEST_VALUE {
            let message = format!("the value of `{name}` is longer than 32 KiB");
            findings.add(
                Finding::value("out-of-range", &path.key(name), message)
                    .help("put it into a file of the repository"),
            );
        }
        variables.insert(name.clone(), value.0.clone());
    }
    variables
}
