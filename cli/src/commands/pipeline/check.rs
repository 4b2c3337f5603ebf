//! `check`: reports the errors and warnings of pipeline files.

use super::sarif;
use crate::{
    args::{Check, CheckFormat},
    execution::repository,
    failure::{Exit, Failure, Outcome},
    output::{self, Printable},
    pipeline::{
        children::{self, CheckedChild},
        elsewhere::Elsewhere,
        external,
        file::{self, FileContext, UnsetVariables},
        git_facts,
    },
    settings::Settings,
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};
use tidemill_core::api::ExternalVariables;
use tidemill_core::execution::facts::{Facts, Trigger};
use tidemill_core::pipeline::{MAX_FILE_BYTES, SourceFile};
use tidemill_core::text::diagnostics::{Diagnostic, Location, Severity, render_files};

/// The diagnostics of a file and its includes.
struct CheckedFile {
    /// Path, for messages.
    name: String,
    /// The file and its includes.
    sources: Vec<SourceFile>,
    /// Errors and warnings.
    diagnostics: Vec<Diagnostic>,
}

/// `tidemill check`. With the settings of a server, what it sets for the repository counts as set.
pub fn check(args: &Check, server: Option<&Settings>) -> Outcome {
    let mut external = match server {
        // As for a push to the default branch.
        Some(settings) => external::of_server(settings, &repository::address(None)?, true)?,
        None => ExternalVariables::default(),
    };
    external::add_given(&mut external, &file::variables(&args.variables)?);
    let mut files = args.files.clone();
    if files.is_empty() {
        files = match (&args.file.file, &args.file.pipeline) {
            (None, None) => file::pipeline_files()?,
            _ => vec![file::find(&args.file)?],
        };
    }
    let is_gitlab =
        |path: &PathBuf| file::FileFormat::of(path, args.file.gitlab, true) != file::FileFormat::Native;
    let context = FileContext {
        external,
        inputs: file::inputs(&args.variables)?,
        elsewhere: Elsewhere::new(&args.include, None),
        // Native files are the same for all events.
        event: files.iter().any(is_gitlab).then(|| Box::new(push_to_default_branch())),
        is_for_event: false,
    };
    let mut checked = Vec::with_capacity(files.len());
    // The position in `checked`, the path and the pipeline's name of each valid file.
    let mut names: Vec<(usize, PathBuf, String)> = Vec::new();
    for path in &files {
        let (name, text) = if path.as_os_str() == "-" {
            ("standard input".to_owned(), standard_input()?)
        } else {
            (path.display().to_string(), file::read(path)?)
        };
        // Includes of standard input are relative to the current directory.
        let path = if path.as_os_str() == "-" { Path::new(&name) } else { path };
        let kind =
            file::FileFormat::of(path, args.file.gitlab, true).with_unset_variables(UnsetVariables::Report);
        let mut children = Vec::new();
        let (diagnostics, sources) = match file::assemble(path, &text, kind, &context) {
            Ok(assembled) => {
                children =
                    children::check(path, &assembled.parsed.pipeline, &context, &push_to_default_branch);
                // Only pipelines of a repository's directory are started by name.
                let directory = path.parent().filter(|directory| directory.ends_with(".pipelines"));
                if let (Some(directory), Some(file)) = (directory, path.file_name()) {
                    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
                    names.push((checked.len(), directory.join(file), assembled.parsed.pipeline.name));
                }
                (assembled.parsed.warnings, assembled.files)
            }
            Err(errors) => (errors.diagnostics, errors.files),
        };
        checked.push(CheckedFile { name, sources, diagnostics });
        for CheckedChild { name, sources, diagnostics } in children {
            // Several jobs may start a file, with other inputs or other files beside it.
            match checked.iter_mut().find(|file| file.name == name) {
                Some(file) => {
                    let new = diagnostics.into_iter().filter(|one| !file.diagnostics.contains(one));
                    file.diagnostics.extend(new.collect::<Vec<_>>());
                    let new = sources
                        .into_iter()
                        .filter(|one| file.sources.iter().all(|known| known.name != one.name));
                    file.sources.extend(new.collect::<Vec<_>>());
                }
                None => checked.push(CheckedFile { name, sources, diagnostics }),
            }
        }
    }
    report_duplicate_names(&mut checked, &names);
    let has_errors = checked
        .iter()
        .flat_map(|file| &file.diagnostics)
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    match args.format {
        CheckFormat::Human => human(&checked)?,
        CheckFormat::Json => output::print_json(&Value::Array(checked.iter().flat_map(as_json).collect()))?,
        CheckFormat::Sarif => output::print_json(&sarif::log(with_names(&checked)))?,
    }
    if has_errors { Err(Failure::silent(Exit::Usage)) } else { Ok(()) }
}

/// Returns the event for which GitLab files are checked that are not the same for all events.
fn push_to_default_branch() -> Facts {
    let facts = git_facts::WorkingTree::read(Path::new(".")).facts(git_facts::RequiredFacts::default());
    let default_branch = facts.default_branch.clone().or_else(|| facts.branch.clone());
    let repo = repository::address(None).unwrap_or_default();
    Facts { trigger: Trigger::Push, repo, branch: default_branch, tag: None, ..facts }
}

/// Adds an error to each file whose pipeline has the name of an earlier one: run numbers, concurrency groups and `--pipeline` would
/// confuse them.
fn report_duplicate_names(checked: &mut [CheckedFile], names: &[(usize, PathBuf, String)]) {
    for (position, (file, path, name)) in names.iter().enumerate() {
        // Not the same file again, nor one of another repository.
        let is_duplicate = |(_, other, earlier): &&(usize, PathBuf, String)| {
            earlier == name && other != path && other.parent() == path.parent()
        };
        let Some((first, ..)) = names[..position].iter().find(is_duplicate) else { continue };
        let first = checked[*first].name.clone();
        let location = checked[*file].sources.first().and_then(|source| name_location(&source.text));
        checked[*file].diagnostics.push(Diagnostic {
            severity: Severity::Error,
            code: "duplicate-pipeline".to_owned(),
            message: format!("the pipeline of {first} is named `{name}`, too"),
            path: "name".to_owned(),
            location,
            file: None,
            help: Some("give each pipeline of a repository a name of its own".to_owned()),
            related: Vec::new(),
        });
    }
}

/// Returns the location of the value of the top-level key `name`, if it is on one line.
fn name_location(text: &str) -> Option<Location> {
    let (index, line) = text.lines().enumerate().find(|(_, line)| line.starts_with("name:"))?;
    let value = line["name:".len()..].trim_start();
    let column = line.chars().count() - value.chars().count() + 1;
    Some(Location { line: index + 1, column, length: value.trim_end().chars().count() })
}

fn standard_input() -> Outcome<String> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES as u64 {
        return Err(Failure::usage(format!("standard input is larger than {MAX_FILE_BYTES} bytes")));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage("standard input is not UTF-8 text; convert it to UTF-8"))
}

fn human(checked: &[CheckedFile]) -> std::io::Result<()> {
    let mut out = output::stdout();
    let colour = output::stdout_has_colours();
    for file in checked {
        if file.diagnostics.is_empty() {
            writeln!(out, "{}: no errors", Printable(&file.name))?;
        } else {
            let sources: Vec<(&str, &str)> =
                file.sources.iter().map(|source| (source.name.as_str(), source.text.as_str())).collect();
            write!(out, "{}", render_files(&sources, &file.diagnostics, colour))?;
        }
    }
    out.flush()
}

fn with_names(checked: &[CheckedFile]) -> impl Iterator<Item = (&str, &Diagnostic)> {
    checked.iter().flat_map(|file| file.diagnostics.iter().map(|diagnostic| (file.name.as_str(), diagnostic)))
}

fn as_json(file: &CheckedFile) -> Vec<Value> {
    let with_file = |diagnostic: &Diagnostic| {
        let mut value = serde_json::to_value(diagnostic).unwrap_or_default();
        value["file"] = json!(diagnostic.file.as_ref().unwrap_or(&file.name));
        value
    };
    file.diagnostics.iter().map(with_file).collect()
}
