//! Measures the control plane alone: real services over the real embedded stores, and an executor that does nothing.
//!
//! For each size it prints the transitions of jobs (queued, running, over) per second, and the time per job.
#![allow(clippy::print_stdout)]

use std::{error::Error, fmt::Write, time::Instant};
use tidemill_core::execution::{assignment::Source, status::ExecutionStatus};
use tidemill_core::{
    api::{AttemptEnd, ExecuteRequest, JobExecuteReply, JobExecuteRequest, JobReport, Trigger, WorkerInfo},
    ids::{ExecutionId, WorkerId},
};
use tidemill_services::{Services, Settings};
use tidemill_sqlite::open;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Jobs that run at the same time.
const SLOTS: usize = 128;
/// Each job is queued, runs, and is over.
const TRANSITIONS: usize = 3;
type ExampleError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), ExampleError> {
    // Once unmeasured: threads, caches and the file system's first touch are no cost of a job.
    play(200).await?;
    for jobs in [1_000, 10_000] {
        let seconds = play(jobs).await?;
        #[allow(clippy::cast_precision_loss)]
        let (rate, each) = ((jobs * TRANSITIONS) as f64 / seconds, seconds * 1e6 / jobs as f64);
        println!("{jobs} jobs: {rate:.0} transitions/s, {each:.0} us per job");
    }
    Ok(())
}

/// Seconds from the request to the end of an execution of so many jobs.
async fn play(jobs: usize) -> Result<f64, ExampleError> {
    let dir = tempfile::tempdir()?;
    let services = Services::new(open(dir.path())?, Settings::default(), CancellationToken::new());
    let request = request(jobs);
    let begun = Instant::now();
    let made = services.pipelines.execute(request, None, None).await?;
    let mut slots = JoinSet::new();
    for _ in 0..SLOTS {
        slots.spawn(slot(services.clone(), made.execution_id));
    }
    let mut done = 0;
    while let Some(ended) = slots.join_next().await {
        done += ended??;
    }
    let view = services.pipelines.view(made.execution_id, None, 0).await?.view.ok_or("no view")?;
    let (Some(end), true) = (view.execution.end_time, view.execution.status == ExecutionStatus::Success)
    else {
        return Err(format!("it ended {:?}", view.execution.status).into());
    };
    if done != jobs {
        return Err(format!("{done} of {jobs} jobs ran").into());
    }
    // Slots notice the end a little later; the records know when it was.
    #[allow(clippy::cast_precision_loss)]
    let recorded = end.since_ms(view.execution.created_at) as f64 / 1000.0;
    Ok(recorded.min(begun.elapsed().as_secs_f64()))
}

/// Ten stages; in each, half of the jobs need one job of the stage before, and half the whole of it.
fn request(jobs: usize) -> ExecuteRequest {
    let stages = 10;
    let mut text = String::from("name: many\nstages: [");
    for stage in 0..stages {
        let _ = write!(text, "s{stage}, ");
    }
    text.push_str("]\ndefaults: { image: none }\njobs:\n");
    let width = jobs / stages;
    for stage in 0..stages {
        for job in 0..width {
            let _ = write!(text, "  j{stage}-{job}: {{ stage: s{stage}, script: [nothing]");
            if stage > 0 && job % 2 == 0 {
                let _ = write!(text, ", needs: [j{}-{job}]", stage - 1);
            }
            text.push_str(" }\n");
        }
    }
    ExecuteRequest {
        pipeline: text,
        file: None,
        repo: "here".into(),
        branch: None,
        commit: None,
        source: Source::None,
        variables: indexmap::IndexMap::default(),
        trigger: Trigger::Manual,
        requested_by: None,
        force: false,
        ..ExecuteRequest::default()
    }
}

/// Takes jobs and ends them until the execution is over; gives their number.
async fn slot(services: Services, execution: ExecutionId) -> Result<usize, ExampleError> {
    let worker = WorkerInfo { id: WorkerId(Uuid::now_v7()), name: "nothing".into() };
    let request = JobExecuteRequest {
        labels: tidemill_core::pipeline::labels::Labels::new(),
        worker,
        job_id: None,
        execution_id: Some(execution),
        lease: None,
        wait_ms: 300,
        lookahead: 0,
    };
    let mut done = 0;
    loop {
        match services.jobs.execute(request.clone()).await? {
            JobExecuteReply::Assigned { assignment, .. } => {
                let end = AttemptEnd { failure: None, exit_code: Some(0) };
                services
                    .jobs
                    .report(JobReport {
                        job_id: assignment.preparation.job_id,
                        lease: assignment.lease.token,
                        log: None,
                        phase: None,
                        steps: Vec::new(),
                        end: Some(end),
                    })
                    .await?;
                done += 1;
            }
            JobExecuteReply::Nothing { .. } => {
                let seen = services.pipelines.view(execution, None, 0).await?.view.ok_or("no view")?;
                if seen.execution.status.is_terminal() {
                    return Ok(done);
                }
            }
        }
    }
}
