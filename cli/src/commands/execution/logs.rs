//! `logs`: prints a job's log.

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
};
use std::io::Write;

/// `tidemill logs`.
pub async fn logs(settings: &Settings, args: &Logs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select_job(&deployment, &args.job, Purpose::Read, ConsentArgs::default()).await?;
    let job = find_job(&selected.view, selected.job.as_deref())?;
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
    deployment.close().await;
    Ok(())
}
