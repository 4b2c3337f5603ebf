//! The report of an execution: durations, waits, and the critical path.

use crate::execution::{
    failure::{FailureReason, is_dead_letter},
    status::JobStatus,
    test_report::ExecutionTests,
};
use crate::repository::includes::PinnedInclude;
use crate::summary::view::{AnnotationCounts, JobAnnotation, SummaryList, SummaryView};
use crate::{
    api::{ArtifactView, AttemptView, ChildView, ExecutionSummary, ExecutionView, JobView},
    ids::{ArtifactId, JobId},
    time::Timestamp,
};
use serde::Serialize;

/// The report of one execution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The execution.
    pub execution: ExecutionSummary,
    /// Milliseconds from its creation to its end, or to `now` while it runs.
    pub duration_ms: u64,
    /// Its jobs in the plan's order.
    pub jobs: Vec<JobRow>,
    /// Names of the jobs that determined the duration, first to last.
    pub critical_path: Vec<String>,
    /// Milliseconds for which these ran, without waits.
    pub critical_path_ms: u64,
    /// Test results of its jobs, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<ExecutionTests>,
    /// The artifacts of its jobs that have a title (`expose_as`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<ExposedArtifact>,
    /// Number of annotations; of those omitted, of all jobs.
    pub annotation_counts: AnnotationCounts,
    /// The annotations of its jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<JobAnnotation>,
    /// The summaries of its jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub summaries: Vec<SummaryText>,
    /// The files from elsewhere that its pipeline includes, with their versions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<PinnedInclude>,
}

/// The summary of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SummaryText {
    /// The job, and the size.
    #[serde(flatten)]
    pub view: SummaryView,
    /// The text, in Markdown; `None` if it is not shown or has expired.
    pub markdown: Option<String>,
}

/// An artifact that is shown with the execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExposedArtifact {
    /// Its title.
    pub title: String,
    /// Its id.
    pub id: ArtifactId,
    /// The name of its job.
    pub job: String,
    /// Number of its files.
    pub files: usize,
}

impl Report {
    /// Adds those of `artifacts` that have a title and are of jobs of the report.
    pub fn add_artifacts(&mut self, artifacts: Vec<ArtifactView>) {
        let exposed = artifacts
            .into_iter()
            .filter(|artifact| self.jobs.iter().any(|job| job.name == artifact.job_name));
        let exposed = exposed.filter_map(|artifact| {
            let (title, id, job, files) =
                (artifact.expose_as?, artifact.id, artifact.job_name, artifact.files.len());
            Some(ExposedArtifact { title, id, job, files })
        });
        self.exposed = exposed.collect();
    }

    /// Adds the annotations and the summaries, without their texts, of jobs of the report.
    pub fn add_summaries(&mut self, list: SummaryList) {
        let is_shown = |id: JobId| self.jobs.iter().any(|job| job.id == id);
        let views = list.summaries.into_iter().filter(|view| is_shown(view.job_id));
        let summaries = views.map(|view| SummaryText { view, markdown: None }).collect();
        let all = list.annotations.into_iter();
        let annotations: Vec<JobAnnotation> = all.filter(|one| is_shown(one.job_id)).collect();
        let mut counts = AnnotationCounts { left_out: list.counts.left_out, ..AnnotationCounts::default() };
        for one in &annotations {
            counts.count(one.annotation.level);
        }
        (self.summaries, self.annotations, self.annotation_counts) = (summaries, annotations, counts);
    }
}

/// One job of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Stage.
    pub stage: String,
    /// Name.
    pub name: String,
    /// Status.
    pub status: JobStatus,
    /// Whether its failure is tolerated.
    pub allow_failure: bool,
    /// Number of attempts.
    pub attempts: u32,
    /// The attempts before the last one, oldest first, with their times, workers and failures. Their logs are kept.
    pub earlier: Vec<AttemptView>,
    /// Whether it ended for a reason that was not its own, so that it is a dead letter until it is retried or
    /// dismissed.
    pub dead_letter: bool,
    /// Duration of its last attempt in milliseconds, so far if it runs.
    pub run_ms: Option<u64>,
    /// Milliseconds for which it waited for its needs, from the execution's creation.
    pub needs_ms: Option<u64>,
    /// Milliseconds for which it waited for a worker after its needs had ended.
    pub worker_ms: Option<u64>,
    /// The job whose end let it start: the last that it waited for.
    pub waited_on: Option<String>,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub failure: Option<FailureReason>,
    /// Whether it was carried over from the retried execution.
    pub carried: bool,
    /// The execution that it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<ChildView>,
}

/// Selects the jobs of a report; all given criteria must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Exact stage.
    pub stage: Option<String>,
    /// Exact name, or the name before the matrix values.
    pub job: Option<String>,
}

/// Creates the report of `view` at `now`. The filter selects jobs; times and path cover the whole execution.
#[must_use]
pub fn report(view: &ExecutionView, filter: &JobFilter, now: Timestamp) -> Report {
    let path = critical_path(view);
    let end = view.execution.end_time.unwrap_or(now);
    Report {
        duration_ms: end.since_ms(view.execution.created_at),
        critical_path_ms: path.iter().filter_map(|job| run_ms(job, now)).sum(),
        critical_path: path.iter().map(|job| job.job_name.clone()).collect(),
        jobs: match &filter.job {
            Some(name) => jobs_named(&view.jobs, name),
            None => view.jobs.iter().collect(),
        }
        .into_iter()
        .filter(|job| filter.stage.as_ref().is_none_or(|stage| *stage == job.stage))
        .map(|job| job_row(view, job, now))
        .collect(),
        execution: view.execution.clone(),
        tests: None,
        exposed: Vec::new(),
        annotation_counts: AnnotationCounts::default(),
        annotations: Vec::new(),
        summaries: Vec::new(),
        includes: view.includes.clone(),
    }
}

/// Returns the part of a job's name that the variants of a matrix share: without `[key=value]`, `: [value]` or ` 1/2`.
#[must_use]
pub fn base_name(name: &str) -> &str {
    let values = || {
        let (base, _) = name.strip_suffix(']')?.split_once(" [")?;
        Some(base.strip_suffix(':').unwrap_or(base))
    };
    let number = || {
        let (base, number) = name.rsplit_once(' ')?;
        let (at, of) = number.split_once('/')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        (is_number(at) && is_number(of)).then_some(base)
    };
    values().or_else(number).unwrap_or(name)
}

/// Whether `name` is the name of this job, with or without its matrix values.
#[must_use]
pub fn has_name(job: &JobView, name: &str) -> bool {
    job.job_name == name || base_name(&job.job_name) == name
}

/// Returns the jobs that `name` selects: the one that has exactly this name, otherwise those that have it without their matrix
/// values. So a job that is named like a variant is selected by its own name alone.
#[must_use]
pub fn jobs_named<'a>(jobs: &'a [JobView], name: &str) -> Vec<&'a JobView> {
    match jobs.iter().find(|job| job.job_name == name) {
        Some(exact) => vec![exact],
        None => jobs.iter().filter(|job| has_name(job, name)).collect(),
    }
}

fn job_row(view: &ExecutionView, job: &JobView, now: Timestamp) -> JobRow {
    let ran_here = job.carried_from.is_none();
    JobRow {
        id: job.id,
        stage: job.stage.clone(),
        name: job.job_name.clone(),
        status: job.status,
        allow_failure: job.allow_failure || job.tolerated,
        attempts: job.attempt,
        earlier: job.attempts.clone(),
        dead_letter: is_dead_letter(job.status, job.failure_reason.as_ref()),
        run_ms: run_ms(job, now),
        needs_ms: job.queued_at.filter(|_| ran_here).map(|at| at.since_ms(view.execution.created_at)),
        worker_ms: match (job.queued_at, job.start_time) {
            (Some(queued), Some(start)) if ran_here => Some(start.since_ms(queued)),
            _ => None,
        },
        waited_on: waited_on(view, job).map(|by| by.job_name.clone()),
        exit_code: job.exit_code,
        failure: job.failure_reason.clone(),
        carried: !ran_here,
        child: job.child.clone(),
    }
}

fn run_ms(job: &JobView, now: Timestamp) -> Option<u64> {
    let start = job.start_time.filter(|_| job.carried_from.is_none())?;
    let end = if job.status == JobStatus::Running { now } else { job.end_time? };
    Some(end.since_ms(start))
}

/// Returns the dependency of `job` that ended last before it was first queued.
fn waited_on<'a>(view: &'a ExecutionView, job: &JobView) -> Option<&'a JobView> {
    // A retry queues a job again; its dependencies had ended before its first attempt.
    let queued = job.attempts.first().map(|first| first.started_at).or(job.queued_at)?;
    let stage = view.stages.iter().position(|stage| *stage == job.stage)?;
    let is_need = |other: &&JobView| {
        if job.needs.is_empty() {
            view.stages.iter().position(|name| *name == other.stage).is_some_and(|at| at < stage)
        } else {
            job.needs.contains(&other.job_name)
        }
    };
    view.jobs
        .iter()
        .filter(is_need)
        .filter(|other| other.carried_from.is_none())
        .filter(|other| other.end_time.is_some_and(|end| end <= queued))
        .max_by_key(|other| other.end_time)
}

/// Follows waits back from the job that ended last.
fn critical_path(view: &ExecutionView) -> Vec<&JobView> {
    let ran = |job: &&JobView| job.start_time.is_some() && job.carried_from.is_none();
    let mut path: Vec<&JobView> = Vec::new();
    let mut at = view.jobs.iter().filter(ran).max_by_key(|job| job.end_time);
    while let Some(job) = at {
        path.push(job);
        // Waits lead to strictly earlier stages or needs, so this terminates; the length check guards against invalid
        // records.
        at = waited_on(view, job).filter(|_| path.len() <= view.jobs.len());
    }
    path.reverse();
    path
}
