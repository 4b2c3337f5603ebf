//! A server over the embedded stores, and a simulated worker.

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
    response::Response,
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tidemill_services::http::{TokenVerifier, router};
use tidemill_services::{Services, Settings, Stores};
use tidemill_sqlite::open;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub struct Server {
    pub api: Router,
    pub services: Services,
    pub dir: tempfile::TempDir,
}

pub const DIAMOND: &str = "
name: diamond
stages: [one, two, three]
jobs:
  first: { stage: one, image: i, script: [a] }
  left: { stage: two, image: i, script: [b], needs: [first] }
  right: { stage: two, image: i, script: [c], needs: [first] }
  last: { stage: three, image: i, script: [d] }
";

impl Server {
    pub fn start(lease_ttl_ms: u64) -> Self {
        Self::start_with(Settings { lease_ttl_ms, ..Settings::default() })
    }

    pub fn start_with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::create(open(dir.path()).unwrap(), settings, dir)
    }

    /// Starts a server over other stores.
    pub fn start_over(stores: Stores, settings: Settings) -> Self {
        Self::create(stores, settings, tempfile::tempdir().unwrap())
    }

    fn create(stores: Stores, settings: Settings, dir: tempfile::TempDir) -> Self {
        let services = Services::new(stores, settings, CancellationToken::new());
        Self { api: router(services.clone(), TokenVerifier::from_token("secret")), services, dir }
    }

    /// Opens the same data directory again, as after a crash.
    pub fn restart(self, lease_ttl_ms: u64) -> Self {
        let Self { api, services, dir } = self;
        drop((api, services));
        let services = Services::new(
            open(dir.path()).unwrap(),
            Settings { lease_ttl_ms, ..Settings::default() },
            CancellationToken::new(),
        );
        Self { api: router(services.clone(), TokenVerifier::from_token("secret")), services, dir }
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let (status, bytes) = self.raw(method, path, body.map(|body| body.to_string().into_bytes())).await;
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn raw(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> (StatusCode, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", "Bearer secret")
            .header("content-type", "application/json")
            .body(Body::from(body.unwrap_or_default()))
            .unwrap();
        let reply = self.api.clone().oneshot(request).await.unwrap();
        let status = reply.status();
        (status, reply.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    /// Requests a path and returns the reply as it is, with a body that may not have ended.
    pub async fn reply(&self, path: &str) -> Response {
        self.reply_with(path, "secret").await
    }

    pub async fn reply_with(&self, path: &str, token: &str) -> Response {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        self.api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, reply) = self.call(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {reply}");
        reply
    }

    pub async fn execute(&self, pipeline: &str) -> (StatusCode, Value) {
        let source = json!({ "kind": "none" });
        self.post(
            "/api/pipeline/execute",
            json!({ "pipeline": pipeline, "repo": "here", "commit": "c0", "source": source }),
        )
        .await
    }

    pub async fn view(&self, execution: &str) -> Value {
        let path = format!("/api/pipeline/status/{execution}");
        let mut view = self.call(Method::GET, &path, None).await.1;
        // The jobs of a large execution are on several pages.
        while let Some(cursor) = view["next_cursor"].as_str().map(str::to_owned) {
            let mut page = self.call(Method::GET, &format!("{path}?cursor={cursor}"), None).await.1;
            let jobs = std::mem::take(page["jobs"].as_array_mut().unwrap());
            assert!(jobs.len() <= 1_000);
            view["jobs"].as_array_mut().unwrap().extend(jobs);
            view["next_cursor"] = page["next_cursor"].take();
        }
        view
    }

    pub async fn claim(&self) -> Option<Value> {
        self.claim_within(0).await
    }

    pub async fn claim_within(&self, wait_ms: u64) -> Option<Value> {
        let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
        let (status, reply) = self
            .post("/api/job/execute", json!({ "worker": worker, "lookahead": 4, "wait_ms": wait_ms }))
            .await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        (reply["kind"] == "assigned").then(|| reply["assignment"].clone())
    }

    pub async fn report(&self, assignment: &Value, more: Value) -> (StatusCode, Value) {
        let mut report =
            json!({ "job_id": assignment["preparation"]["job_id"], "lease": assignment["lease"]["token"] });
        report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/api/job/status", report).await
    }

    pub async fn finish(&self, assignment: &Value, exit_code: i32) {
        let failure =
            (exit_code != 0).then(|| json!({ "kind": "script_failed", "message": "the script failed" }));
        let end = json!({ "end": { "failure": failure, "exit_code": exit_code } });
        let (status, reply) = self.report(assignment, end).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
    }
}

pub fn statuses(view: &Value) -> Vec<(String, String)> {
    let jobs = view["jobs"].as_array().unwrap().iter();
    jobs.map(|job| (job["job_name"].as_str().unwrap().into(), job["status"].as_str().unwrap().into()))
        .collect()
}

pub fn log(offset: u64, bytes: &[u8]) -> Value {
    use base64::Engine as _;
    let compressed = zstd::bulk::compress(bytes, 1).unwrap();
    let encoded = base64::engine::general_purpose::STANDARD.encode(compressed);
    json!({ "log": { "offset": offset, "length": bytes.len(), "zstd_base64": encoded } })
}
