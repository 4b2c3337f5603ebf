//! Translates `trigger`: a job that starts another pipeline.

use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::child_files::ChildFiles;
use super::context::Job;
use super::matrix::MatrixVariants;
use super::{failures, needs, services};
use crate::gitlab::values;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// Keys that a job with `trigger` cannot have.
const CONFLICTING_KEYS: [&str; 14] = [
    "after_script",
    "artifacts",
    "before_script",
    "cache",
    "coverage",
    "dependencies",
    "image",
    "pages",
    "release",
    "retry",
    "script",
    "services",
    "tags",
    "timeout",
];

/// Keys that a job with `trigger` has in GitLab, but not here: why, and what to do instead.
const UNSUPPORTED_KEYS: [(&str, &str, &str); 2] = [
    (
        "environment",
        "a job with `trigger` deploys nothing itself",
        "put `environment` into the jobs of the child's file",
    ),
    (
        "resource_group",
        "a job with `trigger` ends when the other pipeline has started",
        "put `resource_group` into the jobs of the child's file",
    ),
];

/// Keys of `trigger`.
const KEYS: [&str; 6] = ["branch", "forward", "include", "inputs", "project", "strategy"];

impl Job<'_> {
    /// Returns the native keys of a job with `trigger`.
    pub(super) fn trigger_body(&mut self, entry: &MapEntry, variants: &MatrixVariants) -> Mapping {
        for key in CONFLICTING_KEYS {
            if let Some(other) = self.node.get(key).filter(|entry| !entry.value.is_null()) {
                let message = format!("a job with `trigger` cannot have `{key}`");
                let help = "put it into a job of its own that this one needs, or into the other pipeline";
                self.log.invalid_with_help(&self.path.key(key), other.key_location, message, help);
            }
        }
        for (key, why, help) in UNSUPPORTED_KEYS {
            if let Some(other) = self.node.get(key).filter(|entry| !entry.value.is_null()) {
                self.log.unsupported(&self.path, other, why, help);
            }
        }
        if let Some(when) = self.node.get("when").filter(|_| self.is_delayed()) {
            let message = "a job with `trigger` cannot be delayed";
            self.log.invalid(&self.path.key("when"), when.value.location, message);
        }
        if let Some(allowed) = self.node.get("allow_failure").filter(|entry| values::is_mapping(&entry.value))
        {
            let message = "`allow_failure` of a job with `trigger` takes `true` or `false`";
            self.log.invalid(&self.path.key("allow_failure"), allowed.value.location, message);
        }
        let pipeline = self.child(entry);
        let mut body = Mapping::new();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.into(), value);
            }
        };
        set("stage", self.stage());
        let (key, participation) = self.participation();
        set(key, participation);
        let (when, optional) = self.when();
        set("when", when.map(Value::from));
        set("start_in", self.start_in());
        let needs = self.needs().filter(|needs| !needs.iter().any(needs::Need::has_expressions));
        set("needs", needs.map(|needs| needs::list(needs, true)));
        set("variables", self.variables(variants));
        let allowed = self.node.get("allow_failure").filter(|entry| !entry.value.is_null());
        let path = self.path.clone();
        let allowed = allowed.and_then(|entry| failures::allow_failure(entry, &path, self.log));
        set("allow_failure", allowed.or(optional.then(|| true.into())));
        set("pipeline", Some(Value::Mapping(pipeline)));
        body
    }

    /// Returns the native `pipeline`.
    fn child(&mut self, entry: &MapEntry) -> Mapping {
        let path = self.path.key("trigger");
        let mut native = Mapping::new();
        let node = &entry.value;
        if !values::is_mapping(node) {
            self.repository(&path, entry, &mut native);
            native.insert("wait".into(), false.into());
            self.forwarded(&["job"], &mut native);
            return native;
        }
        let (mut files, mut inputs, mut waits, mut forward) =
            (ChildFiles::default(), None, false, vec!["job"]);
        for part in values::entries(node) {
            let at = path.key(&part.key);
            match part.key.as_str() {
                "project" => self.repository(&at, part, &mut native),
                "branch" => self.branch(&at, part, node, &mut native),
                "include" => self.child_files(&part.value, &at, &mut files),
                "inputs" => inputs = self.inputs(&part.value, &at),
                "strategy" => match values::text(&part.value) {
                    Some("depend" | "mirror") => waits = true,
                    _ if part.value.is_null() => {}
                    other => {
                        let message = format!(
                            "`strategy` takes `depend` or `mirror`, not {}",
                            quoted(other.unwrap_or_default())
                        );
                        self.log.invalid(&at, part.value.location, message);
                    }
                },
                "forward" => forward = self.forward(&part.value, &at),
                _ => self.log.unknown_key(&path, part, &KEYS),
            }
        }
        if node.get("project").is_none() {
            if files.is_empty() && !self.log.has_errors() {
                let message = "`trigger` has no `include` and no `project`".to_owned();
                let help = "name the file of the pipeline: `trigger: { include: path/of/file.yml }`, or another repository: `trigger: { project: group/name }`";
                self.log.invalid_with_help(&path, entry.key_location, message, help);
            }
            let set = self.native_files(files, inputs, &path, entry.key_location);
            native.extend(set);
        } else {
            if let Some(include) = node.get("include") {
                let message = "`trigger` has `include` or `project`, not both".to_owned();
                self.log.invalid(&path.key("include"), include.key_location, message);
            }
            native.extend(inputs.map(|inputs| ("inputs".into(), inputs)));
        }
        native.insert("wait".into(), waits.into());
        if forward != ["job"] {
            native.insert("forward".into(), forward.iter().copied().map(Value::from).collect());
        }
        self.forwarded(&forward, &mut native);
        native
    }

    /// Adds the variables that the child gets with `forward`.
    fn forwarded(&mut self, forward: &[&str], native: &mut Mapping) {
        if forward.contains(&"job") {
            let variables = self.late_variables();
            if !variables.is_empty() {
                native.insert("variables".into(), Value::Mapping(variables));
            }
        }
    }

    /// Reads the other repository of `project`.
    fn repository(&mut self, path: &Path, entry: &MapEntry, native: &mut Mapping) {
        let node = &entry.value;
        match values::text(node) {
            Some(name) if !name.is_empty() => {
                if let Some(name) = services::reference(name, node, path, &self.scope, self.log) {
                    native.insert("repository".into(), name.into());
                }
            }
            _ => self.log.wrong_type(path, node, "the path of another project, such as `group/name`"),
        }
    }

    /// Reads the branch of the other repository.
    fn branch(&mut self, path: &Path, entry: &MapEntry, trigger: &Node, native: &mut Mapping) {
        let node = &entry.value;
        if trigger.get("project").is_none() {
            let message = "`branch` is a key of a `trigger` with `project`".to_owned();
            self.log.invalid(path, entry.key_location, message);
        } else if let Some(name) = values::text(node) {
            if let Some(name) = services::reference(name, node, path, &self.scope, self.log) {
                native.insert("branch".into(), name.into());
            }
        } else if !node.is_null() {
            self.log.wrong_type(path, node, "the name of a branch");
        }
    }

    /// Reads `forward`: which variables the child gets.
    fn forward(&mut self, node: &Rc<Node>, path: &Path) -> Vec<&'static str> {
        let (mut job, mut run) = (true, false);
        for part in values::entries(node) {
            match (part.key.as_str(), values::flag(&part.value)) {
                ("yaml_variables", Some(flag)) => job = flag,
                ("pipeline_variables", Some(flag)) => run = flag,
                ("yaml_variables" | "pipeline_variables", None) => {
                    self.log.wrong_type(&path.key(&part.key), &part.value, "`true` or `false`");
                }
                _ => self.log.unknown_key(path, part, &["pipeline_variables", "yaml_variables"]),
            }
        }
        [("job", job), ("run", run)].into_iter().filter(|(_, flag)| *flag).map(|(name, _)| name).collect()
    }

    /// Returns the variables whose values refer to others that the file does not set; the server knows those when the job runs.
    fn late_variables(&mut self) -> Mapping {
        let names: Vec<String> = self.scope.runtime_names().map(str::to_owned).collect();
        let mut all = Mapping::new();
        for name in names {
            match self.scope.late_job_references(&format!("${name}")) {
                Ok(text) => {
                    all.insert(name.into(), text.into());
                }
                Err(unknown) => {
                    let what = format!("the variable `{name}`");
                    let why = format!("its value depends on `{unknown}`, which only jobs get");
                    self.log.ignored_at(&self.path.key("trigger"), self.at, &what, &why);
                }
            }
        }
        all
    }
}
