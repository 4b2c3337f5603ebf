//! Claims, leases and attempts of jobs.

use super::server::{DIAMOND, Server, log};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::json;
use tidemill_core::{execution::status::JobStatus, ids::JobId};
use tidemill_services::http::{TokenVerifier, router};
use tidemill_services::ports::{ExecutionSpec, ExecutionTask};
use tidemill_services::{Services, Settings};
use tidemill_testkit::conformance::{
    ManualClock,
    samples::{commit_writes, create_write, execution_id, independent_jobs, job_state, spec},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

#[tokio::test(flavor = "multi_thread")]
async fn lost_worker_costs_attempt_and_late_report_returns_409() {
    let server = Server::start(1);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let lost = server.claim().await.unwrap();
    // The lease of one millisecond expires as the clock advances.
    while server.services.sweep.run().await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let (status, problem) = server.report(&lost, log(0, b"too late")).await;
    assert_eq!((status, problem["type"].as_str()), (StatusCode::CONFLICT, Some("tidemill:lease-lost")));
    let server = server.restart(30_000);
    // The next attempt starts after a delay.
    let second = server.claim_within(20_000).await.unwrap();
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
    server.finish(&first["assignment"], 0).await;
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
    let job = server.claim().await.unwrap()["preparation"]["job_id"].clone();
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
    assert!(server.services.jobs.end_undeliverable(job).await.unwrap());
    assert!(!server.services.jobs.end_undeliverable(job).await.unwrap());
    let view = server.view(&id).await;
    assert_eq!(view["execution"]["status"], "FAILED", "{view}");
    assert_eq!(view["jobs"][0]["failure_reason"]["kind"], "undeliverable");
    assert_eq!(view["jobs"][3]["status"], "SKIPPED");
    let unknown = JobId(uuid::Uuid::now_v7());
    assert!(!server.services.jobs.end_undeliverable(unknown).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn job_without_definition_fails() {
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(ManualClock::default());
    let stores = tidemill_sqlite::open_at(dir.path(), clock.clone()).unwrap();
    // The execution was planned by a version that planned its file differently.
    let id = execution_id();
    let mut spec = ExecutionSpec { carried: Vec::new(), ..spec(id, "r", "p", 1) };
    spec.task = ExecutionTask::RunPipeline { file: DIAMOND.to_owned() };
    spec.plan_digest = "of another version".to_owned();
    let mut nodes = independent_jobs(1);
    nodes[0].state = job_state(JobStatus::Queued);
    commit_writes(&*stores.records, vec![create_write(spec, nodes)]).await;
    let services = Services::new(stores, Settings::default(), CancellationToken::new());
    let api = router(services.clone(), TokenVerifier::from_token("secret"));
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
        assert!(claims < 100, "the job is claimed without end");
        clock.advance(60_000);
    }
    let ended = records.query_row("SELECT status FROM executions", [], |row| row.get::<_, String>(0));
    assert_eq!((ended.unwrap().as_str(), claims), ("FAILED", 33));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_is_too_old_is_refused_with_the_reason() {
    let server = Server::start(30_000);
    let ask = async |version: Option<&str>, path: &str, body: serde_json::Value| {
        let mut request =
            Request::builder().method("POST").uri(path).header("authorization", "Bearer secret");
        request = request.header("content-type", "application/json");
        if let Some(version) = version {
            request = request.header("tidemill-worker-protocol", version);
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        let reply = server.api.clone().oneshot(request).await.unwrap();
        let status = reply.status();
        let bytes = reply.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    };
    let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "builder" });
    let report = json!({ "worker": worker.clone(), "version": "0.0.1", "slots": 1 });
    for (path, body) in [("/api/job/execute", json!({ "worker": worker })), ("/api/worker/report", report)] {
        for accepted in [None, Some("1"), Some("2"), Some("new")] {
            assert_eq!(ask(accepted, path, body.clone()).await.0, StatusCode::OK, "{path} {accepted:?}");
        }
        let (status, problem) = ask(Some("0"), path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(problem.contains("builder") && problem.contains("upgrade Tidemill"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_job_names_the_labels_that_no_worker_has() {
    let server = Server::start(30_000);
    let file = "name: labels\njobs:\n  a: { image: i, script: [x], runs_on: { gpu: true, os: plan9 } }\n  b: { image: i, script: [x] }\n";
    let id = server.execute(file).await.1["execution_id"].as_str().unwrap().to_owned();
    let view = server.view(&id).await;
    assert_eq!(view["jobs"][0]["unserved_labels"], json!({ "gpu": "true", "os": "plan9" }), "{view:#}");
    assert!(view["jobs"][1].get("unserved_labels").is_none(), "{view:#}");
    let report = |labels| {
        let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
        json!({ "worker": worker, "version": "1", "slots": 1, "labels": labels })
    };
    server.post("/api/worker/report", report(json!({ "gpu": "true" }))).await;
    assert_eq!(server.view(&id).await["jobs"][0]["unserved_labels"], json!({ "os": "plan9" }));
    server.post("/api/worker/report", report(json!({ "gpu": "true", "os": "plan9" }))).await;
    assert!(server.view(&id).await["jobs"][0].get("unserved_labels").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_with_plain_processes_claims_only_what_asks_for_it() {
    let server = Server::start(30_000);
    let file = "name: kinds\njobs:\n  a: { image: i, script: [x] }\n  b: { image: none, script: [x] }\n";
    let id = server.execute(file).await.1["execution_id"].as_str().unwrap().to_owned();
    let view = server.view(&id).await;
    let claim = async |labels: serde_json::Value, job: Option<&serde_json::Value>| {
        let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
        let mut request = json!({ "worker": worker, "labels": labels });
        if let Some(job) = job {
            request["job_id"] = job["id"].clone();
            request["lease"] = json!(uuid::Uuid::new_v4());
        }
        server.post("/api/job/execute", request).await.1
    };
    let processes = json!({ "executor": "process" });
    assert_eq!(claim(processes.clone(), Some(&view["jobs"][0])).await["kind"], "nothing");
    assert_eq!(claim(json!({}), Some(&view["jobs"][1])).await["kind"], "nothing");
    assert_eq!(claim(processes.clone(), None).await["assignment"]["job_name"], "b");
    assert_eq!(claim(processes, None).await["kind"], "nothing");
    assert_eq!(claim(json!({}), None).await["assignment"]["job_name"], "a");
}
