//! `run`: starts an execution on this machine or on a deployment, and watches it.

use super::run_sources::{RunSources, find_sources};
use crate::{
    args::{Run, ViewArgs, ViewFormat},
    deployment::Deployment,
    execution::{
        LogRequest, print_log, show_result,
        watch::{self, OnInterrupt},
    },
    failure::{Exit, Failure, Outcome},
    interrupts::or_exit_on_interrupt,
    output::Printable,
    pipeline::{
        file::{self, PipelineFile},
        git_facts,
    },
    settings::Settings,
    view::{self, format},
    workers,
};
use indexmap::IndexMap;
use std::path::Path;
use tidemill_core::execution::{assignment::Preparation, facts::Facts, report::has_name};
use tidemill_core::pipeline::labels::{Labels, matches, queue_name};
use tidemill_core::{
    api::{ExecuteReply, ExecuteRequest, path},
    ids::{ExecutionId, JobId},
    plan::Plan,
};
use tidemill_worker::{Worker, WorkerHandle};
use uuid::Uuid;

/// `tidemill run`.
pub async fn run(settings: &Settings, args: &Run) -> Outcome {
    let file = file::load(&args.file, settings.is_remote())?;
    let variables = file::variables(&args.variables.variables)?;
    let facts = facts(args, &file, &variables);
    let plan = Plan::for_facts(&file.pipeline, &facts).map_err(|error| Failure::usage(error.to_string()))?;
    check_followed_job(args, &file, &plan)?;
    let secrets = secrets(settings, args)?;
    check_secrets(&file, &secrets)?;
    // Do not attach to an execution that another caller started without these secrets.
    let is_new = args.force || !secrets.is_empty();
    let (deployment, prepared) = tokio::join!(Deployment::connect(settings), prepare(settings, args, &plan));
    let (deployment, (sources, worker)) = match (deployment, prepared) {
        (Ok(deployment), Ok(prepared)) => (deployment, prepared),
        (Err(failure), prepared) => {
            workers::close(prepared.ok().and_then(|(_, worker)| worker)).await;
            return Err(failure);
        }
        (_, Err(failure)) => return Err(failure),
    };
    let mut source = sources.source;
    if let Some(pack) = sources.pack {
        let uploaded;
        (source, uploaded) = deployment.upload_sources(pack).await?;
        if let Some(size) = uploaded.filter(|_| !args.view.quiet) {
            crate::output::errln!("uploaded {} of sources", format::size(size));
        }
    }
    let request = ExecuteRequest {
        pipeline: file.text,
        file: Some(file.name),
        repo: sources.repo,
        branch: sources.branch,
        commit: sources.commit,
        source,
        variables,
        requested_by: settings.requested_by.clone(),
        tag: facts.tag,
        default_branch: facts.default_branch,
        changed: facts.changed,
        files: facts.files,
        force: is_new,
        ..ExecuteRequest::default()
    };
    let start = async {
        for (name, value) in secrets {
            deployment.pass_secret(name, value)?;
        }
        deployment.start(path::EXECUTE, &request, is_new).await
    };
    let reply: ExecuteReply = match start.await {
        Ok(reply) => reply,
        Err(failure) => {
            workers::close(worker).await;
            return Err(failure);
        }
    };
    let worker = worker.map(|worker| workers::work_for(worker, &deployment, reply.execution_id));
    let outcome = follow(settings, &deployment, args, &reply, worker).await;
    deployment.close().await;
    outcome
}

/// Returns a usage error if the job of `--follow` is not in the plan.
fn check_followed_job(args: &Run, file: &PipelineFile, plan: &Plan) -> Outcome {
    let Some(job) = &args.follow else { return Ok(()) };
    if plan.jobs.iter().any(|planned| planned.has_name(job)) {
        return Ok(());
    }
    let excluded = plan.left_out.iter().find(|excluded| excluded.job == *job);
    Err(Failure::usage(excluded.map_or_else(
        || format!("--follow {job}: no such job in {}", file.name),
        |excluded| format!("--follow {job}: the job is not in the plan: its condition {}", excluded.why),
    )))
}

/// Returns a usage error for a secret whose name the pipeline file does not contain: no job would get it.
fn check_secrets(file: &PipelineFile, secrets: &[(String, String)]) -> Outcome {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_named = |name: &str| file.text.split(|c| !is_word(c)).any(|word| word == name);
    let Some((name, _)) = secrets.iter().find(|(name, _)| !is_named(name)) else { return Ok(()) };
    Err(Failure::usage(format!(
        "--secret {name}: no job of {} names this secret; add it to the `secrets` of the jobs that use it",
        file.name
    )))
}

/// Returns the secrets of `--secret` as names and values.
fn secrets(settings: &Settings, args: &Run) -> Outcome<Vec<(String, String)>> {
    if let (Some(first), true) = (args.secrets.first(), settings.is_remote()) {
        let name = first.split('=').next().unwrap_or_default();
        return Err(Failure::usage(format!(
            "--secret works only for runs on this machine; store the secret on the deployment with: tidemill secret set {name}"
        )));
    }
    let value = |arg: &String| match arg.split_once('=') {
        None => std::env::var(arg).map(|value| (arg.clone(), value)).map_err(|_| {
            Failure::usage(format!("--secret {arg}: the environment variable is not set, or not UTF-8"))
        }),
        Some((name, from)) => {
            // `from` may be the secret value itself: do not include it in a message.
            let path = from.strip_prefix('@').ok_or_else(|| {
                Failure::usage(format!(
                    "--secret {name}: use {name} to read the environment variable, or {name}=@FILE to read a file; other users \
                     can see values in arguments"
                ))
            })?;
            let value = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("--secret {name}: {path}: {error}")))?;
            Ok((name.to_owned(), value))
        }
    };
    args.secrets.iter().map(value).collect()
}

/// Returns the facts for conditions: from git in the current directory; with `--repo`, from the arguments.
fn facts(args: &Run, file: &PipelineFile, variables: &IndexMap<String, String>) -> Facts {
    let facts = if args.repo.is_some() {
        let (branch, tag, commit) = (args.branch.clone(), args.tag.clone(), args.commit.clone());
        Facts { branch, tag, commit, ..Facts::default() }
    } else {
        git_facts::of_working_tree(Path::new("."), git_facts::RequiredFacts::of(&file.pipeline, &file.text))
    };
    Facts { variables: variables.clone(), ..facts }
}

/// Finds the sources. For a run on this machine, also opens a worker that creates the first containers in advance, because the
/// engine is slow at that.
async fn prepare(settings: &Settings, args: &Run, plan: &Plan) -> Outcome<(RunSources, Option<Worker>)> {
    if settings.is_remote() {
        return Ok((find_sources(settings, args).await?, None));
    }
    let labels = &args.slots.labels.values;
    check_labels(plan, &workers::labels(labels))?;
    let slots = workers::slots(args.slots.jobs);
    let (sources, worker) =
        tokio::join!(find_sources(settings, args), workers::open(settings, slots, labels));
    let (sources, worker) = match (sources, worker) {
        (Ok(sources), Ok(worker)) => (sources, worker),
        (Err(failure), Ok(worker)) => {
            worker.close().await;
            return Err(failure);
        }
        (_, Err(failure)) => return Err(failure),
    };
    // The ids of the execution and its jobs are unknown; containers do not depend on them.
    let (execution, job) = (ExecutionId(Uuid::nil()), JobId(Uuid::nil()));
    let first = plan.roots().take(slots).map(|root| &plan.jobs[root as usize]);
    let first: Vec<_> =
        first.map(|planned| Preparation::new(planned, &sources.source, execution, job)).collect();
    if let Some((address, credentials)) = &sources.sign_in {
        worker.set_credentials(address, credentials.clone());
    }
    worker.prepare_standby_containers(&first, plan.jobs.len());
    Ok((sources, Some(worker)))
}

/// Returns a usage error if a job requires labels that the worker in this process does not have: the job would wait forever.
fn check_labels(plan: &Plan, available: &Labels) -> Outcome {
    let Some(job) = plan.jobs.iter().find(|job| !matches(&job.runs_on, available)) else { return Ok(()) };
    let required = queue_name(&job.runs_on);
    Err(Failure::usage(format!(
        "job `{}` requires a worker with {required}, but this machine has {}; run it on a server with such a worker \
         (--server), or add the label to this machine: --label {required}",
        job.name,
        queue_name(available)
    )))
}

/// Shows the execution until it ends.
async fn follow(
    settings: &Settings,
    deployment: &Deployment,
    args: &Run,
    reply: &ExecuteReply,
    worker: Option<WorkerHandle>,
) -> Outcome {
    let is_json = args.view.format == ViewFormat::Json;
    let view_args = ViewArgs { quiet: args.view.quiet || args.follow.is_some(), ..args.view };
    let mut view = view::for_stdout(view_args, deployment.hints().clone());
    // What another call started is not this one's to cancel.
    let on_interrupt = if reply.attached { OnInterrupt::Detach } else { OnInterrupt::Cancel };
    if reply.attached && !args.view.quiet {
        let message = format!(
            "{} #{} of {} is already running for the same commit; attaching to it, an interrupt only leaves it (--force starts a new \
             execution)",
            Printable(&reply.pipeline_name),
            reply.run_number,
            Printable(&reply.repo)
        );
        if is_json { crate::output::errln!("{message}") } else { view.note(&message)? }
    }
    let id = reply.execution_id;
    let watched = match &args.follow {
        None => watch::watch(deployment, id, &mut *view, on_interrupt).await,
        Some(name) => {
            let first = deployment.view(id).await?;
            let job = first.jobs.iter().find(|job| job.job_name == *name);
            let job = job.or_else(|| first.jobs.iter().find(|job| has_name(job, name)));
            let job = job.map(|job| job.id).ok_or_else(|| Failure::system("the job has no record"))?;
            let request = LogRequest { job, attempt: None, follow: true, raw: false };
            // `watch` prints the outage notes.
            let printed = print_log(deployment, request, |_| Ok(()));
            let watched = watch::watch(deployment, id, &mut *view, on_interrupt);
            let (watched, printed) = tokio::join!(watched, printed);
            printed?;
            watched
        }
    };
    let end = async {
        if let Some(worker) = worker {
            workers::shut_down(settings, worker, &watched).await?;
        }
        let last = watched?;
        if args.follow.is_none() {
            show_result(deployment, &last, args.view).await?;
        }
        watch::exit_outcome(&last)
    };
    or_exit_on_interrupt(end, Exit::Canceled as i32).await?
}
