//! Reads a pipeline file and the files that it includes.

use super::compose::files::{ReadFile, RepositoryFiles};
use super::compose::include::{self, ComposedDocument, SourceFile};
use super::diagnose::{file_too_large, locate_in_files, to_diagnostic};
use super::finding::keep_first;
use super::parse::{ParsedPipeline, check_tree, read_tree};
use super::yaml::limits::MAX_FILE_BYTES;
use super::yaml::writer;
use crate::repository::includes::PinnedInclude;
use crate::text::{
    diagnostics::{Diagnostic, render_files},
    without_byte_order_mark,
};

/// A pipeline and its source files.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineWithSources {
    /// The checked pipeline, and warnings.
    pub parsed: ParsedPipeline,
    /// The self-contained text of the pipeline: the file itself if it includes no other.
    pub text: String,
    /// The file, and the files that it includes.
    pub files: Vec<SourceFile>,
    /// The versions of the included files that come from elsewhere.
    pub includes: Vec<PinnedInclude>,
}

/// Diagnostics of an invalid pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineErrors {
    /// Errors and warnings, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
    /// The file, and the files that it includes.
    pub files: Vec<SourceFile>,
}

impl PipelineErrors {
    /// Renders them for terminals; see [`crate::text::diagnostics::render_human`].
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        render(&self.files, &self.diagnostics, color)
    }
}

impl PipelineWithSources {
    /// Renders the warnings for terminals.
    #[must_use]
    pub fn render_warnings(&self, color: bool) -> String {
        render(&self.files, &self.parsed.warnings, color)
    }
}

fn render(files: &[SourceFile], diagnostics: &[Diagnostic], color: bool) -> String {
    let files: Vec<(&str, &str)> =
        files.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
    render_files(&files, diagnostics, color)
}

/// Reads and checks the pipeline file `name` and the files of its repository that it includes. `read` returns a file of the
/// repository by its path from the root.
///
/// # Errors
/// Returns the diagnostics of all files.
pub fn assemble(
    name: &str,
    source: &str,
    read: &ReadFile<'_>,
) -> Result<PipelineWithSources, PipelineErrors> {
    assemble_from(name, source, &read)
}

/// Reads and checks the pipeline file `name` and the files that it includes, from its repository and from elsewhere.
///
/// # Errors
/// Returns the diagnostics of all files. While a file cannot be included, only that is reported.
pub fn assemble_from(
    name: &str,
    source: &str,
    files: &dyn RepositoryFiles,
) -> Result<PipelineWithSources, PipelineErrors> {
    // Positions and excerpts must not count an invisible character.
    let source = without_byte_order_mark(source);
    let itself = || vec![SourceFile { name: name.to_owned(), text: source.to_owned() }];
    let mut tree =
        read_tree(source).map_err(|found| PipelineErrors { diagnostics: found, files: itself() })?;
    if !include::is_used(&tree) {
        return match check_tree(&mut tree) {
            Ok(parsed) => Ok(PipelineWithSources {
                parsed,
                text: source.to_owned(),
                files: itself(),
                includes: Vec::new(),
            }),
            Err(found) => Err(PipelineErrors { diagnostics: found, files: itself() }),
        };
    }
    let ComposedDocument { files, mut tree, pinned, is_complete } =
        include::compose(name, source, tree, files);
    let into_files = |found: Vec<Diagnostic>| -> Vec<Diagnostic> {
        found.into_iter().map(|one| locate_in_files(&files, one)).collect()
    };
    if !is_complete {
        // What is missing because of that is not reported.
        keep_first(&mut tree.findings);
        let mut found: Vec<Diagnostic> =
            tree.findings.iter().map(|finding| to_diagnostic(finding, None)).collect();
        found.sort_by_key(|diagnostic| diagnostic.location);
        return Err(PipelineErrors { diagnostics: into_files(found), files });
    }
    let parsed = match check_tree(&mut tree) {
        Ok(ParsedPipeline { pipeline, warnings }) => {
            ParsedPipeline { pipeline, warnings: into_files(warnings) }
        }
        Err(found) => return Err(PipelineErrors { diagnostics: into_files(found), files }),
    };
    let included: Vec<&str> = files.iter().skip(1).map(|file| file.name.as_str()).collect();
    let written = tree.root.as_deref().map(writer::write).unwrap_or_default();
    let text = format!("# Made from {name}, which includes {}.\n{written}", included.join(", "));
    if text.len() > MAX_FILE_BYTES {
        let message = format!(
            "with the files that it includes this pipeline has {} bytes, and {MAX_FILE_BYTES} (1 MiB) is the limit",
            text.len()
        );
        return Err(PipelineErrors { diagnostics: vec![file_too_large(message)], files });
    }
    Ok(PipelineWithSources { parsed, text, files, includes: pinned })
}
