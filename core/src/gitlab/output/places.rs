//! Assigns the comments of GitLab files to the places of a native file.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::comments::{self, Comment};
use crate::gitlab::file::NativeFile;
use crate::gitlab::keys;
use crate::gitlab::values;
use crate::pipeline::SourceFile;
use crate::pipeline::yaml::tree::{Kind, LINES_PER_FILE, MapEntry, Node};

/// A part of the value of a native key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Item(usize),
    Key(String),
}

/// A place of a native file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The index of the job; `None` for a key at the top.
    pub(crate) job: Option<usize>,
    /// The key; `None` for the job itself.
    pub(crate) key: Option<String>,
    pub(crate) part: Option<Part>,
}

/// The comments of a native file.
#[derive(Debug, Default)]
pub(crate) struct PlacedComments {
    /// Those at the top of the file.
    pub(crate) head: Vec<String>,
    pub(crate) tail: Vec<String>,
    placed: HashMap<Place, Vec<String>>,
    /// The keys some of whose parts have comments, each with its job.
    keys_with_parts: HashSet<(Option<usize>, String)>,
}

impl PlacedComments {
    /// Places the comments of `files`, from which `root` was merged and `native` translated. `defaults` are the keys that all jobs
    /// have in common.
    pub(crate) fn new(
        files: &[SourceFile],
        root: &Rc<Node>,
        native: &NativeFile,
        defaults: &Mapping,
    ) -> Self {
        let comments = comments::of_files(files);
        let mut all = Self::default();
        if comments.is_empty() {
            return all;
        }
        let owners = owners(root, native, defaults);
        let first_entry = values::entries(root).iter().min_by_key(|entry| entry.key_location.line);
        // The lines at which the jobs begin.
        let mut starts: Vec<(usize, usize)> = Vec::new();
        for (ix, job) in native.jobs.iter().enumerate() {
            starts.extend(root.get(&job.name).map(|entry| (entry.key_location.line, ix)));
        }
        starts.sort_unstable();
        // Whether the file begins with a comment apart from the first entry.
        let mut has_header = false;
        for Comment { text, line, target, is_apart } in comments {
            let before = first_entry.filter(|first| line < first.key_location.line && line < LINES_PER_FILE);
            let is_head = before.is_some();
            // The first comment of a file is about the file, unless a job follows.
            has_header |= is_head && is_apart;
            if before.is_some_and(|first| is_apart || !has_header && is_about_file(first)) {
                all.head.push(text);
                continue;
            }
            let owner = target.and_then(|target| owners.get(&target)).cloned();
            let next_job = || {
                let next = starts.iter().find(|(start, _)| *start > line)?;
                let is_same_file = next.0 / LINES_PER_FILE == line / LINES_PER_FILE;
                is_same_file.then_some(Place { job: Some(next.1), key: None, part: None })
            };
            match owner.or_else(next_job) {
                Some(place) => all.add(place, text),
                None if is_head => all.head.push(text),
                None => all.tail.push(text),
            }
        }
        all
    }

    /// Removes and returns the comments of a place.
    pub(crate) fn take(&mut self, job: Option<usize>, key: Option<&str>, part: Option<Part>) -> Vec<String> {
        let place = Place { job, key: key.map(str::to_owned), part };
        self.placed.remove(&place).unwrap_or_default()
    }

    /// Whether a part of a key's value has comments.
    pub(crate) fn has_parts(&self, job: Option<usize>, key: &str) -> bool {
        !self.keys_with_parts.is_empty() && self.keys_with_parts.contains(&(job, key.to_owned()))
    }

    fn add(&mut self, place: Place, text: String) {
        if let Place { job, key: Some(key), part: Some(_) } = &place {
            self.keys_with_parts.insert((*job, key.clone()));
        }
        self.placed.entry(place).or_default().push(text);
    }
}

/// Whether an entry of the root is about the whole file.
fn is_about_file(entry: &MapEntry) -> bool {
    keys::TOP.contains(&entry.key.as_str())
}

/// Returns the place that each line of the files became.
fn owners(root: &Rc<Node>, native: &NativeFile, defaults: &Mapping) -> HashMap<usize, Place> {
    let mut all = HashMap::new();
    let mut own = |line: usize, place: Place| {
        all.entry(line).or_insert(place);
    };
    for (ix, job) in native.jobs.iter().enumerate() {
        let Some(entry) = root.get(&job.name) else { continue };
        let whole = Place { job: Some(ix), key: None, part: None };
        own(entry.key_location.line, whole.clone());
        for entry in values::entries(&entry.value) {
            let native_key = native_key(&entry.key, &job.body);
            match native_key.and_then(|key| Some((key, job.body.get(key)?))) {
                Some((key, value)) => {
                    // A value that all jobs have in common is written once.
                    let is_shared = defaults.get(key) == Some(value);
                    let job = (!is_shared).then_some(ix);
                    assign(entry, (job, key), value, &mut own);
                }
                None => each_line(entry, &mut |line| own(line, whole.clone())),
            }
        }
    }
    let shared = root.get("default").map(|entry| values::entries(&entry.value)).unwrap_or_default();
    let globals = keys::GLOBAL_KEYS.iter().filter_map(|key| root.get(key));
    for entry in shared.iter().chain(globals) {
        let of_job = || {
            let ix = native.jobs.iter().position(|job| job.body.contains_key(entry.key.as_str()))?;
            Some((Some(ix), native.jobs.get(ix)?.body.get(entry.key.as_str())?))
        };
        let of_defaults = defaults.get(entry.key.as_str()).map(|value| (None, value));
        if let Some((job, value)) = of_defaults.or_else(of_job) {
            assign(entry, (job, &entry.key), value, &mut own);
        }
    }
    for key in ["stages", "variables"] {
        if let (Some(entry), Some(value)) = (root.get(key), native.top.get(key)) {
            assign(entry, (None, key), value, &mut own);
        }
    }
    all
}

/// Assigns the lines of a key and its value to the native key `key` with the value `value`.
fn assign(
    entry: &MapEntry,
    (job, key): (Option<usize>, &str),
    value: &Value,
    own: &mut impl FnMut(usize, Place),
) {
    let place = |part| Place { job, key: Some(key.to_owned()), part };
    own(entry.key_location.line, place(None));
    match (&entry.value.kind, value) {
        (Kind::Mapping(_), Value::Mapping(native)) => {
            for entry in values::entries(&entry.value) {
                let is_kept = native.contains_key(entry.key.as_str());
                let part = is_kept.then(|| Part::Key(entry.key.clone()));
                each_line(entry, &mut |line| own(line, place(part.clone())));
            }
        }
        (Kind::Sequence(_), Value::Sequence(native)) => {
            let items = values::list(&entry.value);
            // The commands that export variables come first.
            let is_script = key == "script" || key.ends_with("_script");
            let offset = native.len().checked_sub(items.len()).filter(|more| *more == 0 || is_script);
            for (item, ix) in items.iter().zip(0..) {
                let part = offset.map(|offset| Part::Item(ix + offset));
                each_node(item, &mut |line| own(line, place(part.clone())));
            }
        }
        _ => each_node(&entry.value, &mut |line| own(line, place(None))),
    }
}

fn each_line(entry: &MapEntry, visit: &mut impl FnMut(usize)) {
    visit(entry.key_location.line);
    each_node(&entry.value, visit);
}

/// Calls `visit` with the lines of all values in it.
fn each_node(node: &Node, visit: &mut impl FnMut(usize)) {
    visit(node.location.line);
    match &node.kind {
        Kind::Mapping(mapping) => {
            for entry in &mapping.entries {
                visit(entry.key_location.line);
                each_node(&entry.value, visit);
            }
        }
        Kind::Sequence(items) => items.iter().for_each(|item| each_node(item, visit)),
        Kind::Scalar { .. } => {}
    }
}

/// Returns the key of a native job that a key of GitLab's became.
fn native_key<'a>(key: &'a str, body: &Mapping) -> Option<&'a str> {
    match key {
        "rules" | "only" | "except" => ["rules", "if"].into_iter().find(|key| body.contains_key(*key)),
        "parallel" => ["parallel", "matrix"].into_iter().find(|key| body.contains_key(*key)),
        "tags" => Some("runs_on"),
        other => Some(other),
    }
}
