//! `status`, `logs`, `cancel` and `retry`: what is recorded, and what is under way.

use crate::{
    args::{Approve, Cancel, Logs, Retry, StatusArgs, WatchArgs, Which},
    deployment::{Deployment, one_job},
    failure::{Failure, Outcome},
    settings::Settings,
    view::{self, NoView, PlainView, View, words},
    watch::{self, OnInterrupt},
    workers,
};
use std::io::Write;
use tidemill_core::{
    api::{Approval, ApproveReply, CancelReply, ExecuteReply, JobView, RetryRequest, path},
    failure::FailureKind,
    ids::{ExecutionId, JobId},
};

/// `tidemill status`.
pub async fn status(settings: &Settings, args: &StatusArgs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let mut out = anstream::stdout();
    if args.which.execution.is_some() || args.which.run.is_some() {
        let view = deployment.view(deployment.find(&args.which).await?).await?;
        if args.json {
            serde_json::to_writer_pretty(&mut out, &view).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            let (verdict, style) = words::verdict(&view);
            for job in &view.jobs {
                let (sign, style) = words::sign(job);
                writeln!(out, "{style}{sign}{style:#} {}: {}", job.job_name, words::state(job))?;
            }
            writeln!(out, "{style}{verdict}{style:#}")?;
        }
    } else {
        let list = deployment.list(&args.which, args.limit).await?;
        if args.json {
            serde_json::to_writer_pretty(&mut out, &list).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            for of in &list {
                let took = of.end_time.map(|end| words::duration(end.since_ms(of.created_at)));
                writeln!(
                    out,
                    "{}  {} #{}  {}  {}  {}",
                    of.id,
                    of.pipeline_name,
                    of.run_number,
                    of.status.word(),
                    of.created_at,
                    took.as_deref().unwrap_or("-")
                )?;
            }
        }
    }
    deployment.close().await;
    Ok(())
}

/// `tidemill logs`.
pub async fn logs(settings: &Settings, args: &Logs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let view = deployment.view(deployment.find(&args.which).await?).await?;
    let job = one_job(&view, args.job.as_deref())?.id;
    let note = |words: &str| writeln!(anstream::stderr(), "{words}");
    watch::print_log(&deployment, job, args.attempt, args.follow, note).await?;
    deployment.close().await;
    Ok(())
}

/// `tidemill watch`.
pub async fn watch(settings: &Settings, args: &WatchArgs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let id = match args.id {
        Some(id) => id,
        None => deployment.find(&args.which).await?,
    };
    let on_interrupt = if args.cancel { OnInterrupt::Cancel } else { OnInterrupt::Leave };
    let last = watch::watch(&deployment, id, &mut *view::fitting(args.quiet), on_interrupt).await?;
    watch::show_failures(&deployment, &last).await?;
    deployment.close().await;
    watch::verdict(&last)
}

/// `tidemill cancel`.
pub async fn cancel(settings: &Settings, args: &Cancel) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let id = deployment.find(&args.which).await?;
    let path = match &args.job {
        Some(name) => {
            let view = deployment.view(id).await?;
            path::CANCEL_JOB.replace("{jobId}", &one_job(&view, Some(name))?.id.to_string())
        }
        None => path::CANCEL_EXECUTION.replace("{executionId}", &id.to_string()),
    };
    let reply: CancelReply = deployment.post(&path, &()).await?;
    let words = match (reply.canceled, reply.status.as_str()) {
        (true, _) => "canceled".to_owned(),
        (false, "RUNNING" | "PENDING" | "QUEUED") => "a cancel was asked for before".to_owned(),
        (false, status) => format!("it is over: {status}"),
    };
    anstream::println!("{words}");
    deployment.close().await;
    Ok(())
}

/// `tidemill approve`.
pub async fn approve(settings: &Settings, args: &Approve) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let id = deployment.find(&args.which).await?;
    let view = deployment.view(id).await?;
    let of_job = |id: JobId| path::APPROVE_JOB.replace("{jobId}", &id.to_string());
    let undone = |job: &JobView| {
        job.failure_reason.as_ref().is_some_and(|reason| reason.kind == FailureKind::NotApproved)
    };
    let waiting: Vec<&JobView> =
        view.jobs.iter().filter(|job| job.approval == Some(Approval::Awaited) || undone(job)).collect();
    let late = match (&args.job, view.approval, waiting.as_slice()) {
        (Some(name), _, _) => Some(one_job(&view, Some(name))?),
        (None, None, [only]) => Some(*only),
        _ => None,
    };
    if let Some(job) = late.filter(|job| undone(job) && view.execution.end_time.is_some()) {
        let approve = vec![job.job_name.clone()];
        if deployment.is_own() {
            // Nobody but this process would run it.
            deployment.close().await;
            let which = Which { execution: Some(id), ..Which::default() };
            let args = Retry { which, all: false, approve, parallel: None, labels: Vec::new(), quiet: false };
            return retry(settings, &args).await;
        }
        let path = path::RETRY.replace("{executionId}", &id.to_string());
        let request = RetryRequest { all: false, approve };
        let made: ExecuteReply = deployment.post(&path, &request).await?;
        anstream::println!("approved: it runs as #{} ({})", made.run_number, made.execution_id);
        deployment.close().await;
        return Ok(());
    }
    let path = match (&args.job, view.approval, waiting.as_slice()) {
        (Some(name), _, _) => of_job(one_job(&view, Some(name))?.id),
        (None, None, [only]) => of_job(only.id),
        (None, None, [_, ..]) => {
            let names: Vec<&str> = waiting.iter().map(|job| job.job_name.as_str()).collect();
            return Err(Failure::usage(format!(
                "several jobs wait for an approval: {}; name one with --job",
                names.join(", ")
            )));
        }
        (None, _, _) => path::APPROVE_EXECUTION.replace("{executionId}", &id.to_string()),
    };
    let reply: ApproveReply = deployment.post(&path, &()).await?;
    anstream::println!("{}", if reply.approved { "approved" } else { "it was approved before" });
    deployment.close().await;
    Ok(())
}

/// `tidemill retry`.
pub async fn retry(settings: &Settings, args: &Retry) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let old: ExecutionId = deployment.find(&args.which).await?;
    let worker = if deployment.is_own() {
        Some(workers::open(settings, workers::slots(args.parallel), &args.labels).await?)
    } else {
        None
    };
    let path = path::RETRY.replace("{executionId}", &old.to_string());
    let made: ExecuteReply = match deployment
        .begin(&path, &RetryRequest { all: args.all, approve: args.approve.clone() }, true)
        .await
    {
        Ok(made) => made,
        Err(failure) => {
            workers::close(worker).await;
            return Err(failure);
        }
    };
    let mut view: Box<dyn View> = if args.quiet { Box::new(NoView) } else { Box::new(PlainView::new()) };
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
