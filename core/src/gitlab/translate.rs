//! Translates a GitLab file.

use std::collections::HashSet;

use super::findings::Log;
use super::settings::TranslateOptions;
use super::{document, file, output};
use crate::pipeline::diagnose::{check_size, in_files, place};
use crate::pipeline::finding::{Finding, Path, keep_first};
use crate::pipeline::yaml::tree::Node;
use crate::pipeline::{
    ParsedPipeline, PipelineErrors, PipelineWithSources, ReadFile, SourceFile, parse_with_warnings,
};
use crate::text::diagnostics::{Diagnostic, Severity};

/// Translates a GitLab file, called `name`, with the files of the repository that it includes, which `read` gives by their paths from
/// the repository's top. The text of the result is a native file; its warnings have their places in the GitLab files.
///
/// # Errors
/// Everything that prevents it from running as it is written.
pub fn translate(
    name: &str,
    source: &str,
    read: &ReadFile<'_>,
    settings: &TranslateOptions,
) -> Result<PipelineWithSources, PipelineErrors> {
    let mut log = Log::default();
    if let Err(diagnostic) = check_size(source.len()) {
        let files = vec![SourceFile { name: name.to_owned(), text: String::new() }];
        return Err(PipelineErrors { found: vec![*diagnostic], files });
    }
    let (root, files) = document::read(name, source, read, &mut log);
    let refused =
        |log: &Log, files: Vec<SourceFile>| PipelineErrors { found: diagnostics(log, &files), files };
    let Some(root) = root else {
        if log.findings.is_empty() {
            let finding = Finding::value("empty-file", &Path::default(), "this file holds no pipeline");
            log.findings.push(finding);
        }
        return Err(refused(&log, files));
    };
    let Some(root) = document::written_out(&root, &mut log) else { return Err(refused(&log, files)) };
    let for_requests = files.iter().any(|file| mentions_requests(&file.text));
    let made = file::translate(&root, settings, for_requests, &mut log);
    let is_error = |found: &Diagnostic| found.severity == Severity::Error;
    let mut found = diagnostics(&log, &files);
    if found.iter().any(is_error) {
        return Err(PipelineErrors { found, files });
    }
    let text = output::write(&made, name, &found);
    let pipeline = match parse_with_warnings(&text) {
        Ok(ParsedPipeline { pipeline, warnings }) => {
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
            Ok(PipelineWithSources { parsed: ParsedPipeline { pipeline, warnings: found }, text, files })
        }
        _ => Err(PipelineErrors { found, files }),
    }
}

/// Whether a file's text has anything to do with merge requests.
fn mentions_requests(text: &str) -> bool {
    ["merge_request", "CI_MERGE_REQUEST", "external_pull_request"].iter().any(|word| text.contains(word))
}

fn diagnostics(log: &Log, files: &[SourceFile]) -> Vec<Diagnostic> {
    let mut findings = log.findings.clone();
    keep_first(&mut findings);
    let mut found: Vec<Diagnostic> =
        findings.iter().map(|finding| in_files(files, place(finding, None))).collect();
    sort(&mut found);
    found
}

fn sort(found: &mut Vec<Diagnostic>) {
    let rank = |one: &Diagnostic| (one.file.is_some(), one.file.clone(), one.location);
    found.sort_by_key(rank);
    // Findings about shared parts are reported once, not for each job that has them.
    let mut seen = HashSet::new();
    found.retain(|one| seen.insert((one.file.clone(), one.location, one.code.clone(), one.message.clone())));
}

/// A diagnostic of the native text, moved to the job of the GitLab file that it is about.
fn at_its_job(
    mut found: Diagnostic,
    made: &file::NativeFile,
    root: &Node,
    files: &[SourceFile],
) -> Diagnostic {
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
