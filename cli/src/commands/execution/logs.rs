//! `logs`: prints a job's log; without a name, that of the only job or of the first that failed.

use crate::{
    args::{ConsentArgs, Logs},
    deployment::{Deployment, find_job},
    execution::{
        LogRequest, print_log,
        select::{Purpose, select_job},
    },
    failure::Outcome,
    output::{self, LogOutput, Printable},
    settings::Settings,
    view::format,
};
use std::io::Write;
use tidemill_core::{
    api::{ExecutionView, JobView},
    execution::status::JobStatus,
};

/// `tidemill logs`.
pub async fn logs(settings: &Settings, args: &Logs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select_job(&deployment, &args.job, Purpose::Read, ConsentArgs::default()).await?;
    let name = selected.job.as_deref().or_else(|| first_failed(&selected.view));
    let job = find_job(&selected.view, name)?;
    // Standard output contains only the log.
    crate::output::errln!("log of `{}` in {}", Printable(&job.job_name), selected.title());
    let note = |message: &str| writeln!(output::stderr(), "{message}");
    let style = if args.format.is_json() {
        LogOutput::JsonLines { job: &job.job_name }
    } else {
        LogOutput::Text { raw: args.raw, prefix: None }
    };
    let request = LogRequest { job: job.id, attempt: args.attempt, follow: args.follow, style };
    print_log(&deployment, request, note).await?;
    if job.attempt == 0 && !args.follow {
        let name = Printable(&job.job_name);
        crate::output::errln!("`{name}` has no log: {}", format::status_text(job));
    }
    deployment.close().await;
    Ok(())
}

/// Returns the name of the first job whose failure made the execution fail: its log is the one to read.
fn first_failed(view: &ExecutionView) -> Option<&str> {
    let counts = |job: &&JobView| job.status == JobStatus::Failed && !job.allow_failure && !job.tolerated;
    view.jobs.iter().find(counts).map(|job| job.job_name.as_str())
}
