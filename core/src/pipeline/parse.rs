//! Reads one pipeline file.

use std::collections::HashSet;

use super::checks;
use super::compose::templates;
use super::diagnose::{check_size, place};
use super::finding::{Finding, Path, Trail, keep_first};
use super::model::Pipeline;
use super::raw::field::{Read, Reader};
use super::raw::records::RawPipeline;
use super::yaml::{build, tree::Tree};
use crate::text::diagnostics::{Diagnostic, Severity};

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
/// Everything that is wrong with it, in the order of the file; warnings are among them.
pub fn parse(source: &str) -> Result<Pipeline, Vec<Diagnostic>> {
    parse_with_warnings(source).map(|parsed| parsed.pipeline)
}

/// Reads and checks a pipeline file, and keeps the warnings about one that is accepted.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file; warnings are among them.
pub fn parse_with_warnings(source: &str) -> Result<ParsedPipeline, Vec<Diagnostic>> {
    check_tree(&mut read_tree(source)?)
}

/// The document of a file.
pub(crate) fn read_tree(source: &str) -> Result<Tree, Vec<Diagnostic>> {
    check_size(source.len()).map_err(|diagnostic| vec![*diagnostic])?;
    build(source).map_err(|finding| vec![place(&finding, None)])
}

/// The pipeline of a document, in which templates are then written out; else everything that is wrong with it.
pub(crate) fn check_tree(tree: &mut Tree) -> Result<ParsedPipeline, Vec<Diagnostic>> {
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
            return Err(findings.iter().map(|finding| place(finding, Some(tree))).collect());
        }
    };
    findings.append(&mut reader.findings);
    let pipeline = raw.map(|raw| {
        let (pipeline, mut checked) = checks::pipeline(&raw);
        findings.append(&mut checked.list);
        pipeline
    });
    keep_first(&mut findings);
    let mut diagnostics: Vec<Diagnostic> =
        findings.iter().map(|finding| place(finding, Some(tree))).collect();
    // One mistake under an anchor shows up wherever the anchor is used.
    let mut seen = HashSet::new();
    diagnostics.retain(|d| seen.insert((d.location, d.code.clone(), d.message.clone())));
    diagnostics.sort_by_key(|d| d.location);
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    match pipeline {
        Some(pipeline) if !failed => Ok(ParsedPipeline { pipeline, warnings: diagnostics }),
        _ => Err(diagnostics),
    }
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

#[cfg(test)]
mod tests;
