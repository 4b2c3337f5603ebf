//! The child pipelines of a file, as far as their files are in the repository.

use super::file::{Checkout, FileContext};
use std::path::Path;
use tidemill_core::child::{ChildError, read_child};
use tidemill_core::execution::facts::{Facts, Trigger};
use tidemill_core::gitlab::TranslateOptions;
use tidemill_core::pipeline::{ChildPipeline, FileError, MAX_CHILD_DEPTH, Pipeline, SourceFile};
use tidemill_core::text::diagnostics::{Diagnostic, Severity};

/// Maximum number of child pipelines that are checked for one file.
const MAX_CHECKED: usize = 200;

/// A checked child pipeline.
pub struct CheckedChild {
    /// Path of its file, or of the first one.
    pub name: String,
    /// Its files and their includes.
    pub sources: Vec<SourceFile>,
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Checks the pipelines that the jobs of `pipeline`, the file at `path`, start, and those that they start. Files that a job makes,
/// or whose paths have references, are not known. `event` returns the event of the parent, if the context has none.
pub fn check(
    path: &Path,
    pipeline: &Pipeline,
    context: &FileContext,
    event: &dyn Fn() -> Facts,
) -> Vec<CheckedChild> {
    let starts_any = pipeline.jobs.iter().any(|job| job.surroundings.child.is_some());
    let files = Checkout::of(path, starts_any.then_some(&context.elsewhere));
    let event = starts_any.then(|| {
        let facts = context.event.as_deref().cloned().unwrap_or_else(event);
        Box::new(Facts { trigger: Trigger::ParentPipeline, ..facts })
    });
    let mut seen: Vec<ChildPipeline> = Vec::new();
    let mut checked = Vec::new();
    let mut pending = vec![(pipeline.clone(), 1)];
    while let Some((pipeline, depth)) = pending.pop() {
        for job in &pipeline.jobs {
            let Some(child) = job.surroundings.child.as_deref() else { continue };
            let is_same = |one: &ChildPipeline| {
                one.files == child.files && one.inputs == child.inputs && one.includes == child.includes
            };
            let is_new = !seen.iter().any(is_same);
            if !child.is_known_early() || !is_new || seen.len() >= MAX_CHECKED {
                continue;
            }
            seen.push(child.clone());
            let mut external = context.external.clone();
            external.values.extend(pipeline.variables.clone());
            external.values.extend(job.variables.clone());
            external.values.extend(child.variables.clone());
            // Each variant starts one; the first stands for all.
            for part in &job.matrix.0 {
                let first =
                    |(key, values): (&String, &Vec<String>)| Some((key.clone(), values.first()?.clone()));
                external.values.extend(part.keys.iter().filter_map(first));
                external
                    .values
                    .extend(part.include.iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
            }
            let options = TranslateOptions {
                external,
                event: event.clone(),
                reports_unset_variables: true,
                ..TranslateOptions::for_pipeline(&format!("{}: {}", pipeline.name, job.name))
            };
            let name = child.label().to_owned();
            let (sources, diagnostics) = match read_child(child, &[], &files, &options) {
                Ok(read) => {
                    if depth < MAX_CHILD_DEPTH {
                        pending.push((read.parsed.pipeline, depth + 1));
                    }
                    (read.files, read.parsed.warnings)
                }
                Err(ChildError::Invalid(errors)) => (errors.files, errors.diagnostics),
                Err(ChildError::Unreadable { path, error }) => {
                    (Vec::new(), vec![unreadable(&job.name, &path, &error)])
                }
            };
            checked.push(CheckedChild { name, sources, diagnostics });
        }
    }
    checked
}

fn unreadable(job: &str, path: &str, why: &FileError) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: "unreadable-child".to_owned(),
        message: format!("{path}, which the job `{job}` starts, cannot be read: {why}"),
        path: format!("jobs.{job}.pipeline"),
        location: None,
        file: None,
        help: Some("write its path from the root of the repository".to_owned()),
        related: Vec::new(),
    }
}
