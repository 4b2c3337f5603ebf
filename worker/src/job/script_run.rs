//! Second phase: the script runs in the prepared container until it ends or is stopped.

use super::{
    attempt::Attempt,
    disk_watch::DiskWatch,
    dispatcher::{Dispatcher, Event, Response, StopCause},
    job_executor::JobExecutor,
    preparation::{Environment, Prepared},
    push_access::PushAccess,
    running_script::RunningScript,
    script::JobScript,
};
use crate::{
    engine::{Container, ContainerPool, DockerManager, OccupiedSlot, WORKSPACE_DIR},
    log::output_pipe::OutputPipe,
};
use indexmap::IndexMap;
use std::{sync::Arc, time::Duration};
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Time between two checks of deadlines.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A finished script, in its container.
#[derive(Debug)]
pub struct FinishedScript {
    /// How it ended; `None` if its lease was lost.
    pub end: Option<AttemptEnd>,
    /// The container.
    pub container: Container,
    /// The job's services and caches.
    pub environment: Environment,
    /// Receives the output pipe once the reporter has all output.
    pub output: oneshot::Receiver<OutputPipe>,
    slot: OccupiedSlot,
    /// Cancelled once the engine reported the container's exit, and so the end of all its processes.
    container_ended: CancellationToken,
}

/// The line of the log after which an `after_script` was killed.
const AFTER_SCRIPT_KILLED: &[u8] =
    b"[tidemill] the after_script was stopped at its time limit; the result of the job is unchanged\n";

/// Whether the script ran and nothing of it runs any more, so that the job's evidence is collected: its artifacts, caches and
/// reports. That holds after any end but a failure of the worker, after which the job runs again.
pub fn has_evidence(end: &AttemptEnd) -> bool {
    use FailureKind::{Canceled, OutOfMemory, ScriptFailed, ServiceFailed, TimedOut, WorkspaceLimit};
    match end.failure.as_ref().map(|reason| reason.kind) {
        None | Some(OutOfMemory) => true,
        // Without an exit code, the engine did not report the container's exit.
        Some(ScriptFailed | ServiceFailed | TimedOut | Canceled | WorkspaceLimit) => end.exit_code.is_some(),
        Some(_) => false,
    }
}

/// Runs the script of a prepared attempt.
pub async fn run(executor: &JobExecutor, attempt: &mut Attempt, prepared: Prepared) -> FinishedScript {
    let Attempt { assignment, reporter, signals, sender, .. } = attempt;
    let Prepared { slot, mut container, environment, started } = prepared;
    reporter.phase("running");
    let nonce = uuid::Uuid::now_v7().simple().to_string();
    let _watch = DiskWatch::start(&executor.engine, &container.workspace, sender.clone());
    let mut running =
        RunningScript::start(&mut container, script_text(assignment, &nonce), sender.clone(), |events| {
            OutputPipe::new(&nonce, reporter.clone(), events, assignment)
        });
    let watching = running.watch_exit(executor.engine.clone(), sender.clone());
    tokio::spawn(watching.in_current_span());
    let mut dispatcher = Dispatcher::new(
        Duration::from_secs(assignment.timeout_s),
        !assignment.extras.after_script.is_empty(),
    );
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    let mut stopping = false;
    let mut end = 'run: loop {
        let event = tokio::select! {
            Some(event) = signals.events.recv() => event,
            () = signals.shutdown.cancelled(), if !stopping => {
                stopping = true;
                Event::Shutdown
            }
            _ = ticks.tick() => Event::Tick,
        };
        for response in dispatcher.handle(started.elapsed(), event) {
            match response {
                Response::Stop(cause) => {
                    let name = match cause {
                        StopCause::Failed => "TERM",
                        StopCause::Canceled => "USR1",
                        StopCause::Final => "QUIT",
                    };
                    signal(&executor.engine, &container.id, name);
                }
                Response::KillScript => signal(&executor.engine, &container.id, "USR2"),
                Response::KillAfterScript => {
                    let reporter = reporter.clone();
                    // In a task, as it waits while too much is unsent.
                    tokio::spawn(async move { reporter.log(AFTER_SCRIPT_KILLED).await }.in_current_span());
                    signal(&executor.engine, &container.id, "HUP");
                }
                Response::Kill => signal(&executor.engine, &container.id, "KILL"),
                Response::Finish(end) => break 'run Some(end),
                Response::Abandon => break 'run None,
            }
        }
    };
    if let Some(end) = end.as_mut().filter(|end| has_evidence(end))
        && !container.has_sources()
    {
        let message = "the job's sources were removed from the worker's data directory while it ran, so its result is not \
                       valid; do not change that directory";
        end.failure = Some(FailureReason::new(FailureKind::WorkerFailed, message));
    }
    let RunningScript { output, container_ended, .. } = running;
    FinishedScript { end, container, environment, output, slot, container_ended }
}

impl FinishedScript {
    /// Stops the services and frees the slot. Its network is reused only if nothing runs in the container any more.
    pub async fn release(self, pool: &ContainerPool) {
        let Self { container, environment, slot, container_ended, .. } = self;
        drop(environment);
        let restored = match &container.holder {
            Some(holder) => container_ended.is_cancelled() && holder.restore().await,
            None => true,
        };
        if !restored {
            pool.discard_network(&slot);
        }
        pool.release(&slot, Some(container));
    }
}

/// Sends a signal in the background, so that an engine that does not answer cannot block the job.
fn signal(engine: &Arc<DockerManager>, container: &str, signal: &'static str) {
    let (engine, container) = (engine.clone(), container.to_owned());
    tokio::spawn(async move {
        if let Err(error) = engine.signal(&container, signal).await {
            tracing::debug!(%error, signal, "the container could not be signaled");
        }
    });
}

/// Returns the input of the container's boot script.
fn script_text(assignment: &Assignment, nonce: &str) -> String {
    let mut variables = assignment.variables.clone();
    let mut secrets = assignment.extras.secrets.clone();
    // The sources belong to the worker's user, not the container's; git must accept that.
    let mut settings = vec![("safe.directory".to_owned(), "*".to_owned())];
    if let Some(credential) = assignment.preparation.credential.as_ref().filter(|one| one.may_push) {
        let access = PushAccess::new(credential);
        settings.extend(access.settings);
        for (name, value) in access.variables {
            variables.entry(name.to_owned()).or_insert(value);
        }
        secrets.extend(access.files);
    }
    add_git_settings(&mut variables, settings);
    let directory = match assignment.preparation.working_dir.as_deref() {
        None => WORKSPACE_DIR.to_owned(),
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(path) => format!("{WORKSPACE_DIR}/{path}"),
    };
    let script = JobScript {
        nonce,
        script: &assignment.script,
        after_script: &assignment.extras.after_script,
        variables: &variables,
        secrets: &secrets,
        directory: &directory,
        workspace: WORKSPACE_DIR,
    };
    script.text()
}

/// Maximum number of settings of git in a job's own variables.
const MAX_GIT_SETTINGS: usize = 10_000;

/// Adds settings of git to the variables, after those that the job has there.
fn add_git_settings(variables: &mut IndexMap<String, String>, settings: Vec<(String, String)>) {
    let known = variables.get("GIT_CONFIG_COUNT").and_then(|count| count.trim().parse::<usize>().ok());
    let mut count = known.filter(|count| *count < MAX_GIT_SETTINGS).unwrap_or(0);
    for (key, value) in settings {
        variables.insert(format!("GIT_CONFIG_KEY_{count}"), key);
        variables.insert(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    variables.insert("GIT_CONFIG_COUNT".to_owned(), count.to_string());
}
