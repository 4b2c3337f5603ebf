//! Fuzzes the router of the API, over stores in a temporary directory.

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header::CONTENT_TYPE},
    response::Response,
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::cell::RefCell;
use tidemill_core::api::{Problem, path};
use tidemill_services::http::{TokenVerifier, router};
use tidemill_services::{Services, Settings};
use tidemill_sqlite::open;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Requests per store, so that it stays small.
const REQUESTS_PER_STORE: u32 = 500;
/// Requests per execution; a request may end it, which limits what later ones reach.
const REQUESTS_PER_EXECUTION: u32 = 10;

const PIPELINE: &str = "
name: fuzz
jobs:
  first: { image: i, script: [a], artifacts: { paths: [a] }, retry: 2 }
  second: { image: i, script: [b], needs: [first] }
";

/// The routes; `{...}` is replaced by ids.
const ROUTES: [(Method, &str); 25] = [
    (Method::POST, path::EXECUTE),
    (Method::GET, path::STATUS),
    (Method::GET, path::EXECUTIONS),
    (Method::POST, path::CANCEL_EXECUTION),
    (Method::POST, path::RETRY),
    (Method::POST, path::JOB_EXECUTE),
    (Method::POST, path::JOB_STATUS),
    (Method::POST, path::CANCEL_JOB),
    (Method::GET, path::JOB_LOGS),
    (Method::GET, path::DEAD_LETTERS),
    (Method::POST, path::DISMISS),
    (Method::POST, path::ARTIFACT_UPLOAD),
    (Method::PUT, path::ARTIFACT_CONTENT),
    (Method::GET, path::ARTIFACTS),
    (Method::GET, path::ARTIFACT_DOWNLOAD),
    (Method::POST, path::SOURCE_UPLOAD),
    (Method::PUT, path::SOURCE_CONTENT),
    (Method::GET, path::SOURCE_DOWNLOAD),
    (Method::GET, path::WORKER_PROGRAM),
    (Method::GET, path::USAGE),
    (Method::GET, path::HEALTH),
    (Method::GET, path::OPENAPI),
    (Method::POST, "/api/pipeline/retry/@"),
    (Method::GET, "/@"),
    (Method::DELETE, path::EXECUTE),
];

thread_local! {
    static SERVER: RefCell<Option<TestServer>> = const { RefCell::new(None) };
}

/// A server, and ids of its records.
struct TestServer {
    runtime: Runtime,
    api: Router,
    /// Deleted with the server.
    _directory: tempfile::TempDir,
    requests: u32,
    execution: String,
    job: String,
    lease: String,
    artifact: String,
}

/// Sends the request that `bytes` encode. Panics if the reply is a server error, or a client error without a problem document
/// that has the same status.
///
/// The first byte selects a route. The first line is appended to its path (for example a query) or replaces `@` in it, the
/// second line is the idempotency key, and the rest is the body. In all of them `$E`, `$J`, `$L` and `$A` are replaced by the
/// ids of an execution, its first job, that job's lease and its artifact.
pub fn api(bytes: &[u8]) {
    let Some((route, rest)) = bytes.split_first() else { return };
    let (method, path) = &ROUTES[usize::from(*route) % ROUTES.len()];
    let mut parts = rest.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (query, key, body) = (part(), part(), part());
    SERVER.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|server| server.requests >= REQUESTS_PER_STORE) {
            *slot = Some(TestServer::start());
        }
        let server = slot.as_mut().unwrap();
        if server.requests.is_multiple_of(REQUESTS_PER_EXECUTION) {
            server.prepare();
        }
        server.requests += 1;
        let query = server.substitute(query);
        let address = match path.split_once('@') {
            Some((prefix, _)) => [prefix.as_bytes(), &query].concat(),
            None => [server.expand(path).as_bytes(), &query].concat(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(address.as_slice())
            .header("authorization", "Bearer secret")
            .header("content-type", "application/json");
        if !key.is_empty() {
            request = request.header("idempotency-key", server.substitute(key));
        }
        // An invalid request never reaches the router.
        let Ok(request) = request.body(Body::from(server.substitute(body))) else { return };
        server.check(request);
    });
}

impl TestServer {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        // Long polls return at once.
        let settings = Settings { max_wait_ms: 0, lease_ttl_ms: 3_600_000, ..Settings::default() };
        let services = Services::new(open(directory.path()).unwrap(), settings, CancellationToken::new());
        let api = router(services, TokenVerifier::from_token("secret"));
        let none = String::new;
        let (execution, job, lease, artifact) = (none(), none(), none(), none());
        Self { runtime, api, _directory: directory, requests: 0, execution, job, lease, artifact }
    }

    /// Creates an execution whose first job is leased and has announced an artifact.
    fn prepare(&mut self) {
        let source = json!({ "kind": "none" });
        let execute = json!({ "pipeline": PIPELINE, "repo": "here", "source": source, "force": true });
        self.execution = text(&self.post(path::EXECUTE, &execute)["execution_id"]);
        let worker = json!({ "id": uuid::Uuid::nil(), "name": "w" });
        let claimed =
            self.post(path::JOB_EXECUTE, &json!({ "worker": worker, "execution_id": self.execution }));
        let assignment = &claimed["assignment"];
        self.job = text(&assignment["preparation"]["job_id"]);
        self.lease = text(&assignment["lease"]["token"]);
        let upload = json!({ "job_id": self.job, "lease": self.lease, "file_path": "a", "files": [] });
        self.artifact = text(&self.post(path::ARTIFACT_UPLOAD, &upload)["artifact_id"]);
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = Request::post(path)
            .header("authorization", "Bearer secret")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let (status, _, bytes) = self.call(request);
        assert!(status.is_success(), "{path}: {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).unwrap()
    }

    fn check(&self, request: Request<Body>) {
        let request_line = format!("{} {}", request.method(), request.uri());
        let (status, kind, bytes) = self.call(request);
        assert!(!status.is_server_error(), "{request_line}: {status}: {}", String::from_utf8_lossy(&bytes));
        if status.is_client_error() {
            assert_eq!(kind.as_deref(), Some("application/problem+json"), "{request_line}: {status}");
            let problem: Problem = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(problem.status, status.as_u16(), "{request_line}");
            assert!(
                problem.kind.starts_with("tidemill:") && !problem.detail.is_empty(),
                "{request_line}: {problem:?}"
            );
        }
    }

    fn call(&self, request: Request<Body>) -> (StatusCode, Option<String>, Vec<u8>) {
        self.runtime.block_on(async {
            let reply: Response = self.api.clone().oneshot(request).await.unwrap();
            let kind =
                reply.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
            let status = reply.status();
            (status, kind, reply.into_body().collect().await.unwrap().to_bytes().to_vec())
        })
    }

    fn expand(&self, path: &str) -> String {
        let (upload, program) = ("0".repeat(96), "0".repeat(64));
        path.replace("{executionId}", &self.execution)
            .replace("{jobId}", &self.job)
            .replace("{artifactId}", &self.artifact)
            .replace("{uploadId}", &upload)
            .replace("{sha256}", &program)
    }

    /// Replaces the placeholders in `text` by ids.
    fn substitute(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((byte, after)) = rest.split_first() {
            let id = match rest.get(..2) {
                Some(b"$E") => &self.execution,
                Some(b"$J") => &self.job,
                Some(b"$L") => &self.lease,
                Some(b"$A") => &self.artifact,
                _ => {
                    out.push(*byte);
                    rest = after;
                    continue;
                }
            };
            out.extend_from_slice(id.as_bytes());
            rest = &rest[2..];
        }
        out
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
