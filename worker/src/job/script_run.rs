//! Second phase: the script runs in the prepared sandbox until it ends or is stopped.

use super::{
    attempt::Attempt,
    debug::Holder,
    dispatcher::{Dispatcher, Event, Response, StopCause},
    preparation::{Environment, Prepared},
    push_access::PushAccess,
    running_script::{JobDirectories, RunningScript, Sandbox, ScriptSignal},
    script::{JobScript, ScriptText, script_directory},
};
use crate::log::output_pipe::OutputPipe;
use indexmap::IndexMap;
use std::time::Duration;
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

/// A finished script, in its sandbox.
#[derive(Debug)]
pub struct FinishedScript<S> {
    /// How it ended; `None` if its lease was lost.
    pub end: Option<AttemptEnd>,
    /// What it ran in.
    pub sandbox: S,
    /// The job's services and caches.
    pub environment: Environment,
    /// Receives the output pipe once the reporter has all output.
    pub output: oneshot::Receiver<OutputPipe>,
    /// Cancelled once the exit is known, and so the end of all processes.
    pub has_exited: CancellationToken,
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
        // Without an exit code, the exit is unknown.
        Some(ScriptFailed | ServiceFailed | TimedOut | Canceled | WorkspaceLimit) => end.exit_code.is_some(),
        Some(_) => false,
    }
}

/// Runs the script of a prepared attempt, which `holder` may hold.
pub async fn run<S: Sandbox>(
    attempt: &mut Attempt,
    prepared: Prepared<S>,
    holder: Option<Holder>,
) -> FinishedScript<S> {
    let Attempt { assignment, reporter, signals, sender, .. } = attempt;
    let Prepared { mut sandbox, environment, started } = prepared;
    reporter.phase("running");
    let nonce = uuid::Uuid::now_v7().simple().to_string();
    let _watch = sandbox.watch_disk(sender.clone());
    let end_hold = holder.as_ref().map(Holder::end_of_hold).unwrap_or_default();
    let text = (script_text(assignment, &sandbox.directories(), &nonce), holder);
    let mut running = RunningScript::start(&mut sandbox, text, sender.clone(), |events| {
        OutputPipe::new(&nonce, reporter.clone(), events, assignment)
    });
    let watching = running.watch_exit(sender.clone());
    tokio::spawn(watching.in_current_span());
    let mut dispatcher = Dispatcher::new(
        Duration::from_secs(assignment.timeout_s),
        !assignment.extras.after_script.is_empty(),
    )
    .with_death(sandbox.death_failure());
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
                Response::Stop(cause) => sandbox.signal(match cause {
                    StopCause::Failed => ScriptSignal::Stop,
                    StopCause::Canceled => ScriptSignal::StopCanceled,
                    StopCause::Final => ScriptSignal::StopFinally,
                }),
                Response::KillScript => sandbox.signal(ScriptSignal::KillScript),
                Response::KillAfterScript => {
                    let reporter = reporter.clone();
                    // In a task, as it waits while too much is unsent.
                    tokio::spawn(async move { reporter.log(AFTER_SCRIPT_KILLED).await }.in_current_span());
                    sandbox.signal(ScriptSignal::KillAfterScript);
                }
                Response::EndHold => end_hold.cancel(),
                Response::Kill => sandbox.signal(ScriptSignal::Kill),
                Response::Finish(end) => break 'run Some(end),
                Response::Abandon => break 'run None,
            }
        }
    };
    if let Some(end) = end.as_mut().filter(|end| has_evidence(end))
        && !sandbox.has_sources()
    {
        let message = "the job's sources were removed from the worker's data directory while it ran, so its result is not \
                       valid; do not change that directory";
        end.failure = Some(FailureReason::new(FailureKind::WorkerFailed, message));
    }
    let RunningScript { output, has_exited, .. } = running;
    FinishedScript { end, sandbox, environment, output, has_exited }
}

/// Returns the input of the sandbox's first process.
fn script_text(assignment: &Assignment, directories: &JobDirectories, nonce: &str) -> ScriptText {
    let JobDirectories { workspace, secrets: secrets_dir } = directories;
    let mut variables = assignment.variables.clone();
    let mut secrets = assignment.extras.secrets.clone();
    // The sources may belong to the worker's user, not the job's; git must accept that.
    let mut settings = vec![("safe.directory".to_owned(), "*".to_owned())];
    if let Some(credential) = assignment.preparation.credential.as_ref().filter(|one| one.may_push) {
        let access = PushAccess::new(credential, secrets_dir);
        settings.extend(access.settings);
        for (name, value) in access.variables {
            variables.entry(name.to_owned()).or_insert(value);
        }
        secrets.extend(access.files);
    }
    add_git_settings(&mut variables, settings);
    let directory = script_directory(assignment.preparation.working_dir.as_deref(), workspace);
    let script = JobScript {
        nonce,
        script: &assignment.script,
        after_script: &assignment.extras.after_script,
        variables: &variables,
        secrets: &secrets,
        directory: &directory,
        workspace,
        secrets_dir,
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
