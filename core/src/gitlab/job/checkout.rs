//! The variables that say how GitLab Runner gets the sources, as the key `checkout`.

use serde_yaml::{Mapping, Value};

use super::context::Job;
use super::services::sequence;
use crate::pipeline::MAX_DEPTH;
use crate::pipeline::finding::quoted;

/// The variables that decide how the sources are checked out.
const VARIABLES: [&str; 8] = [
    "GIT_STRATEGY",
    "GIT_CHECKOUT",
    "GIT_DEPTH",
    "GIT_SUBMODULE_STRATEGY",
    "GIT_SUBMODULE_PATHS",
    "GIT_SUBMODULE_DEPTH",
    "GIT_LFS_SKIP_SMUDGE",
    "GIT_CLEAN_FLAGS",
];

impl Job<'_> {
    /// Returns the value of `checkout`, unless the variables ask for what is the default here. A workspace is always new, so
    /// that `GIT_CLEAN_FLAGS` and the difference between `clone` and `fetch` have no effect.
    pub(crate) fn checkout(&mut self) -> Option<Value> {
        for name in VARIABLES {
            if self.scope.runtime_pieces(name).is_some() {
                self.reject(name, "its value must be known when the file is read", "write the value itself");
            }
        }
        match self.value("GIT_STRATEGY").as_deref() {
            None | Some("" | "fetch" | "clone") => {}
            Some("none" | "empty") => return Some(false.into()),
            Some(other) => self.reject_value("GIT_STRATEGY", other, "`fetch`, `clone`, `none` or `empty`"),
        }
        let mut body = Mapping::new();
        if self.flag("GIT_CHECKOUT") == Some(false) {
            body.insert("files".into(), false.into());
        }
        if let Some(depth) = self.number("GIT_DEPTH") {
            body.insert("depth".into(), depth.into());
        }
        let submodules = self.submodules();
        body.extend(submodules.map(|value| ("submodules".into(), value)));
        if self.flag("GIT_LFS_SKIP_SMUDGE") == Some(true) {
            body.insert("lfs".into(), false.into());
        }
        (!body.is_empty()).then_some(Value::Mapping(body))
    }

    fn submodules(&mut self) -> Option<Value> {
        let recursive = match self.value("GIT_SUBMODULE_STRATEGY").as_deref() {
            Some("none") => return Some(false.into()),
            Some("normal") => Some(false),
            Some("recursive") => Some(true),
            None | Some("") => None,
            Some(other) => {
                self.reject_value("GIT_SUBMODULE_STRATEGY", other, "`none`, `normal` or `recursive`");
                None
            }
        };
        let paths: Vec<String> = self
            .value("GIT_SUBMODULE_PATHS")
            .map(|text| text.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default();
        let depth = self.number("GIT_SUBMODULE_DEPTH");
        if paths.is_empty() && depth.is_none() {
            return recursive.map(|recursive| if recursive { "recursive" } else { "direct" }.into());
        }
        let mut body = Mapping::new();
        body.extend(recursive.map(|recursive| ("recursive".into(), recursive.into())));
        if !paths.is_empty() {
            body.insert("paths".into(), sequence(paths));
        }
        body.extend(depth.map(|depth| ("depth".into(), depth.into())));
        Some(Value::Mapping(body))
    }

    fn value(&self, name: &str) -> Option<String> {
        self.scope.fixed_value(name).map(|text| text.trim().to_owned())
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        let text = self.value(name).filter(|text| !text.is_empty())?;
        match text.parse::<u32>() {
            Ok(number) if number <= MAX_DEPTH => Some(number),
            _ => {
                self.reject_value(name, &text, "a number of commits, or 0 for all");
                None
            }
        }
    }

    /// Returns the value of a variable that is a boolean, as GitLab Runner reads it.
    fn flag(&mut self, name: &str) -> Option<bool> {
        let text = self.value(name).filter(|text| !text.is_empty())?;
        match text.as_str() {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
            _ => {
                self.reject_value(name, &text, "`true` or `false`");
                None
            }
        }
    }

    fn reject_value(&mut self, name: &str, value: &str, expected: &str) {
        self.reject(name, &format!("{} is none of its values", quoted(value)), &format!("write {expected}"));
    }

    fn reject(&mut self, name: &str, why: &str, help: &str) {
        let path = self.path.key("variables").key(name);
        let message = format!("the variable `{name}` of the job {}: {why}", quoted(self.name));
        self.log.invalid_with_help(&path, self.at, message, help);
    }
}
