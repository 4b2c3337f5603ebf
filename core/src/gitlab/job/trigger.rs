//! Translates `trigger`: a job that starts another pipeline.

use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::context::Job;
use super::matrix::MatrixVariants;
use super::{failures, needs, services};
use crate::gitlab::values;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// Keys that a job with `trigger` cannot have.
const CONFLICTING_KEYS: [&str; 16] = [
    "after_script",
    "artifacts",
    "before_script",
    "cache",
    "coverage",
    "dependencies",
    "environment",
    "image",
    "interruptible",
    "pages",
    "release",
    "retry",
    "script",
    "services",
    "tags",
    "timeout",
];

/// Keys of `trigger`.
const KEYS: [&str; 6] = ["branch", "forward", "include", "inputs", "project", "strategy"];

/// What is known of the files of a `trigger`.
#[derive(Default)]
struct ChildFiles {
    files: Vec<String>,
    artifact_of: Option<String>,
    inputs: Option<Value>,
}

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
        if let Some(group) = self.node.get("resource_group").filter(|entry| !entry.value.is_null()) {
            let why = "a job with `trigger` ends when the other pipeline has started";
            let help = "put `resource_group` into the jobs of the child's file";
            self.log.unsupported(&self.path, group, why, help);
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
        let needs = self.needs();
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
            self.refuse_project(&path, node);
            return native;
        }
        let (mut files, mut waits, mut forward) = (ChildFiles::default(), false, vec!["job"]);
        for part in values::entries(node) {
            let at = path.key(&part.key);
            match part.key.as_str() {
                "project" => self.refuse_project(&at, &part.value),
                // Reported with `project`.
                "branch" => {}
                "include" => self.child_files(&part.value, &at, &mut files),
                "inputs" => files.inputs = self.inputs(&part.value, &at),
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
        if node.get("project").is_none() && files.files.is_empty() && !self.log.has_errors() {
            let message = "`trigger` has no `include`".to_owned();
            let help = "name the file of the pipeline: `trigger: { include: path/of/file.yml }`";
            self.log.invalid_with_help(&path, entry.key_location, message, help);
        }
        if files.files.len() > 1 && files.inputs.is_some() {
            let message = "`inputs` are for one file here, and this `trigger` includes several".to_owned();
            let help = "include them in one file, and give that file the inputs";
            self.log.invalid_with_help(&path, entry.key_location, message, help);
        }
        native.insert("file".into(), services::sequence(files.files));
        native.insert("gitlab".into(), true.into());
        if let Some(job) = files.artifact_of {
            native.insert("artifact_of".into(), job.into());
        }
        native.insert("wait".into(), waits.into());
        if forward != ["job"] {
            native.insert("forward".into(), forward.iter().copied().map(Value::from).collect());
        }
        if forward.contains(&"job") {
            let variables = self.late_variables();
            if !variables.is_empty() {
                native.insert("variables".into(), Value::Mapping(variables));
            }
        }
        if let Some(inputs) = files.inputs {
            native.insert("inputs".into(), inputs);
        }
        native
    }

    fn refuse_project(&mut self, path: &Path, node: &Node) {
        let project = values::text(node).unwrap_or_default();
        let what = format!("`trigger` of {}", quoted(project));
        let help = "start a pipeline of a file in this repository with `include`, or the other one in a script with its API";
        self.log.unsupported_at(
            path,
            node.location,
            &what,
            "pipelines of another repository cannot be started",
            help,
        );
    }

    /// Reads the files of `include`.
    fn child_files(&mut self, node: &Rc<Node>, path: &Path, files: &mut ChildFiles) {
        for item in values::list(node) {
            if !values::is_mapping(item) {
                if let Some(text) = values::text(item) {
                    self.local_file(text, item, path, files);
                }
                continue;
            }
            let other =
                ["project", "remote", "template", "component"].into_iter().find_map(|key| item.get(key));
            if let Some(other) = other {
                let help = "copy the file into the repository, and include it with `local`";
                self.log.unsupported(
                    path,
                    other,
                    "the file of a child pipeline is one of this repository",
                    help,
                );
                continue;
            }
            for part in values::entries(item) {
                let at = path.key(&part.key);
                let text = values::text(&part.value);
                match (part.key.as_str(), text) {
                    ("local", Some(text)) => self.local_file(text, &part.value, &at, files),
                    ("artifact", Some(text)) => {
                        let text = text.trim_start_matches('/');
                        if let Some(file) = services::reference(text, &part.value, &at, &self.scope, self.log)
                        {
                            files.files.push(file);
                        }
                        if item.get("job").is_none() {
                            let message = "`artifact` needs `job`, the job that makes the file";
                            self.log.invalid(&at, part.key_location, message);
                        }
                    }
                    ("job", Some(job)) => files.artifact_of = Some(job.to_owned()),
                    ("inputs", _) => files.inputs = self.inputs(&part.value, &at),
                    ("local" | "artifact" | "job", None) => self.log.wrong_type(&at, &part.value, "a string"),
                    _ => self.log.unknown_key(path, part, &["artifact", "inputs", "job", "local"]),
                }
            }
        }
        if files.artifact_of.is_some() && files.files.len() > 1 {
            let message = "a child pipeline with a file of a job's artifacts has no other files";
            self.log.invalid(path, node.location, message);
        }
    }

    fn local_file(&mut self, text: &str, node: &Node, path: &Path, files: &mut ChildFiles) {
        if text.contains('*') {
            let message = format!("the file of a child pipeline is not a pattern: {}", quoted(text));
            self.log.invalid(path, node.location, message);
            return;
        }
        let text = text.trim_start_matches('/');
        files.files.extend(services::reference(text, node, path, &self.scope, self.log));
    }

    fn inputs(&mut self, node: &Rc<Node>, path: &Path) -> Option<Value> {
        let mut all = Mapping::new();
        for entry in values::entries(node) {
            let at = path.key(&entry.key);
            match values::text(&entry.value) {
                Some(text) => {
                    let text = services::reference(text, &entry.value, &at, &self.scope, self.log);
                    all.insert(entry.key.as_str().into(), text.unwrap_or_default().into());
                }
                None => {
                    self.log.unsupported(
                        path,
                        entry,
                        "lists are not passed on",
                        "write its items into the file",
                    );
                }
            }
        }
        (!all.is_empty()).then_some(Value::Mapping(all))
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
