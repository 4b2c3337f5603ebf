//! Text, symbols and colours that all views share.

use anstyle::{AnsiColor, Style};
use std::time::{SystemTime, UNIX_EPOCH};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::pipeline::labels::queue_name;
use tidemill_core::{
    api::{Approval, ChildView, ExecutionSummary, ExecutionView, GroupHolder, JobView, PlaceWait},
    text::{Printable, printable},
    time::Timestamp,
};

/// Number of characters of a commit in lists.
const SHORT_COMMIT_LEN: usize = 7;

/// Maximum number of jobs of a concurrency group that a text names.
const MAX_HOLDERS: usize = 3;

/// Returns the current time.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Formats a duration in milliseconds: `0.4s`, `12.3s`, `2m05s`, `1h02m`.
pub fn duration(ms: u64) -> String {
    match ms / 1000 {
        s if s < 60 => format!("{s}.{}s", ms % 1000 / 100),
        s if s < 3600 => format!("{}m{:02}s", s / 60, s % 60),
        s => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

/// Formats a number of bytes in B, KiB or MiB.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..=1023 => format!("{bytes} B"),
        1024..=1_048_575 => format!("{}.{} KiB", bytes / 1024, bytes % 1024 * 10 / 1024),
        _ => format!("{}.{} MiB", bytes / 1_048_576, bytes % 1_048_576 * 10 / 1_048_576),
    }
}

/// Returns an execution's title: pipeline, run number and repository.
pub fn title(execution: &ExecutionSummary) -> String {
    format!(
        "{} #{} of {}",
        Printable(&execution.pipeline_name),
        execution.run_number,
        Printable(&execution.repo)
    )
}

/// Formats an execution as one line of a list.
pub fn list_line(execution: &ExecutionSummary) -> String {
    let elapsed =
        execution.end_time.map_or_else(|| "-".to_owned(), |end| duration(end.since_ms(execution.created_at)));
    let by =
        execution.requested_by.as_deref().map(|by| format!("  by {}", Printable(by))).unwrap_or_default();
    format!(
        "{}  {} #{}  {}  {}  {elapsed}  {} {}  {}{by}",
        execution.id,
        Printable(&execution.pipeline_name),
        execution.run_number,
        execution.status.as_str(),
        execution.created_at,
        Printable(execution.branch.as_deref().unwrap_or("-")),
        Printable(commit(execution)),
        Printable(&execution.repo),
    )
}

/// Returns the short commit of an execution; `+dirty` marks uncommitted changes on top of it.
fn commit(execution: &ExecutionSummary) -> String {
    let commit = execution.commit.as_deref().unwrap_or("-");
    let short: String = commit.chars().take(SHORT_COMMIT_LEN).collect();
    if execution.uncommitted { short + "+dirty" } else { short }
}

/// Returns the symbol and the colour of a job's status.
pub fn status_symbol(job: &JobView) -> (&'static str, Style) {
    symbol(job.status, job.allow_failure || job.tolerated)
}

/// Returns the symbol and the colour of a status. `is_tolerated`: a failure does not fail the execution.
pub fn symbol(status: JobStatus, is_tolerated: bool) -> (&'static str, Style) {
    match status {
        JobStatus::Success => ("✓", AnsiColor::Green.on_default()),
        JobStatus::Failed if is_tolerated => ("!", AnsiColor::Yellow.on_default()),
        JobStatus::Failed => ("✗", AnsiColor::Red.on_default().bold()),
        JobStatus::Canceled => ("■", AnsiColor::Yellow.on_default()),
        JobStatus::Skipped => ("-", Style::new().dimmed()),
        JobStatus::Running => ("▶", AnsiColor::Cyan.on_default()),
        JobStatus::Queued => ("◦", AnsiColor::Blue.on_default()),
        JobStatus::Pending => ("·", Style::new().dimmed()),
    }
}

/// Describes a job's activity or result.
pub fn status_text(job: &JobView) -> String {
    let retried = if job.attempt > 1 { format!(" (attempt {})", job.attempt) } else { String::new() };
    let text = match job.status {
        JobStatus::Success if job.carried_from.is_some() => "succeeded in an earlier run".to_owned(),
        JobStatus::Success => "succeeded".to_owned(),
        JobStatus::Failed if job.allow_failure || job.tolerated => {
            format!("failed (allowed): {}", reason(job))
        }
        JobStatus::Failed => format!("failed: {}", reason(job)),
        JobStatus::Canceled => "canceled".to_owned(),
        JobStatus::Skipped => reason(job),
        JobStatus::Running => job.phase.as_deref().map_or_else(|| "running".to_owned(), printable),
        JobStatus::Queued | JobStatus::Pending if is_start_delayed(job) => start_text(job, now()),
        JobStatus::Queued if job.not_before.is_some() => format!("retrying soon: {}", reason(job)),
        JobStatus::Queued if job.runs_on.is_empty() => "waiting for a worker".to_owned(),
        JobStatus::Queued => {
            let required = format!("waiting for a worker with {}", Printable(queue_name(&job.runs_on)));
            if job.unserved_labels.is_empty() {
                required
            } else if job.unserved_labels == job.runs_on {
                format!("{required}, which no worker has")
            } else {
                format!("{required}; no worker has {}", Printable(queue_name(&job.unserved_labels)))
            }
        }
        JobStatus::Pending if job.approval == Some(Approval::Awaited) => "waiting for approval".to_owned(),
        JobStatus::Pending => job
            .waits_for_place
            .as_ref()
            .map_or_else(|| "waiting".to_owned(), |wait| place_text("waiting", wait)),
    };
    text + &retried + &child_text(job)
}

/// Describes the execution that a job started; empty if it started none.
fn child_text(job: &JobView) -> String {
    job.child.as_ref().map(|child| format!("; {}", child_line(child))).unwrap_or_default()
}

/// Describes an execution that a job started: its name, its status, and its id.
pub fn child_line(child: &ChildView) -> String {
    // The job ends as soon as the child is there, before its first job runs.
    let is_new = !child.awaited && child.status == ExecutionStatus::Pending;
    let status = if is_new { "started".to_owned() } else { child.status.as_str().to_ascii_lowercase() };
    let name = Printable(&child.pipeline_name);
    format!("{name} #{} {status} ({})", child.run_number, child.execution_id)
}

/// Whether a job waits for the end of its `start_in`.
pub fn is_start_delayed(job: &JobView) -> bool {
    matches!(job.status, JobStatus::Queued | JobStatus::Pending)
        && job.attempt == 0
        && job.not_before.is_some()
}

/// Says when a job starts whose start is delayed.
pub fn start_text(job: &JobView, now: Timestamp) -> String {
    let wait_ms = job.not_before.map_or(0, |at| at.since_ms(now));
    if wait_ms == 0 { "starts now".to_owned() } else { format!("starts in {}", duration(wait_ms)) }
}

/// Says which jobs have the places in a concurrency group that a job waits for. `verb` is a form of "wait".
pub fn place_text(verb: &str, wait: &PlaceWait) -> String {
    let holder = |holder: &GroupHolder| {
        format!("execution #{} job {}", holder.run_number, printable(&holder.job_name))
    };
    let holders: Vec<String> = wait.holders.iter().take(MAX_HOLDERS).map(holder).collect();
    let more = if wait.holders.len() > MAX_HOLDERS { " and others" } else { "" };
    let held =
        if holders.is_empty() { String::new() } else { format!(": held by {}{more}", holders.join(", ")) };
    format!("{verb} for concurrency group \"{}\"{held}", printable(&wait.group))
}

/// Describes how a job ended, with its run time.
pub fn end_text(job: &JobView) -> String {
    let after = run_time(job, now()).map(|run_time| format!(" after {run_time}")).unwrap_or_default();
    let attempt = if job.attempt > 1 { format!(" (attempt {})", job.attempt) } else { String::new() };
    let text = match job.status {
        JobStatus::Success if job.carried_from.is_some() => "succeeded in an earlier run".to_owned(),
        JobStatus::Success => format!("succeeded{after}{attempt}"),
        JobStatus::Failed if job.allow_failure || job.tolerated => {
            format!("failed (allowed){after}{attempt}: {}", reason(job))
        }
        JobStatus::Failed => format!("failed{after}{attempt}: {}", reason(job)),
        JobStatus::Canceled => format!("canceled{after}{attempt}"),
        JobStatus::Skipped => {
            let reason = reason(job);
            // The reasons of the scheduler begin with the word.
            if reason.starts_with("skipped") { reason } else { format!("skipped: {reason}") }
        }
        JobStatus::Running | JobStatus::Queued | JobStatus::Pending => return status_text(job),
    };
    text + &child_text(job)
}

fn reason(job: &JobView) -> String {
    job.failure_reason.as_ref().map_or_else(|| "no reason recorded".to_owned(), |why| printable(&why.message))
}

/// Returns a job's run time so far; `None` if it did not start or was carried over.
pub fn run_time(job: &JobView, now: Timestamp) -> Option<String> {
    let start = job.start_time.filter(|_| job.carried_from.is_none())?;
    let end = if job.status == JobStatus::Running { now } else { job.end_time? };
    Some(duration(end.since_ms(start)))
}

/// Returns the summary line of an execution, and its colour.
pub fn summary_line(view: &ExecutionView) -> (String, Style) {
    let execution = &view.execution;
    let elapsed = duration(execution.end_time.unwrap_or_else(now).since_ms(execution.created_at));
    let count = |status: JobStatus| view.jobs.iter().filter(|job| job.status == status).count();
    let mut counts = Vec::new();
    for (status, word) in [
        (JobStatus::Success, "succeeded"),
        (JobStatus::Failed, "failed"),
        (JobStatus::Canceled, "canceled"),
        (JobStatus::Skipped, "skipped"),
        (JobStatus::Running, "running"),
        (JobStatus::Queued, "queued"),
        (JobStatus::Pending, "waiting"),
    ] {
        if count(status) > 0 {
            counts.push(format!("{} {word}", count(status)));
        }
    }
    let by = execution.superseded_by.map(|newer| format!("was superseded by a newer execution ({newer})"));
    let (word, style) = match execution.status {
        ExecutionStatus::Success => ("succeeded", AnsiColor::Green.on_default().bold()),
        ExecutionStatus::Failed if execution.timed_out => ("timed out", AnsiColor::Red.on_default().bold()),
        ExecutionStatus::Failed => ("failed", AnsiColor::Red.on_default().bold()),
        ExecutionStatus::Canceled => {
            (by.as_deref().unwrap_or("was canceled"), AnsiColor::Yellow.on_default().bold())
        }
        ExecutionStatus::Pending => ("waits", Style::new()),
        ExecutionStatus::Running => ("is running", Style::new()),
    };
    let name = Printable(&execution.pipeline_name);
    let time = if execution.end_time.is_some() { format!("in {elapsed}") } else { format!("for {elapsed}") };
    let counts = if counts.is_empty() { "no jobs".to_owned() } else { counts.join(", ") };
    (format!("{name} #{} {word} {time} ({counts})", execution.run_number), style)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{child_line, end_text, list_line, summary_line};
    use serde_json::{Value, json};
    use tidemill_core::api::{ExecutionSummary, ExecutionView, JobView};

    const ID: &str = "01980000-0000-7000-8000-000000000001";

    fn execution(more: &Value) -> Value {
        let mut execution = json!({
            "id": ID, "kind": "run_pipeline", "pipeline_name": "ci", "run_number": 3, "repo": "r", "branch": "main",
            "commit": "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334", "status": "RUNNING", "trigger": "manual",
            "requested_by": null, "created_at": "1970-01-01T00:00:00Z", "start_time": null, "end_time": null,
        });
        for (key, value) in more.as_object().unwrap() {
            execution[key] = value.clone();
        }
        execution
    }

    fn job(name: &str, status: &str) -> Value {
        json!({
            "id": ID, "pipeline_execution_id": ID, "stage": "a", "job_name": name, "docker_image": "i", "status": status,
            "needs": [], "allow_failure": false, "attempt": 1, "attempts": [], "queued_at": null,
            "start_time": "1970-01-01T00:00:00Z", "end_time": "1970-01-01T00:00:02.4Z", "exit_code": 0,
            "failure_reason": null, "steps": [], "phase": null, "log_bytes": 0,
        })
    }

    #[test]
    fn child_that_nobody_waits_for_is_started_rather_than_pending() {
        for (awaited, status, expected) in [
            (false, "PENDING", "deploy #2 started"),
            (true, "PENDING", "deploy #2 pending"),
            (false, "RUNNING", "deploy #2 running"),
            (false, "FAILED", "deploy #2 failed"),
        ] {
            let child = json!({
                "execution_id": ID, "pipeline_name": "deploy", "run_number": 2, "status": status, "awaited": awaited,
            });
            let child = serde_json::from_value(child).unwrap();
            assert_eq!(child_line(&child), format!("{expected} ({ID})"));
        }
    }

    #[test]
    fn list_marks_uncommitted_work_at_the_commit() {
        let line =
            |more: &Value| list_line(&serde_json::from_value::<ExecutionSummary>(execution(more)).unwrap());
        assert!(line(&json!({ "uncommitted": true })).contains("  main a1b2c3d+dirty  r"));
        assert!(line(&json!({ "uncommitted": false })).contains("  main a1b2c3d  r"));
        assert!(line(&json!({ "commit": null, "branch": null })).contains("  - -  r"));
    }

    #[test]
    fn summary_of_an_execution_in_any_state_is_a_sentence() {
        let line = |more: &Value, jobs: &[Value]| {
            let view = json!({ "execution": execution(more), "stages": ["a"], "jobs": jobs });
            summary_line(&serde_json::from_value::<ExecutionView>(view).unwrap()).0
        };
        // The last job has ended, and the execution is about to.
        let running = line(&json!({}), &[job("unit", "SUCCESS")]);
        assert!(
            running.starts_with("ci #3 is running for ") && running.ends_with(" (1 succeeded)"),
            "{running}"
        );
        assert!(!running.contains("  ") && !running.contains(" in "), "{running}");
        let pending = line(&json!({ "status": "PENDING" }), &[]);
        assert!(pending.starts_with("ci #3 waits for ") && pending.ends_with(" (no jobs)"), "{pending}");
        let ended = json!({ "status": "SUCCESS", "end_time": "1970-01-01T00:00:02.4Z" });
        assert_eq!(line(&ended, &[job("unit", "SUCCESS")]), "ci #3 succeeded in 2.4s (1 succeeded)");
    }

    #[test]
    fn end_of_a_job_has_a_verb_before_its_run_time() {
        for (status, text) in [
            ("SUCCESS", "succeeded after 2.4s"),
            ("CANCELED", "canceled after 2.4s"),
            ("FAILED", "failed after 2.4s: no reason recorded"),
        ] {
            let job: JobView = serde_json::from_value(job("make it faster", status)).unwrap();
            assert_eq!(end_text(&job), text);
        }
    }
}
