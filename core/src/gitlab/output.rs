//! Writes a native file, with the comments of the GitLab files and ones about what was not translated.

mod comments;
mod places;
mod shared;

use std::fmt::Write as _;
use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use crate::gitlab::file::NativeFile;
use crate::pipeline::SourceFile;
use crate::pipeline::finding::Path;
use crate::pipeline::yaml::tree::Node;
use crate::text::diagnostics::Diagnostic;
use places::{Part, PlacedComments};
use shared::SharedValues;

/// From this size on, values that jobs have in common are written once, so that the file stays within the limit of files.
const MIN_SHARING_BYTES: usize = 256 << 10;

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

/// Writes the native file that was translated from the GitLab files `files`, merged into `root`.
pub(crate) fn write(
    native: &NativeFile,
    root: &Rc<Node>,
    files: &[SourceFile],
    diagnostics: &[Diagnostic],
) -> String {
    let about = native.jobs.iter().flat_map(|job| job.body.values());
    let about = about.fold(0_usize, |sum, value| sum.saturating_add(shared::size(value)));
    // What is much too long is not written first.
    if about < 4 * MIN_SHARING_BYTES {
        let text = write_with(native, root, (files, diagnostics), &mut SharedValues::default());
        if text.len() < MIN_SHARING_BYTES {
            return text;
        }
    }
    write_with(native, root, (files, diagnostics), &mut SharedValues::of(&native.jobs))
}

fn write_with(
    native: &NativeFile,
    root: &Rc<Node>,
    (files, diagnostics): (&[SourceFile], &[Diagnostic]),
    shared: &mut SharedValues<'_>,
) -> String {
    let mut out = String::new();
    let name = files.first().map(|file| file.name.as_str()).unwrap_or_default();
    let _ = writeln!(out, "# Generated from {} by Tidemill.", one_line(name));
    let jobs: Vec<String> =
        native.jobs.iter().map(|job| Path::default().key(&job.name).to_string()).collect();
    let is_about = |diagnostic: &Diagnostic, path: &str| {
        diagnostic.path == path || diagnostic.path.starts_with(&format!("{path}."))
    };
    let defaults = common_values(native);
    let mut comments = PlacedComments::new(files, root, native, &defaults);
    lines(&std::mem::take(&mut comments.head), 0, &mut out);
    for diagnostic in
        diagnostics.iter().filter(|diagnostic| !jobs.iter().any(|path| is_about(diagnostic, path)))
    {
        comment(diagnostic, 0, &mut out);
    }
    for (key, value) in &native.top {
        commented_block((None, key), value, 0, &mut comments, &mut out);
    }
    if !defaults.is_empty() {
        out.push_str("defaults:\n");
        for (key, value) in &defaults {
            commented_block((None, key), value, 1, &mut comments, &mut out);
        }
    }
    out.push_str("\njobs:\n");
    for ((ix, job), path) in native.jobs.iter().enumerate().zip(&jobs) {
        lines(&comments.take(Some(ix), None, None), 1, &mut out);
        for diagnostic in diagnostics.iter().filter(|diagnostic| is_about(diagnostic, path)) {
            comment(diagnostic, 1, &mut out);
        }
        let own: Vec<(&Value, &Value)> =
            job.body.iter().filter(|(key, value)| defaults.get(*key) != Some(*value)).collect();
        // A key alone is written as one of nothing. A long one takes two lines.
        let header = serde_yaml::to_string(&Mapping::from_iter([(job.name.as_str().into(), Value::Null)]));
        let header = header.unwrap_or_default();
        let header = header.trim_end();
        if own.is_empty() || header.contains('\n') {
            let own: Mapping = own.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            block(&job.name.as_str().into(), &Value::Mapping(own), 1, &mut out);
            continue;
        }
        let _ = writeln!(out, "  {}", header.strip_suffix("null").unwrap_or(header).trim_end());
        for (key, value) in own {
            let name = key.as_str().unwrap_or_default();
            // A value with comments in it is written as it is, and no anchor.
            let is_plain = !comments.has_parts(Some(ix), name);
            match is_plain.then(|| shared.reference(value)).flatten() {
                Some(reference) => {
                    lines(&comments.take(Some(ix), Some(name), None), 2, &mut out);
                    let _ = writeln!(out, "    {name}: {reference}");
                    if reference.is_first() {
                        serialized(value, 3, &mut out);
                    }
                }
                None => commented_block((Some(ix), key), value, 2, &mut comments, &mut out),
            }
        }
    }
    lines(&std::mem::take(&mut comments.tail), 0, &mut out);
    out
}

/// Writes a key and its value like [`block`], with the comments of the key and of the parts of its value.
fn commented_block(
    (job, key): (Option<usize>, &Value),
    value: &Value,
    indent: usize,
    comments: &mut PlacedComments,
    out: &mut String,
) {
    let name = key.as_str().unwrap_or_default();
    lines(&comments.take(job, Some(name), None), indent, out);
    match value {
        Value::Sequence(items) if !items.is_empty() && comments.has_parts(job, name) => {
            let _ = writeln!(out, "{}{name}:", "  ".repeat(indent));
            for (item, ix) in items.iter().zip(0..) {
                lines(&comments.take(job, Some(name), Some(Part::Item(ix))), indent, out);
                serialized(&Value::Sequence(vec![item.clone()]), indent, out);
            }
        }
        Value::Mapping(parts) if !parts.is_empty() && comments.has_parts(job, name) => {
            let _ = writeln!(out, "{}{name}:", "  ".repeat(indent));
            for (part, value) in parts {
                let place = Some(Part::Key(part.as_str().unwrap_or_default().to_owned()));
                lines(&comments.take(job, Some(name), place), indent + 1, out);
                block(part, value, indent + 1, out);
            }
        }
        _ => block(key, value, indent, out),
    }
}

/// Writes comments, each on a line of its own.
fn lines(comments: &[String], indent: usize, out: &mut String) {
    for comment in comments {
        let _ = writeln!(out, "{}{}", "  ".repeat(indent), one_line(comment));
    }
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
    serialized(&Value::Mapping(entry), indent, out);
}

/// Writes a value with the given indentation.
fn serialized(value: &Value, indent: usize, out: &mut String) {
    // The value consists of strings, numbers, lists and mappings, which can always be serialized.
    let text = serde_yaml::to_string(value).unwrap_or_default();
    for line in text.lines() {
        if !line.is_empty() {
            out.push_str(&"  ".repeat(indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}
