//! What a token of one repository sees of a pipeline that a job of it started in another one.

use super::server::{BOOT, Server, text};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidemill_core::{access::Scope, api::path};

const OURS: &str = "https://git.example/ours";
const THEIRS: &str = "https://git.example/theirs";

#[tokio::test]
async fn token_of_one_repository_sees_only_that_another_one_was_started() {
    let server = Server::start();
    let registration = json!({ "url": THEIRS, "provider": "gitea", "allow_trigger_from": [OURS] });
    let bot = server.token(&[Scope::Run], Some(OURS), None).await.token;
    let denied = server.call(Some(&bot), "PUT", path::REPOSITORIES, registration.clone()).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "only administrators allow it");
    let registered = server.ok(BOOT, "PUT", path::REPOSITORIES, registration).await;
    assert_eq!(registered["repository"]["allow_trigger_from"], json!(["git.example/ours"]));
    let own = json!({ "url": THEIRS, "provider": "gitea", "allow_trigger_from": ["git.example/theirs"] });
    let refused = server.call(Some(BOOT), "PUT", path::REPOSITORIES, own).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "its own jobs need no permission");

    let pipeline = "{ name: p, jobs: { go: { pipeline: { repository: theirs, branch: main } } } }";
    let run = json!({ "pipeline": pipeline, "repo": OURS, "source": { "kind": "none" } });
    let id = text(&server.ok(&bot, "POST", path::EXECUTE, run).await["execution_id"]);
    let worker = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } });
    let claimed = server.ok(BOOT, "POST", path::JOB_EXECUTE, worker).await;
    let assignment = &claimed["assignment"];
    assert_eq!(assignment["extras"]["child"]["pipeline"]["repository"], "theirs");
    let report = json!({
        "job_id": assignment["preparation"]["job_id"], "lease": assignment["lease"]["token"],
        "path": "theirs", "text": ""
    });
    let denied = server.call(Some(&bot), "POST", path::CHILD_REPORT, report.clone()).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "only workers report");
    let started = text(&server.ok(BOOT, "POST", path::CHILD_REPORT, report).await["execution"]);

    let status = |id: &str| path::STATUS.replace("{executionId}", id);
    let shown = server.ok(&bot, "GET", &status(&id), Value::Null).await;
    let child = &shown["jobs"][0]["child"];
    assert_eq!(
        (child["execution_id"].as_str(), child["status"].as_str()),
        (Some(&*started), Some("PENDING"))
    );
    assert_eq!(child["pipeline_name"], "discover");
    assert!(!shown.to_string().contains("git.example/theirs"), "{shown}");
    for (method, url) in
        [("GET", status(&started)), ("POST", path::CANCEL_EXECUTION.replace("{executionId}", &started))]
    {
        let reply = server.call(Some(&bot), method, &url, Value::Null).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method} {url}");
    }
    let listed = server.ok(&bot, "GET", path::EXECUTIONS, Value::Null).await;
    assert_eq!(listed["executions"].as_array().unwrap().len(), 1, "{listed}");
    let seen = server.ok(BOOT, "GET", &status(&started), Value::Null).await;
    assert_eq!(seen["execution"]["repo"], THEIRS);
}
