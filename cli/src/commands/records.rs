//! `status`, `logs`, `watch`, `cancel`, `approve` and `retry`: what is recorded, and what is under way.

use crate::{
    args::{Approve, Cancel, Logs, Retry, StatusArgs, WatchArgs, Which},
    commands::run::requester,
    deployment::{Deployment, one_job},
    failure::{Failure, Outcome},
    output::{self, Printable},
    select::{self, Purpose, Selected, is_left_undone, select},
    settings::Settings,
    view::{self, NoView, PlainView, View, words},
    watch::{self, LogOf, OnInterrupt},
    workers,
};
use std::io::Write;
use tidemill_core::{
    api::{Approval, ApproveReply, CancelReply, ExecuteReply, JobView, RetryRequest, path},
    ids::JobId,
};

/// `tidemill status`.
pub async fn status(settings: &Settings, args: &StatusArgs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    if args.which.execution.is_some() || args.which.run.is_some() {
        let view = select(&deployment, &args.which, Purpose::Read).await?.view;
        if args.json {
            output::print_json(&view)?;
        } else {
            let mut out = output::stdout();
            writeln!(out, "{}", words::title(&view.execution))?;
            let (verdict, style) = words::verdict(&view);
            for job in &view.jobs {
                let (sign, style) = words::sign(job);
                writeln!(out, "{style}{sign}{style:#} {}: {}", Printable(&job.job_name), words::state(job))?;
            }
            writeln!(out, "{style}{verdict}{style:#}")?;
        }
    } else {
        let list = select::list(&deployment, &args.which, args.all_repositories, args.limit).await?;
        if args.json {
            output::print_json(&list)?;
        } else {
            let mut out = output::stdout();
            for of in &list {
                writeln!(out, "{}", words::listed(of))?;
            }
        }
    }
    deployment.close().await;
    Ok(())
}

/// `tidemill logs`.
pub async fn logs(settings: &Settings, args: &Logs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select(&deployment, &args.which, Purpose::Read).await?;
    let job = one_job(&selected.view, args.job.as_deref())?;
    // The log alone is on standard output.
    crate::errln!("log of `{}` in {}", Printable(&job.job_name), selected.title());
    let note = |words: &str| writeln!(output::stderr(), "{words}");
    let of = LogOf { job: job.id, attempt: args.attempt, follow: args.follow, raw: args.raw };
    watch::print_log(&deployment, of, note).await?;
    deployment.close().await;
    Ok(())
}

/// `tidemill watch`.
pub async fn watch(settings: &Settings, args: &WatchArgs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let which = Which { execution: args.id.or(args.which.execution), ..args.which.clone() };
    // What an interrupt may cancel is chosen as carefully as what `cancel` does.
    let purpose = if args.cancel { Purpose::Cancel } else { Purpose::Watch };
    let selected = select(&deployment, &which, purpose).await?;
    let on_interrupt = if args.cancel { OnInterrupt::Cancel } else { OnInterrupt::Leave };
    let mut view = view::fitting(args.quiet);
    if !args.quiet {
        view.note(&selected.title())?;
    }
    let last = watch::watch(&deployment, selected.id(), &mut *view, on_interrupt).await?;
    watch::show_failures(&deployment, &last).await?;
    deployment.close().await;
    watch::verdict(&last)
}

/// `tidemill cancel`.
pub async fn cancel(settings: &Settings, args: &Cancel) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select(&deployment, &args.which, Purpose::Cancel).await?;
    let (path, what) = if let Some(name) = &args.job {
        let job = one_job(&selected.view, Some(name))?;
        let what = format!("job `{}` of {}", Printable(&job.job_name), selected.title());
        (path::CANCEL_JOB.replace("{jobId}", &job.id.to_string()), what)
    } else {
        let path = path::CANCEL_EXECUTION.replace("{executionId}", &selected.id().to_string());
        (path, selected.title())
    };
    let reply: CancelReply = deployment.post(&selected.expecting(&path), &()).await?;
    let words = match (reply.canceled, reply.status.as_str()) {
        (true, _) => "canceled".to_owned(),
        (false, "RUNNING" | "PENDING" | "QUEUED") => "a cancel was asked for before".to_owned(),
        (false, status) => format!("it is over: {}", Printable(status)),
    };
    crate::outln!("{what}: {words}");
    deployment.close().await;
    Ok(())
}

/// `tidemill approve`.
pub async fn approve(settings: &Settings, args: &Approve) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select(&deployment, &args.which, Purpose::Approve(args.job.as_deref())).await?;
    let view = &selected.view;
    let awaits = |job: &&JobView| job.approval == Some(Approval::Awaited) || is_left_undone(job);
    let waiting: Vec<&JobView> = view.jobs.iter().filter(awaits).collect();
    let job = match (&args.job, view.approval, waiting.as_slice()) {
        (Some(name), _, _) => Some(one_job(view, Some(name))?),
        (None, None, [only]) => Some(*only),
        (None, None, [_, ..]) => {
            let names = waiting.iter().map(|job| Printable(&job.job_name).to_string()).collect::<Vec<_>>();
            return Err(Failure::usage(format!(
                "several jobs of {} wait for an approval: {}; name one with --job; nothing was approved",
                selected.title(),
                names.join(", ")
            )));
        }
        (None, _, _) => None,
    };
    if let Some(job) = job.filter(|job| is_left_undone(job) && view.execution.end_time.is_some()) {
        let approve = vec![job.job_name.clone()];
        return approve_late(settings, deployment, &selected, approve).await;
    }
    let of_job = |id: JobId| path::APPROVE_JOB.replace("{jobId}", &id.to_string());
    let (path, what) = if let Some(job) = job {
        (of_job(job.id), format!("job `{}` of {}", Printable(&job.job_name), selected.title()))
    } else {
        let path = path::APPROVE_EXECUTION.replace("{executionId}", &selected.id().to_string());
        (path, selected.title())
    };
    let reply: ApproveReply = deployment.post(&selected.expecting(&path), &()).await?;
    crate::outln!("{what}: {}", if reply.approved { "approved" } else { "it was approved before" });
    deployment.close().await;
    Ok(())
}

/// Approves jobs of an execution that is over, which a retry runs.
async fn approve_late(
    settings: &Settings,
    deployment: Deployment,
    selected: &Selected,
    approve: Vec<String>,
) -> Outcome {
    if deployment.is_own() {
        // Nobody but this process would run it.
        deployment.close().await;
        let repo = Some(selected.repo().to_owned());
        let which = Which { execution: Some(selected.id()), repo, ..Which::default() };
        let args = Retry { which, all: false, approve, parallel: None, labels: Vec::new(), quiet: false };
        return retry(settings, &args).await;
    }
    let path = path::RETRY.replace("{executionId}", &selected.id().to_string());
    let request = RetryRequest { all: false, approve, requested_by: requester() };
    let made: ExecuteReply = deployment.post(&selected.expecting(&path), &request).await?;
    crate::outln!("{}: approved: it runs as #{} ({})", selected.title(), made.run_number, made.execution_id);
    deployment.close().await;
    Ok(())
}

/// `tidemill retry`.
pub async fn retry(settings: &Settings, args: &Retry) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let purpose = Purpose::Retry(args.all || !args.approve.is_empty());
    let selected = select(&deployment, &args.which, purpose).await?;
    let worker = if deployment.is_own() {
        Some(workers::open(settings, workers::slots(args.parallel), &args.labels).await?)
    } else {
        None
    };
    let path = path::RETRY.replace("{executionId}", &selected.id().to_string());
    let request = RetryRequest { all: args.all, approve: args.approve.clone(), requested_by: requester() };
    let made: ExecuteReply = match deployment.begin(&selected.expecting(&path), &request, true).await {
        Ok(made) => made,
        Err(failure) => {
            workers::close(worker).await;
            return Err(failure);
        }
    };
    let mut view: Box<dyn View> = if args.quiet { Box::new(NoView) } else { Box::new(PlainView::new()) };
    if !args.quiet {
        view.note(&format!("{}: retried as #{} ({})", selected.title(), made.run_number, made.execution_id))?;
    }
    let worker = worker.map(|worker| workers::work_for(worker, &deployment, made.execution_id));
    let watched = watch::watch(&deployment, made.execution_id, &mut *view, OnInterrupt::Cancel).await;
    if let Some(worker) = worker {
        workers::end(settings, worker, &watched).await?;
    }
    let last = watched?;
    watch::show_failures(&deployment, &last).await?;
    deployment.close().await;
    watch::verdict(&last)
}
