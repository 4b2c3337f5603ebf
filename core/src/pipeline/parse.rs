//! Reads one pipeline file.

use std::collections::HashSet;

use super::checks;
use super::compose::templates;
use super::diagnose::{check_size, to_diagnostic};
use super::finding::{Finding, Path, Trail, keep_first};
use super::model::Pipeline;
use super::raw::field::{Read, Reader};
use super::raw::records::RawPipeline;
use super::yaml::{build, build_gitlab_file, tree::Tree};
use crate::text::diagnostics::{Diagnostic, Location, Severity};

/// A pipeline, and the warnings about its file.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedPipeline {
    /// The checked pipeline.
    pub pipeline: Pipeline,
    /// Diagnostics of [`Severity::Warning`], in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks a pipeline file.
///
/// # Errors
/// Returns all diagnostics in file order, warnings included.
pub fn parse(source: &str) -> Result<Pipeline, Vec<Diagnostic>> {
    parse_with_warnings(source).map(|parsed| parsed.pipeline)
}

/// Reads and checks a pipeline file; a valid one is returned with its warnings.
///
/// # Errors
/// Returns all diagnostics in file order, warnings included.
pub fn parse_with_warnings(source: &str) -> Result<ParsedPipeline, Vec<Diagnostic>> {
    check_tree(&mut read_tree(source)?)
}

/// Reads the document of a file.
pub(crate) fn read_tree(source: &str) -> Result<Tree, Vec<Diagnostic>> {
    check_size(source.len()).map_err(|diagnostic| vec![*diagnostic])?;
    build(source).map_err(|finding| vec![to_diagnostic(&finding, None)])
}

/// Merges templates into a document, and returns its pipeline, or all diagnostics.
pub(crate) fn check_tree(tree: &mut Tree) -> Result<ParsedPipeline, Vec<Diagnostic>> {
    let (pipeline, findings) = check_findings(tree);
    let mut diagnostics: Vec<Diagnostic> =
        findings.iter().map(|finding| to_diagnostic(finding, Some(tree))).collect();
    // An error under an anchor is found once for each alias.
    let mut seen = HashSet::new();
    diagnostics.retain(|d| seen.insert((d.location, d.code.clone(), d.message.clone())));
    diagnostics.sort_by_key(|d| d.location);
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    match pipeline {
        Some(pipeline) if !failed => Ok(ParsedPipeline { pipeline, warnings: diagnostics }),
        _ => Err(diagnostics),
    }
}

/// Merges templates into a document, and returns its pipeline, which is valid only without errors, and all findings.
pub(crate) fn check_findings(tree: &mut Tree) -> (Option<Pipeline>, Vec<Finding>) {
    let mut findings = std::mem::take(&mut tree.findings);
    tree.root = tree.root.as_ref().map(|root| templates::apply(root, &mut findings));
    let mut reader = Reader::default();
    let raw = match &tree.root {
        Some(root) if !root.is_null() => RawPipeline::read(root, &Trail::ROOT, &mut reader),
        _ => {
            keep_first(&mut findings);
            findings.push(
                Finding::value("empty-file", &Path::default(), "this file holds no pipeline")
                    .help("`tidemill init` writes a starter file"),
            );
            return (None, findings);
        }
    };
    findings.append(&mut reader.findings);
    let pipeline = raw.map(|raw| {
        let (pipeline, mut checked) = checks::pipeline(&raw);
        findings.append(&mut checked.findings);
        pipeline
    });
    keep_first(&mut findings);
    (pipeline, findings)
}

/// The JSON Schema of the pipeline file, for editors.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(RawPipeline);
    schema.insert("title".to_owned(), "Tidemill pipeline file".into());
    schema.insert("required".to_owned(), serde_json::json!(["name", "jobs"]));
    // Top-level keys that only hold values for anchors.
    schema.insert("patternProperties".to_owned(), serde_json::json!({ "^(\\.|x-)": true }));
    schema.to_value()
}

/// Returns where a native file or a GitLab file names `key` for a job: in the job, among the defaults, or for all jobs; otherwise
/// where the job begins. `None`: the job is not in this text, as another file has it.
#[must_use]
pub fn locate_in_job(text: &str, job: &str, key: &str) -> Option<Location> {
    let tree = build_gitlab_file(text, 0).ok()?;
    let root = tree.root.as_ref()?;
    let job = match root.get("jobs") {
        Some(jobs) => jobs.value.get(job),
        None => root.get(job),
    }?;
    let defaults = ["defaults", "default"].into_iter().filter_map(|name| root.get(name));
    let nodes = [&job.value].into_iter().chain(defaults.map(|entry| &entry.value)).chain([root]);
    let entry = nodes.into_iter().find_map(|node| node.get(key)).unwrap_or(job);
    Some(entry.key_location)
}

#[cfg(test)]
mod tests;
