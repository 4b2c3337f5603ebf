//! Translates the top-level keys of a GitLab file, and assembles the native file.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::job::{matrix, services};
use super::settings::TranslateOptions;
use super::values;
use crate::gitlab::conditions::rules::{self, Rule};
use crate::gitlab::findings::Log;
use crate::gitlab::job::{self, FileContext, NativeJob};
use crate::gitlab::keys::{self, InheritedKeys};
use crate::gitlab::variables::{self, Scope};
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// Maximum number of jobs, and of variables of all jobs together.
const MAX_JOBS: usize = 10_000;
const MAX_VARIABLES: usize = 1_000_000;

/// The parts of a native file.
pub(crate) struct NativeFile {
    /// All keys except `jobs`.
    pub(crate) top: Mapping,
    pub(crate) jobs: Vec<TranslatedJob>,
}

/// A native job, and the name of the GitLab job that it comes from.
pub(crate) struct TranslatedJob {
    pub(crate) gitlab: String,
    pub(crate) native: NativeJob,
}

/// Translates a document in which everything is expanded.
pub(crate) fn translate(
    root: &Rc<Node>,
    settings: &TranslateOptions,
    for_pull_requests: bool,
    log: &mut Log,
) -> NativeFile {
    let path = Path::default();
    if let Some(entry) = root.get("spec") {
        let help = "write the values into the file";
        log.unsupported(&path, entry, "files take no inputs", help);
    }
    let jobs: Vec<&MapEntry> = values::entries(root).iter().filter(|entry| is_job(entry)).collect();
    for entry in &jobs {
        if !values::is_mapping(&entry.value) {
            let message = format!("the job {} is not a mapping of keys to values", quoted(&entry.key));
            log.invalid(&path.key(&entry.key), entry.key_location, message);
        }
    }
    let jobs: Vec<&MapEntry> = jobs.into_iter().filter(|entry| values::is_mapping(&entry.value)).collect();
    let globals = root.get("variables");
    let globals = globals.map(|entry| variables::read(&entry.value, &path.key("variables"), log));
    let mut globals = globals.unwrap_or_default();
    let external = Rc::new(settings.external.clone());
    variables::apply_external(&mut globals, &external);
    let around = (&external, settings.reports_unset_variables);
    let native = NativeFile { top: Mapping::new(), jobs: Vec::new() };
    if jobs.is_empty() {
        log.invalid(
            &path,
            root.location,
            "this file has no jobs to run: jobs whose names start with `.` are templates",
        );
        return native;
    }
    if jobs.len() > MAX_JOBS || jobs.len().saturating_mul(globals.len()) > MAX_VARIABLES {
        let message = format!("{} jobs with {} variables each exceed the limit", jobs.len(), globals.len());
        log.invalid(&path, root.location, message);
        return native;
    }
    let global_scope = Scope::new(&globals, HashSet::new(), None, around, &path.key("variables"), log);
    let (workflow, name, cancels) = workflow(root, &global_scope, log);
    let varying: HashSet<String> = workflow.iter().flat_map(|rule| rule.variables.keys().cloned()).collect();
    let scope = Scope::new(&globals, varying, None, around, &path.key("variables"), &mut Log::default());
    let all_shared =
        jobs.iter().all(|job| InheritedKeys::read(&job.value, &path, &mut Log::default()).all_variables());
    let shared: HashMap<String, String> = if all_shared {
        scope.fixed_values().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    } else {
        HashMap::new()
    };
    let (stages, order) = stages(root, log);
    let names = names(&jobs, log);
    let default = default(root, log);
    let context = FileContext {
        stages,
        names,
        globals,
        external: Rc::clone(&external),
        accepts_unset: settings.reports_unset_variables,
        shared,
        excludes_pull_requests: for_pull_requests
            && root.get("workflow").and_then(|entry| entry.value.get("rules")).is_none(),
        workflow,
        default_image: settings.default_image.clone(),
        tags_are_labels: settings.tags_are_labels,
        output_jobs: jobs.iter().filter(|job| job::has_outputs(&job.value, &default)).count(),
        default,
    };
    let mut native = native;
    for entry in &jobs {
        for native_job in job::translate(entry, &context, log) {
            native.jobs.push(TranslatedJob { gitlab: entry.key.clone(), native: native_job });
        }
    }
    let top = &mut native.top;
    top.insert("name".into(), native_name(&name.unwrap_or_else(|| settings.name.clone()), "ci").into());
    top.insert("on".into(), triggers(for_pull_requests));
    let used: HashSet<&str> =
        native.jobs.iter().filter_map(|job| job.native.body.get("stage").and_then(Value::as_str)).collect();
    let order = order.into_iter().filter(|stage| used.contains(stage.as_str())).collect();
    top.insert("stages".into(), services::sequence(order));
    if interruptible(&jobs, &context, cancels, log) {
        top.insert("interruptible".into(), true.into());
    }
    if all_shared && !context.shared.is_empty() {
        let pairs = scope.fixed_values().map(|(name, value)| (name.into(), value.into()));
        top.insert("variables".into(), Value::Mapping(pairs.collect()));
    }
    native
}

fn is_job(entry: &MapEntry) -> bool {
    !keys::TOP.contains(&entry.key.as_str()) && !entry.key.starts_with('.')
}

fn triggers(for_pull_requests: bool) -> Value {
    let mut on = Mapping::new();
    on.insert("push".into(), Value::Null);
    if for_pull_requests {
        on.insert("pull_request".into(), Value::Null);
    }
    Value::Mapping(on)
}

/// Returns the native names of the stages, and their order.
fn stages(root: &Node, log: &mut Log) -> (HashMap<String, String>, Vec<String>) {
    let path = Path::default().key("stages");
    let written = root.get("stages").or_else(|| root.get("types")).filter(|entry| !entry.value.is_null());
    let listed: Vec<String> = match written {
        Some(entry) => {
            values::texts(&entry.value, &path, log).into_iter().map(|(text, _)| text.to_owned()).collect()
        }
        None => ["build", "test", "deploy"].map(str::to_owned).to_vec(),
    };
    let first = ".pre".to_owned();
    let last = ".post".to_owned();
    let mut native = HashMap::new();
    let mut order: Vec<String> = Vec::new();
    for stage in std::iter::once(&first).chain(&listed).chain([&last]) {
        if native.contains_key(stage) {
            continue;
        }
        let name = unique(&native_name(stage, "stage"), |name| order.iter().any(|known| known == name));
        order.push(name.clone());
        native.insert(stage.clone(), name);
    }
    (native, order)
}

/// Returns the native names of the jobs.
fn names(jobs: &[&MapEntry], log: &mut Log) -> HashMap<String, Vec<String>> {
    let mut used_names: HashSet<String> = HashSet::new();
    let mut all = HashMap::new();
    // Names that are unchanged take precedence.
    let (unchanged, renamed): (Vec<&&MapEntry>, Vec<&&MapEntry>) =
        jobs.iter().partition(|job| native_name(&job.key, "job") == job.key);
    for job in unchanged.into_iter().chain(renamed) {
        let count = matrix::read(job.value.get("parallel"), &Path::default(), &mut Log::default()).jobs();
        let base = native_name(&job.key, "job");
        let names: Vec<String> = (1..=count)
            .map(|index| {
                let base_name = if count == 1 { base.clone() } else { format!("{base} {index}") };
                let name = unique(&base_name, |name| used_names.contains(name));
                used_names.insert(name.clone());
                name
            })
            .collect();
        if names.len() > 1 || names.first() != Some(&job.key) {
            let new_names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            let message = format!("the job {} is called {}", quoted(&job.key), new_names.join(", "));
            log.changed(&Path::default().key(&job.key), job.key_location, message);
        }
        all.insert(job.key.clone(), names);
    }
    all
}

fn unique(base: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut name = base.to_owned();
    let mut next = 2_u32;
    while is_taken(&name) {
        let end = format!(" {next}");
        name = format!("{}{end}", &base[..base.len().min(100 - end.len())]);
        next += 1;
    }
    name
}

/// Converts a name to a valid native name; `fallback` is used if no character remains.
fn native_name(name: &str, fallback: &str) -> String {
    let normalize = |c: char| if c.is_ascii_alphanumeric() || " _-.:/+".contains(c) { c } else { '-' };
    let native: String = name.chars().map(normalize).collect();
    let mut native = native.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if native != name {
        native = native.trim_end_matches(['-', ' ']);
    }
    let native: String = native.chars().take(100).collect();
    if native.is_empty() { fallback.to_owned() } else { native.trim_end().to_owned() }
}

/// Returns the keys that jobs inherit: from `default`, or from the top of the file in the old form.
fn default(root: &Node, log: &mut Log) -> HashMap<String, MapEntry> {
    let mut all = HashMap::new();
    for key in keys::GLOBAL_KEYS {
        if let Some(entry) = root.get(key) {
            all.insert(key.to_owned(), entry.clone());
        }
    }
    let Some(default) = root.get("default") else { return all };
    let path = Path::default().key("default");
    for entry in values::entries(&default.value) {
        let key = entry.key.as_str();
        if let Some((_, why, help)) = keys::UNSUPPORTED_KEYS.iter().find(|(known, ..)| *known == key) {
            log.unsupported(&path, entry, why, help);
        } else if keys::DEFAULT_KEYS.contains(&key) {
            all.insert(entry.key.clone(), entry.clone());
        } else {
            log.unknown_key(&path, entry, &keys::DEFAULT_KEYS);
        }
    }
    all
}

/// Returns the rules of `workflow`, its name if known, and whether newer executions may cancel older ones.
fn workflow(root: &Node, scope: &Scope, log: &mut Log) -> (Vec<Rule>, Option<String>, bool) {
    let (mut rules, mut name, mut cancels) = (Vec::new(), None, true);
    let Some(entry) = root.get("workflow") else { return (rules, name, cancels) };
    let path = Path::default().key("workflow");
    for part in values::entries(&entry.value) {
        match part.key.as_str() {
            "rules" => rules = rules::read(&part.value, &path.key("rules"), true, scope, log),
            "name" => match scope.expand(values::text(&part.value).unwrap_or_default()) {
                Ok(text) if !text.trim().is_empty() => name = Some(text),
                Ok(_) => {}
                Err(unknown) => {
                    let what = format!("`{unknown}` in the pipeline's name");
                    log.ignored_at(
                        &path.key("name"),
                        part.value.location,
                        &what,
                        "the name is the same for all executions",
                    );
                }
            },
            "auto_cancel" => {
                for setting in values::entries(&part.value) {
                    match (setting.key.as_str(), values::text(&setting.value)) {
                        ("on_new_commit", Some("none")) => cancels = false,
                        ("on_new_commit", Some("interruptible" | "conservative"))
                        | ("on_job_failure", Some("none")) => {}
                        ("on_job_failure", _) => {
                            log.ignored(
                                &path.key("auto_cancel"),
                                setting,
                                "other jobs continue when one fails",
                            );
                        }
                        _ => log.unknown_key(
                            &path.key("auto_cancel"),
                            setting,
                            &["on_new_commit", "on_job_failure"],
                        ),
                    }
                }
            }
            _ => log.unknown_key(&path, part, &["rules", "name", "auto_cancel"]),
        }
    }
    (rules, name, cancels)
}

/// Whether all jobs may be interrupted; if only some may, that is reported.
fn interruptible(jobs: &[&MapEntry], context: &FileContext, cancels: bool, log: &mut Log) -> bool {
    let path = Path::default();
    let of = |job: &MapEntry| {
        let inherit = InheritedKeys::read(&job.value, &path, &mut Log::default());
        let inherited = || context.default.get("interruptible").filter(|_| inherit.default("interruptible"));
        let entry = job.value.get("interruptible").or_else(inherited)?;
        (values::flag(&entry.value) == Some(true)).then(|| entry.clone())
    };
    let some: Vec<(&&MapEntry, MapEntry)> = jobs.iter().filter_map(|job| Some((job, of(job)?))).collect();
    if cancels && some.len() == jobs.len() {
        return true;
    }
    for (job, entry) in some {
        let why = "executions are canceled as a whole, and only if all jobs are interruptible";
        log.ignored(&path.key(&job.key), &entry, why);
    }
    false
}
