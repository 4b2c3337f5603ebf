//! The spans of an ended execution, from its records: the execution, its jobs, their attempts, the phases of these, and commands.
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions for CI/CD and version control where these have one.

use super::context::{Part, SpanId, span_id, trace_of};
use crate::{
    api::{AttemptView, ExecutionView, JobView},
    execution::{
        attempt::StepView,
        failure::{FailureKind, FailureReason},
        status::{ExecutionStatus, JobStatus},
    },
    ids::ExecutionId,
    time::Timestamp,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Maximum number of spans of an execution. Commands are left out first, then phases, attempts and jobs.
pub const MAX_SPANS: usize = 5_000;
/// Maximum number of characters of the message of a failed span.
const MAX_MESSAGE_CHARS: usize = 500;

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// A truth value.
    Flag(bool),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for AttributeValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanOutcome {
    /// Nothing is known to have failed.
    Unset,
    /// It succeeded.
    Ok,
    /// It failed, for this reason.
    Error(String),
}

/// A span of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace_id: u128,
    /// Its id.
    pub id: SpanId,
    /// The span above it; `None`: it is the root of its trace.
    pub parent: Option<SpanId>,
    /// Its name.
    pub name: String,
    /// When it started.
    pub start: Timestamp,
    /// When it ended; not before its start.
    pub end: Timestamp,
    /// Its attributes.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// How it ended.
    pub outcome: SpanOutcome,
}

/// Returns the spans of an execution, the execution first and each below one that precedes it. There are none before it has ended,
/// and none of a trace that its caller does not record. `trace` is the `traceparent` that it was started with.
#[must_use]
pub fn execution_spans(view: &ExecutionView, trace: Option<&str>) -> Vec<Span> {
    let execution = &view.execution;
    let (trace_id, caller, sampled) = trace_of(execution.id, trace);
    let Some(end) = execution.end_time.filter(|_| sampled) else { return Vec::new() };
    let mut spans = Spans { trace_id, execution: execution.id, levels: BTreeMap::new() };
    for job in &view.jobs {
        spans.add_job(job);
    }
    let content = Content {
        name: execution.pipeline_name.clone(),
        times: (execution.created_at, end),
        attributes: execution_attributes(view),
        outcome: match execution.status {
            ExecutionStatus::Success => SpanOutcome::Ok,
            ExecutionStatus::Failed => SpanOutcome::Error("a job failed".to_owned()),
            _ if execution.timed_out => SpanOutcome::Error("it exceeded its timeout".to_owned()),
            _ => SpanOutcome::Unset,
        },
    };
    let mut all = vec![spans.span(Part::Execution, caller, content)];
    all.extend(spans.levels.into_values().flatten());
    if all.len() > MAX_SPANS {
        let left_out = i64::try_from(all.len() - MAX_SPANS).unwrap_or(i64::MAX);
        all.truncate(MAX_SPANS);
        all[0].attributes.push(("tidemill.spans.left_out", left_out.into()));
    }
    all
}

/// The levels below the execution, in the order in which they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Job,
    Attempt,
    Phase,
    Command,
}

/// What a span has besides its place.
struct Content {
    name: String,
    times: (Timestamp, Timestamp),
    attributes: Vec<(&'static str, AttributeValue)>,
    outcome: SpanOutcome,
}

struct Spans {
    trace_id: u128,
    execution: ExecutionId,
    levels: BTreeMap<Level, Vec<Span>>,
}

impl Spans {
    fn span(&self, part: Part, parent: Option<SpanId>, content: Content) -> Span {
        let Content { name, times: (start, end), attributes, outcome } = content;
        let id = span_id(self.execution, part);
        Span { trace_id: self.trace_id, id, parent, name, start, end: end.max(start), attributes, outcome }
    }

    fn add(&mut self, level: Level, part: Part, above: Part, content: Content) {
        let parent = Some(span_id(self.execution, above));
        let span = self.span(part, parent, content);
        self.levels.entry(level).or_default().push(span);
    }

    fn add_phase(&mut self, part: (u32, u32, &'static str), above: Part, times: (Timestamp, Timestamp)) {
        let (ix, attempt, name) = part;
        let content =
            Content { name: name.to_owned(), times, attributes: Vec::new(), outcome: SpanOutcome::Unset };
        self.add(Level::Phase, Part::Phase(ix, attempt, name), above, content);
    }

    /// Adds a job that was queued in this execution, with all below it. Skipped and carried-over jobs have no span.
    fn add_job(&mut self, job: &JobView) {
        let first_start = job.attempts.first().map(|attempt| attempt.started_at).or(job.start_time);
        let (Some(start), Some(end)) = (job.queued_at.or(first_start), job.end_time) else { return };
        if job.status == JobStatus::Skipped || job.carried_from.is_some() {
            return;
        }
        let ix = job.id.ix();
        let mut attributes: Vec<(&'static str, AttributeValue)> = vec![
            ("cicd.pipeline.task.name", job.job_name.as_str().into()),
            ("cicd.pipeline.task.run.id", job.id.to_string().into()),
            ("cicd.pipeline.task.run.result", task_result(job.status, job.failure_reason.as_ref()).into()),
            ("tidemill.stage", job.stage.as_str().into()),
            ("tidemill.attempts", i64::from(job.attempt).into()),
            ("tidemill.log_bytes", i64::try_from(job.log_bytes).unwrap_or(i64::MAX).into()),
        ];
        if !job.docker_image.is_empty() {
            attributes.push(("container.image.name", job.docker_image.as_str().into()));
        }
        if job.tolerated || job.allow_failure {
            attributes.push(("tidemill.allow_failure", true.into()));
        }
        if let Some(environment) = &job.environment {
            attributes.push(("deployment.environment.name", environment.name.as_str().into()));
        }
        push_failure(&mut attributes, job.exit_code, job.failure_reason.as_ref());
        let outcome = outcome(job.status, job.failure_reason.as_ref());
        let content = Content { name: job.job_name.clone(), times: (start, end), attributes, outcome };
        self.add(Level::Job, Part::Job(ix), Part::Execution, content);
        let mut waiting_since = job.queued_at;
        for attempt in &job.attempts {
            self.add_wait(ix, attempt.attempt, waiting_since, attempt.started_at);
            self.add_attempt(ix, attempt);
            waiting_since = Some(attempt.ended_at);
        }
        // The last attempt is not among those before it, and a job that was canceled while it was queued has none.
        let Some(started_at) = job.start_time.filter(|_| job.attempt > 0) else { return };
        if job.attempts.iter().any(|attempt| attempt.attempt == job.attempt) {
            return;
        }
        self.add_wait(ix, job.attempt, waiting_since, started_at);
        let last = AttemptView {
            attempt: job.attempt,
            started_at,
            ended_at: end,
            exit_code: job.exit_code,
            failure: job.failure_reason.clone(),
            worker: None,
        };
        self.add_attempt(ix, &last);
        self.add_phases(ix, job.attempt, (started_at, end), &job.steps);
    }

    /// Adds the time for which an attempt waited for a worker.
    fn add_wait(&mut self, ix: u32, attempt: u32, since: Option<Timestamp>, until: Timestamp) {
        let Some(since) = since.filter(|since| *since < until) else { return };
        self.add_phase((ix, attempt, "queue"), Part::Job(ix), (since, until));
    }

    fn add_attempt(&mut self, ix: u32, attempt: &AttemptView) {
        let mut attributes: Vec<(&'static str, AttributeValue)> =
            vec![("tidemill.attempt", i64::from(attempt.attempt).into())];
        if let Some(worker) = &attempt.worker {
            attributes.push(("cicd.worker.name", worker.as_str().into()));
        }
        push_failure(&mut attributes, attempt.exit_code, attempt.failure.as_ref());
        let status = match attempt.failure.as_ref().map(|failure| failure.kind) {
            None => JobStatus::Success,
            Some(FailureKind::Canceled) => JobStatus::Canceled,
            Some(_) => JobStatus::Failed,
        };
        let content = Content {
            name: format!("attempt {}", attempt.attempt),
            times: (attempt.started_at, attempt.ended_at),
            attributes,
            outcome: outcome(status, attempt.failure.as_ref()),
        };
        self.add(Level::Attempt, Part::Attempt(ix, attempt.attempt), Part::Job(ix), content);
    }

    /// Adds the phases of an attempt, and its commands below that of the script. Commands have times of the worker's clock, which are
    /// limited to those of the attempt.
    fn add_phases(
        &mut self,
        ix: u32,
        attempt: u32,
        (start, end): (Timestamp, Timestamp),
        steps: &[StepView],
    ) {
        let end = end.max(start);
        let timed = steps.iter().filter_map(|step| {
            let began = step.started_at?.clamp(start, end);
            let ms = step.duration_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
            // One that was stopped has no duration.
            let ended = ms.map_or(end, |ms| began.plus_ms(ms)).clamp(began, end);
            Some((step, began, ended))
        });
        let timed: Vec<_> = timed.collect();
        let began = timed.iter().map(|(_, began, _)| *began).min();
        let ended = timed.iter().map(|(_, _, ended)| *ended).max();
        let (Some(began), Some(ended)) = (began, ended) else { return };
        for (name, times) in
            [("prepare", (start, began)), ("script", (began, ended)), ("collect", (ended, end))]
        {
            self.add_phase((ix, attempt, name), Part::Attempt(ix, attempt), times);
        }
        for (step, began, ended) in timed {
            let mut attributes: Vec<(&'static str, AttributeValue)> =
                vec![("tidemill.command.index", i64::from(step.index).into())];
            if let Some(code) = step.exit_code {
                attributes.push(("process.exit.code", i64::from(code).into()));
            }
            let outcome = match step.exit_code {
                Some(0) => SpanOutcome::Ok,
                Some(code) => SpanOutcome::Error(format!("exit code {code}")),
                None => SpanOutcome::Unset,
            };
            let name = format!("command {}", step.index + 1);
            let content = Content { name, times: (began, ended), attributes, outcome };
            let (part, above) = (Part::Command(ix, attempt, step.index), Part::Phase(ix, attempt, "script"));
            self.add(Level::Command, part, above, content);
        }
    }
}

fn execution_attributes(view: &ExecutionView) -> Vec<(&'static str, AttributeValue)> {
    let execution = &view.execution;
    let result = match execution.status {
        ExecutionStatus::Success => "success",
        ExecutionStatus::Failed => "failure",
        _ if execution.timed_out => "timeout",
        _ => "cancellation",
    };
    let mut attributes: Vec<(&'static str, AttributeValue)> = vec![
        ("cicd.pipeline.name", execution.pipeline_name.as_str().into()),
        ("cicd.pipeline.run.id", execution.id.to_string().into()),
        ("cicd.pipeline.result", result.into()),
        ("vcs.repository.url.full", execution.repo.as_str().into()),
        ("tidemill.run_number", i64::try_from(execution.run_number).unwrap_or(i64::MAX).into()),
        ("tidemill.trigger", label(&execution.trigger).into()),
    ];
    if let Some(branch) = &execution.branch {
        attributes.push(("vcs.ref.head.name", branch.as_str().into()));
    }
    if let Some(commit) = &execution.commit {
        attributes.push(("vcs.ref.head.revision", commit.as_str().into()));
    }
    if let Some(retried) = execution.retry_of {
        attributes.push(("tidemill.retry_of", retried.to_string().into()));
    }
    attributes
}

/// Returns the name that a value without fields has in the API.
fn label(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "unknown".to_owned(),
    }
}

fn push_failure(
    attributes: &mut Vec<(&'static str, AttributeValue)>,
    exit_code: Option<i32>,
    failure: Option<&FailureReason>,
) {
    if let Some(code) = exit_code {
        attributes.push(("process.exit.code", i64::from(code).into()));
    }
    if let Some(failure) = failure {
        attributes.push(("error.type", label(&failure.kind).into()));
    }
}

/// Returns the result of a job, as the semantic conventions name it.
fn task_result(status: JobStatus, failure: Option<&FailureReason>) -> &'static str {
    match (status, failure.map(|failure| failure.kind)) {
        (JobStatus::Success, _) => "success",
        (JobStatus::Failed, Some(FailureKind::TimedOut | FailureKind::PreparationTimedOut)) => "timeout",
        (JobStatus::Failed, Some(kind)) if kind.is_dead_letter() => "error",
        (JobStatus::Failed, _) => "failure",
        (JobStatus::Skipped, _) => "skip",
        _ => "cancellation",
    }
}

fn outcome(status: JobStatus, failure: Option<&FailureReason>) -> SpanOutcome {
    match status {
        JobStatus::Success => SpanOutcome::Ok,
        JobStatus::Failed => {
            let message = failure.map_or("it failed", |failure| failure.message.as_str());
            SpanOutcome::Error(message.chars().take(MAX_MESSAGE_CHARS).collect())
        }
        _ => SpanOutcome::Unset,
    }
}
