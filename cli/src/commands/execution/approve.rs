//! `approve`: approves a manual job or a held execution.

use super::retry::retry;
use crate::{
    args::{
        Approve, ConsentArgs, DebugArgs, FormatArgs, JobArgs, Retry, SelectorArgs, SlotArgs, ViewArgs,
        ViewFormat,
    },
    deployment::{Deployment, find_job},
    execution::select::{Purpose, Selected, is_not_approved, select_job},
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
};
use serde_json::json;
use tidemill_core::{
    api::{Approval, ApproveReply, ExecuteReply, ExecutionView, JobView, RetryRequest, path},
    ids::JobId,
    text::choices::listed,
};

/// `tidemill approve`.
pub async fn approve(settings: &Settings, args: &Approve) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select_job(&deployment, &args.job, Purpose::Approve, args.consent).await?;
    let view = &selected.view;
    let job = job_to_approve(view, selected.job.as_deref(), &selected.title())?;
    if let Some(job) = job.filter(|job| is_not_approved(job) && view.execution.end_time.is_some()) {
        let approve = vec![job.job_name.clone()];
        return Box::pin(approve_by_retry(settings, deployment, &selected, (approve, args.format))).await;
    }
    let job_path = |id: JobId| path::APPROVE_JOB.replace("{jobId}", &id.to_string());
    let (path, target) = if let Some(job) = job {
        (job_path(job.id), format!("job `{}` of {}", Printable(&job.job_name), selected.title()))
    } else {
        let path = path::APPROVE_EXECUTION.replace("{executionId}", &selected.id().to_string());
        (path, selected.title())
    };
    let reply: ApproveReply = deployment.post(&selected.with_expected_repo(&path), &()).await?;
    if args.format.is_json() {
        let job = job.map(|job| &job.job_name);
        let approved = reply.approved;
        let missing = reply.missing;
        output::print_json(
            &json!({ "execution": view.execution, "job": job, "approved": approved, "missing": missing }),
        )?;
    } else {
        crate::output::outln!("{target}: {}", outcome(reply));
    }
    deployment.close().await;
    Ok(())
}

fn outcome(reply: ApproveReply) -> String {
    match (reply.approved, reply.missing) {
        (true, 0) => "approved".to_owned(),
        (true, missing) => format!("your approval is recorded; {missing} more needed"),
        (false, 0) => "already approved".to_owned(),
        (false, missing) => format!("you have approved it before; {missing} more needed, by others"),
    }
}

/// Returns the job to approve: the one of this name, or the only one that awaits approval. `None`: the execution itself.
fn job_to_approve<'a>(
    view: &'a ExecutionView,
    name: Option<&str>,
    title: &str,
) -> Outcome<Option<&'a JobView>> {
    if let Some(name) = name {
        return find_job(view, Some(name)).map(Some);
    }
    if view.approval.is_some() {
        return Ok(None);
    }
    let awaits = |job: &&JobView| job.approval == Some(Approval::Awaited) || is_not_approved(job);
    let waiting: Vec<&JobView> = view.jobs.iter().filter(awaits).collect();
    match waiting.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        _ => {
            let names: Vec<&str> = waiting.iter().map(|job| job.job_name.as_str()).collect();
            Err(Failure::usage(format!(
                "several jobs of {title} await approval: {}; name one: tidemill approve JOB; nothing was approved",
                listed(&names)
            )))
        }
    }
}

/// Approves jobs of an execution that has ended: starts a retry that runs them.
async fn approve_by_retry(
    settings: &Settings,
    deployment: Deployment,
    selected: &Selected,
    (approve, format): (Vec<String>, FormatArgs),
) -> Outcome {
    if deployment.is_embedded() {
        // Without other workers, the retry must run in this process.
        deployment.close().await;
        let selectors = SelectorArgs { repo: Some(selected.repo().to_owned()), ..SelectorArgs::default() };
        let job = JobArgs { execution: Some(selected.id().to_string()), job: None, selectors };
        let args = Retry {
            job,
            all: false,
            alone: false,
            approve,
            debug: DebugArgs::default(),
            slots: SlotArgs::default(),
            view: ViewArgs {
                format: if format.is_json() { ViewFormat::Json } else { ViewFormat::Human },
                quiet: false,
            },
            consent: ConsentArgs::default(),
            connection: crate::args::ConnectionArgs::default(),
        };
        return Box::pin(retry(settings, &args)).await;
    }
    let path = path::RETRY.replace("{executionId}", &selected.id().to_string());
    let request =
        RetryRequest { approve, requested_by: settings.requested_by.clone(), ..RetryRequest::default() };
    let job = request.approve.first();
    let reply: ExecuteReply = deployment.post(&selected.with_expected_repo(&path), &request).await?;
    if format.is_json() {
        let execution = &selected.view.execution;
        output::print_json(
            &json!({ "execution": execution, "job": job, "approved": true, "retried_as": reply }),
        )?;
    } else {
        crate::output::outln!(
            "{}: approved; runs as #{} ({})",
            selected.title(),
            reply.run_number,
            reply.execution_id
        );
    }
    deployment.close().await;
    Ok(())
}
