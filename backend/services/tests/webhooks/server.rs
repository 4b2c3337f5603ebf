//! A server, with a simulated git provider and worker.

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_core::api::path;
use tidemill_core::repository::webhook::sign;
use tidemill_services::Stores;
use tidemill_services::http;
use tidemill_services::{Services, Settings};
use tidemill_testkit::conformance::ManualClock;
use tidemill_testkit::memory::open;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const SECRET: &str = "the secret of the webhooks";
pub const URL: &str = "https://git.example.org/team/app.git";
pub const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

pub struct Server {
    pub api: Router,
    pub services: Services,
    pub clock: Arc<ManualClock>,
    pub stores: Stores,
    _dir: Option<tempfile::TempDir>,
}

/// A job that the simulated worker has claimed.
pub struct ClaimedJob {
    pub assignment: Value,
}

impl ClaimedJob {
    pub fn job(&self) -> &Value {
        &self.assignment["preparation"]["job_id"]
    }

    pub fn lease(&self) -> &Value {
        &self.assignment["lease"]["token"]
    }

    pub fn discovery(&self) -> &Value {
        &self.assignment["extras"]["discovery"]
    }
}

impl Server {
    /// Creates one server for each kind of stores.
    pub fn for_each_store() -> [Self; 2] {
        let clock: Arc<ManualClock> = Arc::default();
        let dir = tempfile::tempdir().unwrap();
        let stores = tidemill_sqlite::open_at(dir.path(), clock.clone()).unwrap();
        [Self::memory(), Self { _dir: Some(dir), ..Self::over(stores, clock) }]
    }

    pub fn memory() -> Self {
        let clock: Arc<ManualClock> = Arc::default();
        Self::over(open(clock.clone()), clock)
    }

    pub fn over(stores: Stores, clock: Arc<ManualClock>) -> Self {
        let settings = Settings { max_wait_ms: 0, ..Settings::default() };
        let services = Services::new(stores.clone(), settings, CancellationToken::new());
        let verifier = http::TokenVerifier::from_token("secret").with_rate_limit(0);
        Self { api: http::router(services.clone(), verifier), services, clock, stores, _dir: None }
    }

    /// Applies the default rate limits.
    pub fn with_rate_limit(self) -> Self {
        Self { api: http::router(self.services.clone(), http::TokenVerifier::from_token("secret")), ..self }
    }

    /// Replaces the services.
    pub fn with_services(self, services: Services) -> Self {
        let verifier = http::TokenVerifier::from_token("secret").with_rate_limit(0);
        Self { api: http::router(services.clone(), verifier), services, ..self }
    }

    pub async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let reply = self.api.clone().oneshot(request).await.unwrap();
        let status = reply.status();
        let bytes = reply.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", "Bearer secret")
            .header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn ok(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, reply) = self.call(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {reply}");
        reply
    }

    /// Registers a repository.
    pub async fn add_repository(&self, url: &str, provider: &str, more: Value) -> Value {
        let mut body = json!({ "url": url, "provider": provider, "webhook_secret": SECRET });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.ok(Method::PUT, path::REPOSITORIES, body).await
    }

    /// Posts an event as GitHub does, with a delivery id, which also makes the body unique.
    pub async fn github(&self, event: &str, id: &str, body: &Value) -> (StatusCode, Value) {
        let mut body = body.clone();
        body["pushed_at"] = json!(id);
        self.github_exact(event, id, &body).await
    }

    /// Posts exactly this body as GitHub does, with a delivery id.
    pub async fn github_exact(&self, event: &str, id: &str, body: &Value) -> (StatusCode, Value) {
        let body = body.to_string();
        let signature = format!("sha256={}", sign(SECRET.as_bytes(), body.as_bytes()));
        let request = Request::post("/api/webhook/github")
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .header("x-hub-signature-256", signature);
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// Claims the next job of the queue.
    pub async fn claim(&self) -> Option<ClaimedJob> {
        let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
        let reply = self.ok(Method::POST, path::JOB_EXECUTE, json!({ "worker": worker })).await;
        (reply["kind"] == "assigned" || reply["assignment"].is_object())
            .then(|| ClaimedJob { assignment: reply["assignment"].clone() })
    }

    /// Reports the pipeline files at [`COMMIT`], as a worker does.
    pub async fn report_discovery(&self, claimed: &ClaimedJob, files: &[(&str, &str)]) -> Value {
        self.report_discovery_at(claimed, COMMIT, files, None).await
    }

    pub async fn report_discovery_at(
        &self,
        claimed: &ClaimedJob,
        commit: &str,
        files: &[(&str, &str)],
        changed: Option<&[&str]>,
    ) -> Value {
        let files: Vec<Value> =
            files.iter().map(|(path, text)| json!({ "path": path, "text": text })).collect();
        let report = json!({ "job_id": claimed.job(), "lease": claimed.lease(), "commit": commit, "files": files,
                             "changed": changed });
        self.ok(Method::POST, path::DISCOVERY_REPORT, report).await
    }

    pub async fn finish(&self, claimed: &ClaimedJob, success: bool) {
        let failure = (!success).then(|| json!({ "kind": "script_failed", "message": "the script failed" }));
        let code = i32::from(!success);
        let report = json!({ "job_id": claimed.job(), "lease": claimed.lease(),
                             "end": { "failure": failure, "exit_code": code } });
        self.ok(Method::POST, path::JOB_STATUS, report).await;
    }

    /// Lists the executions, oldest first.
    pub async fn executions(&self) -> Vec<Value> {
        let list = self.ok(Method::GET, path::EXECUTIONS, Value::Null).await;
        let mut all = list["executions"].as_array().unwrap().clone();
        all.reverse();
        all
    }

    /// Lists the pipeline names of all executions, oldest first.
    pub async fn pipelines(&self) -> Vec<String> {
        let all = self.executions().await;
        all.iter().map(|execution| execution["pipeline_name"].as_str().unwrap().to_owned()).collect()
    }
}

/// Returns GitHub's event for a push to a branch of [`URL`].
pub fn push(branch: &str) -> Value {
    json!({ "ref": format!("refs/heads/{branch}"), "before": "b".repeat(40), "after": COMMIT,
            "head_commit": { "id": COMMIT }, "pusher": { "name": "jo" },
            "repository": { "clone_url": URL, "default_branch": "main" } })
}

/// Returns GitHub's event for a pull request, from a fork or not.
pub fn pull_request(number: u64, from_fork: bool) -> Value {
    let head = if from_fork { json!({ "id": 2, "owner": { "login": "eve" } }) } else { json!({ "id": 1 }) };
    json!({ "action": "opened", "sender": { "login": "jo" },
            "repository": { "clone_url": URL, "default_branch": "main" },
            "pull_request": { "number": number, "title": "Faster", "draft": false,
                "head": { "ref": "main", "sha": COMMIT, "repo": head },
                "base": { "ref": "main", "sha": "b".repeat(40), "repo": { "id": 1 } } } })
}
