//! The API over the embedded stores: whole executions played by a worker that only reports.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidemill_core::execution::status::JobStatus;
use tidemill_core::ids::JobId;
use tidemill_services::http::{ROUTES, TokenVerifier, openapi_document, router};
use tidemill_services::ports::{ExecutionSpec, ExecutionTask};
use tidemill_services::{Services, Settings};
use tidemill_sqlite::open;
use tidemill_testkit::conformance::{
    ManualClock,
    samples::{create, done, execution_id, flat, job_state, spec},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

struct Server {
    api: Router,
    services: Services,
    dir: tempfile::TempDir,
}

const DIAMOND: &str = "
name: diamond
stages: [one, two, three]
jobs:
  first: { stage: one, image: i, script: [a] }
  left: { stage: two, image: i, script: [b], needs: [first] }
  right: { stage: two, image: i, script: [c], needs: [first] }
  last: { stage: three, image: i, script: [d] }
";

impl Server {
    fn start(lease_ttl_ms: u64) -> Self {
        Self::start_with(Settings { lease_ttl_ms, ..Settings::default() })
    }

    fn start_with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let services = Services::new(open(dir.path()).unwrap(), settings, CancellationToken::new());
        Self { api: router(services.clone(), TokenVerifier::of_token("secret")), services, dir }
    }

    /// The same data directory, opened again as after a crash.
    fn again(self, lease_ttl_ms: u64) -> Self {
        let Self { api, services, dir } = self;
        drop((api, services));
        let services = Services::new(
            open(dir.path()).unwrap(),
            Settings { lease_ttl_ms, ..Settings::default() },
            CancellationToken::new(),
        );
        Self { api: router(services.clone(), TokenVerifier::of_token("secret")), services, dir }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let (status, bytes) = self.raw(method, path, body.map(|body| body.to_string().into_bytes())).await;
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn raw(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> (StatusCode, Vec<u8>) {
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

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn execute(&self, pipeline: &str) -> (StatusCode, Value) {
        let source = json!({ "kind": "none" });
        self.post(
            "/api/pipeline/execute",
            json!({ "pipeline": pipeline, "repo": "here", "commit": "c0", "source": source }),
        )
        .await
    }

    async fn view(&self, execution: &str) -> Value {
        self.call(Method::GET, &format!("/api/pipeline/status/{execution}"), None).await.1
    }

    async fn take(&self) -> Option<Value> {
        self.take_within(0).await
    }

    async fn take_within(&self, wait_ms: u64) -> Option<Value> {
        let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
        let (status, reply) = self
            .post("/api/job/execute", json!({ "worker": worker, "lookahead": 4, "wait_ms": wait_ms }))
            .await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        (reply["kind"] == "assigned").then(|| reply["assignment"].clone())
    }

    async fn report(&self, assignment: &Value, more: Value) -> (StatusCode, Value) {
        let mut report =
            json!({ "job_id": assignment["preparation"]["job_id"], "lease": assignment["lease"]["token"] });
        report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/api/job/status", report).await
    }

    async fn end(&self, assignment: &Value, exit_code: i32) {
        let failure =
            (exit_code != 0).then(|| json!({ "kind": "script_failed", "message": "it ended badly" }));
        let end = json!({ "end": { "failure": failure, "exit_code": exit_code } });
        let (status, reply) = self.report(assignment, end).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
    }
}

fn statuses(view: &Value) -> Vec<(String, String)> {
    let jobs = view["jobs"].as_array().unwrap().iter();
    jobs.map(|job| (job["job_name"].as_str().unwrap().into(), job["status"].as_str().unwrap().into()))
        .collect()
}

fn log(offset: u64, bytes: &[u8]) -> Value {
    use base64::Engine as _;
    let packed = zstd::bulk::compress(bytes, 1).unwrap();
    let packed = base64::engine::general_purpose::STANDARD.encode(packed);
    json!({ "log": { "offset": offset, "length": bytes.len(), "zstd_base64": packed } })
}

#[tokio::test(flavor = "multi_thread")]
async fn diamond_runs_in_order_and_ends_once() {
    let server = Server::start(30_000);
    let (status, made) = server.execute(DIAMOND).await;
    assert_eq!((status, made["run_number"].as_u64()), (StatusCode::CREATED, Some(1)), "{made}");
    let id = made["execution_id"].as_str().unwrap();
    let mut order = Vec::new();
    while let Some(assignment) = server.take().await {
        order.push(assignment["job_name"].as_str().unwrap().to_owned());
        server.end(&assignment, 0).await;
    }
    assert_eq!(order, ["first", "left", "right", "last"]);
    let view = server.view(id).await;
    assert_eq!(view["execution"]["status"], "SUCCESS", "{view}");
    assert!(view["execution"]["end_time"].is_string());
    assert!(statuses(&view).iter().all(|(_, status)| status == "SUCCESS"));
    // What is over is no longer the same as a new one: the next is run 2.
    let (status, again) = server.execute(DIAMOND).await;
    assert_eq!((status, again["run_number"].as_u64()), (StatusCode::CREATED, Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_skips_dependents_and_retry_reuses_successes() {
    let server = Server::start(30_000);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    while let Some(assignment) = server.take().await {
        let code = i32::from(assignment["job_name"] == "left");
        server.end(&assignment, code).await;
    }
    let view = server.view(&id).await;
    assert_eq!(view["execution"]["status"], "FAILED");
    let word = |name: &str| statuses(&view).into_iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!((word("left").as_str(), word("last").as_str()), ("FAILED", "SKIPPED"));
    assert!(view["jobs"][3]["failure_reason"]["message"].as_str().unwrap().contains("`left`"), "{view}");

    let (status, retried) = server.post(&format!("/api/pipeline/retry/{id}"), json!({})).await;
    assert_eq!(status, StatusCode::CREATED, "{retried}");
    let mut order = Vec::new();
    while let Some(assignment) = server.take().await {
        order.push(assignment["job_name"].as_str().unwrap().to_owned());
        server.end(&assignment, 0).await;
    }
    assert_eq!(order, ["left", "last"]);
    let view = server.view(retried["execution_id"].as_str().unwrap()).await;
    assert_eq!(view["execution"]["status"], "SUCCESS", "{view}");
    assert_eq!(view["jobs"][0]["carried_from"].as_str().map(str::len), Some(36));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_identical_requests_create_one_execution() {
    let server = Server::start(30_000);
    let sent = futures_util::future::join_all((0..16).map(|_| server.execute(DIAMOND))).await;
    let ids: std::collections::BTreeSet<&str> =
        sent.iter().map(|(_, made)| made["execution_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(sent.iter().filter(|(status, _)| *status == StatusCode::CREATED).count(), 1);
    assert!(sent.iter().filter(|(_, made)| made["attached"] == true).count() == 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_worker_costs_attempt_and_late_report_returns_409() {
    let server = Server::start(1);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let lost = server.take().await.unwrap();
    // The lease of a millisecond is over once the clock says so.
    while server.services.sweep.run().await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let (status, problem) = server.report(&lost, log(0, b"too late")).await;
    assert_eq!((status, problem["type"].as_str()), (StatusCode::CONFLICT, Some("tidemill:lease-lost")));
    let server = server.again(30_000);
    // It waits a moment before it is tried again.
    let second = server.take_within(20_000).await.unwrap();
    assert_eq!((&second["job_name"], second["attempt"].as_u64()), (&lost["job_name"], Some(2)));
    let view = server.view(&id).await;
    assert_eq!(view["jobs"][0]["attempts"][0]["failure"]["kind"], "worker_lost", "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_claim_returns_same_attempt() {
    let server = Server::start(30_000);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let job = server.view(&id).await["jobs"][0]["id"].clone();
    let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
    let (one, other) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let claim = |lease| json!({ "worker": worker.clone(), "job_id": job.clone(), "lease": lease });
    let first = server.post("/api/job/execute", claim(one)).await.1;
    let again = server.post("/api/job/execute", claim(one)).await.1;
    assert_eq!(again["assignment"], first["assignment"]);
    assert_eq!(server.post("/api/job/execute", claim(other)).await.1["kind"], "nothing");
    server.end(&first["assignment"], 0).await;
    assert_eq!(server.post("/api/job/execute", claim(one)).await.1["kind"], "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_repeated_claim_gets_new_token() {
    let server = Server::start(30_000);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let job = server.view(&id).await["jobs"][0]["id"].clone();
    let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
    let claim = json!({ "worker": worker, "job_id": job, "lease": uuid::Uuid::new_v4() });
    let first = server.post("/api/job/execute", claim.clone()).await.1["assignment"].clone();
    let given_back = json!({ "end": { "failure": { "kind": "given_back", "message": "x" } } });
    assert_eq!(server.report(&first, given_back).await.0, StatusCode::OK);
    let second = server.post("/api/job/execute", claim).await.1["assignment"].clone();
    assert_eq!(second["attempt"], 2);
    assert_ne!(second["lease"]["token"], first["lease"]["token"]);
    let late = json!({ "end": { "failure": null, "exit_code": 0 } });
    assert_eq!(server.report(&first, late).await.0, StatusCode::CONFLICT);
    assert_eq!(server.view(&id).await["jobs"][0]["status"], "RUNNING");
}

#[tokio::test(flavor = "multi_thread")]
async fn claim_takes_over_expired_lease() {
    let server = Server::start(1);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let job = server.take().await.unwrap()["preparation"]["job_id"].clone();
    let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
    let request = json!({ "worker": worker, "job_id": job });
    let second = loop {
        let reply = server.post("/api/job/execute", request.clone()).await.1;
        if reply["kind"] == "assigned" {
            break reply;
        }
    };
    assert_eq!(second["assignment"]["attempt"], 2);
    assert_eq!(server.view(&id).await["jobs"][0]["attempts"][0]["failure"]["kind"], "worker_lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn unplaceable_job_fails_with_reason() {
    let server = Server::start(30_000);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let job = server.view(&id).await["jobs"][0]["id"].as_str().unwrap().parse().unwrap();
    assert!(server.services.jobs.give_up(job).await.unwrap());
    assert!(!server.services.jobs.give_up(job).await.unwrap());
    let view = server.view(&id).await;
    assert_eq!(view["execution"]["status"], "FAILED", "{view}");
    assert_eq!(view["jobs"][0]["failure_reason"]["kind"], "undeliverable");
    assert_eq!(view["jobs"][3]["status"], "SKIPPED");
    let nobody = JobId(uuid::Uuid::now_v7());
    assert!(!server.services.jobs.give_up(nobody).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn job_without_definition_fails() {
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(ManualClock::default());
    let stores = tidemill_sqlite::open_at(dir.path(), clock.clone()).unwrap();
    // It was planned by a version that made other nodes of its file.
    let id = execution_id();
    let mut spec = ExecutionSpec { carried: Vec::new(), ..spec(id, "r", "p", 1) };
    spec.task = ExecutionTask::RunPipeline { file: DIAMOND.to_owned() };
    spec.plan_digest = "of another version".to_owned();
    let mut nodes = flat(1);
    nodes[0].state = job_state(JobStatus::Queued);
    done(&*stores.records, vec![create(spec, nodes)]).await;
    let services = Services::new(stores, Settings::default(), CancellationToken::new());
    let api = router(services.clone(), TokenVerifier::of_token("secret"));
    let server = Server { api, services, dir };
    let job = JobId::of(id, 0);
    let records = rusqlite::Connection::open(server.dir.path().join("tidemill.db")).unwrap();
    let request = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" }, "job_id": job });
    let mut claims = 0;
    loop {
        let (status, reply) = server.post("/api/job/execute", request.clone()).await;
        if status == StatusCode::OK {
            assert_eq!(reply["kind"], "nothing", "{reply}");
            break;
        }
        assert_eq!(status, StatusCode::CONFLICT, "{reply}");
        claims += 1;
        assert!(claims < 100, "it goes round for ever");
        clock.turn(60_000);
    }
    let ended = records.query_row("SELECT status FROM executions", [], |row| row.get::<_, String>(0));
    assert_eq!((ended.unwrap().as_str(), claims), ("FAILED", 33));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_token_can_only_run_jobs() {
    let server = Server::start(30_000);
    let one = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    let api = router(server.services.clone(), TokenVerifier::of_hashes([], [one]).unwrap());
    let ask = async |token: &str, method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::from(body.to_string())).unwrap();
        api.clone().oneshot(request).await.unwrap().status()
    };
    let take = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } });
    assert_eq!(ask("one", "POST", "/api/job/execute", take.clone()).await, StatusCode::OK);
    assert_eq!(ask("two", "POST", "/api/job/execute", take).await, StatusCode::UNAUTHORIZED);
    let id = uuid::Uuid::now_v7();
    for (method, path) in [
        ("POST", "/api/pipeline/execute".to_owned()),
        ("GET", "/api/pipeline/executions".to_owned()),
        ("GET", format!("/api/pipeline/status/{id}")),
        ("POST", format!("/api/pipeline/cancel/{id}")),
        ("POST", format!("/api/pipeline/retry/{id}")),
        ("POST", format!("/api/job/cancel/{id}")),
        ("GET", "/api/job/dead-letters".to_owned()),
        ("POST", format!("/api/job/dismiss/{id}")),
        ("GET", format!("/api/job/logs/{id}")),
        ("GET", format!("/api/artifact/list/{id}")),
        ("GET", format!("/api/pipeline/usage/{id}")),
    ] {
        assert_eq!(ask("one", method, &path, json!({})).await, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_bytes_are_stored_once_and_survive_restart() {
    let server = Server::start(30_000);
    server.execute(DIAMOND).await;
    let assignment = server.take().await.unwrap();
    let job = assignment["preparation"]["job_id"].as_str().unwrap().to_owned();
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    assert_eq!(server.report(&assignment, log(0, &bytes)).await.1["log_bytes"], 70_000);
    assert_eq!(server.report(&assignment, log(0, &bytes)).await.1["log_bytes"], 70_000, "a repeat");
    assert_eq!(server.report(&assignment, log(70_001, b"x")).await.0, StatusCode::CONFLICT, "a gap");
    let server = server.again(30_000);
    let (status, stored) = server.raw(Method::GET, &format!("/api/job/logs/{job}?limit=100000"), None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(stored, bytes);
    let (_, tail) = server.raw(Method::GET, &format!("/api/job/logs/{job}?offset=69999"), None).await;
    assert_eq!(tail, bytes[69_999..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_prevents_starts_and_signals_running_jobs() {
    let server = Server::start(30_000);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let running = server.take().await.unwrap();
    let (_, reply) = server.post(&format!("/api/pipeline/cancel/{id}"), Value::Null).await;
    assert_eq!(reply["canceled"], true, "{reply}");
    assert!(server.take().await.is_none());
    let (_, reply) = server.report(&running, json!({})).await;
    assert_eq!(reply["cancel"], true);
    server.end(&running, 143).await;
    let view = server.view(&id).await;
    assert_eq!(view["execution"]["status"], "CANCELED", "{view}");
    assert!(statuses(&view).iter().all(|(_, status)| status == "CANCELED"), "{view}");
    let (_, reply) = server.post(&format!("/api/pipeline/cancel/{id}"), Value::Null).await;
    assert_eq!(reply["canceled"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn artifact_reaches_job_that_needs_it() {
    let server = Server::start(30_000);
    server.execute(DIAMOND).await;
    let first = server.take().await.unwrap();
    let announce = json!({
        "job_id": first["preparation"]["job_id"], "lease": first["lease"]["token"],
        "file_path": "out", "files": [{ "path": "out", "size": 5 }],
    });
    let (_, place) = server.post("/api/artifact/upload", announce.clone()).await;
    let url = place["url"].as_str().unwrap();
    assert_eq!(server.raw(Method::PUT, url, Some(b"bytes".to_vec())).await.0, StatusCode::NO_CONTENT);
    let sha = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";
    let mut complete = announce;
    complete["complete"] = json!({ "artifact_id": place["artifact_id"], "size": 5, "sha256": "00" });
    assert_eq!(server.post("/api/artifact/upload", complete.clone()).await.0, StatusCode::CONFLICT);
    complete["complete"]["sha256"] = json!(sha);
    let (status, reply) = server.post("/api/artifact/upload", complete.clone()).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    server.end(&first, 0).await;
    assert_eq!(
        server.post("/api/artifact/upload", complete).await.0,
        StatusCode::CONFLICT,
        "the lease is over"
    );
    let next = server.take().await.unwrap();
    let needed = &next["needs_artifacts"][0];
    assert_eq!((&needed["from_job"], &needed["sha256"]), (&json!("first"), &json!(sha)));
    let (_, bytes) = server.raw(Method::GET, needed["url"].as_str().unwrap(), None).await;
    assert_eq!(bytes, b"bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn job_gets_artifacts_of_jobs_that_it_names() {
    let server = Server::start(30_000);
    let leaves = "image: i, script: [a], artifacts: { paths: [out] }";
    let takes = "stage: b, image: i, script: [a]";
    server
        .execute(&format!(
            "name: named\nstages: [a, b]\njobs:\n  one: {{ stage: a, {leaves} }}\n  two: {{ stage: a, {leaves} }}\n  \
             all: {{ {takes} }}\n  some: {{ {takes}, dependencies: [two] }}\n  \
             needed: {{ {takes}, needs: [one, two], dependencies: one }}\n  none: {{ {takes}, dependencies: [] }}\n"
        ))
        .await;
    for _ in 0..2 {
        let job = server.take().await.unwrap();
        let mut announced = json!({
            "job_id": job["preparation"]["job_id"], "lease": job["lease"]["token"],
            "file_path": "out", "files": [{ "path": "out", "size": 5 }],
        });
        let (_, place) = server.post("/api/artifact/upload", announced.clone()).await;
        let put = server.raw(Method::PUT, place["url"].as_str().unwrap(), Some(b"bytes".to_vec())).await;
        assert_eq!(put.0, StatusCode::NO_CONTENT);
        let sha = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";
        announced["complete"] = json!({ "artifact_id": place["artifact_id"], "size": 5, "sha256": sha });
        let (status, reply) = server.post("/api/artifact/upload", announced).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        server.end(&job, 0).await;
    }
    let mut got = BTreeMap::new();
    for _ in 0..4 {
        let job = server.take().await.unwrap();
        let from = job["needs_artifacts"].as_array().unwrap().iter();
        let from: Vec<String> = from.map(|one| one["from_job"].as_str().unwrap().to_owned()).collect();
        got.insert(job["job_name"].as_str().unwrap().to_owned(), from.join(" "));
    }
    let expected = [("all", "one two"), ("needed", "one"), ("none", ""), ("some", "two")];
    assert_eq!(got, expected.map(|(job, from)| (job.to_owned(), from.to_owned())).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_return_problem_documents() {
    let server = Server::start(30_000);
    let (status, problem) =
        server.execute("name: x\nstages: [a]\njobs: { j: { stage: b, image: i } }\n").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["type"], "tidemill:invalid-pipeline");
    assert!(problem["diagnostics"].as_array().is_some_and(|all| all.len() >= 2), "{problem}");
    let (status, problem) = server.call(Method::GET, "/api/pipeline/status/nonsense", None).await;
    assert_eq!((status, &problem["type"]), (StatusCode::BAD_REQUEST, &json!("tidemill:invalid-request")));
    let id = uuid::Uuid::now_v7();
    let (status, _) = server.call(Method::GET, &format!("/api/pipeline/status/{id}"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(server.call(Method::GET, "/nothing", None).await.1["type"], "tidemill:not-found");
    let large = json!({ "pipeline": "x".repeat(17 << 20), "repo": "r", "source": { "kind": "none" } });
    assert_eq!(server.post("/api/pipeline/execute", large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let request = Request::get("/api/pipeline/executions").body(Body::empty()).unwrap();
    let reply = server.api.clone().oneshot(request).await.unwrap();
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploaded_sources_are_immutable() {
    let server = Server::start(30_000);
    // Of a repository; the SHA-256 of `first`.
    let name = format!("{}a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e", "ab".repeat(16));
    let ask = async |size: Value| {
        server.post("/api/source/upload", json!({ "upload": name, "size": size })).await.1["url"].clone()
    };
    let missing = server.raw(Method::GET, &format!("/api/source/download/{name}"), None).await.0;
    assert_eq!(missing, StatusCode::NOT_FOUND);
    let url = ask(Value::Null).await;
    assert_eq!(url, ask(json!(5)).await);
    for (bytes, expected) in [
        ("garbage", StatusCode::BAD_REQUEST),
        ("first", StatusCode::NO_CONTENT),
        ("other", StatusCode::NO_CONTENT),
    ] {
        let put = server.raw(Method::PUT, url.as_str().unwrap(), Some(bytes.into())).await.0;
        assert_eq!(put, expected, "{bytes}");
    }
    assert_eq!(ask(Value::Null).await, Value::Null, "it is there");
    let (_, bytes) = server.raw(Method::GET, &format!("/api/source/download/{name}"), None).await;
    assert_eq!(bytes, b"first");
    for (name, size) in [("../token", 5), ("AB", 5), (name.as_str(), 6 << 30)] {
        let request = json!({ "upload": name, "size": size });
        assert_eq!(server.post("/api/source/upload", request).await.0, StatusCode::BAD_REQUEST, "{name}");
    }
    let name = "ab".repeat(48);
    let nothing = server.raw(Method::PUT, &format!("/api/source/content/{name}"), Some(Vec::new())).await.0;
    assert_eq!(nothing, StatusCode::BAD_REQUEST, "nothing stands for no sources");
    let put = server.raw(Method::PUT, "/api/source/content/token", Some(Vec::new())).await.0;
    assert_eq!(put, StatusCode::BAD_REQUEST);
}

#[test]
fn openapi_document_names_every_path_and_resolves_every_reference() {
    let document = openapi_document();
    let paths: std::collections::BTreeSet<_> = ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(document["paths"].as_object().unwrap().len(), paths.len());
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_over_server_limit_ends_attempt() {
    let server = Server::start_with(Settings { max_log_bytes: 100, ..Settings::default() });
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let first = server.take().await.unwrap();
    assert_eq!(
        server.report(&first, log(0, &[b'x'; 100])).await.0,
        StatusCode::OK,
        "as much as there may be"
    );
    let (status, reply) = server.report(&first, log(100, b"y")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{reply}");
    assert_eq!(server.report(&first, json!({})).await.0, StatusCode::CONFLICT, "its lease is over");
    let view = server.view(&id).await;
    let ended = &view["jobs"][0]["failure_reason"];
    assert_eq!(ended["kind"], "log_limit", "{view}");
    let job = first["preparation"]["job_id"].as_str().unwrap();
    let (_, stored) = server.raw(Method::GET, &format!("/api/job/logs/{job}?limit=1000"), None).await;
    assert_eq!(stored.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn artifact_over_server_limit_is_rejected() {
    let server = Server::start_with(Settings { max_artifact_bytes: 100, ..Settings::default() });
    server.execute(DIAMOND).await;
    let first = server.take().await.unwrap();
    let announce = json!({
        "job_id": first["preparation"]["job_id"], "lease": first["lease"]["token"],
        "file_path": "out", "files": [{ "path": "out", "size": 101 }],
    });
    let (_, place) = server.post("/api/artifact/upload", announce.clone()).await;
    let url = place["url"].as_str().unwrap();
    assert_eq!(server.raw(Method::PUT, url, Some(vec![0; 101])).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let mut complete = announce;
    let sha = "00".repeat(32);
    complete["complete"] = json!({ "artifact_id": place["artifact_id"], "size": 101, "sha256": sha });
    assert_eq!(
        server.post("/api/artifact/upload", complete).await.0,
        StatusCode::CONFLICT,
        "nothing is there"
    );
    assert_eq!(server.raw(Method::PUT, url, Some(vec![0; 100])).await.0, StatusCode::NO_CONTENT);
}
