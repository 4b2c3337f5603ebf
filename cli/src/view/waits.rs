//! What an execution waits for.

use super::format::{is_start_delayed, now, place_text, start_text};
use super::hint::{CommandHints, quoted};
use crate::output::{Printable, printable};
use std::collections::HashSet;
use tidemill_core::{
    access::protection::ApprovalProgress,
    api::{Approval, ExecutionView, JobView, PULLING_IMAGE, PlaceWait},
    execution::status::JobStatus,
    ids::{ExecutionId, JobId},
    pipeline::labels::{Labels, queue_name},
    time::Timestamp,
};

/// Maximum number of jobs that a text names.
const MAX_NAMES: usize = 3;

/// Something that an execution waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Identifies it from one state of the execution to the next.
    pub key: WaitKey,
    /// The description.
    pub text: String,
    /// The command that ends it.
    pub command: Option<String>,
    /// When it began, if known.
    pub since: Option<Timestamp>,
    /// Whether it usually ends within seconds, so that it is worth a message only if it lasts.
    pub is_usually_short: bool,
}

/// Identifies a wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WaitKey {
    /// For the approval of the execution.
    ExecutionApproval,
    /// For the approval of a job.
    Approval(JobId),
    /// For another execution of the concurrency group.
    Group(ExecutionId),
    /// For a place in a concurrency group of jobs.
    Place(String),
    /// For a worker with these labels.
    Worker(Labels),
    /// For the image of a job.
    Image(JobId),
    /// For the end of the `start_in` of a job.
    Start(JobId),
    /// For the next attempt of a job.
    Retry(JobId, u32),
}

impl WaitKey {
    /// The order in which waits are shown: first what needs a user, then what needs an operator.
    const fn rank(&self) -> u8 {
        match self {
            Self::ExecutionApproval | Self::Approval(_) => 0,
            Self::Group(_) | Self::Place(_) => 1,
            Self::Worker(_) => 2,
            Self::Image(_) | Self::Retry(..) | Self::Start(_) => 3,
        }
    }
}

/// Returns what a running execution waits for, the most important first.
pub fn waits(view: &ExecutionView, hints: &CommandHints) -> Vec<Wait> {
    let id = view.execution.id;
    let mut waits = Vec::new();
    if view.execution.status.is_terminal() {
        return waits;
    }
    if view.approval == Some(Approval::Awaited) {
        waits.push(Wait {
            key: WaitKey::ExecutionApproval,
            text: "the execution waits for approval".to_owned(),
            command: Some(hints.approve(id, None)),
            since: Some(view.execution.created_at),
            is_usually_short: false,
        });
    }
    if let Some(other) = view.waits_for {
        waits.push(Wait {
            key: WaitKey::Group(other),
            text: format!(
                "the execution waits for the end of {other}, an execution of the same concurrency group"
            ),
            command: Some(hints.watch(other)),
            since: Some(view.execution.created_at),
            is_usually_short: false,
        });
    }
    let unfinished = || view.jobs.iter().filter(|job| !job.status.is_terminal());
    let names: HashSet<&str> = unfinished().map(|job| job.job_name.as_str()).collect();
    let stage_of = |job: &JobView| view.stages.iter().position(|stage| *stage == job.stage);
    // An optional manual job does not delay the stages after it for ever, but its approval may be left open.
    let is_optional = |job: &&JobView| job.allow_failure && job.approval == Some(Approval::Awaited);
    let first_stage = unfinished().filter(|job| !is_optional(job)).filter_map(stage_of).min();
    for job in &view.jobs {
        // An approval is asked for when the job's needs have ended, and may be given earlier. That of a job that may fail can only be
        // given earlier if nothing else is left to run by then.
        let has_unfinished_needs = job.needs.iter().any(|need| names.contains(need.as_str()))
            || job.after_stages && first_stage < stage_of(job);
        let is_early = !job.allow_failure && has_unfinished_needs;
        if !(job.status == JobStatus::Pending && is_early) {
            waits.extend(job_wait(id, job, hints));
        }
    }
    waits.extend(place_waits(view, hints));
    waits.extend(worker_waits(view));
    waits.sort_by_key(|wait| wait.key.rank());
    waits
}

/// Says which approvals of a protected environment are missing.
fn missing_approvals(job: &JobView) -> String {
    let missing = job.approvals.as_ref().map(ApprovalProgress::describe_missing).unwrap_or_default();
    if missing.is_empty() { missing } else { format!(" ({})", Printable(&missing)) }
}

fn job_wait(execution: ExecutionId, job: &JobView, hints: &CommandHints) -> Option<Wait> {
    let name = quoted(&job.job_name);
    match job.status {
        JobStatus::Pending if job.approval == Some(Approval::Awaited) => Some(Wait {
            key: WaitKey::Approval(job.id),
            text: format!("job {name} waits for approval{}", missing_approvals(job)),
            command: Some(hints.approve(execution, Some(&job.job_name))),
            since: None,
            is_usually_short: false,
        }),
        JobStatus::Queued | JobStatus::Pending if is_start_delayed(job) => Some(Wait {
            key: WaitKey::Start(job.id),
            text: format!("job {name} {}", start_text(job, now())),
            command: None,
            since: None,
            is_usually_short: false,
        }),
        JobStatus::Queued if job.not_before.is_some() => Some(Wait {
            key: WaitKey::Retry(job.id, job.attempt),
            text: format!("job {name} waits for its next attempt"),
            command: None,
            since: None,
            is_usually_short: true,
        }),
        JobStatus::Running => {
            let progress = job.phase.as_deref()?.strip_prefix(PULLING_IMAGE)?;
            Some(Wait {
                key: WaitKey::Image(job.id),
                text: format!("job {name} is {PULLING_IMAGE}{}", printable(progress)),
                command: None,
                since: job.start_time,
                // Without a number of bytes, a pull is worth a message only if it lasts.
                is_usually_short: !progress.starts_with(" ("),
            })
        }
        _ => None,
    }
}

/// Returns the waits for places in concurrency groups, one for each group.
fn place_waits(view: &ExecutionView, hints: &CommandHints) -> Vec<Wait> {
    let mut waiting: Vec<(&PlaceWait, Vec<&JobView>)> = Vec::new();
    for job in view.jobs.iter().filter(|job| job.status == JobStatus::Pending) {
        let Some(wait) = &job.waits_for_place else { continue };
        match waiting.iter_mut().find(|(other, _)| other.group == wait.group) {
            Some((_, jobs)) => jobs.push(job),
            None => waiting.push((wait, vec![job])),
        }
    }
    let wait = |(wait, jobs): (&PlaceWait, Vec<&JobView>)| {
        let (subject, verb) = subject_and_verb(&jobs);
        let other = wait.holders.iter().find(|holder| holder.execution_id != view.execution.id);
        Wait {
            key: WaitKey::Place(wait.group.clone()),
            text: format!("{subject} {}", place_text(verb, wait)),
            command: other.map(|holder| hints.watch(holder.execution_id)),
            since: None,
            is_usually_short: false,
        }
    };
    waiting.into_iter().map(wait).collect()
}

/// Returns a subject that names the first of these jobs, and its form of "wait".
fn subject_and_verb(jobs: &[&JobView]) -> (String, &'static str) {
    let names: Vec<String> = jobs.iter().take(MAX_NAMES).map(|job| quoted(&job.job_name)).collect();
    let more = match jobs.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (subject, verb) = if jobs.len() == 1 { ("job", "waits") } else { ("jobs", "wait") };
    (format!("{subject} {}{more}", names.join(", ")), verb)
}

/// Returns the waits for workers, one for each set of labels, unless another job shows that such a worker is busy.
fn worker_waits(view: &ExecutionView) -> Vec<Wait> {
    let mut queued: Vec<(&Labels, Vec<&JobView>)> = Vec::new();
    for job in view.jobs.iter().filter(|job| job.status == JobStatus::Queued && job.not_before.is_none()) {
        match queued.iter_mut().find(|(labels, _)| **labels == job.runs_on) {
            Some((_, jobs)) => jobs.push(job),
            None => queued.push((&job.runs_on, vec![job])),
        }
    }
    let is_busy = |labels: &Labels| {
        view.jobs.iter().any(|job| job.status == JobStatus::Running && job.runs_on == *labels)
    };
    queued.retain(|(labels, _)| !is_busy(labels));
    let wait = |(labels, jobs): (&Labels, Vec<&JobView>)| {
        let (subject, verb) = subject_and_verb(&jobs);
        let labels_text = if labels.is_empty() {
            String::new()
        } else {
            format!(" with {}", Printable(queue_name(labels)))
        };
        Wait {
            key: WaitKey::Worker(labels.clone()),
            text: format!("{subject} {verb} for a worker{labels_text}"),
            command: None,
            since: jobs.iter().filter_map(|job| job.queued_at).min(),
            is_usually_short: true,
        }
    };
    queued.into_iter().map(wait).collect()
}
