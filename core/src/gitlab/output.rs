//! Writes a native file, with comments about what was not translated.

use std::fmt::Write as _;

use serde_yaml::{Mapping, Value};

use crate::gitlab::file::NativeFile;
use crate::pipeline::finding::Path;
use crate::text::diagnostics::Diagnostic;

/// Keys that jobs may take from `defaults`.
const DEFAULTS_KEYS: [&str; 11] = [
    "image",
    "pull_policy",
    "services",
    "cache",
    "runs_on",
    "before_script",
    "after_script",
    "artifacts",
    "retry",
    "timeout",
    "allow_failure",
];

/// The text of a native file, made from the GitLab file `name`.
pub(crate) fn write(made: &NativeFile, name: &str, found: &[Diagnostic]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# Made from {} by Tidemill.", one_line(name));
    let jobs: Vec<String> =
        made.jobs.iter().map(|job| Path::default().key(&job.gitlab).to_string()).collect();
    let is_about =
        |one: &Diagnostic, path: &str| one.path == path || one.path.starts_with(&format!("{path}."));
    for one in found.iter().filter(|one| !jobs.iter().any(|path| is_about(one, path))) {
        comment(one, 0, &mut out);
    }
    for (key, value) in &made.top {
        block(key, value, 0, &mut out);
    }
    let defaults = shared(made);
    if !defaults.is_empty() {
        block(&"defaults".into(), &Value::Mapping(defaults.clone()), 0, &mut out);
    }
    out.push_str("\njobs:\n");
    let mut said = "";
    for (job, path) in made.jobs.iter().zip(&jobs) {
        if said != path.as_str() {
            for one in found.iter().filter(|one| is_about(one, path)) {
                comment(one, 1, &mut out);
            }
        }
        said = path;
        let own = job.made.body.iter().filter(|(key, value)| defaults.get(key) != Some(value));
        let own: Mapping = own.map(|(key, value)| (key.clone(), value.clone())).collect();
        block(&job.made.name.as_str().into(), &Value::Mapping(own), 1, &mut out);
    }
    out
}

/// What every job has, and more than one alike.
fn shared(made: &NativeFile) -> Mapping {
    let mut all = Mapping::new();
    if made.jobs.len() < 2 {
        return all;
    }
    for key in DEFAULTS_KEYS {
        let mut values = Vec::with_capacity(made.jobs.len());
        values.extend(made.jobs.iter().filter_map(|job| job.made.body.get(key)));
        if values.len() < made.jobs.len() {
            continue;
        }
        let alike = |value: &Value| values.iter().filter(|other| **other == value).count();
        // One of the first values is most often the common one; comparing all with all would be quadratic.
        if let Some(usual) = values.iter().take(8).max_by_key(|value| alike(value))
            && alike(usual) > 1
        {
            all.insert(key.into(), (*usual).clone());
        }
    }
    all
}

fn comment(one: &Diagnostic, indent: usize, out: &mut String) {
    let place = one.location.map_or_else(String::new, |at| match &one.file {
        Some(file) => format!("{}:{}:{}: ", one_line(file), at.line, at.column),
        None => format!("line {}: ", at.line),
    });
    let _ = writeln!(out, "{}# {place}{}", "  ".repeat(indent), one_line(&one.message));
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') { ' ' } else { c })
        .collect()
}

/// A key and its value, each line moved in.
fn block(key: &Value, value: &Value, indent: usize, out: &mut String) {
    let entry: Mapping = std::iter::once((key.clone(), value.clone())).collect();
    // Everything in it is text, numbers, lists and mappings, which can always be written.
    let text = serde_yaml::to_string(&entry).unwrap_or_default();
    for line in text.lines() {
        if !line.is_empty() {
            out.push_str(&"  ".repeat(indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}
