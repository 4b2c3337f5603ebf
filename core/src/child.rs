//! Reads the files of a pipeline that a job starts, native ones or GitLab's.

use std::fmt::Write as _;

use indexmap::IndexMap;

use crate::gitlab::{TranslateOptions, translate};
use crate::pipeline::{
    ChildIncludeSource, ChildPipeline, FileError, IncludeSources, PipelineErrors, PipelineWithSources,
    RepositoryFiles, SERVER_VARIABLES, assemble_from,
};

/// The name of the file that stands for several GitLab files.
const JOINED_FILE: &str = "the files of the child pipeline";

/// Why the files of a child pipeline cannot be used.
#[derive(Debug)]
pub enum ChildError {
    /// A file cannot be read.
    Unreadable {
        /// Its path.
        path: String,
        /// The reason.
        error: FileError,
    },
    /// A file is not a valid pipeline.
    Invalid(Box<PipelineErrors>),
}

/// Reads and checks the files of `child`. `artifacts` are the texts of its files of artifacts, in their order; `files` are the
/// sources.
///
/// # Errors
/// A file cannot be read, or is not a valid pipeline.
pub fn read_child(
    child: &ChildPipeline,
    artifacts: &[String],
    files: &dyn RepositoryFiles,
    options: &TranslateOptions,
) -> Result<PipelineWithSources, ChildError> {
    let invalid = |errors| ChildError::Invalid(Box::new(errors));
    let untyped = || TranslateOptions { has_untyped_inputs: true, ..options.clone() };
    let first = child.files.first().map_or("", String::as_str);
    let names = artifact_names(child);
    let made = names.iter().map(String::as_str).zip(artifacts.iter().map(String::as_str)).collect();
    let files = WithArtifacts { made, files };
    if !child.includes.is_empty() {
        return translate(JOINED_FILE, &including(child, &names), &files, &untyped()).map_err(invalid);
    }
    if child.is_gitlab && child.files.len() > 1 {
        return translate(JOINED_FILE, &joined(child), &files, &untyped()).map_err(invalid);
    }
    let text = files.read(first).map_err(|error| ChildError::Unreadable { path: first.to_owned(), error })?;
    if child.is_gitlab {
        // The header of the file says which types the values have.
        let options = TranslateOptions { inputs: child.inputs.clone(), ..options.clone() };
        return translate(first, &text, &files, &options).map_err(invalid);
    }
    assemble_from(first, &text, &files).map_err(invalid)
}

/// Returns the paths by which the files of artifacts are read: their own, unless the child has another file of the same path.
fn artifact_names(child: &ChildPipeline) -> Vec<String> {
    let artifacts = child.artifacts();
    let locals = child.includes.iter().filter_map(|include| match &include.source {
        ChildIncludeSource::Local { path } => Some(plain(path)),
        _ => None,
    });
    let mut taken: Vec<&str> = locals.collect();
    taken.extend(artifacts.iter().map(|(_, path)| plain(path)));
    let name = |(index, (_, path)): (usize, &(&str, &str))| {
        let is_unique = taken.iter().filter(|other| **other == plain(path)).count() == 1;
        if is_unique { plain(path).to_owned() } else { format!("artifact-{}/{}", index + 1, plain(path)) }
    };
    artifacts.iter().enumerate().map(name).collect()
}

/// Returns a GitLab file that includes those of a child.
fn joined(child: &ChildPipeline) -> String {
    let mut text = "include:\n".to_owned();
    for file in &child.files {
        let _ = writeln!(text, "  - local: {}", json(&format!("/{file}")));
        push_inputs(&child.inputs, &mut text);
    }
    text
}

fn push_inputs(inputs: &IndexMap<String, String>, text: &mut String) {
    if !inputs.is_empty() {
        text.push_str("    inputs:\n");
    }
    for (name, value) in inputs {
        let _ = writeln!(text, "      {}: {}", json(name), json(value));
    }
}

/// Returns a GitLab file that includes the files of a child from anywhere, those of artifacts by their `names`.
fn including(child: &ChildPipeline, names: &[String]) -> String {
    let mut text = "include:\n".to_owned();
    let mut names = names.iter();
    for include in &child.includes {
        let keys = match &include.source {
            ChildIncludeSource::Local { path } => vec![("local", literal(path))],
            ChildIncludeSource::Artifact { path, .. } => {
                vec![("local", literal(names.next().unwrap_or(path)))]
            }
            ChildIncludeSource::Project { project, reference, files } => {
                let files: Vec<String> = files.iter().map(|file| literal(file)).collect();
                let mut keys =
                    vec![("project", literal(project)), ("file", format!("[{}]", files.join(", ")))];
                keys.extend(reference.as_deref().map(|reference| ("ref", literal(reference))));
                keys
            }
            ChildIncludeSource::Remote { url, integrity } => {
                let mut keys = vec![("remote", literal(url))];
                keys.extend(integrity.as_deref().map(|hash| ("integrity", json(hash))));
                keys
            }
            ChildIncludeSource::Template { name } => vec![("template", literal(name))],
            ChildIncludeSource::Component { address } => vec![("component", literal(address))],
        };
        let keys: Vec<String> = keys.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let _ = writeln!(text, "  - {}", keys.join("\n    "));
        push_inputs(&include.inputs, &mut text);
    }
    text
}

/// Returns a text in double quotes in which a `$` refers to no variable, as their values are known already, unless the text begins with
/// the variable for the git server.
fn literal(text: &str) -> String {
    let server = SERVER_VARIABLES
        .into_iter()
        .find(|server| text.strip_prefix(server).is_some_and(|rest| rest.starts_with('/')));
    let server = server.unwrap_or_default();
    json(&format!("{server}{}", text[server.len()..].replace('$', "$$")))
}

/// Returns a text in double quotes, as both JSON and YAML read it.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a path without `/` and `./` before it.
fn plain(path: &str) -> &str {
    path.trim_start_matches('/').trim_start_matches("./")
}

/// The sources, and files of artifacts that stand for some of them.
struct WithArtifacts<'a> {
    /// Paths and texts.
    made: Vec<(&'a str, &'a str)>,
    files: &'a dyn RepositoryFiles,
}

impl RepositoryFiles for WithArtifacts<'_> {
    fn read(&self, path: &str) -> Result<String, FileError> {
        match self.made.iter().find(|(name, _)| *name == plain(path)) {
            Some((_, text)) => Ok((*text).to_owned()),
            None => self.files.read(path),
        }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        self.files.list(directory)
    }

    fn elsewhere(&self) -> &dyn IncludeSources {
        self.files.elsewhere()
    }
}
