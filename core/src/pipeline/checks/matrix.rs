//! Checks `matrix`, `parallel` and `variant_name`.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::context::FindingSink;
use crate::pipeline::finding::{Fault, Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::model::{Matrix, MatrixPart};
use crate::pipeline::names;
use crate::pipeline::raw::collections::{NamedValues, OneOrMany};
use crate::pipeline::raw::matrix::{RawMatrix, RawMatrixPart};
use crate::pipeline::raw::records::RawJob;
use crate::pipeline::raw::scalars::Text;
use crate::pipeline::references::parse_references;
use crate::plan::MAX_TEMPLATE_BYTES;

/// Maximum number of variants of one job.
pub(crate) const MAX_VARIANTS: usize = 256;

/// Maximum number of keys of a job's matrix: each combination has a value of each.
pub(crate) const MAX_KEYS: usize = 64;

/// Checks and returns the matrix of a job.
pub(crate) fn matrix(
    raw: &RawJob,
    path: &Path,
    variables: &[&IndexMap<String, String>],
    findings: &mut FindingSink,
) -> Matrix {
    if let (Some(_), false) = (raw.parallel.get(), raw.matrix.is_absent()) {
        findings.push(
            Finding::key(
                "conflicting-keys",
                &path.key("parallel"),
                "a job has a `matrix` or `parallel`, not both",
            )
            .help("add a matrix key with the numbers")
            .related("the other one", FindingLocation::Path(path.key("matrix"), PathPart::Key)),
        );
    }
    let matrix = raw.matrix.get().map(model).unwrap_or_default();
    if let Some(parts) = raw.matrix.get() {
        let path = path.key("matrix");
        if parts.0.is_empty() {
            findings.push(empty(&path, "`matrix` has no values, so the job would never run"));
        }
        for part in &parts.0 {
            check_part(
                part,
                &part.index.map_or_else(|| path.clone(), |at| path.index(at)),
                variables,
                findings,
            );
        }
        let variants = matrix.max_count();
        let keys = matrix.keys().count();
        if keys > MAX_KEYS {
            let message = format!("this matrix has {keys} keys, and {MAX_KEYS} is the limit");
            findings.push(
                Finding::key("matrix-too-large", &path, message).help("take fewer keys, or split the job"),
            );
        } else if variants > MAX_VARIANTS {
            let message = format!("this matrix has {variants} combinations, and {MAX_VARIANTS} is the limit");
            findings.push(
                Finding::key("matrix-too-large", &path, message).help("take fewer values, or split the job"),
            );
        } else if !parts.0.is_empty() && variants > 0 && matrix.cells(MAX_VARIANTS).is_empty() {
            findings.push(empty(&path, "`exclude` leaves no combination, so the job would never run"));
        }
    }
    variant_name(raw, &matrix, path, findings);
    matrix
}

fn empty(path: &Path, message: &str) -> Finding {
    Finding::value("empty-matrix", path, message).help("give it at least one value, or remove the key")
}

/// Returns the model of a matrix.
pub(crate) fn model(raw: &RawMatrix) -> Matrix {
    let texts = |values: &OneOrMany<Text>| values.0.iter().map(|value| value.0.clone()).collect::<Vec<_>>();
    let filter = |values: &NamedValues<OneOrMany<Text>>| {
        values.0.iter().map(|(key, values)| (key.clone(), texts(values))).collect::<IndexMap<_, _>>()
    };
    let part = |part: &RawMatrixPart| MatrixPart {
        keys: filter(&part.keys),
        exclude: part
            .exclude
            .get()
            .map(|all| all.0.iter().map(|(_, one)| filter(one)).collect())
            .unwrap_or_default(),
        include: part
            .include
            .get()
            .map(|all| {
                let cell = |one: &NamedValues<Text>| {
                    one.0.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect()
                };
                all.0.iter().map(|(_, one)| cell(one)).collect()
            })
            .unwrap_or_default(),
    };
    Matrix(raw.0.iter().map(part).collect())
}

fn check_part(
    part: &RawMatrixPart,
    path: &Path,
    variables: &[&IndexMap<String, String>],
    findings: &mut FindingSink,
) {
    for (key, values) in &part.keys.0 {
        let at = path.key(key);
        check_key(key, &at, variables, findings);
        if values.0.is_empty() {
            let message = format!("`{key}` has no values, so the job would never run");
            findings.push(empty(&at, &message));
        }
        let mut first = HashMap::new();
        for (index, value) in values.0.iter().enumerate() {
            if let Some(first) = first.insert(value.0.as_str(), index) {
                let message = format!("{} is listed twice in `{key}`", quoted(&value.0));
                findings.push(
                    Finding::value("duplicate-value", &at.index(index), message)
                        .help("remove one of the two: both would run the same job")
                        .related("first here", FindingLocation::Path(at.index(first), PathPart::Value)),
                );
            }
        }
    }
    let known: HashSet<&str> = part.keys.0.iter().map(|(key, _)| key.as_str()).collect();
    for (index, cell) in part.exclude.get().map_or(&[][..], |cells| cells.0.as_slice()) {
        for (key, _) in cell.0.iter().filter(|(key, _)| !known.contains(key.as_str())) {
            let at = path.key("exclude").index(*index).key(key);
            let message = format!("{} is not a key of this matrix, so nothing is left out", quoted(key));
            let help = findings.suggestions.did_you_mean(key, known.iter().copied());
            findings.push(Finding::key("unknown-matrix-key", &at, message).maybe_help(help));
        }
    }
    for (index, cell) in part.include.get().map_or(&[][..], |cells| cells.0.as_slice()) {
        for (key, _) in &cell.0 {
            check_key(key, &path.key("include").index(*index).key(key), variables, findings);
        }
    }
}

fn check_key(key: &str, at: &Path, variables: &[&IndexMap<String, String>], findings: &mut FindingSink) {
    findings.check_key(names::check_variable_name(key), || at.clone());
    if variables.iter().any(|known| known.contains_key(key)) {
        let message = format!("the matrix key `{key}` hides the variable of the same name");
        findings.push(Finding::key("hidden-variable", at, message).warning().help("rename one of the two"));
    }
}

/// Checks the template of the names of variants: all names must differ.
fn variant_name(raw: &RawJob, matrix: &Matrix, path: &Path, findings: &mut FindingSink) {
    let Some(Text(template)) = raw.variant_name.get() else { return };
    let path = path.key("variant_name");
    if matrix.is_empty() {
        let message = "`variant_name` has no effect on a job without a `matrix`";
        findings.push(Finding::key("unused-key", &path, message).help("remove it"));
        return;
    }
    if template.len() > MAX_TEMPLATE_BYTES {
        let bytes = template.len();
        let message = format!("`variant_name` has {bytes} bytes, and {MAX_TEMPLATE_BYTES} is the limit");
        findings.push(Finding::value("bad-name", &path, message).help("refer to fewer keys"));
        return;
    }
    let keys: HashSet<&str> = matrix.keys().collect();
    let references = match parse_references(template) {
        Ok(references) => references,
        Err(fault) => {
            findings.check(Err(fault), || path.clone());
            return;
        }
    };
    for reference in &references {
        if !keys.contains(reference) && !matches!(*reference, "matrix" | "job") {
            let message =
                format!("`variant_name` refers to {}, which is not a matrix key", quoted(reference));
            let help = findings.suggestions.did_you_mean(reference, keys.iter().copied());
            findings.push(Finding::value("unknown-reference", &path, message).maybe_help(help));
            return;
        }
    }
    if matrix.max_count() > MAX_VARIANTS || keys.len() > MAX_KEYS {
        return;
    }
    let mut seen = HashSet::new();
    for cell in matrix.cells(MAX_VARIANTS) {
        let Some(name) = crate::plan::variant_name(Some(template), "job", &cell) else {
            let message = "`variant_name` makes a name that is too long: 255 characters are the limit";
            findings.push(Finding::value("bad-name", &path, message).help("refer to fewer keys"));
            return;
        };
        findings.check(names::check_name(&name), || path.clone());
        if !seen.insert(name.clone()) {
            let fault = Fault::new("duplicate-job", format!("gives two variants the name {}", quoted(&name)));
            findings.check(Err(fault.help("refer to each key of the matrix, or to `${matrix}`")), || {
                path.clone()
            });
            return;
        }
    }
}
