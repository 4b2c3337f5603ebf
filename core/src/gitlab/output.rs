//! Writes a native file, with comments about what was not translated.

use std::fmt::Write as _;

use serde_yaml::{Mapping, Value};

use crate::gitlab::file::NativeFile;
use crate::pipeline::finding::Path;
use crate::text::diagnostics::Diagnostic;

/// Keys that jobs may take from `defaults`.
const DEFAULTS_KEYS: [&str; 13] = [
    "image",
    "pull_policy",
    "services",
    "cache",
    "checkout",
    "runs_on",
    "before_script",
    "after_script",
    "artifacts",
    "retry",
    "timeout",
    "allow_failure",
    "secrets",
];

/// Writes the native file that was translated from the GitLab file `name`.
pub(crate) fn write(native: &NativeFile, name: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# Generated from {} by Tidemill.", one_line(name));
    let jobs: Vec<String> =
        native.jobs.iter().map(|job| Path::default().key(&job.name).to_string()).collect();
    let is_about = |diagnostic: &Diagnostic, path: &str| {
        diagnostic.path == path || diagnostic.path.starts_with(&format!("{path}."))
    };
    for diagnostic in
        diagnostics.iter().filter(|diagnostic| !jobs.iter().any(|path| is_about(diagnostic, path)))
    {
        comment(diagnostic, 0, &mut out);
    }
    for (key, value) in &native.top {
        block(key, value, 0, &mut out);
    }
    let defaults = common_values(native);
    if !defaults.is_empty() {
        block(&"defaults".into(), &Value::Mapping(defaults.clone()), 0, &mut out);
    }
    out.push_str("\njobs:\n");
    for (job, path) in native.jobs.iter().zip(&jobs) {
        for diagnostic in diagnostics.iter().filter(|diagnostic| is_about(diagnostic, path)) {
            comment(diagnostic, 1, &mut out);
        }
        let own = job.body.iter().filter(|(key, value)| defaults.get(key) != Some(value));
        let own: Mapping = own.map(|(key, value)| (key.clone(), value.clone())).collect();
        block(&job.name.as_str().into(), &Value::Mapping(own), 1, &mut out);
    }
    out
}

/// Returns the values that all jobs have a key for, and more than one in common.
fn common_values(native: &NativeFile) -> Mapping {
    let mut all = Mapping::new();
    if native.jobs.len() < 2 {
        return all;
    }
    for key in DEFAULTS_KEYS {
        let mut values = Vec::with_capacity(native.jobs.len());
        values.extend(native.jobs.iter().filter_map(|job| job.body.get(key)));
        if values.len() < native.jobs.len() {
            continue;
        }
        let count_equal = |value: &Value| values.iter().filter(|other| **other == value).count();
        // The most common value is probably among the first; comparing all with all would be quadratic.
        if let Some(common) = values.iter().take(8).max_by_key(|value| count_equal(value))
            && count_equal(common) > 1
        {
            all.insert(key.into(), (*common).clone());
        }
    }
    all
}

fn comment(diagnostic: &Diagnostic, indent: usize, out: &mut String) {
    let location = diagnostic.location.map_or_else(String::new, |at| match &diagnostic.file {
        Some(file) => format!("{}:{}:{}: ", one_line(file), at.line, at.column),
        None => format!("line {}: ", at.line),
    });
    let _ = writeln!(out, "{}# {location}{}", "  ".repeat(indent), one_line(&diagnostic.message));
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') { ' ' } else { c })
        .collect()
}

/// Writes a key and its value with the given indentation.
fn block(key: &Value, value: &Value, indent: usize, out: &mut String) {
    let entry: Mapping = std::iter::once((key.clone(), value.clone())).collect();
    // The value consists of strings, numbers, lists and mappings, which can always be serialized.
    let text = serde_yaml::to_string(&entry).unwrap_or_default();
    for line in text.lines() {
        if !line.is_empty() {
            out.push_str(&"  ".repeat(indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}
