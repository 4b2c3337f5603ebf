//! Prints logs of jobs.

use super::{
    polling::{Outage, PollInterval, Reply},
    watch::after_error,
};
use crate::{
    deployment::{Deployment, LONG_POLL_MS},
    failure::Outcome,
    output::{self, LogFilter, LogWriter, Printable},
    view::test_results,
};
use std::{io::Write, time::Instant};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    api::{ExecutionView, JobView, LOG_END, LOG_NEXT, path},
    ids::JobId,
};

/// Maximum number of log bytes per reply: a function's replies are limited to 6 MB in base64.
const MAX_LOG_REPLY: usize = 4 << 20;
/// Number of lines of a failed job's log that are shown at the end.
const TAIL_LINES: usize = 20;
/// Number of bytes that these lines are taken from.
const TAIL_BYTES: u64 = 16 << 10;
/// Number of tests of a failed job that are shown at the end.
const MAX_TESTS: usize = 10;

/// What to print of a job's log.
#[derive(Debug, Clone, Copy)]
pub struct LogRequest {
    /// The job.
    pub job: JobId,
    /// The attempt; `None`: the latest.
    pub attempt: Option<u32>,
    /// Print until the job ends, and not only what is stored now.
    pub follow: bool,
    /// Print unfiltered, even on a terminal.
    pub raw: bool,
}

/// Prints a job's log to standard output.
pub async fn print_log(
    deployment: &Deployment,
    LogRequest { job, attempt, follow, raw }: LogRequest,
    mut note: impl FnMut(&str) -> std::io::Result<()>,
) -> Outcome {
    let base = path::JOB_LOGS.replace("{jobId}", &job.to_string());
    let attempt = attempt.map(|attempt| format!("&attempt={attempt}")).unwrap_or_default();
    let wait_ms = if follow { LONG_POLL_MS } else { 0 };
    let mut interval = PollInterval::new(deployment.is_own());
    let mut outage = Outage::new(deployment.max_outage());
    let mut offset = 0_u64;
    let mut log = LogWriter::to_stdout(raw);
    loop {
        let path = format!("{base}?offset={offset}&wait_ms={wait_ms}&limit={MAX_LOG_REPLY}{attempt}");
        let start = Instant::now();
        let part = match deployment.api.fetch(&path, None).await {
            Ok(Some(part)) => part,
            Ok(None) => return Ok(log.finish()?),
            Err(error) => {
                let pause = after_error(deployment, &mut outage, error, &mut note)?;
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        let took = start.elapsed();
        if outage.end() {
            note(&format!("{} is reachable again", deployment.url))?;
        }
        // A job without an attempt has an empty log, but not the end of one.
        log.write(&part.body)?;
        offset = part.header(LOG_NEXT).and_then(|text| text.parse().ok()).unwrap_or(offset);
        if part.header(LOG_END) == Some("true") || (!follow && part.body.is_empty()) {
            return Ok(log.finish()?);
        }
        // No pause if the log is longer than one reply, or is not followed.
        let reply = if part.body.is_empty() { Reply::Unchanged } else { Reply::Changed };
        let pause = interval.after(reply, took);
        if follow && part.body.len() < MAX_LOG_REPLY {
            tokio::time::sleep(pause).await;
        }
    }
}

/// Prints the ends of failed jobs' logs, and their failed tests, to standard error.
pub async fn show_failures(deployment: &Deployment, view: &ExecutionView) -> Outcome {
    let failed = view
        .jobs
        .iter()
        .filter(|job| job.status == JobStatus::Failed && !job.allow_failure && !job.tolerated);
    let failed: Vec<&JobView> = failed.collect();
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
                let shown = filter.pass(line.as_bytes());
                writeln!(err, "  {}{}", shown, filter.finish())?;
            }
        }
        for tests in tests.jobs.iter().filter(|tests| tests.job_id == job.id) {
            let mut err = output::stderr();
            writeln!(err)?;
            test_results::print(&mut err, tests, MAX_TESTS)?;
        }
    }
    Ok(())
}

/// The visible part of a line: what follows its last carriage return.
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
