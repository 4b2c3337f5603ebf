//! Translates the files of `trigger: include`, and their inputs.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::context::Job;
use super::services;
use crate::gitlab::document::{IncludeItem, IncludeKind, LocatedText};
use crate::gitlab::values;
use crate::pipeline::SERVER_VARIABLES;
use crate::pipeline::finding::Path;
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};
use crate::text::diagnostics::Location;

/// Keys of an item with a file of a job's artifacts.
const ARTIFACT_KEYS: [&str; 3] = ["artifact", "inputs", "job"];

/// The files of a `trigger`.
#[derive(Default)]
pub(super) struct ChildFiles {
    /// Items of the native `include`.
    items: Vec<Mapping>,
}

impl ChildFiles {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the paths, if all files are in the sources and have no inputs of their own.
    fn local_paths(&self) -> Option<Vec<Value>> {
        // A pattern is one of an include.
        let is_path = |path: &&Value| path.as_str().is_some_and(|path| !path.contains('*'));
        let path = |item: &Mapping| item.get("local").filter(|_| item.len() == 1).filter(is_path).cloned();
        self.items.iter().map(path).collect()
    }

    /// Returns the path, the job and the inputs of the only file, if it is one of a job's artifacts.
    fn only_artifact(&self) -> Option<(Value, Value, Option<Value>)> {
        let [item] = self.items.as_slice() else { return None };
        Some((item.get("artifact")?.clone(), item.get("job")?.clone(), item.get("inputs").cloned()))
    }
}

impl Job<'_> {
    /// Returns the native keys for the files of a `trigger`, and the `inputs` beside them.
    pub(super) fn native_files(
        &mut self,
        mut files: ChildFiles,
        inputs: Option<Value>,
        path: &Path,
        at: Location,
    ) -> Mapping {
        let mut native = Mapping::new();
        let has_several = |item: &Mapping| {
            item.get("file").and_then(Value::as_sequence).is_some_and(|files| files.len() > 1)
        };
        let is_for_one = files.items.len() < 2 && !files.items.iter().any(has_several);
        if inputs.is_some() && !is_for_one {
            let message = "`inputs` are for one file here, and this `trigger` includes several".to_owned();
            let help = "write `inputs` into the items of `include` that take them";
            self.log.invalid_with_help(path, at, message, help);
        }
        native.insert("gitlab".into(), true.into());
        if let Some((file, job, own)) = files.only_artifact() {
            native.insert("artifact_of".into(), job);
            native.insert("file".into(), Value::Sequence(vec![file]));
            native.extend(own.or(inputs).map(|inputs| ("inputs".into(), inputs)));
        } else if let Some(paths) = files.local_paths() {
            native.insert("file".into(), Value::Sequence(paths));
            native.extend(inputs.map(|inputs| ("inputs".into(), inputs)));
        } else {
            if let (Some(inputs), [item]) = (inputs, files.items.as_mut_slice()) {
                item.entry("inputs".into()).or_insert(inputs);
            }
            let items = files.items.into_iter().map(Value::Mapping).collect();
            native.insert("include".into(), Value::Sequence(items));
        }
        native
    }

    /// Reads the files of `include`.
    pub(super) fn child_files(&mut self, node: &Rc<Node>, path: &Path, files: &mut ChildFiles) {
        for item in values::list(node) {
            if item.get("artifact").is_some() || item.get("job").is_some() {
                self.artifact_file(item, path, files);
                continue;
            }
            if let Some(rules) = item.get("rules") {
                let why = "the files of a child pipeline are the same in all of them";
                let help = "put `rules` on the job with `trigger`, or on an include of the child's file";
                self.log.unsupported(path, rules, why, help);
                continue;
            }
            // Without `rules`, nothing depends on variables.
            let none = BTreeMap::new();
            let Some(IncludeItem { kind, given, .. }) = IncludeItem::read(item, path, &none, self.log) else {
                continue;
            };
            let Some(mut native) = self.include_item(&kind, item, path) else { continue };
            if let Some(inputs) = given.and_then(|given| self.inputs(&given.value, &path.key("inputs"))) {
                native.insert("inputs".into(), inputs);
            }
            files.items.push(native);
        }
    }

    /// Returns the native form of an item.
    fn include_item(&mut self, kind: &IncludeKind<'_>, item: &Node, path: &Path) -> Option<Mapping> {
        let mut native = Mapping::new();
        match kind {
            IncludeKind::Local(file) => {
                let text = LocatedText { text: file.text.trim_start_matches('/'), ..*file };
                native.insert("local".into(), self.text_of(&text, path)?);
            }
            IncludeKind::Project { project, reference, files } => {
                native.insert("project".into(), self.text_of(project, path)?);
                if let Some(reference) = reference {
                    native.insert("ref".into(), self.text_of(reference, path)?);
                }
                let files: Option<Vec<Value>> = files.iter().map(|file| self.text_of(file, path)).collect();
                native.insert("file".into(), Value::Sequence(files?));
            }
            IncludeKind::Remote { url, .. } => {
                native.insert("remote".into(), self.text_of(url, path)?);
                if let Some(hash) = item.get("integrity").and_then(|entry| values::text(&entry.value)) {
                    native.insert("integrity".into(), hash.into());
                }
            }
            IncludeKind::Template(name) => {
                native.insert("template".into(), self.text_of(name, path)?);
            }
            IncludeKind::Component(address) => {
                native.insert("component".into(), self.text_of(address, path)?);
            }
        }
        Some(native)
    }

    fn text_of(&mut self, text: &LocatedText<'_>, path: &Path) -> Option<Value> {
        let (server, rest) = split_server(text.text);
        let rest = services::reference_at(rest, text.location, path, &self.scope, self.log)?;
        Some(server.map_or_else(|| rest.clone(), |server| format!("{server}{rest}")).into())
    }

    /// Reads an item with a file of a job's artifacts.
    fn artifact_file(&mut self, item: &Node, path: &Path, files: &mut ChildFiles) {
        let (mut file, mut job, mut inputs) = (None, None, None);
        for part in values::entries(item) {
            let at = path.key(&part.key);
            match (part.key.as_str(), values::text(&part.value)) {
                ("artifact", Some(text)) => {
                    let text = text.trim_start_matches('/');
                    file = services::reference(text, &part.value, &at, &self.scope, self.log);
                    if item.get("job").is_none() {
                        let message = "`artifact` needs `job`, the job that makes the file";
                        self.log.invalid(&at, part.key_location, message);
                    }
                }
                ("job", Some(name)) => job = Some(name.to_owned()),
                ("inputs", _) => inputs = self.inputs(&part.value, &at),
                ("artifact" | "job", None) => self.log.wrong_type(&at, &part.value, "a string"),
                _ => self.log.unknown_key(path, part, &ARTIFACT_KEYS),
            }
        }
        if let (Some(file), Some(job)) = (file, job) {
            let mut native =
                Mapping::from_iter([("artifact".into(), file.into()), ("job".into(), job.into())]);
            native.extend(inputs.map(|inputs| ("inputs".into(), inputs)));
            files.items.push(native);
        }
    }

    /// Returns the native inputs. A list is the text of a list.
    pub(super) fn inputs(&mut self, node: &Rc<Node>, path: &Path) -> Option<Value> {
        let mut all = Mapping::new();
        for entry in values::entries(node) {
            let at = path.key(&entry.key);
            if let Some(text) = values::text(&entry.value) {
                let text = services::reference_or_empty(text, &entry.value, &at, &self.scope, self.log);
                all.insert(entry.key.as_str().into(), text.unwrap_or_default().into());
            } else if let Some(text) = list_text(entry) {
                all.insert(entry.key.as_str().into(), text.into());
            } else {
                let why = "it is neither a value nor a list of values without variables";
                self.log.unsupported(path, entry, why, "write it into the file");
            }
        }
        (!all.is_empty()).then_some(Value::Mapping(all))
    }
}

/// Splits off the variable for the git server with which an address begins: whoever reads the files knows its value.
fn split_server(text: &str) -> (Option<&'static str>, &str) {
    let rest_of = |server: &str| {
        let name = server.strip_prefix('$')?;
        let rest = text.strip_prefix(server).or_else(|| text.strip_prefix(&format!("${{{name}}}")))?;
        rest.starts_with('/').then_some(rest)
    };
    let found = SERVER_VARIABLES.into_iter().find_map(|server| Some((server, rest_of(server)?)));
    found.map_or((None, text), |(server, rest)| (Some(server), rest))
}

/// Returns a list of values without variables as the text of a list.
fn list_text(entry: &MapEntry) -> Option<String> {
    let Kind::Sequence(items) = &entry.value.kind else { return None };
    let item = |item: &Rc<Node>| {
        let Kind::Scalar { text, plain } = &item.kind else { return None };
        let is_typed = *plain && (text == "true" || text == "false" || text.parse::<f64>().is_ok());
        let is_literal = !text.contains('$');
        let quoted = || serde_json::Value::from(text.as_str()).to_string();
        is_literal.then(|| if is_typed { text.clone() } else { quoted() })
    };
    let items: Option<Vec<String>> = items.iter().map(item).collect();
    Some(format!("[{}]", items?.join(", ")))
}
