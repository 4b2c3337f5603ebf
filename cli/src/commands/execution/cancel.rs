//! `cancel`: cancels an execution or a job.

use crate::{
    args::Cancel,
    deployment::{Deployment, find_job},
    execution::select::{Purpose, select_job},
    failure::Outcome,
    output::{self, Printable},
    settings::Settings,
};
use serde_json::json;
use tidemill_core::api::{CancelReply, path};

/// `tidemill cancel`.
pub async fn cancel(settings: &Settings, args: &Cancel) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select_job(&deployment, &args.job, Purpose::Cancel, args.consent).await?;
    let (path, target) = if let Some(name) = &selected.job {
        let job = find_job(&selected.view, Some(name))?;
        let target = format!("job `{}` of {}", Printable(&job.job_name), selected.title());
        (path::CANCEL_JOB.replace("{jobId}", &job.id.to_string()), target)
    } else {
        let path = path::CANCEL_EXECUTION.replace("{executionId}", &selected.id().to_string());
        (path, selected.title())
    };
    let reply: CancelReply = deployment.post(&selected.with_expected_repo(&path), &()).await?;
    let result = match (reply.canceled, reply.status.as_str()) {
        (true, _) => "canceled".to_owned(),
        (false, "RUNNING" | "PENDING" | "QUEUED") => "already being canceled".to_owned(),
        (false, status) => format!("already ended: {}", Printable(status)),
    };
    if args.format.is_json() {
        output::print_json(&json!({
            "execution": selected.view.execution,
            "job": selected.job,
            "canceled": reply.canceled,
            "status": reply.status,
        }))?;
    } else {
        crate::output::outln!("{target}: {result}");
    }
    deployment.close().await;
    Ok(())
}
