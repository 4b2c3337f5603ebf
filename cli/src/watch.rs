//! Follows an execution to its end.

use crate::{
    deployment::Deployment,
    failure::{Exit, Failure, Outcome},
    interrupts::interrupts,
    view::View,
};
use std::{io::Write, process, time::Duration};
use tidemill_core::{
    api::{CancelReply, ExecutionView, JobView, LOG_END, LOG_NEXT, path},
    ids::{ExecutionId, JobId},
    status::{ExecutionStatus, JobStatus},
};

/// Failures of the server in a row after which it is given up.
const MOST_FAILURES: u32 = 30;
/// Lines of a failed job's log that are shown at the end.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 << 10;

/// Shows an execution until it is over. The first interrupt cancels it, the second leaves at once.
pub async fn watch(deployment: &Deployment, id: ExecutionId, view: &mut dyn View) -> Outcome<ExecutionView> {
    let mut interrupts = interrupts()?;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut tag: Option<String> = None;
    let mut failures = 0;
    let mut interrupted = false;
    loop {
        let known = tag.clone();
        let next = deployment.view_after(id, known.as_deref());
        tokio::pin!(next);
        let seen = loop {
            tokio::select! {
                seen = &mut next => break seen,
                _ = ticks.tick() => view.tick()?,
                Some(()) = interrupts.recv() => {
                    if interrupted {
                        // Containers end by themselves as their connection breaks.
                        process::exit(Exit::Canceled as i32);
                    }
                    interrupted = true;
                    view.note("canceling; interrupt again to leave at once")?;
                    let path = path::CANCEL_EXECUTION.replace("{executionId}", &id.to_string());
                    let _: CancelReply = deployment.post(&path, &()).await?;
                }
            }
        };
        match seen {
            Ok(Some((now, new))) => {
                (failures, tag) = (0, Some(new));
                if now.execution.status.is_terminal() {
                    view.finish(&now)?;
                    return Ok(now);
                }
                view.show(&now)?;
            }
            Ok(None) => failures = 0,
            Err(error) if error.exit == Exit::System && failures < MOST_FAILURES => {
                failures += 1;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// How a command ends that waited for an execution.
pub fn verdict(view: &ExecutionView) -> Outcome {
    match view.execution.status {
        ExecutionStatus::Success => Ok(()),
        ExecutionStatus::Canceled => Err(Failure::silent(Exit::Canceled)),
        _ => Err(Failure::silent(Exit::Failed)),
    }
}

/// Prints a job's log from `offset` on to standard output: all that is stored, or with `follow` all until its end.
pub async fn print_log(deployment: &Deployment, job: JobId, attempt: Option<u32>, follow: bool) -> Outcome {
    let base = path::JOB_LOGS.replace("{jobId}", &job.to_string());
    let attempt = attempt.map(|attempt| format!("&attempt={attempt}")).unwrap_or_default();
    let wait = if follow { 15_000 } else { 0 };
    let mut offset = 0_u64;
    loop {
        let path = format!("{base}?offset={offset}&wait_ms={wait}&limit={}{attempt}", 4 << 20);
        let Some(part) = deployment.api.fetch(&path, None).await? else { return Ok(()) };
        // A job that has no attempt yet has an empty log, not the end of one.
        let mut out = std::io::stdout().lock();
        out.write_all(&part.body)?;
        out.flush()?;
        drop(out);
        offset = part.header(LOG_NEXT).and_then(|text| text.parse().ok()).unwrap_or(offset);
        if part.header(LOG_END) == Some("true") || (!follow && part.body.is_empty()) {
            return Ok(());
        }
    }
}

/// The last lines of the logs of jobs that failed.
pub async fn show_failures(deployment: &Deployment, view: &ExecutionView) -> Outcome {
    for job in view.jobs.iter().filter(|job| job.status == JobStatus::Failed && !job.allow_failure) {
        let tail = tail(deployment, job).await?;
        if !tail.is_empty() {
            let mut err = anstream::stderr();
            writeln!(err, "\nThe end of the log of `{}`:", job.job_name)?;
            for line in tail {
                writeln!(err, "  {line}")?;
            }
        }
    }
    Ok(())
}

async fn tail(deployment: &Deployment, job: &JobView) -> Outcome<Vec<String>> {
    let offset = job.log_bytes.saturating_sub(TAIL_BYTES);
    let path = path::JOB_LOGS.replace("{jobId}", &job.id.to_string());
    let part = deployment.api.fetch(&format!("{path}?offset={offset}"), None).await?;
    let body = part.map(|part| part.body).unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let lines: Vec<String> = text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec())
}
