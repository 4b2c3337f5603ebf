//! `logs`: prints a job's log, or those of a matrix; without a name, that of the only job or of the first that failed.

use crate::{
    args::{ConsentArgs, Logs},
    deployment::{Deployment, find_jobs},
    execution::{
        LogRequest, print_log,
        select::{Purpose, select_job},
    },
    failure::{Failure, Outcome},
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
    let jobs = find_jobs(&selected.view, name)?;
    match jobs.as_slice() {
        [job] => {
            // Standard output contains only the log.
            crate::output::errln!("log of `{}` in {}", Printable(&job.job_name), selected.title());
            print_job(&deployment, args, job, None).await?;
        }
        jobs if args.follow => {
            crate::output::errln!("logs of {} jobs in {}", jobs.len(), selected.title());
            let logs = jobs.iter().map(|job| print_job(&deployment, args, job, Some(job.job_name.as_str())));
            futures_util::future::try_join_all(logs).await?;
        }
        jobs => {
            crate::output::errln!("logs of {} jobs in {}", jobs.len(), selected.title());
            for job in jobs {
                // Each line of JSON names its job.
                if !args.format.is_json() {
                    writeln!(output::stdout(), "==> {} <==", Printable(&job.job_name))?;
                }
                print_job(&deployment, args, job, None).await?;
            }
        }
    }
    deployment.close().await;
    Ok(())
}

/// Prints the log of a job, with `prefix` before each line.
async fn print_job(deployment: &Deployment, args: &Logs, job: &JobView, prefix: Option<&str>) -> Outcome {
    let name = Printable(&job.job_name);
    if let Some(attempt) = args.attempt.filter(|attempt| *attempt > job.attempt && job.status.is_terminal()) {
        return Err(Failure::usage(format!(
            "`{name}` has no attempt {attempt}: it ended with {}",
            match job.attempt {
                0 => "none".to_owned(),
                last => format!("attempt {last}"),
            }
        )));
    }
    let style = if args.format.is_json() {
        LogOutput::JsonLines { job: &job.job_name }
    } else {
        LogOutput::Text { raw: args.raw, prefix }
    };
    let note = |message: &str| writeln!(output::stderr(), "{message}");
    let request = LogRequest { job: job.id, attempt: args.attempt, follow: args.follow, style };
    print_log(deployment, request, note).await?;
    if job.attempt == 0 && !args.follow {
        crate::output::errln!("`{name}` has no log: {}", format::status_text(job));
    }
    Ok(())
}

/// Returns the name of the first job whose failure made the execution fail: its log is the one to read.
fn first_failed(view: &ExecutionView) -> Option<&str> {
    let counts = |job: &&JobView| job.status == JobStatus::Failed && !job.allow_failure && !job.tolerated;
    view.jobs.iter().find(counts).map(|job| job.job_name.as_str())
}
