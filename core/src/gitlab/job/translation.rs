//! Translates one job of a GitLab file into native jobs.

use std::collections::HashSet;
use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::context::{FileContext, Job, has_outputs};
use super::{artifacts, cache, duration, environment, failures, id_tokens, needs, services};
use crate::gitlab::findings::{Log, synonyms};
use crate::gitlab::job::matrix::{self, MatrixVariants};
use crate::gitlab::keys;
use crate::gitlab::schema;
use crate::gitlab::values;
use crate::gitlab::variables::{self, KnownOutputs, Scope, Variables};
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::labels::{EXECUTOR_LABEL, PROCESS_EXECUTOR};
use crate::pipeline::yaml::tree::{MapEntry, Node};
use crate::pipeline::{NO_IMAGE, is_label};

/// Translates a job: returns its native keys, unless it has steps instead of a script.
pub(crate) fn translate(entry: &MapEntry, file: &FileContext, log: &mut Log) -> Option<Mapping> {
    let (name, node, at) = (entry.key.as_str(), &entry.value, entry.key_location);
    let path = Path::default().key(name);
    keys::check_job(entry, &path, log);
    schema::check_job(node, &path, log);
    if node.get("run").is_some() && node.get("script").is_none() {
        return None;
    }
    let inherit = keys::InheritedKeys::read(node, &path, log);
    let variants = matrix::read(node.get("parallel"), &path, log);
    let mut declared = Variables::new();
    declared.extend(
        file.globals.iter().filter(|(name, _)| inherit.variable(name)).map(|(n, g)| (n.clone(), g.clone())),
    );
    if let Some(entry) = node.get("variables") {
        let own = variables::read(&entry.value, &path.key("variables"), log);
        declared.extend(own);
    }
    variables::apply_external(&mut declared, &file.external);
    let stage = node.get("stage").and_then(|entry| values::text(&entry.value)).unwrap_or("test");
    let mut varying: HashSet<String> = variants.names().map(str::to_owned).collect();
    let of_workflow = file.workflow.iter().flat_map(|rule| rule.variables.keys().cloned());
    varying.extend(of_workflow.filter(|name| !has_variable(node, name)));
    varying.extend(set_by_rules(node));
    let scope = Scope::new(
        &declared,
        varying,
        Some(stage),
        (&file.external, file.accepts_unset),
        &path.key("variables"),
        log,
    );
    let own = has_outputs(node, &file.default);
    let scope = scope.with_outputs(KnownOutputs { of_others: file.output_jobs > usize::from(own), own });
    let mut job = Job { name, node, at, path, file, inherit, scope, log };
    let trigger = node.get("trigger").filter(|entry| !entry.value.is_null());
    let mut body = match trigger {
        Some(entry) => job.trigger_body(entry, &variants),
        None => job.body(&variants),
    };
    variants.write(&mut body);
    Some(body)
}

/// Checks the keys of a job, each by itself, as others are missing.
pub(crate) fn check_own_keys(entry: &MapEntry, log: &mut Log) {
    let path = Path::default().key(&entry.key);
    keys::check_job(entry, &path, log);
    schema::check_types(&entry.value, &path, log);
}

/// Whether the job itself declares the variable, which then wins over one of `workflow`.
pub(crate) fn has_variable(job: &Node, name: &str) -> bool {
    job.get("variables").is_some_and(|entry| entry.value.get(name).is_some())
}

/// Returns the variables that the job's rules may set.
fn set_by_rules(node: &Node) -> Vec<String> {
    let Some(rules) = node.get("rules") else { return Vec::new() };
    let rules = values::list(&rules.value);
    let variables = rules.iter().filter_map(|rule| rule.get("variables"));
    variables.flat_map(|entry| values::entries(&entry.value)).map(|entry| entry.key.clone()).collect()
}

impl Job<'_> {
    fn body(&mut self, variants: &MatrixVariants) -> Mapping {
        let mut body = Mapping::new();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.into(), value);
            }
        };
        set("stage", self.stage());
        let (image, pull_policy) = self.image();
        set("image", image);
        set("pull_policy", pull_policy.map(Value::from));
        let (key, participation) = self.participation();
        set(key, participation);
        let (when, optional) = self.when();
        set("when", when.map(Value::from));
        set("start_in", self.start_in());
        let needs = self.needs();
        let dependencies = self.dependencies(needs.as_deref());
        // Needs that depend on the variant are those of its rules.
        let is_of_rules = needs.iter().flatten().any(needs::Need::has_expressions);
        set("needs", needs.filter(|_| !is_of_rules).map(|needs| needs::list(needs, true)));
        set("dependencies", dependencies.filter(|_| !is_of_rules).map(|needs| needs::list(needs, false)));
        set("variables", self.variables(variants));
        if let Some((entry, path)) = self.entry("services") {
            let services = services::services(entry, &path, &self.scope, self.log);
            set(
                "services",
                Some(services).filter(|all| all.as_sequence().is_some_and(|all| !all.is_empty())),
            );
        }
        if let Some((entry, path)) = self.entry("cache") {
            let caches = cache::caches(entry, &path, &self.scope, self.log);
            set("cache", Some(caches).filter(|all| all.as_sequence().is_some_and(|all| !all.is_empty())));
        }
        if let Some((entry, path)) = self.entry("environment") {
            set("environment", environment::environment(entry, &path, &self.scope, self.log));
        }
        set("checkout", self.checkout());
        set("runs_on", self.labels());
        let exports = self.scope.exports(|name| variants.names().any(|key| key == name));
        let [mut before, mut script, mut after] =
            ["before_script", "script", "after_script"].map(|key| self.lines(key));
        let first = if before.is_empty() { &mut script } else { &mut before };
        first.splice(0..0, exports.clone());
        if !after.is_empty() {
            after.splice(0..0, exports);
        }
        for (key, lines) in [("before_script", before), ("script", script), ("after_script", after)] {
            if !lines.is_empty() || key == "script" {
                set(key, Some(services::sequence(lines)));
            }
        }
        if let Some((entry, path)) = self.entry("artifacts") {
            set("outputs", artifacts::outputs(entry, &path, &self.scope, self.log));
            set("artifacts", artifacts::artifacts(entry, &path, &self.scope, self.log));
        }
        if let Some(entry) = self.node.get("coverage") {
            set("coverage", artifacts::coverage(entry, &self.path, self.log));
        }
        let allowed = self.entry("allow_failure");
        let allowed = allowed.and_then(|(entry, path)| failures::allow_failure(entry, &path, self.log));
        set("allow_failure", allowed.or(optional.then(|| true.into())));
        if let Some((entry, path)) = self.entry("retry") {
            set("retry", failures::retry(entry, &path, self.log));
        }
        let interruptible =
            self.entry("interruptible").and_then(|(entry, _)| values::flag(&entry.value)).unwrap_or(true);
        set("interruptible", (!interruptible).then(|| false.into()));
        set("timeout", self.timeout());
        set("concurrency", self.concurrency());
        if let Some((entry, path)) = self.entry("id_tokens") {
            set("id_tokens", id_tokens::id_tokens(entry, &path, &self.scope, self.log));
        }
        // The variables of GitLab's settings are in every job.
        set("secrets", Some("*".into()));
        body
    }

    pub(super) fn stage(&mut self) -> Option<Value> {
        let written = self.node.get("stage");
        let stage = match written {
            None => "test",
            Some(entry) => values::text(&entry.value).unwrap_or_default(),
        };
        if self.file.stages.iter().any(|known| known == stage) {
            return Some(stage.into());
        }
        let path = self.path.key("stage");
        let Some(entry) = written else {
            let message = format!(
                "the job {} has no `stage`, and the default, {}, is not one of the stages",
                quoted(self.name),
                quoted(stage)
            );
            let help = format!("give it one of the `stages`, or list {} there", quoted(stage));
            self.log.invalid_with_help(&path, self.at, message, &help);
            return None;
        };
        let message = format!("there is no stage {}", quoted(stage));
        self.log.invalid_with_help(&path, entry.value.location, message, "list it under `stages`");
        None
    }

    fn image(&mut self) -> (Option<Value>, Option<&'static str>) {
        // As with GitLab's shell executor, the image that other jobs have means nothing to it.
        if self.asks_for_process() && self.node.get("image").is_none() {
            return (Some(NO_IMAGE.into()), None);
        }
        if let Some((entry, path)) = self.entry("image") {
            return services::image(entry, &path, &self.scope, self.log);
        }
        let image = self.file.default_image.clone();
        if !synonyms::is_written_elsewhere(self.node, "image") {
            let message = format!("the job {} has no `image`, so it runs in `{image}`", quoted(self.name));
            self.log.changed(&self.path, self.at, message);
        }
        (Some(image.into()), None)
    }

    /// Returns the variables that differ from the top-level ones of the native file.
    pub(super) fn variables(&mut self, variants: &MatrixVariants) -> Option<Value> {
        let mut all = Mapping::new();
        for (name, value) in self.scope.fixed_values() {
            let shared = self.file.shared.get(name).is_some_and(|shared| shared == value);
            if !shared && !variants.names().any(|key| key == name) {
                all.insert(name.into(), value.into());
            }
        }
        (!all.is_empty()).then_some(Value::Mapping(all))
    }

    /// Whether the tags ask for a worker that runs jobs as plain processes, as GitLab's shell executor does.
    fn asks_for_process(&self) -> bool {
        let Some((entry, _)) = self.entry("tags").filter(|_| self.file.tags_are_labels) else { return false };
        values::list(&entry.value)
            .iter()
            .filter_map(|tag| values::text(tag))
            .any(|tag| tag.split_once('=') == Some((EXECUTOR_LABEL, PROCESS_EXECUTOR)))
    }

    fn labels(&mut self) -> Option<Value> {
        let (entry, path) = self.entry("tags")?;
        if !self.file.tags_are_labels {
            self.log.ignored(&path, entry, "all jobs run on this machine");
            return None;
        }
        let path = path.key("tags");
        let mut all = Mapping::new();
        for (text, node) in values::texts(&entry.value, &path, self.log) {
            let label = services::reference_or_empty(text, node, &path, &self.scope, self.log);
            let Some(label) = label else { continue };
            let (name, value) = label.split_once('=').unwrap_or((&label, "true"));
            if is_label(name) && is_label(value) {
                all.insert(name.into(), value.into());
            } else {
                let message = format!("no worker can have the tag {} as a label", quoted(text));
                let help = "labels are up to 128 characters without commas, and without spaces at both ends";
                self.log.invalid_with_help(&path, node.location, message, help);
            }
        }
        (!all.is_empty()).then_some(Value::Mapping(all))
    }

    /// Returns the group of which one job runs at a time.
    fn concurrency(&mut self) -> Option<Value> {
        let entry = self.node.get("resource_group")?;
        let text = values::text(&entry.value).filter(|text| !text.trim().is_empty())?;
        let path = self.path.key("resource_group");
        let group = services::reference_or_empty(text, &entry.value, &path, &self.scope, self.log);
        // As in GitLab, a group without a name is none.
        group.filter(|group| !group.trim().is_empty()).map(Value::from)
    }

    fn lines(&mut self, key: &str) -> Vec<String> {
        let Some((entry, path)) = self.entry(key) else {
            if key == "script" && !synonyms::is_written_elsewhere(self.node, key) {
                let message = format!("the job {} has no `script`", quoted(self.name));
                self.log.invalid(&self.path, self.at, message);
            }
            return Vec::new();
        };
        let path = path.key(key);
        let lines = values::texts(&entry.value, &path, self.log);
        let mut lines: Vec<String> = lines.into_iter().map(|(text, _)| text.to_owned()).collect();
        let is_blank = |item: &&Rc<Node>| values::text(item).is_some_and(|line| line.trim().is_empty());
        if key == "script" && values::list(&entry.value).iter().all(is_blank) {
            if lines.is_empty() || !values::is_list(&entry.value) {
                self.log.invalid(&path, entry.value.location, "`script` has nothing to run");
            }
            // A list of blank lines is a script that does nothing.
            lines = vec![":".to_owned()];
        }
        lines
    }

    fn timeout(&mut self) -> Option<Value> {
        let (entry, path) = self.entry("timeout")?;
        let text = values::text(&entry.value).unwrap_or_default();
        if let Some(seconds) = duration::seconds(text).filter(|seconds| (1..=30 * 86_400).contains(seconds)) {
            Some(duration::native(seconds).into())
        } else {
            let message = format!("{} is not a duration from one second to 30 days", quoted(text));
            self.log.invalid(&path.key("timeout"), entry.value.location, message);
            None
        }
    }
}
