//! Translates the top-level keys of a GitLab file, and assembles the native file.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::document::ExpandedDocument;
use super::job::{matrix, services};
use super::settings::TranslateOptions;
use super::values;
use crate::execution::facts::{Facts, Trigger};
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::rules::{self, Rule};
use crate::gitlab::findings::{Log, synonyms};
use crate::gitlab::job::{self, FileContext};
use crate::gitlab::keys::{self, InheritedKeys};
use crate::gitlab::schema;
use crate::gitlab::variables::{self, Scope};
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// Maximum number of jobs, and of variables of all jobs together.
const MAX_JOBS: usize = 10_000;
const MAX_VARIABLES: usize = 1_000_000;
/// Maximum number of rules of all jobs together, each with each rule of a `workflow` that sets variables.
const MAX_COMBINED_RULES: usize = 100_000;
/// Maximum size of these rules, in bytes: about that of a document, in which jobs may share them.
const MAX_COMBINED_BYTES: usize = 16 << 20;
/// Maximum number of variables that are copied for these rules.
const MAX_COPIED_VARIABLES: usize = 20_000_000;

/// The parts of a native file.
pub(crate) struct NativeFile {
    /// All keys except `jobs`.
    pub(crate) top: Mapping,
    pub(crate) jobs: Vec<TranslatedJob>,
}

/// A native job.
pub(crate) struct TranslatedJob {
    pub(crate) name: String,
    pub(crate) body: Mapping,
}

/// Translates a document in which everything is expanded. Of incomplete jobs, only their own keys are checked.
pub(crate) fn translate(
    ExpandedDocument { root, incomplete }: &ExpandedDocument,
    settings: &TranslateOptions,
    for_pull_requests: bool,
    conditions: HashMap<String, Rc<CelExpr>>,
    log: &mut Log,
) -> NativeFile {
    let path = Path::default();
    schema::check_top(root, log);
    let jobs = jobs(root, log);
    schema::check_stops(&jobs, incomplete, log);
    let globals = root.get("variables");
    let globals = globals.map(|entry| variables::read(&entry.value, &path.key("variables"), log));
    let mut globals = globals.unwrap_or_default();
    let external = Rc::new(settings.external.clone());
    variables::apply_external(&mut globals, &external);
    let accepts_unset = settings.reports_unset_variables && !settings.rejects_unset_variables;
    let around = (&external, accepts_unset);
    let native = NativeFile { top: Mapping::new(), jobs: Vec::new() };
    // A job that is not a mapping is error enough.
    if jobs.is_empty() && !log.has_errors() {
        log.invalid(
            &path,
            root.location,
            "this file has no jobs to run: jobs whose names start with `.` are templates",
        );
    }
    if jobs.is_empty() {
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
    // Without them, what the jobs say about stages means nothing.
    let Some(stages) = stages(root, log) else { return native };
    let variants = |job: &&MapEntry| matrix::read(job.value.get("parallel"), &path, &mut Log::default());
    let default = default(root, log);
    let stage_of = jobs.iter().filter(|job| !incomplete.contains(&job.key)).filter_map(|job| {
        let stage = job.value.get("stage").and_then(|entry| values::text(&entry.value)).unwrap_or("test");
        Some((job.key.clone(), stages.iter().position(|known| known == stage)?))
    });
    let context = FileContext {
        stage_of: stage_of.collect(),
        stages,
        jobs: jobs.iter().map(|job| (job.key.clone(), variants(job))).collect(),
        globals,
        external: Rc::clone(&external),
        accepts_unset,
        shared,
        conditions,
        excludes_pull_requests: for_pull_requests
            && root.get("workflow").and_then(|entry| entry.value.get("rules")).is_none(),
        workflow,
        default_image: settings.default_image.clone(),
        tags_are_labels: settings.tags_are_labels,
        incomplete: incomplete.clone(),
        output_jobs: jobs.iter().filter(|job| job::has_outputs(&job.value, &default)).count(),
        default,
    };
    let combined = CombinedRules::count(root, &jobs, &context);
    if let Some(entry) = root.get("workflow").filter(|_| combined.is_exceeded()) {
        let path = path.key("workflow");
        let at = entry.value.get("rules").map_or(entry.key_location, |rules| rules.key_location);
        let why = format!(
            "they set variables, so that each applies to each rule of the jobs, which are {} rules of about {} bytes; the \
             limit is {MAX_COMBINED_RULES} rules of {MAX_COMBINED_BYTES} bytes",
            combined.rules, combined.bytes
        );
        let help = "set the variables in the jobs, or those of the pipeline's start with `-e`";
        log.unsupported_at(&path.key("rules"), at, "the number of these rules", &why, help);
        return native;
    }
    let mut native = native;
    for entry in &jobs {
        if incomplete.contains(&entry.key) {
            job::check_own_keys(entry, log);
        } else if let Some(body) = job::translate(entry, &context, log) {
            native.jobs.push(TranslatedJob { name: entry.key.clone(), body });
        }
    }
    let top = &mut native.top;
    top.insert("name".into(), native_name(&name.unwrap_or_else(|| settings.name.clone())).into());
    top.insert("on".into(), triggers(for_pull_requests));
    let used: HashSet<&str> =
        native.jobs.iter().filter_map(|job| job.body.get("stage").and_then(Value::as_str)).collect();
    let stages = context.stages.iter().filter(|stage| used.contains(stage.as_str())).cloned().collect();
    top.insert("stages".into(), services::sequence(stages));
    if interruptible(&jobs, &context, cancels, log) {
        top.insert("interruptible".into(), true.into());
    }
    if all_shared && !context.shared.is_empty() {
        let pairs = scope.fixed_values().map(|(name, value)| (name.into(), value.into()));
        top.insert("variables".into(), Value::Mapping(pairs.collect()));
    }
    native
}

/// How large the rules of the native jobs become if the rules of `workflow` set variables.
#[derive(Default)]
struct CombinedRules {
    rules: usize,
    bytes: usize,
    /// The variables that are copied to combine them.
    copied: usize,
}

impl CombinedRules {
    /// Estimates them before they are combined.
    fn count(root: &Node, jobs: &[&MapEntry], context: &FileContext) -> Self {
        let workflow = &context.workflow;
        let mut all = Self::default();
        if workflow.iter().all(|rule| rule.variables.is_empty()) {
            return all;
        }
        let written = root.get("workflow").map_or(0, |entry| bytes_of(&entry.value, "rules"));
        let set_values = || workflow.iter().flat_map(|rule| &rule.variables);
        let of_workflow = set_values().fold(written, |sum, (name, value)| sum + name.len() + value.len());
        let longest = set_values().map(|(_, value)| value.len()).max().unwrap_or_default();
        let is_copied = set_values().any(|(_, value)| value.contains("${"));
        for job in jobs {
            let node = &job.value;
            let rules = node.get("rules").map(|rules| values::list(&rules.value)).unwrap_or_default();
            // Each may become the value of a variable.
            let references: usize = rules
                .iter()
                .filter_map(|rule| rule.get("if").and_then(|entry| values::text(&entry.value)))
                .map(|text| text.matches('$').count())
                .sum();
            let number = rules.len().max(1);
            let of_job = ["rules", "only", "except"].map(|key| bytes_of(node, key)).iter().sum::<usize>();
            let each = of_job.saturating_add(references.saturating_mul(longest));
            let bytes =
                each.saturating_mul(workflow.len()).saturating_add(of_workflow.saturating_mul(number));
            all.rules = all.rules.saturating_add(number.saturating_mul(workflow.len()));
            all.bytes = all.bytes.saturating_add(bytes);
            if is_copied {
                let own = node.get("variables").map_or(0, |entry| values::entries(&entry.value).len());
                let known = context.globals.len() + own;
                all.copied = all.copied.saturating_add(known.saturating_mul(workflow.len()));
            }
        }
        all
    }

    const fn is_exceeded(&self) -> bool {
        self.rules > MAX_COMBINED_RULES
            || self.bytes > MAX_COMBINED_BYTES
            || self.copied > MAX_COPIED_VARIABLES
    }
}

/// Returns the size of the value of a key.
fn bytes_of(node: &Node, key: &str) -> usize {
    node.get(key).map_or(0, |entry| entry.value.size.bytes as usize)
}

/// Returns the jobs of a file. Entries that are none, but should be, are reported.
fn jobs<'a>(root: &'a Node, log: &mut Log) -> Vec<&'a MapEntry> {
    let mut jobs = Vec::new();
    for entry in values::entries(root).iter().filter(|entry| is_job(entry)) {
        let path = Path::default().key(&entry.key);
        if let Some((message, help)) = synonyms::at_top(entry) {
            log.invalid_with_help(&path, entry.key_location, message, help);
        } else if values::is_mapping(&entry.value) {
            jobs.push(entry);
        } else {
            let message = format!("the job {} is not a mapping of keys to values", quoted(&entry.key));
            log.invalid(&path, entry.key_location, message);
        }
    }
    jobs
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

/// Returns the native `on` of a pipeline that starts on one event only. Schedules, which have no cron expression here, are left to
/// users.
pub(crate) fn trigger_of(event: &Facts) -> Value {
    let key = match event.trigger {
        Trigger::PullRequest => "pull_request",
        Trigger::Push if event.tag.is_some() => "tag",
        Trigger::Push => "push",
        _ => "manual",
    };
    let branch = event.branch.as_ref().filter(|_| key == "push");
    let filter = branch.map(|branch| {
        let branches = Value::Sequence(vec![branch.as_str().into()]);
        Value::Mapping(Mapping::from_iter([("branches".into(), branches)]))
    });
    Value::Mapping(Mapping::from_iter([(key.into(), filter.unwrap_or(Value::Null))]))
}

/// Returns the stages in order; `None` if they are invalid, which is reported.
fn stages(root: &Node, log: &mut Log) -> Option<Vec<String>> {
    let path = Path::default().key("stages");
    let before = log.findings.len();
    let written = root.get("stages").or_else(|| root.get("types")).filter(|entry| !entry.value.is_null());
    // That is reported.
    if written.is_some_and(|entry| schema::has_mapping(&entry.value)) {
        return None;
    }
    if let Some(entry) = written.filter(|entry| !values::is_list(&entry.value)) {
        let path = Path::default().key(&entry.key);
        log.wrong_type(&path, &entry.value, "a list of strings");
        return None;
    }
    let listed: Vec<&str> = match written {
        Some(entry) => values::texts(&entry.value, &path, log).into_iter().map(|(text, _)| text).collect(),
        None => vec!["build", "test", "deploy"],
    };
    let mut seen = HashSet::new();
    let all = std::iter::once(".pre").chain(listed).chain([".post"]);
    let all = all.filter(|stage| seen.insert(*stage)).map(str::to_owned).collect();
    (log.findings.len() == before).then_some(all)
}

/// Returns a name for the pipeline.
fn native_name(name: &str) -> String {
    let printable = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    let native: String = name.trim().chars().map(printable).take(255).collect();
    if native.trim().is_empty() { "ci".to_owned() } else { native.trim().to_owned() }
}

/// Returns the keys that jobs inherit: from `default`, or from the top of the file in the old form.
fn default(root: &Node, log: &mut Log) -> HashMap<String, MapEntry> {
    let mut all = HashMap::new();
    for key in keys::GLOBAL_KEYS {
        if let Some(entry) = root.get(key) {
            all.insert(key.to_owned(), entry.clone());
        }
    }
    let top = all.values().cloned().collect();
    schema::check_default(&Rc::new(Node::mapping(top, root.location)), &Path::default(), log);
    let Some(default) = root.get("default") else { return all };
    let path = Path::default().key("default");
    schema::check_default(&default.value, &path, log);
    for entry in values::entries(&default.value) {
        let key = entry.key.as_str();
        if all.contains_key(key) {
            let message = format!("`{key}` is at the top of the file and under `default`");
            log.invalid_with_help(&path.key(key), entry.key_location, message, "keep that under `default`");
        }
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
            "auto_cancel" => cancels &= auto_cancel(part, &path, log),
            _ => log.unknown_key(&path, part, &["rules", "name", "auto_cancel"]),
        }
    }
    let of_rules = entry.value.get("rules").map(|rules| values::list(&rules.value)).unwrap_or_default();
    for setting in of_rules.iter().filter_map(|rule| rule.get("auto_cancel")) {
        // One rule that says so keeps older executions, whatever rule matches.
        cancels &= auto_cancel(setting, &path.key("rules"), log);
    }
    (rules, name, cancels)
}

/// Whether `auto_cancel` lets newer executions cancel older ones. That a failed job cancels others is an error.
fn auto_cancel(entry: &MapEntry, path: &Path, log: &mut Log) -> bool {
    let path = path.key("auto_cancel");
    let mut cancels = true;
    if !values::is_mapping(&entry.value) {
        log.wrong_type(&path, &entry.value, "a mapping");
    }
    for setting in values::entries(&entry.value) {
        match (setting.key.as_str(), values::text(&setting.value)) {
            ("on_new_commit", Some("none")) => cancels = false,
            ("on_new_commit", Some("interruptible" | "conservative")) | ("on_job_failure", Some("none")) => {}
            ("on_job_failure", Some("all")) => log.unsupported(
                &path,
                setting,
                "other jobs continue when one fails",
                "remove it, and let the jobs that must not run then need the others, or be in a later stage",
            ),
            ("on_new_commit", _) => {
                log.wrong_type(
                    &path.key("on_new_commit"),
                    &setting.value,
                    "conservative, interruptible or none",
                );
            }
            ("on_job_failure", _) => {
                log.wrong_type(&path.key("on_job_failure"), &setting.value, "all or none");
            }
            _ => log.unknown_key(&path, setting, &["on_new_commit", "on_job_failure"]),
        }
    }
    cancels
}

/// Whether a newer execution cancels an older one: if all jobs may be interrupted, whatever rules of theirs match. What says
/// so without an effect is reported.
fn interruptible(jobs: &[&MapEntry], context: &FileContext, cancels: bool, log: &mut Log) -> bool {
    let path = Path::default();
    let is_set = |entry: &&MapEntry| values::flag(&entry.value) == Some(true);
    let mut all = cancels;
    // Each entry that says `true`, with its path.
    let mut some: Vec<(Path, &MapEntry)> = Vec::new();
    for job in jobs {
        let path = path.key(&job.key);
        let inherit = InheritedKeys::read(&job.value, &path, &mut Log::default());
        let inherited = || context.default.get("interruptible").filter(|_| inherit.default("interruptible"));
        let own = job.value.get("interruptible").or_else(inherited);
        some.extend(own.filter(is_set).map(|entry| (path.clone(), entry)));
        let rules = job.value.get("rules").filter(|entry| !entry.value.is_null());
        let excludes =
            |rule: &Node| rule.get("when").is_some_and(|when| values::text(&when.value) == Some("never"));
        for rule in rules.map(|rules| values::list(&rules.value)).unwrap_or_default() {
            if excludes(rule) {
                continue;
            }
            let of_rule = rule.get("interruptible").filter(|entry| !entry.value.is_null());
            all &= of_rule.or(own).is_some_and(|entry| is_set(&entry));
            some.extend(of_rule.filter(is_set).map(|entry| (path.key("rules"), entry)));
        }
        all &= rules.is_some() || own.is_some_and(|entry| is_set(&entry));
    }
    if !all {
        for (path, entry) in some {
            let why = "executions are canceled as a whole, and only if all jobs are interruptible";
            log.ignored(&path, entry, why);
        }
    }
    all
}
