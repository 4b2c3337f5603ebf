//! A view that prints one line per event, for pipes, log files and simple terminals.

use super::{
    display::View,
    format,
    hint::CommandHints,
    waits::{WaitKey, waits},
};
use crate::output::{self, Printable, SanitizedStream, errln, printable_lines};
use anstyle::{AnsiColor, Style};
use std::{
    collections::HashMap,
    io::{Stdout, Write},
};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    api::{ExecutionView, JobView},
    ids::JobId,
    time::Timestamp,
};

/// Interval of reminders of what the execution waits for.
const REMINDER_MS: u64 = 60_000;
/// A wait that usually ends soon is mentioned only if it lasts this long.
const SHORT_WAIT_MS: u64 = 5_000;
/// Maximum number of running jobs that a reminder names.
const MAX_RUNNING: usize = 5;

/// A view that prints lines to standard output.
pub struct PlainView {
    out: SanitizedStream<Stdout>,
    events: EventLog,
}

impl PlainView {
    /// Creates a view that has shown nothing yet.
    pub fn new(hints: CommandHints) -> Self {
        Self { out: output::stdout(), events: EventLog::new(hints) }
    }

    fn print(&mut self, lines: &[String]) -> std::io::Result<()> {
        for line in lines {
            writeln!(self.out, "{line}")?;
        }
        if lines.is_empty() { Ok(()) } else { self.out.flush() }
    }
}

impl View for PlainView {
    fn show(&mut self, view: &ExecutionView) -> std::io::Result<()> {
        let lines = self.events.update(view, format::now());
        self.print(&lines)
    }

    fn tick(&mut self) -> std::io::Result<()> {
        let lines = self.events.reminders(format::now());
        self.print(&lines)
    }

    fn finish(&mut self, view: &ExecutionView) -> std::io::Result<()> {
        let mut lines = self.events.update(view, format::now());
        let (verdict, style) = format::summary_line(view);
        lines.push(format!("{style}{verdict}{style:#}"));
        self.print(&lines)
    }

    fn note(&mut self, message: &str) -> std::io::Result<()> {
        self.print(&[printable_lines(message)])
    }
}

/// A view beside followed logs: it prints only what the execution waits for, to standard error.
pub struct WaitView {
    events: EventLog,
}

impl WaitView {
    /// Creates a view that has shown nothing yet.
    pub fn new(hints: CommandHints) -> Self {
        Self { events: EventLog::new(hints) }
    }

    fn print_reminders(&mut self) {
        for line in self.events.reminders(format::now()) {
            errln!("{line}");
        }
    }
}

impl View for WaitView {
    fn show(&mut self, view: &ExecutionView) -> std::io::Result<()> {
        let _ = self.events.changes(view, format::now());
        self.print_reminders();
        Ok(())
    }

    fn tick(&mut self) -> std::io::Result<()> {
        self.print_reminders();
        Ok(())
    }

    fn finish(&mut self, _: &ExecutionView) -> std::io::Result<()> {
        Ok(())
    }
}

/// Turns states of an execution into lines: each event once, and each wait once and then every minute.
#[derive(Debug)]
struct EventLog {
    hints: CommandHints,
    /// The last state, and the number of reported attempts, of each job.
    jobs: HashMap<JobId, (JobStatus, u32, usize)>,
    waits: HashMap<WaitKey, WaitTimes>,
    view: Option<ExecutionView>,
    /// When the last line was returned.
    last_line: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct WaitTimes {
    began: Timestamp,
    last_line: Option<Timestamp>,
}

impl EventLog {
    fn new(hints: CommandHints) -> Self {
        Self { hints, jobs: HashMap::new(), waits: HashMap::new(), view: None, last_line: None }
    }

    /// Returns the lines for a new state of the execution, and those about what it waits for.
    fn update(&mut self, view: &ExecutionView, now: Timestamp) -> Vec<String> {
        let mut lines = self.changes(view, now);
        lines.extend(self.reminders(now));
        lines
    }

    /// Returns the lines about what changed with a new state of the execution.
    fn changes(&mut self, view: &ExecutionView, now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        if self.view.is_none() {
            lines.push(format::title(&view.execution));
        }
        for job in &view.jobs {
            let before = self.jobs.insert(job.id, (job.status, job.attempt, job.attempts.len()));
            let reported = before.map_or(0, |(_, _, reported)| reported);
            lines.extend(job.attempts.iter().skip(reported).map(|attempt| {
                let style = AnsiColor::Yellow.on_default();
                let reason =
                    attempt.failure.as_ref().map_or("no reason recorded", |why| why.message.as_str());
                format!(
                    "{style}!{style:#} {}: attempt {} failed after {}: {}",
                    Printable(&job.job_name),
                    attempt.attempt,
                    format::duration(attempt.ended_at.since_ms(attempt.started_at)),
                    Printable(reason)
                )
            }));
            let is_same =
                before.is_some_and(|(status, attempt, _)| (status, attempt) == (job.status, job.attempt));
            // Jobs that do not run yet are mentioned among the waits.
            if !is_same && !matches!(job.status, JobStatus::Pending | JobStatus::Queued) {
                lines.push(event(job));
            }
        }
        if !lines.is_empty() {
            self.last_line = Some(now);
        }
        self.last_line.get_or_insert(now);
        self.view = Some(view.clone());
        lines
    }

    /// Returns the lines about what the execution waits for that are due at `now`.
    fn reminders(&mut self, now: Timestamp) -> Vec<String> {
        let Some(view) = &self.view else { return Vec::new() };
        if view.execution.status.is_terminal() {
            return Vec::new();
        }
        let all = waits(view, &self.hints);
        self.waits.retain(|key, _| all.iter().any(|wait| wait.key == *key));
        let mut lines = Vec::new();
        let style = AnsiColor::Blue.on_default();
        for wait in all {
            let began = wait.since.unwrap_or(now).min(now);
            let times = self.waits.entry(wait.key.clone()).or_insert(WaitTimes { began, last_line: None });
            let waited = now.since_ms(times.began);
            let is_due = match times.last_line {
                None => !wait.is_usually_short || waited >= SHORT_WAIT_MS,
                Some(last) => now.since_ms(last) >= REMINDER_MS,
            };
            if !is_due {
                continue;
            }
            // The text of a delayed start says the time itself.
            let is_counted = !matches!(wait.key, WaitKey::Start(_));
            let still = if times.last_line.is_some() && is_counted {
                format!(" (for {})", format::duration(waited))
            } else {
                String::new()
            };
            times.last_line = Some(now);
            let command = wait.command.map(|command| format!(": {command}")).unwrap_or_default();
            lines.push(format!("{style}◦{style:#} {}{still}{command}", wait.text));
        }
        if !lines.is_empty() {
            self.last_line = Some(now);
        } else if self.last_line.is_some_and(|last| now.since_ms(last) >= REMINDER_MS) {
            lines.extend(still_running(view, now));
            self.last_line = Some(now);
        }
        lines
    }
}

/// Returns the line for the state of a job that runs or has ended.
fn event(job: &JobView) -> String {
    let (sign, style) = format::status_symbol(job);
    let name = Printable(&job.job_name);
    let text = if job.status == JobStatus::Running {
        let attempt = if job.attempt > 1 { format!(" (attempt {})", job.attempt) } else { String::new() };
        format!("started{attempt}")
    } else {
        format::end_text(job)
    };
    format!("{style}{sign}{style:#} {name}: {text}")
}

/// Returns a line that names the jobs that run, if there are any.
fn still_running(view: &ExecutionView, now: Timestamp) -> Option<String> {
    let running: Vec<&JobView> = view.jobs.iter().filter(|job| job.status == JobStatus::Running).collect();
    if running.is_empty() {
        return None;
    }
    let names: Vec<String> = running
        .iter()
        .take(MAX_RUNNING)
        .map(|job| {
            let time = format::run_time(job, now).map(|time| format!(" ({time})")).unwrap_or_default();
            format!("{}{time}", Printable(&job.job_name))
        })
        .collect();
    let more = match running.len().saturating_sub(MAX_RUNNING) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let style: Style = AnsiColor::Cyan.on_default();
    Some(format!("{style}▶{style:#} still running: {}{more}", names.join(", ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{EventLog, ExecutionView, Timestamp};
    use crate::view::hint::CommandHints;
    use serde_json::{Value, json};

    const ID: &str = "01980000-0000-7000-8000-000000000001";

    fn job(status: &str, more: &Value) -> Value {
        let mut job = json!({
            "id": ID, "pipeline_execution_id": ID, "stage": "a", "job_name": "unit test", "docker_image": "i",
            "status": status, "needs": [], "allow_failure": false, "attempt": 0, "attempts": [], "queued_at": null,
            "start_time": null, "end_time": null, "exit_code": null, "failure_reason": null, "steps": [], "phase": null,
            "log_bytes": 0,
        });
        for (key, value) in more.as_object().unwrap() {
            job[key] = value.clone();
        }
        job
    }

    fn view(job: &Value) -> ExecutionView {
        let execution = json!({
            "id": ID, "kind": "run_pipeline", "pipeline_name": "ci", "run_number": 1, "repo": "r", "branch": null, "commit": null,
            "status": "RUNNING", "trigger": "manual", "requested_by": null, "created_at": "1970-01-01T00:00:00Z",
            "start_time": null, "end_time": null,
        });
        serde_json::from_value(json!({ "execution": execution, "stages": ["a"], "jobs": [job] })).unwrap()
    }

    /// Returns the lines after the title, without colours, at each second of a state that does not change.
    fn lines_of(view: &ExecutionView, seconds: i64) -> Vec<(i64, String)> {
        let mut events = EventLog::new(CommandHints::default());
        let mut lines = Vec::new();
        for second in 0..seconds {
            let now = Timestamp(second * 1000);
            let new = if second == 0 { events.update(view, now) } else { events.reminders(now) };
            let plain = |line: String| anstream::adapter::strip_str(&line).to_string();
            lines.extend(
                new.into_iter().map(plain).filter(|line| line != "ci #1 of r").map(|line| (second, line)),
            );
        }
        lines
    }

    #[test]
    fn wait_for_approval_is_said_at_once_and_then_each_minute() {
        let lines = lines_of(&view(&job("PENDING", &json!({ "approval": "awaited" }))), 130);
        let command = format!("tidemill approve {ID} 'unit test'");
        assert_eq!(
            lines,
            [
                (0, format!("◦ job 'unit test' waits for approval: {command}")),
                (60, format!("◦ job 'unit test' waits for approval (for 1m00s): {command}")),
                (120, format!("◦ job 'unit test' waits for approval (for 2m00s): {command}")),
            ]
        );
    }

    #[test]
    fn wait_for_approvals_of_an_environment_says_what_is_missing() {
        let rule = json!({ "environment": "production", "approvals": 2, "missing": 1, "by": ["group:oidc:ops"],
                           "exclude_starter": false });
        let approvals =
            json!({ "given": [{ "name": "ann", "at": "2026-01-02T03:04:05Z" }], "required": [rule] });
        let waiting = job("PENDING", &json!({ "approval": "awaited", "approvals": approvals }));
        let (_, line) = lines_of(&view(&waiting), 1).remove(0);
        let missing = "(production needs 1 more approval by group:oidc:ops)";
        assert!(line.starts_with(&format!("◦ job 'unit test' waits for approval {missing}: ")), "{line}");
    }

    #[test]
    fn approval_is_asked_for_when_the_needs_have_ended() {
        let asks = |status: &str, allow_failure: bool| {
            let mut awaited = job("PENDING", &json!({ "approval": "awaited", "needs": ["build"] }));
            awaited["allow_failure"] = json!(allow_failure);
            let mut view = view(&awaited);
            let build: ExecutionView = self::view(&job(status, &json!({ "job_name": "build" })));
            view.jobs.extend(build.jobs);
            lines_of(&view, 1).iter().any(|(_, line)| line.contains("tidemill approve"))
        };
        assert!(!asks("RUNNING", false));
        assert!(asks("SUCCESS", false));
        assert!(asks("RUNNING", true), "it could be skipped together with the end of its need");
    }

    #[test]
    fn approval_of_a_job_without_needs_is_asked_for_when_earlier_stages_have_ended() {
        let asks = |status: &str, after_stages: bool| {
            let deploy = json!({ "approval": "awaited", "stage": "b", "after_stages": after_stages });
            let mut view = view(&job("PENDING", &deploy));
            view.stages.push("b".to_owned());
            let build: ExecutionView = self::view(&job(status, &json!({ "job_name": "build" })));
            view.jobs.extend(build.jobs);
            lines_of(&view, 1).iter().any(|(_, line)| line.contains("tidemill approve"))
        };
        assert!(!asks("RUNNING", true));
        assert!(asks("SUCCESS", true));
        assert!(asks("RUNNING", false), "`needs: []` waits for nothing");
    }

    #[test]
    fn wait_for_a_concurrency_group_names_the_job_that_holds_it() {
        let other = "01980000-0000-7000-8000-000000000002";
        let holder =
            json!({ "execution_id": other, "run_number": 12, "pipeline_name": "ci", "job_name": "deploy" });
        let wait = json!({ "group": "deploy-prod", "limit": 1, "position": 1, "holders": [holder] });
        let lines = lines_of(&view(&job("PENDING", &json!({ "waits_for_place": wait }))), 70);
        let text =
            "◦ job 'unit test' waits for concurrency group \"deploy-prod\": held by execution #12 job deploy";
        let command = format!("tidemill watch {other}");
        assert_eq!(
            lines,
            [(0, format!("{text}: {command}")), (60, format!("{text} (for 1m00s): {command}"))]
        );
    }

    #[test]
    fn wait_for_a_worker_is_said_only_if_it_lasts() {
        let queued = json!({ "queued_at": "1970-01-01T00:00:00Z", "runs_on": { "gpu": "true" } });
        let lines = lines_of(&view(&job("QUEUED", &queued)), 70);
        assert_eq!(
            lines,
            [
                (5, "◦ job 'unit test' waits for a worker with gpu=true".to_owned()),
                (65, "◦ job 'unit test' waits for a worker with gpu=true (for 1m05s)".to_owned()),
            ]
        );
    }

    #[test]
    fn image_pull_is_said_with_its_bytes_once_and_then_each_minute() {
        let mut events = EventLog::new(CommandHints::default());
        let mut lines = Vec::new();
        for second in 0..130 {
            let phase = match second {
                0 => "pulling image: team/app:1".to_owned(),
                _ => format!("pulling image ({second}.0 of 200.0 MiB): team/app:1"),
            };
            let running = json!({ "start_time": "1970-01-01T00:00:00Z", "attempt": 1, "phase": phase });
            let new = events.update(&view(&job("RUNNING", &running)), Timestamp(second * 1000));
            lines.extend(new.into_iter().map(|line| anstream::adapter::strip_str(&line).to_string()));
        }
        assert_eq!(
            lines[1..],
            [
                "▶ unit test: started",
                "◦ job 'unit test' is pulling image (1.0 of 200.0 MiB): team/app:1",
                "◦ job 'unit test' is pulling image (61.0 of 200.0 MiB): team/app:1 (for 1m01s)",
                "◦ job 'unit test' is pulling image (121.0 of 200.0 MiB): team/app:1 (for 2m01s)",
            ]
        );
    }

    #[test]
    fn pull_without_known_bytes_is_said_if_it_lasts() {
        let running = json!({
            "start_time": "1970-01-01T00:00:00Z", "attempt": 1, "phase": "pulling image: team/app:1",
        });
        let lines = lines_of(&view(&job("RUNNING", &running)), 10);
        let expected = (5, "◦ job 'unit test' is pulling image: team/app:1".to_owned());
        assert_eq!(lines[1..], [expected]);
    }

    #[test]
    fn name_of_a_job_is_separated_from_what_happened() {
        let ended = json!({
            "job_name": "make it faster", "attempt": 1, "start_time": "1970-01-01T00:00:00Z",
            "end_time": "1970-01-01T00:00:02.4Z",
        });
        let lines = lines_of(&view(&job("SUCCESS", &ended)), 1);
        assert_eq!(lines, [(0, "✓ make it faster: succeeded after 2.4s".to_owned())]);
    }

    #[test]
    fn running_jobs_are_named_each_minute_in_which_nothing_happens() {
        let running = json!({ "start_time": "1970-01-01T00:00:00Z", "attempt": 1 });
        let lines = lines_of(&view(&job("RUNNING", &running)), 125);
        let texts: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(
            texts,
            [
                "▶ unit test: started",
                "▶ still running: unit test (1m00s)",
                "▶ still running: unit test (2m00s)"
            ]
        );
    }

    #[test]
    fn each_failed_attempt_is_said_once_with_its_reason() {
        let attempt = |number: u32| {
            json!({
                "attempt": number, "started_at": "1970-01-01T00:00:00Z", "ended_at": "1970-01-01T00:00:02Z", "exit_code": 1,
                "failure": { "kind": "script_failed", "message": format!("reason {number}") }, "worker": null,
            })
        };
        let mut events = EventLog::new(CommandHints::default());
        let mut lines = Vec::new();
        for attempts in [0, 1, 1, 2, 2] {
            let attempts: Vec<Value> = (1..=attempts).map(attempt).collect();
            let running = json!({ "attempt": attempts.len() + 1, "attempts": attempts, "start_time": "1970-01-01T00:00:02Z" });
            lines.extend(events.update(&view(&job("RUNNING", &running)), Timestamp(3_000)));
        }
        let lines: Vec<String> =
            lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert_eq!(
            lines,
            [
                "ci #1 of r",
                "▶ unit test: started",
                "! unit test: attempt 1 failed after 2.0s: reason 1",
                "▶ unit test: started (attempt 2)",
                "! unit test: attempt 2 failed after 2.0s: reason 2",
                "▶ unit test: started (attempt 3)",
            ]
        );
    }
}
