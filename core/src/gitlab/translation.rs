//! Translates a GitLab file.

use std::collections::HashSet;
use std::rc::Rc;

use super::conditions::requests;
use super::document::IncludeMode;
use super::file::NativeFile;
use super::findings::Log;
use super::settings::TranslateOptions;
use super::{document, file, keys, locate, output, usage};
use crate::pipeline::diagnose::{check_size, locate_in_files, to_diagnostic};
use crate::pipeline::finding::{Finding, FindingLocation, Path, keep_first};
use crate::pipeline::parse::{check_findings, read_tree};
use crate::pipeline::yaml::tree::Node;
use crate::pipeline::{
    ParsedPipeline, Pipeline, PipelineErrors, PipelineWithSources, RepositoryFiles, SourceFile,
};
use crate::text::{
    diagnostics::{Diagnostic, Severity},
    without_byte_order_mark,
};

/// Native keys whose values are about other jobs.
const OF_OTHER_JOBS: [&str; 5] = ["dependencies", "environment", "needs", "pipeline", "stage"];

/// Translates the GitLab file `name` with the files that it includes, which `read` returns. The text of the result is a native file; the locations of its warnings refer to the GitLab files.
///
/// # Errors
/// Returns everything that prevents the file from running as written.
pub fn translate(
    name: &str,
    source: &str,
    read: &dyn RepositoryFiles,
    settings: &TranslateOptions,
) -> Result<PipelineWithSources, PipelineErrors> {
    let mut log = Log::default();
    if let Err(diagnostic) = check_size(source.len()) {
        let files = vec![SourceFile { name: name.to_owned(), text: String::new() }];
        return Err(PipelineErrors { diagnostics: vec![*diagnostic], files });
    }
    let source = without_byte_order_mark(source);
    let mut merged = document::read(name, source, read, settings, IncludeMode::AllEvents, &mut log);
    let depends_on_event = merged.depends_on_event;
    if depends_on_event {
        log = Log::default();
        merged = document::read(name, source, read, settings, IncludeMode::OneEvent, &mut log);
    }
    let document::MergedDocument { root, files, conditions, pinned, .. } = merged;
    let rejected =
        |log: &Log, files: Vec<SourceFile>| PipelineErrors { diagnostics: diagnostics(log, &files), files };
    let Some(root) = root else {
        if log.findings.is_empty() {
            let finding = Finding::value("empty-file", &Path::default(), "this file holds no pipeline");
            log.findings.push(finding);
        }
        return Err(rejected(&log, files));
    };
    // What is missing because a file could not be included is not reported.
    if log.has_errors() {
        return Err(rejected(&log, files));
    }
    // Without the header, references to its inputs have no values.
    if let Some(entry) = root.get("spec") {
        let help = "write a line with `---` after it";
        log.unsupported(&Path::default(), entry, "it belongs in a header of its own", help);
        return Err(rejected(&log, files));
    }
    let Some(expanded) = document::expand(&root, &mut log) else { return Err(rejected(&log, files)) };
    // Nor is what is missing in all jobs because a reference leads nowhere.
    if expanded.incomplete.iter().any(|name| keys::TOP.contains(&name.as_str())) {
        return Err(rejected(&log, files));
    }
    let root = &expanded.root;
    let for_pull_requests =
        files.iter().any(|file| mentions_pull_requests(&file.text)) || requests::may_have_jobs(root);
    let mut native = file::translate(&expanded, settings, for_pull_requests, conditions, &mut log);
    if let Some(event) = settings.event.as_deref().filter(|_| depends_on_event && settings.is_for_event) {
        native.top.insert("on".into(), file::trigger_of(event));
    }
    if expanded.incomplete.is_empty() {
        usage::report(root, settings, &mut log);
    }
    let is_error = |found: &Diagnostic| found.severity == Severity::Error;
    let mut found = diagnostics(&log, &files);
    if found.iter().any(is_error) {
        found.extend(errors_of_other_jobs(&mut native, &log, root, &files));
        sort(&mut found);
        return Err(PipelineErrors { diagnostics: found, files });
    }
    let text = output::write(&native, root, &files, &found);
    let pipeline = check(&text, root, &files, &|_| true, &mut found);
    sort(&mut found);
    match pipeline {
        Some(pipeline) if !found.iter().any(is_error) => {
            let parsed = ParsedPipeline { pipeline, warnings: found };
            Ok(PipelineWithSources { parsed, text, files, includes: pinned })
        }
        _ => Err(PipelineErrors { diagnostics: found, files }),
    }
}

/// Returns the errors of the native checks about single values of jobs that have no error so far.
fn errors_of_other_jobs(
    native: &mut NativeFile,
    log: &Log,
    root: &Rc<Node>,
    files: &[SourceFile],
) -> Vec<Diagnostic> {
    let errors = log.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let with_errors: HashSet<&str> = errors.filter_map(|finding| finding.path().first_key()).collect();
    native.jobs.retain(|job| !with_errors.contains(job.name.as_str()));
    // The keys of the file are of all jobs.
    if native.jobs.is_empty() || with_errors.iter().any(|key| keys::TOP.contains(key)) {
        return Vec::new();
    }
    let text = output::write(native, root, &[], &[]);
    let is_of_job = |finding: &Finding| {
        let path = finding.path();
        finding.severity == Severity::Error
            && path.first_key() == Some("jobs")
            && !OF_OTHER_JOBS.iter().any(|key| path.has_key(key))
    };
    let mut found = Vec::new();
    check(&text, root, files, &is_of_job, &mut found);
    found.retain(|one| one.location.is_some());
    found
}

/// Checks the native text, and adds what is found and `keep` accepts, each with its location in the GitLab files.
fn check(
    text: &str,
    root: &Rc<Node>,
    files: &[SourceFile],
    keep: &dyn Fn(&Finding) -> bool,
    found: &mut Vec<Diagnostic>,
) -> Option<Pipeline> {
    let mut tree = match read_tree(text) {
        Ok(tree) => tree,
        Err(diagnostics) => {
            found.extend(diagnostics.into_iter().map(|one| Diagnostic { location: None, ..one }));
            return None;
        }
    };
    let (pipeline, findings) = check_findings(&mut tree);
    for finding in findings.iter().filter(|finding| keep(finding)) {
        let mut diagnostic = to_diagnostic(finding, None);
        diagnostic.location = locate::locate(finding, &tree, root);
        diagnostic.related.clear();
        found.push(locate_in_files(files, diagnostic));
    }
    pipeline
}

/// Whether a file's text mentions merge requests.
fn mentions_pull_requests(text: &str) -> bool {
    ["merge_request", "CI_MERGE_REQUEST", "external_pull_request"].iter().any(|word| text.contains(word))
}

fn diagnostics(log: &Log, files: &[SourceFile]) -> Vec<Diagnostic> {
    let mut findings = log.findings.clone();
    // Those of shared parts count once, not for each job.
    let mut reported = HashSet::new();
    findings.retain(|finding| match &finding.location {
        FindingLocation::Position(_, at) => reported.insert((*at, finding.code, finding.message.clone())),
        _ => true,
    });
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
    // Findings about shared parts are reported once, not for each job, and one error about a value is enough.
    let mut reported = HashSet::new();
    found.retain(|diagnostic| {
        let is_error = diagnostic.severity == Severity::Error && diagnostic.location.is_some();
        let message = if is_error { String::new() } else { diagnostic.code.clone() + &diagnostic.message };
        reported.insert((diagnostic.file.clone(), diagnostic.location, message))
    });
}
