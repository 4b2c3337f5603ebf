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
    execution::status::ExecutionStatus,
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

/// Returns the executions that a retry may mean, one of each pipeline. `all` lists the newest first.
///
/// Of the executions that have ended, these are the newest ones that did not succeed; if all newest ones did, older ones that did
/// not. With `successful_too`, or without any such, the newest ones.
pub fn to_retry(all: Vec<ExecutionSummary>, successful_too: bool) -> Vec<ExecutionSummary> {
    let ended: Vec<_> = all.iter().filter(|execution| execution.status.is_terminal()).cloned().collect();
    if ended.is_empty() {
        // The server says that they have not ended.
        return newest_of_each_pipeline(all);
    }
    let unsuccessful = |executions: &[ExecutionSummary]| -> Vec<ExecutionSummary> {
        let has_failed = |one: &&ExecutionSummary| one.status != ExecutionStatus::Success;
        executions.iter().filter(has_failed).cloned().collect()
    };
    let newest = newest_of_each_pipeline(ended.clone());
    let choices = [unsuccessful(&newest), newest_of_each_pipeline(unsuccessful(&ended))];
    choices.into_iter().find(|choice| !successful_too && !choice.is_empty()).unwrap_or(newest)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ExecutionSummary, to_retry};
    use serde_json::json;

    /// Returns executions with these pipelines, run numbers and statuses.
    fn executions(all: &[(&str, u64, &str)]) -> Vec<ExecutionSummary> {
        let execution = |(pipeline, run, status): &(&str, u64, &str)| {
            let id = "01980000-0000-7000-8000-000000000001";
            let execution = json!({
                "id": id, "kind": "run_pipeline", "pipeline_name": pipeline, "run_number": run, "repo": "r", "branch": null,
                "commit": null, "status": status, "trigger": "manual", "requested_by": null,
                "created_at": "1970-01-01T00:00:00Z", "start_time": null, "end_time": null,
            });
            serde_json::from_value(execution).unwrap()
        };
        all.iter().map(execution).collect()
    }

    #[test]
    fn retry_means_the_newest_ended_execution_that_did_not_succeed() {
        let of = |all: &[(&str, u64, &str)], successful_too: bool| -> Vec<u64> {
            to_retry(executions(all), successful_too).iter().map(|execution| execution.run_number).collect()
        };
        let later_success = [("ci", 4, "SUCCESS"), ("ci", 3, "FAILED"), ("ci", 2, "CANCELED")];
        assert_eq!((of(&later_success, false), of(&later_success, true)), (vec![3], vec![4]));
        let running = [("ci", 5, "RUNNING"), ("ci", 4, "FAILED"), ("ci", 3, "SUCCESS")];
        assert_eq!((of(&running, false), of(&running, true)), (vec![4], vec![4]));
        assert_eq!(of(&[("ci", 5, "RUNNING")], false), [5]);
        assert_eq!(of(&[("ci", 2, "SUCCESS"), ("ci", 1, "SUCCESS")], false), [2]);
        // A pipeline that passes again is not one to retry while another fails.
        let two = [("ci", 2, "SUCCESS"), ("nightly", 9, "FAILED"), ("ci", 1, "FAILED")];
        assert_eq!(of(&two, false), [9]);
        assert_eq!(of(&[("ci", 2, "FAILED"), ("nightly", 9, "FAILED")], false), [2, 9]);
    }
}
