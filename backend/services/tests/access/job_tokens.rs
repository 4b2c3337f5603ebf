//! The token of a running job.

use super::routes::{route_body, route_url};
use super::server::{BOOT, PIPELINE, Server, mistyped, text};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidemill_core::{access::Scope, api::path};
use tidemill_services::http::{ROUTES, TokenVerifier, Within};

/// Every operation by a job's token: it may do what a token of scope `read` for the job's repository may.
#[tokio::test]
async fn job_token_only_reads_and_only_its_repository() {
    let server = Server::with_verifier(TokenVerifier::from_token(BOOT).with_rate_limit(0));
    let execution = server.run("ours").await;
    let ours = server.upload_artifact(BOOT).await;
    let other_execution = server.run("theirs").await;
    let theirs = server.upload_artifact(BOOT).await;
    let victim = server.token(&[Scope::Read], None, None).await.view.id.to_string();
    let before = server.state().await;
    let mut allowed = 0;
    for route in ROUTES.iter().filter(|route| !route.need.is_empty()) {
        let operation = format!("{} {}", route.method, route.path);
        let body = || route_body(route, "ours", &ours);
        let url = route_url(route, &execution, &ours, &victim);
        let own = server.call(Some(&ours.job_token), route.method, &url, body()).await;
        let foreign = server.call(Some(&theirs.job_token), route.method, &url, body()).await;
        if !route.need.contains(&Scope::Read) || route.within == Within::Forbidden {
            for reply in [own, foreign] {
                assert_eq!(reply.status, StatusCode::FORBIDDEN, "{operation}: {}", reply.body);
            }
            continue;
        }
        allowed += 1;
        // A link changes nothing: it is sealed, and stored nowhere.
        assert!(route.method == "GET" || route.path == path::ARTIFACT_LINK, "{operation} is not for jobs");
        let rejected = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
        let has_none = [path::TESTS, path::SUMMARY_TEXT, path::ARTIFACT_FILE].contains(&route.path);
        assert!(has_none || !rejected.contains(&own.status), "{operation}: {} {}", own.status, own.body);
        match route.within {
            Within::Path => assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{operation}"),
            _ => assert!(!foreign.body.to_string().contains(&execution), "{operation}: {}", foreign.body),
        }
    }
    assert!(allowed >= 6, "only {allowed} operations");
    assert_eq!(server.state().await, before);
    let listed = server.ok(&theirs.job_token, "GET", path::EXECUTIONS, Value::Null).await;
    assert_eq!(listed["executions"].as_array().unwrap().len(), 1);
    assert_eq!(listed["executions"][0]["id"], json!(other_execution));
}

#[tokio::test]
async fn job_token_ends_with_attempt_and_is_recorded_nowhere() {
    let server = Server::start();
    let execution = server.run("ours").await;
    let ids = server.upload_artifact(BOOT).await;
    let status = path::STATUS.replace("{executionId}", &execution);
    server.ok(&ids.job_token, "GET", &status, Value::Null).await;
    let wrong = server.call(Some(&mistyped(&ids.job_token)), "GET", &status, Value::Null).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(!server.state().await.to_string().contains(&ids.job_token));
    assert!(!ids.job_token.contains(&ids.lease));

    let end = json!({ "job_id": ids.job, "lease": ids.lease, "end": { "failure": null, "exit_code": 0 } });
    server.ok(BOOT, "POST", path::JOB_STATUS, end).await;
    let ended = server.call(Some(&ids.job_token), "GET", &status, Value::Null).await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED, "{}", ended.body);

    // An expired lease ends it before anyone notices that the worker is lost.
    let server = Server::start();
    let execution = server.run("ours").await;
    let ids = server.upload_artifact(BOOT).await;
    let status = path::STATUS.replace("{executionId}", &execution);
    server.ok(&ids.job_token, "GET", &status, Value::Null).await;
    server.clock.advance(3_600_000);
    let expired = server.call(Some(&ids.job_token), "GET", &status, Value::Null).await;
    assert_eq!(expired.status, StatusCode::UNAUTHORIZED, "{}", expired.body);
}

#[tokio::test]
async fn job_token_is_given_only_on_request() {
    let worker = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } });
    for (secrets, expected) in [
        ("[]", &[][..]),
        ("'*'", &["TIDEMILL_JOB_TOKEN", "CI_JOB_TOKEN"]),
        ("[{ name: TIDEMILL_JOB_TOKEN, variable: MINE }]", &["MINE"]),
    ] {
        let server = Server::start();
        server.services.set_public_url("https://ci.example.org/");
        let pipeline = PIPELINE.replace("secrets: [TIDEMILL_JOB_TOKEN]", &format!("secrets: {secrets}"));
        let body = json!({ "pipeline": pipeline, "repo": "ours", "source": { "kind": "none" } });
        server.ok(BOOT, "POST", path::EXECUTE, body).await;
        let claimed = server.ok(BOOT, "POST", path::JOB_EXECUTE, worker.clone()).await;
        let assignment = &claimed["assignment"];
        let given = assignment["extras"]["secrets"].as_array().cloned().unwrap_or_default();
        let names: Vec<String> = given.iter().map(|secret| text(&secret["variable"])).collect();
        assert_eq!(names, expected, "{secrets}");
        assert!(given.iter().all(|secret| secret["unmasked"].as_bool() != Some(true)), "it is masked");
        let address = if expected.is_empty() { Value::Null } else { json!("https://ci.example.org") };
        assert_eq!(assignment["variables"]["TIDEMILL_SERVER"], address, "{secrets}");
    }
    // Jobs cannot reach the address of a local run.
    let server = Server::start();
    server.services.set_public_url("http://127.0.0.1:7600");
    let body = json!({ "pipeline": PIPELINE, "repo": "ours", "source": { "kind": "none" } });
    server.ok(BOOT, "POST", path::EXECUTE, body).await;
    let claimed = server.ok(BOOT, "POST", path::JOB_EXECUTE, worker).await;
    assert_eq!(claimed["assignment"]["extras"]["secrets"][0]["variable"], "TIDEMILL_JOB_TOKEN");
    assert_eq!(claimed["assignment"]["variables"]["TIDEMILL_SERVER"], Value::Null, "{claimed}");
    let request = json!({ "repo": "ours", "name": "TIDEMILL_JOB_TOKEN", "value": "value" });
    let reply = server.call(Some(BOOT), "POST", path::SECRETS, request).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.body);
}
