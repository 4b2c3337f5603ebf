//! One job of a GitLab file as native jobs.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::cel::Cel;
use super::keys;
use super::log::Log;
use super::matrix::{self, Variants};
use super::rules::{self, Rule};
use super::variables::{self, Scope, Variables};
use super::{duration, ends, parts, policy, reading};
use crate::diagnostics::Location;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::is_label;
use crate::pipeline::tree::{Entry, Node};

/// How many rules a native job may have.
const MOST_RULES: usize = 100;

/// What all jobs of a file have around them.
pub(super) struct Around {
    /// Native names of the stages by GitLab's.
    pub(super) stages: HashMap<String, String>,
    /// Native names of each job, by GitLab's.
    pub(super) names: HashMap<String, Vec<String>>,
    /// What jobs inherit, by key.
    pub(super) default: HashMap<String, Entry>,
    pub(super) globals: Variables,
    /// The variables that the native file has at its top.
    pub(super) shared: HashMap<String, String>,
    /// The rules of `workflow`; empty where every execution is wanted.
    pub(super) workflow: Vec<Rule>,
    /// Whether jobs that say nothing are kept out of pull requests.
    pub(super) requests_apart: bool,
    pub(super) default_image: String,
    pub(super) tags_are_labels: bool,
}

/// A native job.
pub(super) struct Made {
    pub(super) name: String,
    pub(super) body: Mapping,
}

/// The native jobs of a job: several where its matrix is a list of several.
pub(super) fn translate(entry: &Entry, around: &Around, log: &mut Log) -> Vec<Made> {
    let (name, node, at) = (entry.key.as_str(), &entry.value, entry.key_location);
    let path = Path::default().key(name);
    keys::check_job(entry, &path, log);
    if ["trigger", "run"].iter().any(|key| node.get(key).is_some()) && node.get("script").is_none() {
        return Vec::new();
    }
    let inherit = keys::Inherit::read(node, &path, log);
    let variants = matrix::read(node.get("parallel"), &path, log);
    let mut given = Variables::new();
    given.extend(
        around.globals.iter().filter(|(name, _)| inherit.variable(name)).map(|(n, g)| (n.clone(), g.clone())),
    );
    if let Some(entry) = node.get("variables") {
        let own = variables::read(&entry.value, &path.key("variables"), log);
        given.extend(own);
    }
    let stage = node.get("stage").and_then(|entry| reading::text(&entry.value)).unwrap_or("test");
    let mut varying: HashSet<String> = variants.names().map(str::to_owned).collect();
    varying.extend(around.workflow.iter().flat_map(|rule| rule.variables.keys().cloned()));
    varying.extend(set_by_rules(node));
    let scope = Scope::new(&given, varying, Some(stage), &path.key("variables"), log);
    let mut job = Job { name, node, at, path, around, inherit, scope, log };
    let body = job.body(&variants);
    let names = around.names.get(name).cloned().unwrap_or_default();
    let made = names.into_iter().zip(variants.matrices.iter().map(Some).chain(std::iter::repeat(None)));
    made.map(|(name, matrix)| {
        let mut body = body.clone();
        if let Some(matrix) = matrix {
            let values =
                matrix.iter().map(|(key, values)| (key.as_str().into(), parts::sequence(values.clone())));
            body.insert("matrix".into(), Value::Mapping(values.collect()));
        }
        Made { name, body }
    })
    .collect()
}

/// The variables that the job's rules may set.
fn set_by_rules(node: &Node) -> Vec<String> {
    let Some(rules) = node.get("rules") else { return Vec::new() };
    let rules = reading::list(&rules.value);
    let variables = rules.iter().filter_map(|rule| rule.get("variables"));
    variables.flat_map(|entry| reading::entries(&entry.value)).map(|entry| entry.key.clone()).collect()
}

struct Job<'a> {
    name: &'a str,
    node: &'a Rc<Node>,
    at: Location,
    path: Path,
    around: &'a Around,
    inherit: keys::Inherit,
    scope: Scope,
    log: &'a mut Log,
}

impl<'a> Job<'a> {
    /// What the job has under a key, its own or inherited, and where.
    fn entry(&self, key: &str) -> Option<(&'a Entry, Path)> {
        let own: Option<&'a Entry> = self.node.get(key);
        let (entry, path) = match own {
            Some(own) => (own, self.path.clone()),
            None if self.inherit.default(key) => {
                (self.around.default.get(key)?, Path::default().key("default"))
            }
            None => return None,
        };
        (!entry.value.is_null()).then_some((entry, path))
    }

    fn body(&mut self, variants: &Variants) -> Mapping {
        let mut body = Mapping::new();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.into(), value);
            }
        };
        set("stage", self.stage());
        let (image, pull_policy) = self.image();
        set("image", image.map(Value::from));
        set("pull_policy", pull_policy.map(Value::from));
        let (key, taking_part) = self.taking_part();
        set(key, taking_part);
        let (when, optional) = self.when();
        set("when", when.map(Value::from));
        let (needs, spared) = self.needs();
        let dependencies = self.dependencies(needs.as_deref(), &spared);
        set("needs", needs.map(parts::sequence));
        set("dependencies", dependencies.map(parts::sequence));
        set("variables", self.variables(variants));
        if let Some((entry, path)) = self.entry("services") {
            let services = parts::services(entry, &path, &self.scope, self.log);
            set(
                "services",
                Some(services).filter(|all| all.as_sequence().is_some_and(|all| !all.is_empty())),
            );
        }
        if let Some((entry, path)) = self.entry("cache") {
            let caches = parts::caches(entry, &path, &self.scope, self.log);
            set("cache", Some(caches).filter(|all| all.as_sequence().is_some_and(|all| !all.is_empty())));
        }
        if let Some((entry, path)) = self.entry("environment") {
            set("environment", parts::environment(entry, &path, &self.scope, self.log));
        }
        set("runs_on", self.labels());
        let exports = self.scope.exports();
        let [mut before, mut script, mut after] =
            ["before_script", "script", "after_script"].map(|key| self.lines(key));
        let first = if before.is_empty() { &mut script } else { &mut before };
        first.splice(0..0, exports.clone());
        if !after.is_empty() {
            after.splice(0..0, exports);
        }
        for (key, lines) in [("before_script", before), ("script", script), ("after_script", after)] {
            if !lines.is_empty() || key == "script" {
                set(key, Some(parts::sequence(lines)));
            }
        }
        if let Some((entry, path)) = self.entry("artifacts") {
            set("artifacts", ends::artifacts(entry, &path, &self.scope, self.log));
        }
        if let Some(entry) = self.node.get("coverage") {
            set("coverage", ends::coverage(entry, &self.path, self.log));
        }
        let allowed = self.entry("allow_failure");
        let allowed = allowed.and_then(|(entry, path)| ends::allow_failure(entry, &path, self.log));
        set("allow_failure", allowed.or(optional.then(|| true.into())));
        if let Some((entry, path)) = self.entry("retry") {
            set("retry", ends::retry(entry, &path, self.log));
        }
        set("timeout", self.timeout());
        body
    }

    fn stage(&mut self) -> Option<Value> {
        let written = self.node.get("stage");
        let stage = match written {
            None => "test",
            Some(entry) => reading::text(&entry.value).unwrap_or_default(),
        };
        if let Some(native) = self.around.stages.get(stage) {
            return Some(native.clone().into());
        }
        let at = written.map_or(self.at, |entry| entry.value.location);
        let path = self.path.key("stage");
        self.log.wrong_with_help(
            &path,
            at,
            format!("there is no stage {}", quoted(stage)),
            "list it under `stages`",
        );
        None
    }

    fn image(&mut self) -> (Option<String>, Option<&'static str>) {
        if let Some((entry, path)) = self.entry("image") {
            return parts::image(entry, &path, &self.scope, self.log);
        }
        let image = self.around.default_image.clone();
        let message = format!("no `image` is given, so that the job {} runs in `{image}`", quoted(self.name));
        self.log.changed(&self.path, self.at, message);
        (Some(image), None)
    }

    /// `if` or `rules`, and the conditions of the job and of `workflow` in it.
    fn taking_part(&mut self) -> (&'static str, Option<Value>) {
        let own =
            ["rules", "only", "except"].map(|key| self.node.get(key).filter(|entry| !entry.value.is_null()));
        let [ruled, only, except] = own;
        let rules = match (ruled, only.or(except)) {
            (Some(ruled), other) => {
                if let Some(other) = other {
                    let message = format!("a job has `rules` or `{}`, not both", other.key);
                    self.log.wrong(&self.path, other.key_location, message);
                }
                rules::read(&ruled.value, &self.path.key("rules"), false, &self.scope, self.log)
            }
            (None, Some(_)) => {
                let condition = policy::read(only, except, &self.path, &self.scope, self.log);
                vec![Rule { condition: Some(condition), ..Rule::default() }]
            }
            (None, None) if self.around.requests_apart => {
                vec![Rule { condition: Some(policy::usual()), ..Rule::default() }]
            }
            (None, None) => vec![Rule::default()],
        };
        let rules = if rules.is_empty() {
            vec![Rule { when: Some("never"), ..Rule::default() }]
        } else {
            self.within_workflow(rules, ruled.is_some())
        };
        match rules.as_slice() {
            [only] if only.when.is_none() && only.variables.is_empty() && only.allow_failure.is_none() => {
                let condition = only.holds();
                match condition.as_constant() {
                    Some(true) => ("if", None),
                    _ => ("if", Some(condition.into_text().into())),
                }
            }
            _ if rules.len() > MOST_RULES => {
                let message = format!(
                    "with those of `workflow` this job has {} rules, and {MOST_RULES} is the limit",
                    rules.len()
                );
                self.log.wrong(&self.path, self.at, message);
                ("rules", None)
            }
            _ => ("rules", Some(Value::Sequence(rules.into_iter().map(Rule::written).collect()))),
        }
    }

    /// The job's rules so that they hold only where `workflow` has an execution.
    fn within_workflow(&self, rules: Vec<Rule>, are_written: bool) -> Vec<Rule> {
        let workflow = &self.around.workflow;
        if workflow.iter().all(|rule| rule.variables.is_empty()) {
            let wanted = wanted(workflow);
            if wanted.as_constant() == Some(true) {
                return rules;
            }
            if let ([only], false) = (rules.as_slice(), are_written) {
                return vec![Rule { condition: Some(wanted.and(only.holds())), ..Rule::default() }];
            }
            let none = Rule { condition: Some(wanted.not()), when: Some("never"), ..Rule::default() };
            return std::iter::once(none).chain(rules).collect();
        }
        let mut all: Vec<Rule> = Vec::new();
        let always = |rule: &Rule| rule.holds().as_constant() == Some(true);
        for outer in workflow {
            let inner = if outer.is_never() { &[][..] } else { rules.as_slice() };
            for rule in inner {
                let mut one = Rule {
                    condition: Some(outer.holds().and(rule.holds())),
                    changes: Vec::new(),
                    exists: Vec::new(),
                    ..rule.clone()
                };
                if !one.is_never() {
                    one.variables.clone_from(&outer.variables);
                    one.variables.extend(rule.variables.clone());
                }
                all.push(one);
            }
            if !inner.iter().any(always) {
                let condition = Some(outer.holds());
                all.push(Rule { condition, when: Some("never"), ..Rule::default() });
            }
            // No later rule is ever looked at.
            if always(outer) {
                break;
            }
        }
        all
    }

    /// `when`, and whether the job may then be left undone.
    fn when(&mut self) -> (Option<&'static str>, bool) {
        let Some(entry) = self.node.get("when").filter(|entry| !entry.value.is_null()) else {
            self.say_that_it_waits();
            return (None, false);
        };
        let words = ["on_success", "on_failure", "always", "manual", "delayed", "never"];
        let when = rules::when_of(entry, &self.path, &words, self.log);
        if when == Some("never") {
            let message = "`when: never` stands in a rule only";
            self.log.wrong(&self.path.key("when"), entry.value.location, message);
            return (None, false);
        }
        let ruled = self.node.get("rules").is_some();
        let optional = when == Some("manual") && !ruled && self.entry("allow_failure").is_none();
        if when != Some("manual") || reading::text(&entry.value) != Some("manual") {
            self.say_that_it_waits();
        } else if !optional && !self.may_fail() {
            let path = self.path.key("when");
            self.log.changed(&path, entry.value.location, WAITS);
        }
        (when.filter(|when| *when != "on_success"), optional)
    }

    fn may_fail(&self) -> bool {
        self.entry("allow_failure").is_some_and(|(entry, _)| reading::flag(&entry.value) == Some(true))
    }

    fn say_that_it_waits(&mut self) {
        let Some(rules) = self.node.get("rules") else { return };
        for rule in reading::list(&rules.value) {
            let own = rule.get("allow_failure").and_then(|entry| reading::flag(&entry.value));
            let waits = !own.unwrap_or_else(|| self.may_fail());
            let when = rule.get("when").filter(|when| reading::text(&when.value) == Some("manual"));
            if let Some(when) = when.filter(|_| waits) {
                self.log.changed(&self.path.key("rules"), when.value.location, WAITS);
            }
        }
    }

    /// Native names of the needed jobs, and of those among them whose artifacts are not wanted.
    fn needs(&mut self) -> (Option<Vec<String>>, Vec<String>) {
        let mut spared = Vec::new();
        let Some(entry) = self.node.get("needs").filter(|entry| !entry.value.is_null()) else {
            return (None, spared);
        };
        let path = self.path.key("needs");
        let mut all: Vec<String> = Vec::new();
        for item in reading::list(&entry.value) {
            let (natives, with_artifacts) = self.need(item, &path);
            if !with_artifacts {
                spared.extend(natives.iter().cloned());
            }
            all.extend(natives.into_iter().filter(|native| !all.contains(native)).collect::<Vec<_>>());
        }
        (Some(all), spared)
    }

    /// Native names of the jobs whose artifacts are wanted; `None`: of all that are waited for.
    fn dependencies(&mut self, needs: Option<&[String]>, spared: &[String]) -> Option<Vec<String>> {
        let wanted = |name: &String| needs.is_none_or(|needs| needs.contains(name)) && !spared.contains(name);
        let Some(entry) = self.node.get("dependencies").filter(|entry| !entry.value.is_null()) else {
            let all = needs.filter(|_| !spared.is_empty())?;
            return Some(all.iter().filter(|name| wanted(name)).cloned().collect());
        };
        let path = self.path.key("dependencies");
        let mut named: Vec<String> = Vec::new();
        for item in reading::list(&entry.value) {
            let Some(name) = reading::text(item) else {
                self.log.wrong_type(&path, item, "the names of jobs");
                continue;
            };
            let Some(natives) = self.around.names.get(name) else {
                self.log.wrong(
                    &path,
                    item.location,
                    format!("there is no job {} to depend on", quoted(name)),
                );
                continue;
            };
            if needs.is_some_and(|needs| natives.iter().any(|native| !needs.contains(native))) {
                let words = format!("the job does not need {}, whose artifacts it is to get", quoted(name));
                self.log.wrong(&path, item.location, words);
            }
            named.extend(natives.iter().filter(|name| wanted(name)).cloned());
        }
        Some(named)
    }

    /// Native names of a needed job, and whether its artifacts are wanted.
    fn need(&mut self, item: &Rc<Node>, path: &Path) -> (Vec<String>, bool) {
        let mut artifacts = true;
        let mut wanted = reading::text(item).map(|text| (text, item));
        let mut optional = false;
        for part in reading::entries(item) {
            match part.key.as_str() {
                "job" => wanted = reading::text(&part.value).map(|text| (text, &part.value)),
                "optional" => optional = reading::flag_of(part, path, self.log).unwrap_or(false),
                "artifacts" => artifacts = reading::flag_of(part, path, self.log).unwrap_or(true),
                "parallel" => self.log.ignored(path, part, "a job with a matrix is needed as a whole"),
                "pipeline" | "project" | "ref" => {
                    if part.key != "ref" {
                        let why = "jobs of other pipelines cannot be needed";
                        self.log.refused(
                            path,
                            part,
                            why,
                            "remove it, and fetch what the job takes from there",
                        );
                        return (Vec::new(), true);
                    }
                }
                _ => self.log.unknown(
                    path,
                    part,
                    &["job", "artifacts", "optional", "parallel", "pipeline", "project"],
                ),
            }
        }
        let Some((name, node)) = wanted else {
            self.log.wrong_type(path, item, "the names of jobs, or mappings with `job`");
            return (Vec::new(), true);
        };
        let known = self.around.names.get(name).cloned();
        if known.is_none() && !optional {
            self.log.wrong(path, node.location, format!("there is no job {} to need", quoted(name)));
        }
        (known.unwrap_or_default(), artifacts)
    }

    /// Variables that differ from those at the top of the native file.
    fn variables(&mut self, variants: &Variants) -> Option<Value> {
        let mut all = Mapping::new();
        for (name, value) in self.scope.fixed_values() {
            let shared = self.around.shared.get(name).is_some_and(|shared| shared == value);
            if !shared && !variants.names().any(|key| key == name) {
                all.insert(name.into(), value.into());
            }
        }
        if let Some(total) = variants.total {
            all.insert("CI_NODE_TOTAL".into(), total.to_string().into());
        }
        (!all.is_empty()).then_some(Value::Mapping(all))
    }

    fn labels(&mut self) -> Option<Value> {
        let (entry, path) = self.entry("tags")?;
        if !self.around.tags_are_labels {
            self.log.ignored(&path, entry, "all jobs run on this machine");
            return None;
        }
        let path = path.key("tags");
        let mut all = Mapping::new();
        for (text, node) in reading::texts(&entry.value, &path, self.log) {
            match self.scope.known(text) {
                Ok(label) if is_label(&label) => {
                    all.insert(label.into(), "true".into());
                }
                _ => {
                    let what = format!("the tag {}", quoted(text));
                    let why = "a label of workers has letters, digits and `_ - .` only, and no variables";
                    self.log.ignored_at(&path, node.location, &what, why);
                }
            }
        }
        (!all.is_empty()).then_some(Value::Mapping(all))
    }

    fn lines(&mut self, key: &str) -> Vec<String> {
        let Some((entry, path)) = self.entry(key) else {
            if key == "script" {
                let message = format!("the job {} has no `script`", quoted(self.name));
                self.log.wrong(&self.path, self.at, message);
            }
            return Vec::new();
        };
        let path = path.key(key);
        let lines = reading::texts(&entry.value, &path, self.log);
        let lines: Vec<String> = lines.into_iter().map(|(text, _)| text.to_owned()).collect();
        if key == "script" && lines.iter().all(|line| line.trim().is_empty()) {
            self.log.wrong(&path, entry.value.location, "`script` has nothing to run");
        }
        lines
    }

    fn timeout(&mut self) -> Option<Value> {
        let (entry, path) = self.entry("timeout")?;
        let text = reading::text(&entry.value).unwrap_or_default();
        if let Some(seconds) = duration::seconds(text).filter(|seconds| (1..=30 * 86_400).contains(seconds)) {
            Some(duration::native(seconds).into())
        } else {
            let message = format!("{} is no time span from one second to 30 days", quoted(text));
            self.log.wrong(&path.key("timeout"), entry.value.location, message);
            None
        }
    }
}

const WAITS: &str = "with `when: manual` the execution is not over until this job is approved (`tidemill approve`) or the execution is canceled";

/// When `workflow` has an execution: as the first of its rules that holds says.
pub(super) fn wanted(workflow: &[Rule]) -> Cel {
    if workflow.is_empty() {
        return Cel::constant(true);
    }
    workflow.iter().rev().fold(Cel::constant(false), |later, rule| {
        let holds = rule.holds();
        if rule.is_never() { holds.not().and(later) } else { holds.or(later) }
    })
}
