//! `report`: shows an execution's records as a table, JSON or JUnit XML.

use crate::{
    args::{ConsentArgs, Report, ReportFormat},
    commands::execution::cost,
    deployment::Deployment,
    execution::select::{Purpose, select_job},
    failure::{Failure, Outcome},
    output::{self, Printable, printable},
    settings::Settings,
    view::format::{self, duration},
    view::{hint::CommandHints, summaries, test_results},
};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use std::{io::Write, time::Duration};
use tidemill_core::api::{ArtifactList, ExecutionView, path};
use tidemill_core::execution::{
    report::{self as core, JobFilter, JobRow},
    status::JobStatus,
};
use tidemill_core::text::choices::suggestion;

/// `tidemill report`.
pub async fn report(settings: &Settings, args: &Report) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select_job(&deployment, &args.job, Purpose::Read, ConsentArgs::default()).await?;
    let view = &selected.view;
    if args.cost {
        cost::print(&deployment, view, args.format).await?;
        deployment.close().await;
        return Ok(());
    }
    let mut tests = deployment.tests(view.execution.id).await?;
    let artifacts: ArtifactList =
        deployment.get(&path::ARTIFACTS.replace("{executionId}", &view.execution.id.to_string())).await?;
    let list = deployment.summaries(view.execution.id).await?;
    let hints = deployment.hints().clone();
    let selection = JobFilter { stage: args.stage.clone(), job: selected.job.clone() };
    let mut report = core::report(view, &selection, format::now());
    if report.jobs.is_empty() {
        deployment.close().await;
        return Err(no_matching_job(view, &selection));
    }
    report.add_summaries(list);
    for summary in report.summaries.iter_mut().filter(|summary| summary.view.shown) {
        summary.markdown = deployment.summary_text(summary.view.job_id).await?;
    }
    deployment.close().await;
    tests.jobs.retain(|tests| report.jobs.iter().any(|job| job.id == tests.job_id));
    report.tests = Some(tests);
    report.add_artifacts(artifacts.artifacts);
    let mut out = output::stdout();
    match args.format {
        ReportFormat::Human => table(&mut out, &report, &hints)?,
        ReportFormat::Json => {
            output::print_json(&report)?;
        }
        ReportFormat::Junit => {
            let xml = junit(&report).to_string().map_err(|error| Failure::system(error.to_string()))?;
            write!(out, "{xml}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Returns the failure for a filter that matches no job. It suggests the nearest name.
fn no_matching_job(view: &ExecutionView, filter: &JobFilter) -> Failure {
    let jobs: Vec<&str> = view.jobs.iter().map(|job| job.job_name.as_str()).collect();
    let stages: Vec<&str> = view.stages.iter().map(String::as_str).collect();
    let (kind, kinds, name, known) = match (&filter.job, &filter.stage) {
        (Some(job), _) if !view.jobs.iter().any(|known| core::has_name(known, job)) => {
            ("job", "jobs", job, jobs)
        }
        (_, Some(stage)) if !stages.contains(&stage.as_str()) => ("stage", "stages", stage, stages),
        _ => return Failure::usage("no job matches both --stage and --job"),
    };
    let title = format::title(&view.execution);
    Failure::usage(format!(
        "{title} has no {kind} `{}`; {}",
        Printable(name),
        suggestion(name, &known, kinds)
    ))
}

fn table(out: &mut impl Write, report: &core::Report, hints: &CommandHints) -> std::io::Result<()> {
    let execution = &report.execution;
    writeln!(
        out,
        "{} #{}  {}  in {}",
        Printable(&execution.pipeline_name),
        execution.run_number,
        execution.status.as_str(),
        duration(report.duration_ms)
    )?;
    writeln!(out, "repository  {}", Printable(&execution.repo))?;
    let branch =
        execution.branch.as_deref().map(|branch| format!("  ({})", Printable(branch))).unwrap_or_default();
    let details = &execution.commit_details;
    let dirty = if details.dirty { "+dirty" } else { "" };
    writeln!(out, "commit      {}{dirty}{branch}", Printable(execution.commit.as_deref().unwrap_or("-")))?;
    if let Some(title) = details.title() {
        let author = details.author.as_deref().map(|author| format!("  by {author}")).unwrap_or_default();
        writeln!(out, "message     {}{}", Printable(title), Printable(&author))?;
    }
    if !execution.inputs.is_empty() {
        let inputs = execution.inputs.iter().map(|(name, value)| format!("{name}={value}"));
        writeln!(out, "inputs      {}", Printable(inputs.collect::<Vec<_>>().join("  ")))?;
    }
    writeln!(out, "execution   {}", execution.id)?;
    let by =
        execution.requested_by.as_deref().map(|by| format!("  by {}", Printable(by))).unwrap_or_default();
    writeln!(out, "started     {}{by}", execution.created_at)?;
    for include in &report.includes {
        writeln!(out, "included    {}", Printable(include.to_string()))?;
    }
    writeln!(out)?;
    let width = |of: fn(&JobRow) -> usize, min: usize| report.jobs.iter().map(of).max().unwrap_or(0).max(min);
    let stage = width(|job| printable(&job.stage).chars().count(), 5);
    let name = width(|job| printable(&job.name).chars().count(), 3);
    writeln!(
        out,
        "{:stage$}  {:name$}  {:8}  {:>7}  {:>7}  {:>7}  {:>8}  waited on",
        "stage", "job", "status", "ran", "needs", "worker", "attempts"
    )?;
    let time = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), duration);
    for job in &report.jobs {
        writeln!(
            out,
            "{:stage$}  {:name$}  {:8}  {:>7}  {:>7}  {:>7}  {:>8}  {}",
            Printable(&job.stage),
            Printable(&job.name),
            job.status.as_str(),
            time(job.run_ms),
            time(job.needs_ms),
            time(job.worker_ms),
            job.attempts,
            Printable(job.waited_on.as_deref().unwrap_or("-")),
        )?;
    }
    let failed: Vec<&JobRow> = report.jobs.iter().filter(|job| job.failure.is_some()).collect();
    if !failed.is_empty() {
        writeln!(out)?;
    }
    for job in failed {
        let message = job.failure.as_ref().map(|why| why.message.as_str()).unwrap_or_default();
        let allowed = if job.status == JobStatus::Failed && job.allow_failure { " (allowed)" } else { "" };
        writeln!(out, "{}{allowed}: {}", Printable(&job.name), Printable(message))?;
        if job.dead_letter {
            writeln!(
                out,
                "  dead letter: failed because of infrastructure errors; `{}` runs it again",
                hints.retry(execution.id)
            )?;
        }
    }
    children(out, report)?;
    attempts(out, report, hints)?;
    for job in report.tests.iter().flat_map(|tests| &tests.jobs) {
        writeln!(out)?;
        let has_failed =
            report.jobs.iter().any(|row| row.id == job.job_id && row.status == JobStatus::Failed);
        test_results::print(out, job, has_failed, usize::MAX)?;
    }
    summaries::print(out, report)?;
    if !report.exposed.is_empty() {
        writeln!(out)?;
    }
    for artifact in &report.exposed {
        let (title, job) = (Printable(&artifact.title), Printable(&artifact.job));
        writeln!(out, "artifact       {title}  ({} file(s) of {job})", artifact.files)?;
    }
    if !report.critical_path.is_empty() {
        writeln!(out)?;
        writeln!(
            out,
            "critical path  {}  ({} of {})",
            Printable(report.critical_path.join(" → ")),
            duration(report.critical_path_ms),
            duration(report.duration_ms)
        )?;
    }
    Ok(())
}

/// Prints the executions that jobs started, and the job that started this one.
fn children(out: &mut impl Write, report: &core::Report) -> std::io::Result<()> {
    let started = report.jobs.iter().filter_map(|job| Some((job, job.child.as_ref()?)));
    for (at, (job, child)) in started.enumerate() {
        let separator = if at == 0 { "\n" } else { "" };
        writeln!(out, "{separator}{} started {}", Printable(&job.name), format::child_line(child))?;
    }
    if let Some(parent) = &report.execution.parent {
        writeln!(out, "\nstarted by job {} of {}", Printable(&parent.job_name), parent.execution_id)?;
    }
    Ok(())
}

/// Prints earlier attempts of jobs.
fn attempts(out: &mut impl Write, report: &core::Report, hints: &CommandHints) -> std::io::Result<()> {
    for job in report.jobs.iter().filter(|job| !job.earlier.is_empty()) {
        writeln!(out)?;
        for attempt in &job.earlier {
            let message = attempt.failure.as_ref().map(|why| why.message.as_str()).unwrap_or_default();
            let run_time = duration(attempt.ended_at.since_ms(attempt.started_at));
            let worker =
                attempt.worker.as_deref().map(|name| format!(" on {}", Printable(name))).unwrap_or_default();
            writeln!(
                out,
                "{} attempt {}: {run_time}{worker}: {}",
                Printable(&job.name),
                attempt.attempt,
                Printable(message)
            )?;
        }
        writeln!(out, "  logs: `{}`", hints.attempt_log(report.execution.id, &job.name))?;
    }
    Ok(())
}

/// Converts a report to JUnit XML: one suite per stage, one test case per job.
fn junit(report: &core::Report) -> quick_junit::Report {
    let execution = &report.execution;
    let mut all = quick_junit::Report::new(format::title(execution));
    all.set_time(Duration::from_millis(report.duration_ms));
    let mut stages: Vec<&str> = Vec::new();
    for job in &report.jobs {
        if !stages.contains(&job.stage.as_str()) {
            stages.push(&job.stage);
        }
    }
    for stage in stages {
        let mut suite = TestSuite::new(printable(stage));
        for job in report.jobs.iter().filter(|job| job.stage == stage) {
            let message = job.failure.as_ref().map(|why| printable(&why.message)).unwrap_or_default();
            let status = match job.status {
                JobStatus::Success => TestCaseStatus::success(),
                JobStatus::Failed if !job.allow_failure => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(message);
                    status
                }
                _ => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(if message.is_empty() {
                        job.status.as_str().to_owned()
                    } else {
                        message
                    });
                    status
                }
            };
            let mut case = TestCase::new(printable(&job.name), status);
            case.set_classname(format!("{}.{}", Printable(&execution.pipeline_name), Printable(stage)));
            case.set_time(Duration::from_millis(job.run_ms.unwrap_or(0)));
            suite.add_test_case(case);
        }
        all.add_test_suite(suite);
    }
    all
}
