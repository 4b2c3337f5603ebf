//! Translates a GitLab file.

use std::collections::HashSet;

use super::findings::Log;
use super::settings::TranslateOptions;
use super::{document, file, output, usage};
use crate::pipeline::diagnose::{check_size, locate_in_files, to_diagnostic};
use crate::pipeline::finding::{Finding, Path, keep_first};
use crate::pipeline::yaml::tree::Node;
use crate::pipeline::{
    ParsedPipeline, PipelineErrors, PipelineWithSources, ReadFile, SourceFile, parse_with_warnings,
};
use crate::text::{
    diagnostics::{Diagnostic, Severity},
    without_byte_order_mark,
};

/// Translates the GitLab file `name` with the files that it includes, which `read` returns by their path in the
/// repository. The text of the result is a native file; the locations of its warnings refer to the GitLab files.
///
/// # Errors
/// Returns everything that prevents the file from running as written.
pub fn translate(
    name: &str,
    source: &str,
    read: &ReadFile<'_>,
    settings: &TranslateOptions,
) -> Result<PipelineWithSources, PipelineErrors> {
    let mut log = Log::default();
    if let Err(diagnostic) = check_size(source.len()) {
        let files = vec![SourceFile { name: name.to_owned(), text: String::new() }];
        return Err(PipelineErrors { diagnostics: vec![*diagnostic], files });
    }
    let read: &ReadFile<'_> = &|path| read(path).map(|text| without_byte_order_mark(&text).to_owned());
    let (root, files) = document::read(name, without_byte_order_mark(source), read, &mut log);
    let rejected =
        |log: &Log, files: Vec<SourceFile>| PipelineErrors { diagnostics: diagnostics(log, &files), files };
    let Some(root) = root else {
        if log.findings.is_empty() {
            let finding = Finding::value("empty-file", &Path::default(), "this file holds no pipeline");
            log.findings.push(finding);
        }
        return Err(rejected(&log, files));
    };
    let Some(root) = document::expand(&root, &mut log) else { return Err(rejected(&log, files)) };
    let for_pull_requests = files.iter().any(|file| mentions_pull_requests(&file.text));
    let native = file::translate(&root, settings, for_pull_requests, &mut log);
    usage::report(&root, settings, &mut log);
    let is_error = |found: &Diagnostic| found.severity == Severity::Error;
    let mut found = diagnostics(&log, &files);
    if found.iter().any(is_error) {
        return Err(PipelineErrors { diagnostics: found, files });
    }
    let text = output::write(&native, name, &found);
    let pipeline = match parse_with_warnings(&text) {
        Ok(ParsedPipeline { pipeline, warnings }) => {
            found.extend(
                warnings.into_iter().map(|diagnostic| move_to_job(diagnostic, &native, &root, &files)),
            );
            Some(pipeline)
        }
        Err(errors) => {
            found
                .extend(errors.into_iter().map(|diagnostic| move_to_job(diagnostic, &native, &root, &files)));
            None
        }
    };
    sort(&mut found);
    match pipeline {
        Some(pipeline) if !found.iter().any(is_error) => {
            Ok(PipelineWithSources { parsed: ParsedPipeline { pipeline, warnings: found }, text, files })
        }
        _ => Err(PipelineErrors { diagnostics: found, files }),
    }
}

/// Whether a file's text mentions merge requests.
fn mentions_pull_requests(text: &str) -> bool {
    ["merge_request", "CI_MERGE_REQUEST", "external_pull_request"].iter().any(|word| text.contains(word))
}

fn diagnostics(log: &Log, files: &[SourceFile]) -> Vec<Diagnostic> {
    let mut findings = log.findings.clone();
    keep_first(&mut findings);
    let mut found: Vec<Diagnostic> =
        findings.iter().map(|finding| locate_in_files(files, to_diagnostic(finding, None))).collect();
    sort(&mut found);
    found
}

fn sort(found: &mut Vec<Diagnostic>) {
    let rank =
        |diagnostic: &Diagnostic| (diagnostic.file.is_some(), diagnostic.file.clone(), diagnostic.location);
    found.sort_by_key(rank);
    // Findings about shared parts are reported once, not for each job.
    let mut reported = HashSet::new();
    found.retain(|diagnostic| {
        reported.insert((
            diagnostic.file.clone(),
            diagnostic.location,
            diagnostic.code.clone(),
            diagnostic.message.clone(),
        ))
    });
}

/// Moves a diagnostic of the native text to the job of the GitLab file that it concerns.
fn move_to_job(
    mut diagnostic: Diagnostic,
    native: &file::NativeFile,
    root: &Node,
    files: &[SourceFile],
) -> Diagnostic {
    let is_about = |native: &str| {
        let path = Path::default().key("jobs").key(native).to_string();
        diagnostic.path == path
            || diagnostic.path.starts_with(&format!("{path}."))
            || diagnostic.path.starts_with(&format!("{path}["))
    };
    let job = native.jobs.iter().find(|job| is_about(&job.native.name));
    diagnostic.location = job.and_then(|job| root.get(&job.gitlab)).map(|entry| entry.key_location);
    diagnostic.related.clear();
    diagnostic.message = format!("in the native file: {}", diagnostic.message);
    locate_in_files(files, diagnostic)
}
