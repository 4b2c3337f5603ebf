//! `retry`: runs the unsuccessful jobs of an execution again.

use crate::{
    args::{DebugArgs, Retry, ViewArgs},
    deployment::Deployment,
    execution::{
        select::{Purpose, select_job},
        shells::{self, HeldJobs, SharedView},
        show_result,
        watch::{self, OnInterrupt},
    },
    failure::{Exit, Failure, Outcome},
    interrupts::{Interrupts, or_exit_on_interrupt},
    settings::Settings,
    view::{self, View},
    workers,
};
use tidemill_core::{
    api::{ExecuteReply, ExecutionView, RetryRequest, path},
    execution::report::jobs_named,
    ids::ExecutionId,
    text::choices::suggestion,
};
use tidemill_worker::{Worker, WorkerHandle};

/// `tidemill retry`.
pub async fn retry(settings: &Settings, args: &Retry) -> Outcome {
    let break_points = shells::break_points(settings, &args.debug)?;
    let deployment = Deployment::connect(settings).await?;
    let purpose =
        Purpose::Retry { successful_too: args.all || !args.approve.is_empty() || args.job.job.is_some() };
    let selected = select_job(&deployment, &args.job, purpose, args.consent).await?;
    if args.alone && selected.job.is_none() {
        return Err(Failure::usage(
            "--alone needs a job: tidemill retry EXECUTION JOB --alone; nothing was started",
        ));
    }
    check_break_points(&args.debug, &selected.view)?;
    let mut worker = if deployment.is_embedded() {
        let slots = workers::slots(args.slots.jobs);
        Some(workers::open(settings, slots, &args.slots.labels.values, None).await?)
    } else {
        None
    };
    let held = match shells::set_debugger(worker.as_mut(), break_points) {
        Ok(held) => held,
        Err(failure) => {
            workers::close(worker).await;
            return Err(failure);
        }
    };
    let path = path::RETRY.replace("{executionId}", &selected.id().to_string());
    let request = RetryRequest {
        all: args.all,
        alone: args.alone,
        jobs: selected.job.clone().into_iter().collect(),
        approve: args.approve.clone(),
        requested_by: settings.requested_by.clone(),
        started_by: None,
    };
    let path = selected.with_expected_repo(&path);
    let mut interrupts = Interrupts::listen()?;
    let reply: ExecuteReply = match interrupts.during_start(deployment.start(&path, &request, true)).await {
        Ok(reply) => reply,
        Err(failure) => {
            workers::close(worker).await;
            return Err(failure);
        }
    };
    let note = format!("{}: retried as #{} ({})", selected.title(), reply.run_number, reply.execution_id);
    let started = StartedExecution { deployment, worker, interrupts, id: reply.execution_id, held };
    Box::pin(watch_started(settings, started, args.view, &note)).await
}

/// An execution that was just started, and what runs and watches it.
pub(super) struct StartedExecution {
    /// Where it was started.
    pub deployment: Deployment,
    /// The worker of this process, if the server is in this process.
    pub worker: Option<Worker>,
    /// The interrupts since before the start.
    pub interrupts: Interrupts,
    /// Its id.
    pub id: ExecutionId,
    /// Its jobs that are held for a shell.
    pub held: Option<HeldJobs>,
}

/// Returns a usage error for a break point at a job that the execution does not have.
fn check_break_points(args: &DebugArgs, view: &ExecutionView) -> Outcome {
    let named = [("--break-before", &args.break_before), ("--break-after", &args.break_after)];
    let mut named = named.into_iter().flat_map(|(option, jobs)| jobs.iter().map(move |job| (option, job)));
    let is_unknown = |(_, job): &(&str, &String)| jobs_named(&view.jobs, job).is_empty();
    let Some((option, job)) = named.find(is_unknown) else { return Ok(()) };
    let known: Vec<&str> = view.jobs.iter().map(|job| job.job_name.as_str()).collect();
    Err(Failure::usage(format!(
        "{option} {job}: no such job in the execution; {}; nothing was started",
        suggestion(job, &known, "jobs")
    )))
}

/// Opens shells in held jobs, if some may be held.
async fn open_shells(held: Option<HeldJobs>, view: SharedView) -> Outcome {
    match held {
        Some(held) => shells::open_shells(held, view).await,
        None => std::future::pending().await,
    }
}

/// Stops the worker of this process, if there is one, when it has also run the jobs of the executions that jobs of the watched one
/// started.
pub(super) async fn end_worker(
    settings: &Settings,
    (deployment, args): (&Deployment, ViewArgs),
    worker: Option<WorkerHandle>,
    watched: &Outcome<ExecutionView>,
) -> Outcome {
    let Some(worker) = worker else { return Ok(()) };
    let children = match watched {
        Ok(ended) => watch::wait_for_children(deployment, ended, args).await,
        Err(_) => Ok(()),
    };
    workers::shut_down(settings, worker, watched).await?;
    children
}

/// Runs the jobs of an execution if there is a worker, and watches it until it ends. `note` is the first line of progress.
pub(super) async fn watch_started(
    settings: &Settings,
    started: StartedExecution,
    args: ViewArgs,
    note: &str,
) -> Outcome {
    let StartedExecution { deployment, worker, mut interrupts, id, held } = started;
    let mut view = SharedView::new(view::for_stdout(args, deployment.hints().clone()));
    let worker = worker.map(|worker| workers::work_for(worker, &deployment, id));
    let watched = async {
        if args.has_progress() {
            view.note(note)?;
        }
        let interrupts = (&mut interrupts, OnInterrupt::Cancel);
        let opening = open_shells(held, view.clone());
        tokio::select! {
            watched = watch::watch(&deployment, id, &mut view, interrupts) => watched,
            failed = opening => Err(failed.err().unwrap_or_else(|| Failure::system("no shell can be opened"))),
        }
    };
    let watched = watched.await;
    if watched.is_err() && deployment.is_embedded() {
        watch::cancel_abandoned(&deployment, id).await;
    }
    let end = async {
        end_worker(settings, (&deployment, args), worker, &watched).await?;
        let last = watched?;
        show_result(&deployment, &last, args).await?;
        deployment.close().await;
        watch::exit_outcome(&last)
    };
    or_exit_on_interrupt(Box::pin(end), Exit::Canceled as i32).await?
}
