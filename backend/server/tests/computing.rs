//! CPU-intensive requests do not delay other requests.
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
        Settings { max_wait_ms: 0, ..Settings::default() },
        CancellationToken::new(),
    );
    services.compute_on(compute);
    (http::router(services, http::TokenVerifier::from_token("secret").with_rate_limit(0)), dir)
}

fn request(path: &str, body: Body) -> Request<Body> {
    let request = Request::post(path).header("authorization", "Bearer secret");
    request.header("content-type", "application/json").body(body).unwrap()
}

fn execution(pipeline: &str) -> Value {
    json!({ "pipeline": pipeline, "repo": URL, "force": true,
            "source": { "kind": "git", "url": URL, "commit": "a".repeat(40) } })
}

async fn send(api: &Router, request: Request<Body>) -> StatusCode {
    let reply = api.clone().oneshot(request).await.unwrap();
    let status = reply.status();
    reply.into_body().collect().await.unwrap();
    status
}

fn execute(api: &Router, pipeline: &str) -> JoinHandle<StatusCode> {
    let (api, request) = (api.clone(), request(path::EXECUTE, Body::from(execution(pipeline).to_string())));
    tokio::spawn(async move { send(&api, request).await })
}

async fn is_healthy(api: &Router) -> bool {
    send(api, Request::get(path::HEALTH).body(Body::empty()).unwrap()).await == StatusCode::OK
}

/// Files close to the size limits.
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

/// The test runs on one thread, which serves nothing while it computes.
#[tokio::test]
async fn health_responds_while_hostile_files_are_parsed() {
    let (api, _dir) = api(Arc::new(ComputeThreads::new(2)));
    let files = hostile_files();
    let requests: Vec<_> = files.iter().cycle().take(6).map(|file| execute(&api, file)).collect();
    let mut answers = 0;
    while requests.iter().any(|request| !request.is_finished()) {
        assert!(is_healthy(&api).await);
        answers += usize::from(requests.iter().all(|request| !request.is_finished()));
        sleep(Duration::from_millis(1)).await;
    }
    for request in requests {
        assert_eq!(request.await.unwrap(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert!(answers >= 3, "{answers} replies before the first file was parsed");
}

/// Delays every computation until the test allows it.
#[derive(Debug)]
struct Gate {
    threads: ComputeThreads,
    started: mpsc::Sender<()>,
    allowed: Arc<Mutex<mpsc::Receiver<()>>>,
}

#[async_trait]
impl Compute for Gate {
    async fn run(&self, work: Work) {
        let (started, allowed) = (self.started.clone(), self.allowed.clone());
        let gated = move || {
            started.send(()).unwrap();
            allowed.lock().unwrap().recv().unwrap();
            work();
        };
        self.threads.run(Box::new(gated)).await;
    }
}

#[tokio::test]
async fn other_requests_are_served_while_all_threads_compute() {
    let ((started, is_started), (allow, allowed)) = (mpsc::channel(), mpsc::channel());
    let gate = Gate { threads: ComputeThreads::new(2), started, allowed: Arc::new(Mutex::new(allowed)) };
    let (api, _dir) = api(Arc::new(gate));
    let waiting: Vec<_> = (0..5).map(|_| execute(&api, SMALL)).collect();
    for _ in 0..2 {
        while is_started.try_recv().is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    }
    for _ in 0..10 {
        assert!(is_healthy(&api).await);
        let list = Request::get(path::EXECUTIONS).header("authorization", "Bearer secret");
        assert_eq!(send(&api, list.body(Body::empty()).unwrap()).await, StatusCode::OK);
    }
    assert!(is_started.try_recv().is_err(), "at most two computations run at a time");
    for _ in &waiting {
        allow.send(()).unwrap();
    }
    for request in waiting {
        assert_eq!(request.await.unwrap(), StatusCode::CREATED);
    }
}

#[tokio::test]
async fn endless_body_occupies_no_compute_thread() {
    let (api, _dir) = api(Arc::new(ComputeThreads::new(1)));
    let started = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![b' '; 100_000]))]);
    let endless = request(path::EXECUTE, Body::from_stream(started.chain(stream::pending())));
    let slow_api = api.clone();
    let slow = tokio::spawn(async move { send(&slow_api, endless).await });
    assert_eq!(execute(&api, SMALL).await.unwrap(), StatusCode::CREATED);
    assert!(!slow.is_finished());
    slow.abort();
}

#[tokio::test]
async fn large_body_is_limited_and_needs_json_content_type() {
    let (api, _dir) = api(Arc::new(ComputeThreads::new(1)));
    // More than axum's default limit of 2 MiB.
    let mut large = execution(SMALL);
    large["files"] = (0..30_000).map(|number| format!("{number:0100}")).collect();
    assert_eq!(send(&api, request(path::EXECUTE, Body::from(large.to_string()))).await, StatusCode::CREATED);
    let mut plain = request(path::EXECUTE, Body::from(large.to_string()));
    plain.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(send(&api, plain).await, StatusCode::BAD_REQUEST);
    let too_large = request(path::EXECUTE, Body::from(vec![b' '; (16 << 20) + 1]));
    assert_eq!(send(&api, too_large).await, StatusCode::PAYLOAD_TOO_LARGE);
}
