//! Reads `.gitlab-ci.yml` and writes what it says as a native pipeline file.
//!
//! The file and those of the same repository that it includes become one document (`document`), in which `extends` and `!reference`
//! are written out (`sharing`). Its jobs are then translated one by one (`job`). What is not honoured is said with its
//! place: a warning where jobs run as they would with it, an error where they would not. The result is checked as any native file.

mod cel;
mod document;
mod duration;
mod ends;
mod expression;
mod file;
mod job;
mod keys;
mod log;
mod matrix;
mod output;
mod parts;
mod policy;
mod reading;
mod rules;
mod sharing;
mod variables;

use std::collections::HashSet;

use crate::diagnostics::{Diagnostic, Severity};
use crate::pipeline::bounds::first_findings;
use crate::pipeline::finding::{Finding, Path};
use crate::pipeline::tree::Node;
use crate::pipeline::{
    Assembled, MAX_FILE_BYTES, Mistakes, Parsed, ReadFile, SourceFile, in_files, parse_with_warnings, place,
};
use log::Log;

/// The image of jobs that name none: that of GitLab's own runners.
pub const DEFAULT_IMAGE: &str = "ruby:3.1";

/// The names that GitLab's file may have.
pub const FILE_NAMES: [&str; 2] = [".gitlab-ci.yml", ".gitlab-ci.yaml"];

/// What a GitLab file does not say by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The pipeline's name, where `workflow: name` does not give one.
    pub name: String,
    /// The image of jobs that name none.
    pub default_image: String,
    /// Whether `tags` are labels that a job's worker must have. Else any worker will do, and that is said.
    pub tags_are_labels: bool,
}

impl Settings {
    /// Those for a repository of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned(), default_image: DEFAULT_IMAGE.to_owned(), tags_are_labels: true }
    }
}

/// Translates a GitLab file, called `name`, with the files of the repository that it includes, which `read` gives by their paths from
/// the repository's top. The text of the result is a native file; its warnings have their places in the GitLab files.
///
/// # Errors
/// Everything because of which it cannot be run as it stands.
pub fn translate(
    name: &str,
    source: &str,
    read: &ReadFile<'_>,
    settings: &Settings,
) -> Result<Assembled, Mistakes> {
    let mut log = Log::default();
    if source.len() > MAX_FILE_BYTES {
        let message = format!(
            "this file has {} bytes, and a pipeline file may have {MAX_FILE_BYTES} (1 MiB)",
            source.len()
        );
        log.findings.push(Finding::value("file-too-large", &Path::default(), message));
        let files = vec![SourceFile { name: name.to_owned(), text: String::new() }];
        return Err(Mistakes { found: diagnostics(&log, &files), files });
    }
    let (root, files) = document::read(name, source, read, &mut log);
    let refused = |log: &Log, files: Vec<SourceFile>| Mistakes { found: diagnostics(log, &files), files };
    let Some(root) = root else {
        if log.findings.is_empty() {
            let finding = Finding::value("empty-file", &Path::default(), "this file holds no pipeline");
            log.findings.push(finding);
        }
        return Err(refused(&log, files));
    };
    let Some(root) = sharing::written_out(&root, &mut log) else { return Err(refused(&log, files)) };
    let for_requests = files.iter().any(|file| mentions_requests(&file.text));
    let made = file::translate(&root, settings, for_requests, &mut log);
    let is_error = |found: &Diagnostic| found.severity == Severity::Error;
    let mut found = diagnostics(&log, &files);
    if found.iter().any(is_error) {
        return Err(Mistakes { found, files });
    }
    let text = output::write(&made, name, &found);
    let pipeline = match parse_with_warnings(&text) {
        Ok(Parsed { pipeline, warnings }) => {
            found.extend(warnings.into_iter().map(|one| at_its_job(one, &made, &root, &files)));
            Some(pipeline)
        }
        Err(mistakes) => {
            found.extend(mistakes.into_iter().map(|one| at_its_job(one, &made, &root, &files)));
            None
        }
    };
    sort(&mut found);
    match pipeline {
        Some(pipeline) if !found.iter().any(is_error) => {
            Ok(Assembled { parsed: Parsed { pipeline, warnings: found }, text, files })
        }
        _ => Err(Mistakes { found, files }),
    }
}

/// Whether a file's text has anything to do with merge requests.
fn mentions_requests(text: &str) -> bool {
    ["merge_request", "CI_MERGE_REQUEST", "external_pull_request"].iter().any(|word| text.contains(word))
}

fn diagnostics(log: &Log, files: &[SourceFile]) -> Vec<Diagnostic> {
    let mut findings = log.findings.clone();
    first_findings(&mut findings);
    let mut found: Vec<Diagnostic> =
        findings.iter().map(|finding| in_files(files, place(finding, None))).collect();
    sort(&mut found);
    found
}

fn sort(found: &mut Vec<Diagnostic>) {
    let rank = |one: &Diagnostic| (one.file.is_some(), one.file.clone(), one.location);
    found.sort_by_key(rank);
    // What is shared is said once, not for each job that has it.
    let mut seen = HashSet::new();
    found.retain(|one| seen.insert((one.file.clone(), one.location, one.code.clone(), one.message.clone())));
}

/// What is said of the native text, at the job of the GitLab file that it is about.
fn at_its_job(mut found: Diagnostic, made: &file::Made, root: &Node, files: &[SourceFile]) -> Diagnostic {
    let about = |native: &str| {
        let path = Path::default().key("jobs").key(native).to_string();
        found.path == path
            || found.path.starts_with(&format!("{path}."))
            || found.path.starts_with(&format!("{path}["))
    };
    let job = made.jobs.iter().find(|job| about(&job.made.name));
    found.location = job.and_then(|job| root.get(&job.gitlab)).map(|entry| entry.key_location);
    found.related.clear();
    found.message = format!("as a native file: {}", found.message);
    in_files(files, found)
}
