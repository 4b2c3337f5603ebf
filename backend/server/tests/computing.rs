//! What takes the processor for long keeps no other request waiting.
#![allow(clippy::unwrap_used, missing_docs)]

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    fmt::Write as _,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};
use tempfile::TempDir;
use tidemill_core::api::path;
use tidemill_server::ComputeThreads;
use tidemill_services::{
    Services, Settings, http,
    ports::{Compute, Work},
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const URL: &str = "https://git.example.org/team/app.git";
const SMALL: &str = "name: ci\njobs: { a: { image: i, script: x } }\n";

fn api(compute: Arc<dyn Compute>) -> (Router, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let services = Services::new(
        tidemill_sqlite::open(dir.path()).unwrap(),
        Settings { longest_wait_ms: 0, ..Settings::default() },
        CancellationToken::new(),
    );
    services.compute_on(compute);
    (http::router(services, http::TokenVerifier::of_token("secret").at_most(0)), dir)
}

fn request(path: &str, body: Body) -> Request<Body> {
    let request = Request::post(path).header("authorization", "Bearer secret");
    request.header("content-type", "application/json").body(body).unwrap()
}

fn execution(pipeline: &str) -> Value {
    json!({ "pipeline": pipeline, "repo": URL, "force": true,
            "source": { "kind": "git", "url": URL, "commit": "a".repeat(40) } })
}

async fn answer(api: &Router, request: Request<Body>) -> StatusCode {
    let reply = api.clone().oneshot(request).await.unwrap();
    let status = reply.status();
    reply.into_body().collect().await.unwrap();
    status
}

fn execute(api: &Router, pipeline: &str) -> JoinHandle<StatusCode> {
    let (api, request) = (api.clone(), request(path::EXECUTE, Body::from(execution(pipeline).to_string())));
    tokio::spawn(async move { answer(&api, request).await })
}

async fn is_healthy(api: &Router) -> bool {
    answer(api, Request::get(path::HEALTH).body(Body::empty()).unwrap()).await == StatusCode::OK
}

/// Files as large as they may be.
fn hostile_files() -> Vec<String> {
    let mut keys = String::from("name: n\n");
    let mut jobs = String::from("name: n\njobs:\n");
    for number in 0..60_000 {
        let _ = writeln!(keys, "key{number}: 1");
    }
    let needs = (0..60).map(|need| format!("none{need}")).collect::<Vec<_>>().join(", ");
    for number in 0..1_500 {
        let _ = writeln!(jobs, "  j{number}: {{ image: i, script: x, needs: [{needs}] }}");
    }
    vec![keys, jobs, format!("name: n\njobs:\n{}", "  - a\n".repeat(150_000))]
}

/// All of this runs on one thread, which answers nothing while it computes.
#[tokio::test]
async fn health_is_answered_while_hostile_files_are_read() {
    let (api, _dir) = api(Arc::new(ComputeThreads::new(2)));
    let files = hostile_files();
    let reading: Vec<_> = files.iter().cycle().take(6).map(|file| execute(&api, file)).collect();
    let mut answers = 0;
    while reading.iter().any(|one| !one.is_finished()) {
        assert!(is_healthy(&api).await);
        answers += usize::from(reading.iter().all(|one| !one.is_finished()));
        sleep(Duration::from_millis(1)).await;
    }
    for one in reading {
        assert_eq!(one.await.unwrap(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert!(answers >= 3, "{answers} answers while none of the files was read");
}

/// Computes nothing before it may.
#[derive(Debug)]
struct Gate {
    threads: ComputeThreads,
    begun: mpsc::Sender<()>,
    may: Arc<Mutex<mpsc::Receiver<()>>>,
}

#[async_trait]
impl Compute for Gate {
    async fn run(&self, work: Work) {
        let (begun, may) = (self.begun.clone(), self.may.clone());
        let gated = move || {
            begun.send(()).unwrap();
            may.lock().unwrap().recv().unwrap();
            work();
        };
        self.threads.run(Box::new(gated)).await;
    }
}

#[tokio::test]
async fn other_requests_are_answered_while_all_threads_compute() {
    let ((begun, is_begun), (allow, may)) = (mpsc::channel(), mpsc::channel());
    let gate = Gate { threads: ComputeThreads::new(2), begun, may: Arc::new(Mutex::new(may)) };
    let (api, _dir) = api(Arc::new(gate));
    let waiting: Vec<_> = (0..5).map(|_| execute(&api, SMALL)).collect();
    for _ in 0..2 {
        while is_begun.try_recv().is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    }
    for _ in 0..10 {
        assert!(is_healthy(&api).await);
        let list = Request::get(path::EXECUTIONS).header("authorization", "Bearer secret");
        assert_eq!(answer(&api, list.body(Body::empty()).unwrap()).await, StatusCode::OK);
    }
    assert!(is_begun.try_recv().is_err(), "no more than two compute at the same time");
    for _ in &waiting {
        allow.send(()).unwrap();
    }
    for one in waiting {
        assert_eq!(one.await.unwrap(), StatusCode::CREATED);
    }
}

#[tokio::test]
async fn body_that_does_not_end_takes_no_thread_from_others() {
    let (api, _dir) = api(Arc::new(ComputeThreads::new(1)));
    let begun = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![b' '; 100_000]))]);
    let endless = request(path::EXECUTE, Body::from_stream(begun.chain(stream::pending())));
    let (other, slow) = (api.clone(), endless);
    let slow = tokio::spawn(async move { answer(&other, slow).await });
    assert_eq!(execute(&api, SMALL).await.unwrap(), StatusCode::CREATED);
    assert!(!slow.is_finished());
    slow.abort();
}

#[tokio::test]
async fn large_body_keeps_its_limit_and_its_type() {
    let (api, _dir) = api(Arc::new(ComputeThreads::new(1)));
    // More than the reader's usual 2 MiB.
    let mut large = execution(SMALL);
    large["files"] = (0..30_000).map(|number| format!("{number:0100}")).collect();
    assert_eq!(
        answer(&api, request(path::EXECUTE, Body::from(large.to_string()))).await,
        StatusCode::CREATED
    );
    let mut plain = request(path::EXECUTE, Body::from(large.to_string()));
    plain.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(answer(&api, plain).await, StatusCode::BAD_REQUEST);
    let too_large = request(path::EXECUTE, Body::from(vec![b' '; (16 << 20) + 1]));
    assert_eq!(answer(&api, too_large).await, StatusCode::PAYLOAD_TOO_LARGE);
}
