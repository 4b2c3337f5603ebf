//! A server, what a provider posts to it, and its worker.

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

/// A job that the worker has.
pub struct Taken {
    pub assignment: Value,
}

impl Taken {
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
    /// One server over each kind of stores that is at hand.
    pub fn each() -> [Self; 2] {
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
        let settings = Settings { longest_wait_ms: 0, ..Settings::default() };
        let services = Services::new(stores.clone(), settings, CancellationToken::new());
        let access = http::TokenVerifier::of_token("secret").at_most(0);
        Self { api: http::router(services.clone(), access), services, clock, stores, _dir: None }
    }

    /// The same with the usual limits of calls.
    pub fn limited(self) -> Self {
        Self { api: http::router(self.services.clone(), http::TokenVerifier::of_token("secret")), ..self }
    }

    /// The same with other services over the same stores.
    pub fn with(self, services: Services) -> Self {
        let access = http::TokenVerifier::of_token("secret").at_most(0);
        Self { api: http::router(services.clone(), access), services, ..self }
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

    /// Makes the repository known.
    pub async fn add(&self, url: &str, provider: &str, more: Value) -> Value {
        let mut body = json!({ "url": url, "provider": provider, "webhook_secret": SECRET });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.ok(Method::PUT, path::REPOSITORIES, body).await
    }

    /// Posts as GitHub does, under a delivery's id; other deliveries have other bodies.
    pub async fn github(&self, event: &str, id: &str, body: &Value) -> (StatusCode, Value) {
        let mut body = body.clone();
        body["pushed_at"] = json!(id);
        self.github_again(event, id, &body).await
    }

    /// Posts this very body as GitHub does, under a delivery's id.
    pub async fn github_again(&self, event: &str, id: &str, body: &Value) -> (StatusCode, Value) {
        let body = body.to_string();
        let signature = format!("sha256={}", sign(SECRET.as_bytes(), body.as_bytes()));
        let request = Request::post("/api/webhook/github")
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .header("x-hub-signature-256", signature);
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// The next job of the queue.
    pub async fn take(&self) -> Option<Taken> {
        let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
        let reply = self.ok(Method::POST, path::JOB_EXECUTE, json!({ "worker": worker })).await;
        (reply["kind"] == "assigned" || reply["assignment"].is_object())
            .then(|| Taken { assignment: reply["assignment"].clone() })
    }

    /// Tells what was found, as a worker does.
    pub async fn found(&self, taken: &Taken, files: &[(&str, &str)]) -> Value {
        self.found_at(taken, COMMIT, files, None).await
    }

    pub async fn found_at(
        &self,
        taken: &Taken,
        commit: &str,
        files: &[(&str, &str)],
        changed: Option<&[&str]>,
    ) -> Value {
        let files: Vec<Value> =
            files.iter().map(|(path, text)| json!({ "path": path, "text": text })).collect();
        let report = json!({ "job_id": taken.job(), "lease": taken.lease(), "commit": commit, "files": files,
                             "changed": changed });
        self.ok(Method::POST, path::DISCOVERED, report).await
    }

    pub async fn end(&self, taken: &Taken, well: bool) {
        let failure = (!well).then(|| json!({ "kind": "script_failed", "message": "it failed" }));
        let code = i32::from(!well);
        let report = json!({ "job_id": taken.job(), "lease": taken.lease(),
                             "end": { "failure": failure, "exit_code": code } });
        self.ok(Method::POST, path::JOB_STATUS, report).await;
    }

    /// Executions, the oldest first.
    pub async fn executions(&self) -> Vec<Value> {
        let list = self.ok(Method::GET, path::EXECUTIONS, Value::Null).await;
        let mut all = list["executions"].as_array().unwrap().clone();
        all.reverse();
        all
    }

    /// The names of the pipelines of all executions, the oldest first.
    pub async fn pipelines(&self) -> Vec<String> {
        let all = self.executions().await;
        all.iter().map(|one| one["pipeline_name"].as_str().unwrap().to_owned()).collect()
    }
}

/// GitHub's push of a branch of [`URL`].
pub fn push(branch: &str) -> Value {
    json!({ "ref": format!("refs/heads/{branch}"), "before": "b".repeat(40), "after": COMMIT,
            "head_commit": { "id": COMMIT }, "pusher": { "name": "jo" },
            "repository": { "clone_url": URL, "default_branch": "main" } })
}

/// GitHub's pull request, from a fork or not.
pub fn pull_request(number: u64, from_fork: bool) -> Value {
    let head = if from_fork { json!({ "id": 2, "owner": { "login": "eve" } }) } else { json!({ "id": 1 }) };
    json!({ "action": "opened", "sender": { "login": "jo" },
            "repository": { "clone_url": URL, "default_branch": "main" },
            "pull_request": { "number": number, "title": "Faster", "draft": false,
                "head": { "ref": "main", "sha": COMMIT, "repo": head },
                "base": { "ref": "main", "sha": "b".repeat(40), "repo": { "id": 1 } } } })
}
