//! Watches an execution until it ends.

use super::polling::{AfterFailure, Outage, PollInterval, Reply};
use crate::{
    args::ViewArgs,
    deployment::Deployment,
    failure::{Exit, Failure, Outcome},
    interrupts::{Interrupts, exit_now},
    output::printable,
    view::{View, beside_logs},
};
use std::{
    pin::Pin,
    time::{Duration, Instant},
};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::{
    api::{CancelReply, ExecutionView, JobView, path},
    ids::ExecutionId,
};
use tidemill_worker::client::ApiError;

/// Timeout of a cancel request after the second interrupt.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(500);

/// The effect of an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// The first one cancels the execution, the second one kills its jobs and exits.
    Cancel,
    /// It exits; the execution continues.
    Detach,
}

/// Timeout of the end of an execution that is not watched any longer.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(15);

/// Time in which running jobs are killed and recorded after the second interrupt; a worker that stops needs about 1 s.
const KILL_TIMEOUT: Duration = Duration::from_secs(4);

type CancelRequest<'a> = Pin<Box<dyn Future<Output = Outcome<CancelReply>> + 'a>>;

/// Shows an execution until it ends. Tolerates server outages of up to [`Deployment::max_outage`].
pub async fn watch(
    deployment: &Deployment,
    id: ExecutionId,
    view: &mut dyn View,
    (interrupts, on_interrupt): (&mut Interrupts, OnInterrupt),
) -> Outcome<ExecutionView> {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut etag: Option<String> = None;
    let mut shown: Option<ExecutionView> = None;
    let mut interval = PollInterval::new(deployment.is_embedded());
    let mut outage = Outage::new(deployment.max_outage());
    let mut pause = Duration::ZERO;
    let mut is_interrupted = false;
    let mut cancel_request: Option<CancelRequest<'_>> = None;
    loop {
        let (known_tag, pause_before) = (etag.clone(), pause);
        let next = async {
            tokio::time::sleep(pause_before).await;
            let start = Instant::now();
            (deployment.view_after(id, known_tag.as_deref()).await, start.elapsed())
        };
        tokio::pin!(next);
        let reply = loop {
            let canceled = async {
                match &mut cancel_request {
                    Some(request) => request.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                reply = &mut next => break Some(reply),
                _ = ticks.tick() => view.tick()?,
                result = canceled => {
                    cancel_request = None;
                    if let Err(failure) = result {
                        view.note(&format!("cancel failed: {}", failure.message))?;
                    }
                    break None;
                }
                Some(()) = interrupts.recv() => {
                    if on_interrupt == OnInterrupt::Detach {
                        view.leave()?;
                        let message =
                            format!("the execution continues; watch it with: {}", deployment.hints().watch(id));
                        return Err(Failure { message, ..Failure::silent(Exit::Canceled) });
                    }
                    if is_interrupted {
                        if let Some(request) = cancel_request.take() {
                            let _ = tokio::time::timeout(CANCEL_TIMEOUT, request).await;
                        }
                        view.leave()?;
                        if deployment.is_embedded() {
                            end_now(deployment, id, interrupts).await;
                        } else {
                            crate::output::errln!("watch the execution end with: {}", deployment.hints().watch(id));
                        }
                        // Containers stop when the connection to this process breaks.
                        exit_now(Exit::Canceled as i32);
                    }
                    is_interrupted = true;
                    view.note("canceling; interrupt again to exit immediately")?;
                    cancel_request = Some(Box::pin(cancel(deployment, id)));
                }
            }
        };
        pause = match reply {
            // The cancel changed the execution: show it immediately.
            None => Duration::ZERO,
            Some((Ok(changed), took)) => {
                if outage.record_success() {
                    view.note(&format!("{} is reachable again", deployment.url))?;
                }
                let mut reply = Reply::Unchanged;
                if let Some((now, new)) = changed {
                    etag = Some(new);
                    if now.execution.status.is_terminal() {
                        view.finish(&now)?;
                        return Ok(now);
                    }
                    // A heartbeat changes the tag, but not the displayed state.
                    reply = if shown.as_ref() == Some(&now) { Reply::HiddenChange } else { Reply::Changed };
                    view.show(&now)?;
                    shown = Some(now);
                }
                interval.pause_after(reply, took)
            }
            Some((Err(error), _)) => {
                let note = |message: &str| view.note(message);
                pause_after_error(deployment, &mut outage, error, note).map_err(|failure| {
                    let mut failure = failure;
                    if !deployment.is_embedded() {
                        failure.message += "; the execution continues; watch it with: ";
                        failure.message += &deployment.hints().watch(id);
                    }
                    failure
                })?
            }
        };
    }
}

async fn cancel(deployment: &Deployment, id: ExecutionId) -> Outcome<CancelReply> {
    deployment.post(&path::CANCEL_EXECUTION.replace("{executionId}", &id.to_string()), &()).await
}

/// Kills the running jobs of a canceled execution of the server in this process, and waits until it has ended, at most
/// [`KILL_TIMEOUT`] and until another interrupt. A process in the background does the rest.
async fn end_now(deployment: &Deployment, id: ExecutionId, interrupts: &mut Interrupts) {
    deployment.stop_worker();
    let has_ended = tokio::select! {
        ended = tokio::time::timeout(KILL_TIMEOUT, wait_for_end(deployment, id)) => matches!(ended, Ok(Ok(()))),
        Some(()) = interrupts.recv() => false,
    };
    deployment.clean_up_in_background((!has_ended).then_some(id));
}

async fn wait_for_end(deployment: &Deployment, id: ExecutionId) -> Outcome {
    while !deployment.view(id).await?.execution.status.is_terminal() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Cancels an execution of the server in this process that is not watched any longer, and waits until it has ended, within limits:
/// without this process, nothing would run or end it.
pub async fn cancel_abandoned(deployment: &Deployment, id: ExecutionId) {
    cancel_within(deployment, id, ABANDON_TIMEOUT).await;
}

/// Cancels an execution, and waits until it has ended, at most `limit`.
pub async fn cancel_within(deployment: &Deployment, id: ExecutionId, limit: Duration) {
    let end = async {
        cancel(deployment, id).await?;
        wait_for_end(deployment, id).await
    };
    // The failure that ended the watch is the one to report.
    let _ = tokio::time::timeout(limit, end).await;
}

/// Returns the pause before a failed call is retried. Fails if the error is permanent or the outage too long.
pub(super) fn pause_after_error(
    deployment: &Deployment,
    outage: &mut Outage,
    error: ApiError,
    note: impl FnOnce(&str) -> std::io::Result<()>,
) -> Outcome<Duration> {
    if !error.is_transient() {
        return Err(error.into());
    }
    let error = printable(&error.to_string());
    match outage.record_failure(Instant::now()) {
        AfterFailure::Retry(pause) => Ok(pause),
        AfterFailure::Report(pause) => {
            note(&format!("{} is unreachable; retrying ({error})", deployment.url))?;
            Ok(pause)
        }
        AfterFailure::GiveUp => {
            let seconds = outage.max_duration().as_secs();
            Err(Failure::system(format!("{} was unreachable for {seconds} s: {error}", deployment.url)))
        }
    }
}

/// Waits until the executions that jobs of an ended execution started have ended, too, and says what they wait for.
pub async fn wait_for_children(deployment: &Deployment, ended: &ExecutionView, args: ViewArgs) -> Outcome {
    const INTERVAL: Duration = Duration::from_millis(500);
    let started = |view: &ExecutionView| -> Vec<ExecutionId> {
        view.jobs.iter().filter_map(|job| Some(job.child.as_ref()?.execution_id)).collect()
    };
    let mut pending = started(ended);
    while let Some(id) = pending.pop() {
        let mut view = deployment.view(id).await?;
        let mut shown = beside_logs(args, deployment.hints().clone());
        while !view.execution.status.is_terminal() {
            shown.show(&view)?;
            tokio::time::sleep(INTERVAL).await;
            view = deployment.view(id).await?;
        }
        pending.extend(started(&view));
    }
    Ok(())
}

/// Returns the outcome of a command that waited for an execution.
pub fn exit_outcome(view: &ExecutionView) -> Outcome {
    match view.execution.status {
        ExecutionStatus::Success => Ok(()),
        ExecutionStatus::Canceled => Err(Failure::silent(Exit::Canceled)),
        _ if is_system_failure(view) => Err(Failure::silent(Exit::System)),
        _ => Err(Failure::silent(Exit::Failed)),
    }
}

/// Returns whether every failure of the execution is one of the engine, the disk or the network, and none a job's own.
fn is_system_failure(view: &ExecutionView) -> bool {
    let mut failed = view
        .jobs
        .iter()
        .filter(|job| job.status == JobStatus::Failed && !job.allow_failure && !job.tolerated)
        .peekable();
    let is_infrastructure =
        |job: &JobView| job.failure_reason.as_ref().is_some_and(|reason| reason.kind.is_infrastructure());
    failed.peek().is_some() && failed.all(is_infrastructure)
}
