//! Follows an execution to its end.

use crate::{
    deployment::{Deployment, WAIT_MS},
    failure::{Exit, Failure, Outcome},
    interrupts::interrupts,
    output::{self, LogFilter, LogWriter, Printable, printable},
    pace::{Next, Outage, Pace, Said},
    test_results,
    view::View,
};
use std::{
    io::Write,
    pin::Pin,
    process,
    time::{Duration, Instant},
};
use tidemill_core::{
    api::{CancelReply, ExecutionView, JobView, LOG_END, LOG_NEXT, path},
    ids::{ExecutionId, JobId},
    status::{ExecutionStatus, JobStatus},
};
use tidemill_worker::client::ApiError;

/// The most log bytes of one reply: a function's replies are limited to 6 MB, in base64.
const MOST_LOG: usize = 4 << 20;

/// Lines of a failed job's log that are shown at the end.
const TAIL_LINES: usize = 20;
/// Tests of a failed job that are shown at the end.
const MOST_TESTS: usize = 10;
const TAIL_BYTES: u64 = 16 << 10;

/// How long a cancel may take when nobody wants to wait for it any more.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What an interrupt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// The first cancels the execution, the second leaves at once.
    Cancel,
    /// It ends the watching; the execution goes on.
    Leave,
}

type Canceling<'a> = Pin<Box<dyn Future<Output = Outcome<CancelReply>> + 'a>>;

/// Shows an execution until it is over. A server that is away for a while is waited for.
pub async fn watch(
    deployment: &Deployment,
    id: ExecutionId,
    view: &mut dyn View,
    on_interrupt: OnInterrupt,
) -> Outcome<ExecutionView> {
    let mut interrupts = interrupts()?;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut tag: Option<String> = None;
    let mut shown: Option<ExecutionView> = None;
    let mut pace = Pace::new(deployment.is_own());
    let mut outage = Outage::new(deployment.patience());
    let mut wait = Duration::ZERO;
    let mut interrupted = false;
    let mut canceling: Option<Canceling<'_>> = None;
    loop {
        let (known, pause) = (tag.clone(), wait);
        let next = async {
            tokio::time::sleep(pause).await;
            let asked = Instant::now();
            (deployment.view_after(id, known.as_deref()).await, asked.elapsed())
        };
        tokio::pin!(next);
        let seen = loop {
            let canceled = async {
                match &mut canceling {
                    Some(canceling) => canceling.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                seen = &mut next => break Some(seen),
                _ = ticks.tick() => view.tick()?,
                done = canceled => {
                    canceling = None;
                    if let Err(failure) = done {
                        view.note(&format!("it could not be canceled: {}", failure.words))?;
                    }
                    break None;
                }
                Some(()) = interrupts.recv() => {
                    if on_interrupt == OnInterrupt::Leave {
                        let words = format!("it goes on; to watch it again: {}", deployment.watch_command(id));
                        return Err(Failure { exit: Exit::Canceled, words });
                    }
                    if interrupted {
                        if let Some(canceling) = canceling.take() {
                            // It is on its way, and whoever leaves still means it.
                            let _ = tokio::time::timeout(LAST_WORD, canceling).await;
                        }
                        if !deployment.is_own() {
                            crate::errln!("to see how it ends: {}", deployment.watch_command(id));
                        }
                        // Containers end by themselves as their connection breaks.
                        process::exit(Exit::Canceled as i32);
                    }
                    interrupted = true;
                    view.note("canceling; interrupt again to leave at once")?;
                    canceling = Some(Box::pin(cancel(deployment, id)));
                }
            }
        };
        wait = match seen {
            // What a cancel changed is there to be seen.
            None => Duration::ZERO,
            Some((Ok(seen), took)) => {
                if outage.is_over() {
                    view.note(&format!("{} answers again", deployment.url))?;
                }
                let mut said = Said::Nothing;
                if let Some((now, new)) = seen {
                    tag = Some(new);
                    if now.execution.status.is_terminal() {
                        view.finish(&now)?;
                        return Ok(now);
                    }
                    // A worker's sign of life is a change to the server, and none to whoever looks on.
                    said = if shown.as_ref() == Some(&now) { Said::Same } else { Said::News };
                    view.show(&now)?;
                    shown = Some(now);
                }
                pace.after(said, took)
            }
            Some((Err(error), _)) => {
                let note = |words: &str| view.note(words);
                wait_out(deployment, &mut outage, error, note).map_err(|failure| {
                    let Failure { exit, mut words } = failure;
                    if !deployment.is_own() {
                        words += "; the execution goes on; to watch it again: ";
                        words += &deployment.watch_command(id);
                    }
                    Failure { exit, words }
                })?
            }
        };
    }
}

async fn cancel(deployment: &Deployment, id: ExecutionId) -> Outcome<CancelReply> {
    deployment.post(&path::CANCEL_EXECUTION.replace("{executionId}", &id.to_string()), &()).await
}

/// How long to wait after a failed call, unless it cannot do better later, or failed for too long.
fn wait_out(
    deployment: &Deployment,
    outage: &mut Outage,
    error: ApiError,
    note: impl FnOnce(&str) -> std::io::Result<()>,
) -> Outcome<Duration> {
    if !error.is_passing() {
        return Err(error.into());
    }
    let error = printable(&error.to_string());
    match outage.failed(Instant::now()) {
        Next::Wait(pause) => Ok(pause),
        Next::Note(pause) => {
            note(&format!("{} does not answer; waiting for it ({error})", deployment.url))?;
            Ok(pause)
        }
        Next::GiveUp => {
            let patience = outage.patience().as_secs();
            Err(Failure::system(format!("{} did not answer for {patience} s: {error}", deployment.url)))
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

/// What of a job's log to print.
#[derive(Debug, Clone, Copy)]
pub struct LogOf {
    /// The job.
    pub job: JobId,
    /// An earlier attempt.
    pub attempt: Option<u32>,
    /// All until its end, and not only what is stored.
    pub follow: bool,
    /// As it is, even on a terminal.
    pub raw: bool,
}

/// Prints a job's log to standard output.
pub async fn print_log(
    deployment: &Deployment,
    LogOf { job, attempt, follow, raw }: LogOf,
    mut note: impl FnMut(&str) -> std::io::Result<()>,
) -> Outcome {
    let base = path::JOB_LOGS.replace("{jobId}", &job.to_string());
    let attempt = attempt.map(|attempt| format!("&attempt={attempt}")).unwrap_or_default();
    let wait_ms = if follow { WAIT_MS } else { 0 };
    let mut pace = Pace::new(deployment.is_own());
    let mut outage = Outage::new(deployment.patience());
    let mut offset = 0_u64;
    let mut log = LogWriter::to_stdout(raw);
    loop {
        let path = format!("{base}?offset={offset}&wait_ms={wait_ms}&limit={MOST_LOG}{attempt}");
        let asked = Instant::now();
        let part = match deployment.api.fetch(&path, None).await {
            Ok(Some(part)) => part,
            Ok(None) => return Ok(log.finish()?),
            Err(error) => {
                let pause = wait_out(deployment, &mut outage, error, &mut note)?;
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        let took = asked.elapsed();
        if outage.is_over() {
            note(&format!("{} answers again", deployment.url))?;
        }
        // A job that has no attempt yet has an empty log, not the end of one.
        log.write(&part.body)?;
        offset = part.header(LOG_NEXT).and_then(|text| text.parse().ok()).unwrap_or(offset);
        if part.header(LOG_END) == Some("true") || (!follow && part.body.is_empty()) {
            return Ok(log.finish()?);
        }
        // What does not wait for more, and a log that is longer than a reply, come without a pause.
        let said = if part.body.is_empty() { Said::Nothing } else { Said::News };
        let pause = pace.after(said, took);
        if follow && part.body.len() < MOST_LOG {
            tokio::time::sleep(pause).await;
        }
    }
}

/// The last lines of the logs of jobs that failed, and their tests that did.
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
            writeln!(err, "\nThe end of the log of `{}`:", Printable(&job.job_name))?;
            for line in tail {
                // What colours a line changed ends with it.
                let mut filter = LogFilter::of_line(output::stderr_has_colours());
                let shown = filter.pass(line.as_bytes());
                writeln!(err, "  {}{}", shown, filter.finish())?;
            }
        }
        for tests in tests.jobs.iter().filter(|tests| tests.job_id == job.id) {
            let mut err = output::stderr();
            writeln!(err)?;
            test_results::print(&mut err, tests, MOST_TESTS)?;
        }
    }
    Ok(())
}

/// What is left to be seen of a line: what comes after its last carriage return.
fn last_shown(line: &str) -> String {
    line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned()
}

async fn tail(deployment: &Deployment, job: &JobView) -> Outcome<Vec<String>> {
    let offset = job.log_bytes.saturating_sub(TAIL_BYTES);
    let path = path::JOB_LOGS.replace("{jobId}", &job.id.to_string());
    let body = deployment.fetch(&format!("{path}?offset={offset}")).await?;
    let text = String::from_utf8_lossy(&body);
    let lines: Vec<String> = text.lines().map(last_shown).collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec())
}
