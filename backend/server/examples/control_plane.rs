//! Measures the control plane: the services over the embedded stores, with simulated workers that run no scripts.
//!
//! For each size it prints the transitions of jobs (queued, running, ended) per second, and the time per job.
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

/// Number of concurrent jobs.
const SLOTS: usize = 128;
/// Transitions per job: queued, running, ended.
const TRANSITIONS: usize = 3;
type ExampleError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), ExampleError> {
    // Warm-up: threads, caches and first file accesses are not part of the cost of a job.
    run(200).await?;
    for jobs in [1_000, 10_000] {
        let seconds = run(jobs).await?;
        #[allow(clippy::cast_precision_loss)]
        let (rate, each) = ((jobs * TRANSITIONS) as f64 / seconds, seconds * 1e6 / jobs as f64);
        println!("{jobs} jobs: {rate:.0} transitions/s, {each:.0} us per job");
    }
    Ok(())
}

/// Runs an execution with `jobs` jobs, and returns the seconds from its request to its end.
async fn run(jobs: usize) -> Result<f64, ExampleError> {
    let dir = tempfile::tempdir()?;
    let services = Services::new(open(dir.path())?, Settings::default(), CancellationToken::new());
    let request = request(jobs);
    let started = Instant::now();
    let created = services.pipelines.execute(request, None, None).await?;
    let mut slots = JoinSet::new();
    for _ in 0..SLOTS {
        slots.spawn(slot(services.clone(), created.execution_id));
    }
    let mut completed = 0;
    while let Some(result) = slots.join_next().await {
        completed += result??;
    }
    let view = services.pipelines.view(created.execution_id, None, 0).await?.view.ok_or("no view")?;
    let (Some(end), true) = (view.execution.end_time, view.execution.status == ExecutionStatus::Success)
    else {
        return Err(format!("the execution ended as {:?}", view.execution.status).into());
    };
    if completed != jobs {
        return Err(format!("{completed} of {jobs} jobs ran").into());
    }
    // The slots notice the end later than it was recorded.
    #[allow(clippy::cast_precision_loss)]
    let recorded = end.since_ms(view.execution.created_at) as f64 / 1000.0;
    Ok(recorded.min(started.elapsed().as_secs_f64()))
}

/// Creates a pipeline of ten stages: half of the jobs need one job of the previous stage, half need all of it.
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
            let _ = write!(text, "  j{stage}-{job}: {{ stage: s{stage}, script: [\"true\"]");
            if stage > 0 && job % 2 == 0 {
                let _ = write!(text, ", needs: [j{}-{job}]", stage - 1);
            }
            text.push_str(" }\n");
        }
    }
    ExecuteRequest {
        pipeline: text,
        file: None,
        repo: "example".into(),
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

/// Claims jobs and ends them until the execution has ended; returns their number.
async fn slot(services: Services, execution: ExecutionId) -> Result<usize, ExampleError> {
    let worker = WorkerInfo { id: WorkerId(Uuid::now_v7()), name: "benchmark".into() };
    let request = JobExecuteRequest {
        labels: tidemill_core::pipeline::labels::Labels::new(),
        worker,
        job_id: None,
        execution_id: Some(execution),
        lease: None,
        wait_ms: 300,
        lookahead: 0,
        slot_price: 0,
    };
    let mut completed = 0;
    loop {
        match services.jobs.execute(request.clone()).await? {
            JobExecuteReply::Assigned { assignment, .. } => {
                let end = AttemptEnd { failure: None, exit_code: Some(0), ..AttemptEnd::default() };
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
                completed += 1;
            }
            JobExecuteReply::Nothing { .. } => {
                let view = services.pipelines.view(execution, None, 0).await?.view.ok_or("no view")?;
                if view.execution.status.is_terminal() {
                    return Ok(completed);
                }
            }
        }
    }
}
