//! Selects a single execution from a list, or fails and lists the candidates.

use super::repository::is_same_repository;
use crate::{
    failure::{Failure, Outcome},
    output::Printable,
    view::format,
};
use std::fmt::Write as _;
use tidemill_core::{
    api::{ExecutionSummary, ExecutionView},
    text::choices::suggestion,
};

/// Maximum number of executions that a message lists.
const MAX_CHOICES: usize = 20;

/// Returns the newest execution of each pipeline of each repository. `all` lists the newest first.
pub fn newest_of_each_pipeline(all: Vec<ExecutionSummary>) -> Vec<ExecutionSummary> {
    let mut newest: Vec<ExecutionSummary> = Vec::new();
    for execution in all {
        let is_same_pipeline = |known: &ExecutionSummary| {
            known.pipeline_name == execution.pipeline_name && is_same_repository(&known.repo, &execution.repo)
        };
        if !newest.iter().any(is_same_pipeline) {
            newest.push(execution);
        }
    }
    newest
}

/// Returns the only execution with its jobs; `None` for an empty list. Fails if there are several.
pub fn single_view(mut views: Vec<ExecutionView>) -> Outcome<Option<ExecutionView>> {
    if views.len() > 1 {
        return Err(ambiguous(views.iter().map(|view| &view.execution)));
    }
    Ok(views.pop())
}

/// Returns the only execution. Fails if there are none or several.
pub fn single(mut executions: Vec<ExecutionSummary>) -> Outcome<ExecutionSummary> {
    if executions.len() > 1 {
        return Err(ambiguous(executions.iter()));
    }
    executions
        .pop()
        .ok_or_else(|| Failure::usage("no matching execution found; `tidemill status` lists executions"))
}

/// Returns the failure for a job that none of these executions has. `subject` is their name in the message.
pub fn unknown_job<'a>(
    subject: &str,
    views: impl IntoIterator<Item = &'a ExecutionView>,
    name: &str,
) -> Failure {
    let mut known: Vec<&str> = Vec::new();
    for job in views.into_iter().flat_map(|view| &view.jobs) {
        if !known.contains(&job.job_name.as_str()) {
            known.push(&job.job_name);
        }
    }
    let suggestion = suggestion(name, &known, "jobs");
    Failure::usage(format!("{subject} has no job `{}`; {suggestion}", Printable(name)))
}

/// Returns the failure for several executions that fit; it lists them.
pub fn ambiguous<'a>(executions: impl Iterator<Item = &'a ExecutionSummary>) -> Failure {
    Failure::usage(format!(
        "several executions match; name one by its id, or select with --pipeline, --branch or --status; nothing was changed:{}",
        list_choices(executions)
    ))
}

/// Formats one line per execution.
pub fn list_choices<'a>(executions: impl Iterator<Item = &'a ExecutionSummary>) -> String {
    let mut lines = String::new();
    let mut omitted = 0;
    for (index, execution) in executions.enumerate() {
        if index < MAX_CHOICES {
            let _ = write!(lines, "\n  {}", format::list_line(execution));
        } else {
            omitted += 1;
        }
    }
    if omitted > 0 {
        let _ = write!(lines, "\n  and {omitted} more");
    }
    lines
}
