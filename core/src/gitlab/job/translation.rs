//! Translates one job of a GitLab file into native jobs.

use std::collections::HashSet;

use serde_yaml::{Mapping, Value};

use super::context::{FileContext, Job, has_outputs};
use super::{artifacts, duration, failures, services};
use crate::gitlab::findings::Log;
use crate::gitlab::job::matrix::{self, MatrixVariants};
use crate::gitlab::keys;
use crate::gitlab::values;
use crate::gitlab::variables::{self, KnownOutputs, Scope, Variables};
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::is_label;
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// A native job.
pub(crate) struct NativeJob {
    pub(crate) name: String,
    pub(crate) body: Mapping,
}

/// Translates a job: into several native jobs if its matrix is a list of several.
pub(crate) fn translate(entry: &MapEntry, file: &FileContext, log: &mut Log) -> Vec<NativeJob> {
    let (name, node, at) = (entry.key.as_str(), &entry.value, entry.key_location);
    let path = Path::default().key(name);
    keys::check_job(entry, &path, log);
    if ["trigger", "run"].iter().any(|key| node.get(key).is_some()) && node.get("script").is_none() {
        return Vec::new();
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
    varying.extend(file.workflow.iter().flat_map(|rule| rule.variables.keys().cloned()));
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
    let body = job.body(&variants);
    let names = file.names.get(name).cloned().unwrap_or_default();
    let native_jobs =
        names.into_iter().zip(variants.matrices.iter().map(Some).chain(std::iter::repeat(None)));
    native_jobs
        .enumerate()
        .map(|(index, (name, matrix))| {
            let mut body = body.clone();
            let before = variants.before(index);
            if before > 0 {
                // A native job counts its own variants.
                let line = format!("export CI_NODE_INDEX=$((CI_NODE_INDEX + {before}))");
                let first = if body.contains_key("before_script") { "before_script" } else { "script" };
                for key in [first, "after_script"] {
                    if let Some(lines) = body.get_mut(key).and_then(Value::as_sequence_mut) {
                        lines.insert(0, line.clone().into());
                    }
                }
            }
            if let Some(matrix) = matrix {
                let values = matrix
                    .iter()
                    .map(|(key, values)| (key.as_str().into(), services::sequence(values.clone())));
                body.insert("matrix".into(), Value::Mapping(values.collect()));
            }
            NativeJob { name, body }
        })
        .collect()
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
        let (needs, without_artifacts) = self.needs();
        let dependencies = self.dependencies(needs.as_deref(), &without_artifacts);
        set("needs", needs.map(services::sequence));
        set("dependencies", dependencies.map(services::sequence));
        set("variables", self.variables(variants));
        if let Some((entry, path)) = self.entry("services") {
            let services = services::services(entry, &path, &self.scope, self.log);
            set(
                "services",
                Some(services).filter(|all| all.as_sequence().is_some_and(|all| !all.is_empty())),
            );
        }
        if let Some((entry, path)) = self.entry("cache") {
            let caches = services::caches(entry, &path, &self.scope, self.log);
            set("cache", Some(caches).filter(|all| all.as_sequence().is_some_and(|all| !all.is_empty())));
        }
        if let Some((entry, path)) = self.entry("environment") {
            set("environment", services::environment(entry, &path, &self.scope, self.log));
        }
        set("checkout", self.checkout());
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
        // The variables of GitLab's settings are in every job.
        set("secrets", Some("*".into()));
        body
    }

    fn stage(&mut self) -> Option<Value> {
        let written = self.node.get("stage");
        let stage = match written {
            None => "test",
            Some(entry) => values::text(&entry.value).unwrap_or_default(),
        };
        if let Some(native) = self.file.stages.get(stage) {
            return Some(native.clone().into());
        }
        let at = written.map_or(self.at, |entry| entry.value.location);
        let path = self.path.key("stage");
        self.log.invalid_with_help(
            &path,
            at,
            format!("there is no stage {}", quoted(stage)),
            "list it under `stages`",
        );
        None
    }

    fn image(&mut self) -> (Option<Value>, Option<&'static str>) {
        if let Some((entry, path)) = self.entry("image") {
            return services::image(entry, &path, &self.scope, self.log);
        }
        let image = self.file.default_image.clone();
        let message = format!("the job {} has no `image`, so it runs in `{image}`", quoted(self.name));
        self.log.changed(&self.path, self.at, message);
        (Some(image.into()), None)
    }

    /// Returns the variables that differ from the top-level ones of the native file.
    fn variables(&mut self, variants: &MatrixVariants) -> Option<Value> {
        let mut all = Mapping::new();
        for (name, value) in self.scope.fixed_values() {
            let shared = self.file.shared.get(name).is_some_and(|shared| shared == value);
            if !shared && !variants.names().any(|key| key == name) {
                all.insert(name.into(), value.into());
            }
        }
        if let Some(total) = variants.total {
            all.insert("CI_NODE_TOTAL".into(), total.to_string().into());
        }
        if let Some((entry, _)) = self.entry("environment") {
            let text = |key| entry.value.get(key).and_then(|part| values::text(&part.value));
            // Those of the name, unless the file says others.
            let pairs =
                [("CI_ENVIRONMENT_ACTION", text("action")), ("CI_ENVIRONMENT_TIER", text("deployment_tier"))];
            let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into())));
            all.extend(pairs.filter(|(_, value): &(Value, Value)| *value != "start"));
        }
        (!all.is_empty()).then_some(Value::Mapping(all))
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
            match self.scope.expand(text) {
                Ok(label) if is_label(&label) => {
                    all.insert(label.into(), "true".into());
                }
                _ => {
                    let what = format!("the tag {}", quoted(text));
                    let why = "worker labels consist of letters, digits and `_ - .`, without variables";
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
                self.log.invalid(&self.path, self.at, message);
            }
            return Vec::new();
        };
        let path = path.key(key);
        let lines = values::texts(&entry.value, &path, self.log);
        let lines: Vec<String> = lines.into_iter().map(|(text, _)| text.to_owned()).collect();
        if key == "script" && lines.iter().all(|line| line.trim().is_empty()) {
            self.log.invalid(&path, entry.value.location, "`script` has nothing to run");
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
