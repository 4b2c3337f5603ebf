//! Reads the files of a pipeline that a job starts, native ones or GitLab's.

use std::fmt::Write as _;

use crate::gitlab::{TranslateOptions, translate};
use crate::pipeline::typed_inputs::InputValue;
use crate::pipeline::{
    ChildPipeline, IncludeSources, PipelineErrors, PipelineWithSources, RepositoryFiles, assemble_from,
};

/// The name of the file that stands for several GitLab files.
const JOINED_FILE: &str = "the files of the child pipeline";

/// Why the files of a child pipeline cannot be used.
#[derive(Debug, Clone, PartialEq)]
pub enum ChildError {
    /// A file cannot be read.
    Unreadable {
        /// Its path.
        path: String,
        /// The reason.
        why: String,
    },
    /// A file is not a valid pipeline.
    Invalid(Box<PipelineErrors>),
}

/// Reads and checks the files of `child`. `artifact` is the text of the file if it is one of a job's artifacts; `files` are the
/// sources.
///
/// # Errors
/// A file cannot be read, or is not a valid pipeline.
pub fn read_child(
    child: &ChildPipeline,
    artifact: Option<&str>,
    files: &dyn RepositoryFiles,
    options: &TranslateOptions,
) -> Result<PipelineWithSources, ChildError> {
    let first = child.files.first().map_or("", String::as_str);
    let files = WithArtifact { path: first, text: artifact, files };
    let invalid = |errors| ChildError::Invalid(Box::new(errors));
    if child.is_gitlab && child.files.len() > 1 {
        return translate(JOINED_FILE, &joined(child), &files, options).map_err(invalid);
    }
    let text = files.read(first).map_err(|why| ChildError::Unreadable { path: first.to_owned(), why })?;
    if child.is_gitlab {
        // The header of the file says which types the values have.
        let options = TranslateOptions { inputs: child.inputs.clone(), ..options.clone() };
        return translate(first, &text, &files, &options).map_err(invalid);
    }
    assemble_from(first, &text, &files).map_err(invalid)
}

/// Returns a GitLab file that includes those of a child.
fn joined(child: &ChildPipeline) -> String {
    let mut text = "include:\n".to_owned();
    for file in &child.files {
        let _ = writeln!(text, "  - local: {}", json(&format!("/{file}")));
        if !child.inputs.is_empty() {
            text.push_str("    inputs:\n");
        }
        for (name, value) in &child.inputs {
            let is_typed = !matches!(InputValue::plain(value), InputValue::Text(_));
            let value = if is_typed { value.clone() } else { json(value) };
            let _ = writeln!(text, "      {}: {value}", json(name));
        }
    }
    text
}

/// Returns a text in double quotes, as both JSON and YAML read it.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The sources, and a file of artifacts that stands for one of them.
struct WithArtifact<'a> {
    path: &'a str,
    text: Option<&'a str>,
    files: &'a dyn RepositoryFiles,
}

impl RepositoryFiles for WithArtifact<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        match self.text {
            Some(text) if path == self.path => Ok(text.to_owned()),
            _ => self.files.read(path),
        }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, String> {
        self.files.list(directory)
    }

    fn elsewhere(&self) -> &dyn IncludeSources {
        self.files.elsewhere()
    }
}
