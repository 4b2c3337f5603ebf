//! Executions of small pipelines, and their jobs.

use crate::conformance::claims;
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
    status::JobStatus,
};
use tidemill_core::{
    api::{AttemptEnd, ExecuteRequest, ExecutionView, JobReport, JobView},
    ids::{ExecutionId, JobId},
};
use tidemill_services::Stores;
use tidemill_services::{Services, Settings};
use tokio_util::sync::CancellationToken;

pub(super) fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

/// Creates a request for a pipeline with the keys `top` and one job per line of `jobs`.
pub(super) fn request(repo: &str, top: &str, jobs: &str) -> ExecuteRequest {
    let jobs = jobs.trim().lines().map(|job| {
        let (name, rest) = job.trim().split_once(": {").unwrap();
        format!("  {name}: {{ image: i, script: x, {rest}\n")
    });
    let pipeline =
        format!("name: check\nstages: [one, two, three]\n{top}\njobs:\n{}", jobs.collect::<String>());
    ExecuteRequest {
        pipeline,
        repo: repo.into(),
        branch: Some("main".into()),
        force: true,
        ..ExecuteRequest::default()
    }
}

pub(super) async fn start_execution(services: &Services, request: &ExecuteRequest) -> ExecutionId {
    services.pipelines.execute(request.clone(), None, None).await.unwrap().execution_id
}

pub(super) async fn view(services: &Services, id: ExecutionId) -> ExecutionView {
    services.pipelines.view(id, None, 0).await.unwrap().view.unwrap()
}

pub(super) async fn job(services: &Services, id: ExecutionId, name: &str) -> JobView {
    let job = view(services, id).await.jobs.into_iter().find(|job| job.job_name == name);
    job.unwrap()
}

pub(super) async fn claim_with(services: &Services, job: JobId, labels: &str) -> Option<Assignment> {
    claims::claim(services, job, tidemill_core::pipeline::labels::parse(labels).unwrap()).await.ok()
}

pub(super) async fn claim(services: &Services, job: JobId) -> Option<Assignment> {
    claim_with(services, job, "").await
}

/// Runs a job that ends with this exit code.
pub(super) async fn run(services: &Services, id: ExecutionId, name: &str, exit_code: i32) {
    run_with_outputs(services, id, name, exit_code, &[]).await;
}

/// Runs a job that ends with this exit code and these outputs.
pub(super) async fn run_with_outputs(
    services: &Services,
    id: ExecutionId,
    name: &str,
    exit_code: i32,
    outputs: &[(&str, &str)],
) {
    let assignment = claim(services, job(services, id, name).await.id).await;
    let assignment = assignment.unwrap_or_else(|| panic!("job `{name}` cannot be claimed"));
    end_with_outputs(services, &assignment, exit_code, outputs).await;
}

/// Ends an attempt with this exit code.
pub(super) async fn end(services: &Services, assignment: &Assignment, exit_code: i32) {
    end_with_outputs(services, assignment, exit_code, &[]).await;
}

async fn end_with_outputs(
    services: &Services,
    assignment: &Assignment,
    exit_code: i32,
    outputs: &[(&str, &str)],
) {
    let failure = (exit_code != 0).then(|| FailureReason::new(FailureKind::ScriptFailed, "because"));
    let outputs = outputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let end = Some(AttemptEnd { failure, exit_code: Some(exit_code), outputs });
    let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.token);
    let report = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end };
    services.jobs.report(report).await.unwrap();
}

pub(super) async fn statuses(services: &Services, id: ExecutionId) -> Vec<JobStatus> {
    view(services, id).await.jobs.iter().map(|job| job.status).collect()
}
