//! A server over in-memory stores, called through its router.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_core::{
    access::{Scope, TokenReply, TokenRequest},
    api::path,
};
use tidemill_services::http::{TokenVerifier, router};
use tidemill_services::{Caller, Services, Settings, Stores};
use tidemill_testkit::conformance::ManualClock;
use tidemill_testkit::memory::open;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const PIPELINE: &str = "
name: two
jobs:
  first: { image: i, script: [a], artifacts: { paths: [out] }, secrets: [TIDEMILL_JOB_TOKEN] }
  last: { image: i, script: [b], needs: [first] }
";

pub const BOOT: &str = "the-bootstrap-token-of-this-test";

/// A tar without entries.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

pub struct Server {
    pub api: Router,
    pub services: Services,
    pub clock: Arc<ManualClock>,
    stores: Stores,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Server {
    pub fn start() -> Self {
        Self::with_verifier(TokenVerifier::from_token(BOOT))
    }

    pub fn with_verifier(verifier: TokenVerifier) -> Self {
        Self::with_settings(verifier, Settings::default())
    }

    pub fn with_settings(verifier: TokenVerifier, settings: Settings) -> Self {
        let clock: Arc<ManualClock> = Arc::default();
        let stores = open(clock.clone());
        let services = Services::new(stores.clone(), settings, CancellationToken::new());
        Self { api: router(services.clone(), verifier), services, clock, stores }
    }

    pub async fn call(&self, token: Option<&str>, method: &str, path: &str, body: Value) -> Reply {
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let reply = self.api.clone().oneshot(request).await.unwrap();
        let (status, headers) = (reply.status(), reply.headers().clone());
        let bytes = reply.into_body().collect().await.unwrap().to_bytes();
        Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub async fn ok(&self, token: &str, method: &str, path: &str, body: Value) -> Value {
        let reply = self.call(Some(token), method, path, body).await;
        assert!(reply.status.is_success(), "{method} {path}: {} {}", reply.status, reply.body);
        reply.body
    }

    pub async fn token(&self, scopes: &[Scope], repo: Option<&str>, expire_in_s: Option<u64>) -> TokenReply {
        let request = TokenRequest {
            name: "t".into(),
            scopes: scopes.iter().copied().collect(),
            repo: repo.map(str::to_owned),
            expire_in_s,
        };
        self.services.tokens.create(request, &Caller::bootstrap(Scope::Admin)).await.unwrap()
    }

    pub async fn run(&self, repo: &str) -> String {
        let body = json!({ "pipeline": PIPELINE, "repo": repo, "source": { "kind": "none" } });
        text(&self.ok(BOOT, "POST", path::EXECUTE, body).await["execution_id"])
    }

    /// Claims the first job and uploads an artifact of it.
    pub async fn upload_artifact(&self, token: &str) -> FixtureIds {
        let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
        let claimed = self.ok(token, "POST", path::JOB_EXECUTE, json!({ "worker": worker })).await;
        let assignment = &claimed["assignment"];
        let (job, lease) = (text(&assignment["preparation"]["job_id"]), text(&assignment["lease"]["token"]));
        let announce = json!({ "job_id": job, "lease": lease, "file_path": "out", "files": [] });
        let upload = self.ok(token, "POST", path::ARTIFACT_UPLOAD, announce.clone()).await;
        let put =
            Request::put(upload["url"].as_str().unwrap()).header("authorization", format!("Bearer {token}"));
        assert!(self.send(put.body(Body::from(EMPTY_TAR.as_slice())).unwrap()).await.status.is_success());
        let mut complete = announce;
        let sha256 = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
        complete["complete"] =
            json!({ "artifact_id": upload["artifact_id"], "size": EMPTY_TAR.len(), "sha256": sha256 });
        self.ok(token, "POST", path::ARTIFACT_UPLOAD, complete).await;
        let secret = &assignment["extras"]["secrets"][0];
        assert_eq!(secret["variable"], "TIDEMILL_JOB_TOKEN", "{assignment}");
        FixtureIds { job, lease, artifact: text(&upload["artifact_id"]), job_token: text(&secret["value"]) }
    }

    /// Returns all documents about sign-ins, as they are stored.
    pub async fn documents(&self) -> String {
        let mut all = String::new();
        for kind in ["session", "sign-in-code", "token", "role"] {
            for document in self.stores.documents.all(kind, "").await.unwrap() {
                all = format!("{all}{kind} {} {}\n", document.key.name, document.value);
            }
        }
        all
    }

    /// Everything that calls could change, as an admin sees it.
    pub async fn state(&self) -> Value {
        let executions = self.ok(BOOT, "GET", path::EXECUTIONS, Value::Null).await;
        let mut views = Vec::new();
        for execution in executions["executions"].as_array().unwrap() {
            let id = execution["id"].as_str().unwrap();
            let url = |path: &str| path.replace("{executionId}", id);
            views.push(self.ok(BOOT, "GET", &url(path::STATUS), Value::Null).await);
            views.push(self.ok(BOOT, "GET", &url(path::ARTIFACTS), Value::Null).await);
        }
        let mut tokens = self.ok(BOOT, "GET", path::TOKENS, Value::Null).await;
        for token in tokens["tokens"].as_array_mut().unwrap() {
            token["last_used_at"] = Value::Null;
        }
        let audit = self.ok(BOOT, "GET", path::AUDIT, Value::Null).await;
        let dead = self.ok(BOOT, "GET", path::DEAD_LETTERS, Value::Null).await;
        let protections = format!("{}?repo=ours", path::PROTECTIONS);
        let protections = self.ok(BOOT, "GET", &protections, Value::Null).await;
        json!([executions, views, tokens, audit, dead, protections])
    }
}

pub struct FixtureIds {
    pub job: String,
    pub lease: String,
    pub artifact: String,
    /// The token of the job itself.
    pub job_token: String,
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}

/// Returns the token with another last digit.
pub fn mistyped(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}
