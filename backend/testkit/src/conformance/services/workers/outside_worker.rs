//! Check of a worker that others wrote: the example, which knows only the documents.

use crate::conformance::StoresUnderTest;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::{
    api::{ExecuteRequest, ExecutionView},
    ids::ExecutionId,
};
use tidemill_services::http::{TokenVerifier, router};
use tidemill_services::{Services, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "the-token-of-this-check";
const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/worker.py");
/// Jobs that end in all ways that the example knows. `after` waits for `prints`.
const PIPELINE: &str = r"
name: outside
stages: [one, two]
jobs:
  prints: { stage: one, image: ignored, variables: { WHO: world }, script: ['echo hello', 'echo $WHO >&2'] }
  fails: { stage: one, image: ignored, script: ['echo no; exit 3'], allow_failure: true }
  stops: { stage: one, image: ignored, timeout: 1s, script: [sleep 600], allow_failure: true }
  after: { stage: two, image: ignored, needs: [prints], script: ['true'] }
";

/// The example's process, which is killed on drop.
struct Worker(Child);

impl Worker {
    fn start(address: &str) -> Self {
        let mut command = Command::new("python3");
        command.arg(WORKER).env("TIDEMILL_SERVER", address).env("TIDEMILL_TOKEN", TOKEN);
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn wait_until(
    services: &Services,
    id: ExecutionId,
    mut holds: impl FnMut(&ExecutionView) -> bool,
) -> ExecutionView {
    loop {
        let view = services.pipelines.view(id, None, 0).await.unwrap().view.unwrap();
        if holds(&view) {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn request(pipeline: &str) -> ExecuteRequest {
    ExecuteRequest {
        pipeline: pipeline.into(),
        repo: "outside".into(),
        force: true,
        ..ExecuteRequest::default()
    }
}

/// The example gets jobs without naming one, from a deployment that holds no requests; it reports their logs and ends, and stops
/// those that are canceled.
pub async fn worker_of_the_examples_runs_jobs(subject: &StoresUnderTest) {
    let settings = Settings { max_wait_ms: 0, continues_after_reply: false, ..Settings::default() };
    let services = Services::new(subject.open().await, settings, CancellationToken::new());
    let api = router(services.clone(), TokenVerifier::from_token(TOKEN).with_rate_limit(0));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, api).await });
    let id = services.pipelines.execute(request(PIPELINE), None, None).await.unwrap().execution_id;
    let worker = Worker::start(&address);
    let ended = wait_until(&services, id, |view| view.execution.status.is_terminal()).await;
    assert_eq!(ended.execution.status, ExecutionStatus::Success, "{:?}", ended.jobs);
    let job = |name: &str| ended.jobs.iter().find(|job| job.job_name == name).unwrap();
    let log = services.jobs.logs(job("prints").id, None, 0, 1 << 20, 0).await.unwrap();
    assert_eq!(log.bytes, "hello\nworld\n");
    assert_eq!((job("fails").status, job("fails").exit_code), (JobStatus::Failed, Some(3)));
    let reason = job("stops").failure_reason.as_ref().map(|reason| reason.message.as_str());
    assert_eq!(reason, Some("it ran longer than its timeout"));

    let endless = "name: endless\njobs: { a: { image: ignored, script: ['echo begun', sleep 600] } }\n";
    let id = services.pipelines.execute(request(endless), None, None).await.unwrap().execution_id;
    wait_until(&services, id, |view| view.jobs[0].log_bytes > 0).await;
    assert!(services.pipelines.cancel(id).await.unwrap().canceled);
    let ended = wait_until(&services, id, |view| view.execution.status.is_terminal()).await;
    assert_eq!(ended.jobs[0].exit_code, Some(-9), "its process was killed");
    assert_eq!(ended.execution.status, ExecutionStatus::Canceled);
    drop(worker);
    server.abort();
}
