//! What `run` checks before anything starts: names and secrets of its options, and labels of the plan's jobs.

use crate::{
    args::Run,
    failure::{Failure, Outcome},
    pipeline::file::PipelineFile,
    settings::{Settings, input},
    view::hint::quoted,
};
use std::path::Path;
use tidemill_core::pipeline::labels::{Labels, asks_for_process, matches, queue_name};
use tidemill_core::{plan::Plan, text::choices::suggestion};

/// Returns a usage error if a job that an option names is not in the plan.
pub fn check_named_jobs(args: &Run, file: &PipelineFile, plan: &Plan) -> Outcome {
    let is_unknown = |(_, job): &(&str, &String)| !plan.jobs.iter().any(|planned| planned.has_name(job));
    let named = [
        ("--follow", &args.follow),
        ("--break-before", &args.debug.break_before),
        ("--break-after", &args.debug.break_after),
    ];
    let mut named = named.into_iter().flat_map(|(option, jobs)| jobs.iter().map(move |job| (option, job)));
    let Some((option, job)) = named.find(is_unknown) else { return Ok(()) };
    let excluded = plan.left_out.iter().find(|excluded| excluded.job == *job);
    Err(Failure::usage(excluded.map_or_else(
        || {
            let known: Vec<&str> = plan.jobs.iter().map(|planned| planned.name.as_str()).collect();
            format!("{option} {job}: no such job in {}; {}", file.name, suggestion(job, &known, "jobs"))
        },
        |excluded| format!("{option} {job}: the job is not in the plan: {}", excluded.why),
    )))
}

/// Returns a usage error for a secret that no job names: none would get it. A job may get all of them.
pub fn check_secrets(file: &PipelineFile, secrets: &[(String, String)]) -> Outcome {
    let is_named =
        |name: &String| {
            file.pipeline.jobs.iter().map(|job| &job.surroundings).any(|options| {
                options.all_secrets || options.secrets.iter().any(|secret| secret.name == *name)
            })
        };
    let Some((name, _)) = secrets.iter().find(|(name, _)| !is_named(name)) else { return Ok(()) };
    Err(Failure::usage(format!(
        "--secret {name}: no job of {} names this secret; add it to the `secrets` of the jobs that use it",
        file.name
    )))
}

/// Returns the secrets of `--secret` as names and values.
pub fn secrets(settings: &Settings, args: &Run) -> Outcome<Vec<(String, String)>> {
    if let (Some(first), true) = (args.secrets.first(), settings.is_remote()) {
        let name = first.split('=').next().unwrap_or_default();
        return Err(Failure::usage(format!(
            "--secret works only for runs on this machine; store the secret on the deployment with: tidemill secret set {}{}",
            quoted(name),
            settings.deployment_flags
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
            let value = input::read_file(Path::new(path), input::MAX_VALUE_LEN)
                .map_err(|failure| Failure::usage(format!("--secret {name}: {}", failure.message)))?;
            Ok((name.to_owned(), value))
        }
    };
    args.secrets.iter().map(value).collect()
}

/// Returns a usage error if a job requires labels that the worker in this process does not have: the job would wait forever.
pub fn check_labels(plan: &Plan, available: &Labels) -> Outcome {
    let Some(job) = plan.jobs.iter().find(|job| !matches(&job.runs_on, available)) else { return Ok(()) };
    let required = queue_name(&job.runs_on);
    if asks_for_process(&job.runs_on) != asks_for_process(available) {
        return Err(Failure::usage(if asks_for_process(available) {
            format!(
                "job `{}` runs in a container, and --executor process runs only jobs with `image: none`; write that, or run it \
                 without --executor",
                job.name
            )
        } else {
            format!(
                "job `{}` runs as a plain process (`image: none`, or `executor: process` in `runs_on`); run it with \
                 --executor process, or on a server with such a worker (--server)",
                job.name
            )
        }));
    }
    Err(Failure::usage(format!(
        "job `{}` requires a worker with {required}, but this machine has {}; run it on a server with such a worker \
         (--server), or add the label to this machine: --label {required}",
        job.name,
        queue_name(available)
    )))
}
