//! Prints logs of jobs.

use super::{
    polling::{Outage, PollInterval, Reply},
    watch::pause_after_error,
};
use crate::{
    args::{ViewArgs, ViewFormat},
    deployment::{Deployment, LONG_POLL_MS},
    failure::Outcome,
    output::{self, LogFilter, LogOutput, LogWriter, Printable, printable},
    view::{format, test_results},
};
use std::{
    io::Write,
    time::{Duration, Instant},
};
use tidemill_core::execution::{
    report::{JobFilter, report},
    status::JobStatus,
};
use tidemill_core::{
    api::{ExecutionView, JobView, LOG_END, LOG_NEXT, LOG_POLL, path},
    ids::JobId,
};

/// Maximum number of log bytes per reply: Lambda limits replies to 6 MB in base64.
const MAX_LOG_REPLY: usize = 4 << 20;
/// Number of last log lines to show of a failed job.
const TAIL_LINES: usize = 20;
/// Number of last log bytes to fetch for these lines.
const TAIL_BYTES: u64 = 16 << 10;
/// Maximum number of test cases to show of a failed job.
const MAX_TESTS: usize = 10;

/// A request to print a job's log.
#[derive(Debug, Clone, Copy)]
pub struct LogRequest<'a> {
    /// The job.
    pub job: JobId,
    /// The attempt; `None`: the latest.
    pub attempt: Option<u32>,
    /// Print new output until the job ends.
    pub follow: bool,
    /// The form of the output.
    pub style: LogOutput<'a>,
}

/// Prints a job's log to standard output.
pub async fn print_log(
    deployment: &Deployment,
    LogRequest { job, attempt, follow, style }: LogRequest<'_>,
    mut note: impl FnMut(&str) -> std::io::Result<()>,
) -> Outcome {
    let base = path::JOB_LOGS.replace("{jobId}", &job.to_string());
    let attempt = attempt.map(|attempt| format!("&attempt={attempt}")).unwrap_or_default();
    let wait_ms = if follow { LONG_POLL_MS } else { 0 };
    let mut interval = PollInterval::new(deployment.is_embedded());
    let mut outage = Outage::new(deployment.max_outage());
    let mut offset = 0_u64;
    let mut log = LogWriter::to_stdout(style);
    loop {
        let path = format!("{base}?offset={offset}&wait_ms={wait_ms}&limit={MAX_LOG_REPLY}{attempt}");
        let start = Instant::now();
        let chunk = match deployment.api.fetch(&path, None).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(log.finish()?),
            Err(error) => {
                let pause = pause_after_error(deployment, &mut outage, error, &mut note)?;
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        let took = start.elapsed();
        if outage.record_success() {
            note(&format!("{} is reachable again", deployment.url))?;
        }
        // Before its first attempt, a job has an empty log without an end marker.
        log.write(&chunk.body)?;
        offset = chunk.header(LOG_NEXT).and_then(|text| text.parse().ok()).unwrap_or(offset);
        if chunk.header(LOG_END) == Some("true") || (!follow && chunk.body.is_empty()) {
            return Ok(log.finish()?);
        }
        // Do not pause while there are more replies to fetch, or if not following.
        let reply = if chunk.body.is_empty() { Reply::Unchanged } else { Reply::Changed };
        // The worker of a running job may report less often than that.
        let poll = chunk.header(LOG_POLL).and_then(|text| text.parse().ok()).map(Duration::from_millis);
        let pause = interval.pause_after(reply, took).max(poll.unwrap_or_default().saturating_sub(took));
        if follow && chunk.body.len() < MAX_LOG_REPLY {
            tokio::time::sleep(pause).await;
        }
    }
}

/// Prints the result of an ended execution after its view: as JSON, or the failures and, unless `--quiet` is set, its end.
pub async fn show_result(deployment: &Deployment, view: &ExecutionView, args: ViewArgs) -> Outcome {
    if args.format == ViewFormat::Json {
        Ok(output::print_json_line(view)?)
    } else if args.quiet {
        // No view has said them.
        for job in view.jobs.iter().filter(|job| counts_as_failed(job)) {
            crate::output::errln!("{}: {}", Printable(&job.job_name), format::end_text(job));
        }
        show_failures(deployment, view).await
    } else {
        show_end(deployment, view).await
    }
}

/// Prints what follows from an ended execution to standard error: see [`show_failures`], and then its critical path and the address
/// of its page.
async fn show_end(deployment: &Deployment, view: &ExecutionView) -> Outcome {
    show_failures(deployment, view).await?;
    let report = report(view, &JobFilter::default(), format::now());
    let mut err = output::stderr();
    if view.jobs.len() > 1 && !report.critical_path.is_empty() {
        let path: Vec<String> = report.critical_path.iter().map(|name| printable(name)).collect();
        let (ran, took) = (format::duration(report.critical_path_ms), format::duration(report.duration_ms));
        writeln!(err, "critical path: {} ({ran} of {took})", path.join(" → "))?;
    }
    if let Some(page) = deployment.hints().page(view.execution.id) {
        writeln!(err, "{page}")?;
    }
    Ok(())
}

/// Whether the execution fails with this job.
fn counts_as_failed(job: &JobView) -> bool {
    job.status == JobStatus::Failed && !job.allow_failure && !job.tolerated
}

/// Prints the last log lines and the failed tests of failed jobs to standard error.
async fn show_failures(deployment: &Deployment, view: &ExecutionView) -> Outcome {
    let failed: Vec<&JobView> = view.jobs.iter().filter(|job| counts_as_failed(job)).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let tests = deployment.tests(view.execution.id).await?;
    for job in failed {
        let tail = tail(deployment, job).await?;
        if !tail.is_empty() {
            let mut err = output::stderr();
            writeln!(err, "\nLast log lines of `{}`:", Printable(&job.job_name))?;
            for line in tail {
                // Colours end with the line.
                let mut filter = LogFilter::for_line(output::stderr_has_colours());
                let shown = filter.filter(line.as_bytes());
                writeln!(err, "  {}{}", shown, filter.finish())?;
            }
        }
        for tests in tests.jobs.iter().filter(|tests| tests.job_id == job.id) {
            let mut err = output::stderr();
            writeln!(err)?;
            test_results::print(&mut err, tests, true, MAX_TESTS)?;
        }
    }
    Ok(())
}

/// Returns the visible part of a line: the text after its last carriage return.
fn visible(line: &str) -> String {
    line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned()
}

async fn tail(deployment: &Deployment, job: &JobView) -> Outcome<Vec<String>> {
    let offset = job.log_bytes.saturating_sub(TAIL_BYTES);
    let path = path::JOB_LOGS.replace("{jobId}", &job.id.to_string());
    let body = deployment.fetch(&format!("{path}?offset={offset}")).await?;
    let text = String::from_utf8_lossy(&body);
    let lines: Vec<String> = text.lines().map(visible).collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec())
}
