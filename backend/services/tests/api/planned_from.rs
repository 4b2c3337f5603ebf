//! What an execution was planned from: its pipeline file, and the jobs that its rules exclude.

use super::server::Server;
use axum::http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tidemill_core::access::{Scope, TokenRequest};
use tidemill_core::api::path;
use tidemill_services::Caller;

const FILE: &str = "name: many
jobs:
  always: { image: i, script: [a] }
  nightly: { image: i, script: [b], if: event == \"schedule\" }
  wide:
    image: i
    script: [c]
    matrix: { n: MANY }
    rules: [{ if: \"env(\\\"n\\\") == \\\"0\\\"\" }]
";

/// Returns [`FILE`] with a matrix of `variants`.
fn file(variants: usize) -> String {
    let values: Vec<String> = (0..variants).map(|n| format!("\"{n}\"")).collect();
    FILE.replace("MANY", &format!("[{}]", values.join(", ")))
}

async fn start(server: &Server, pipeline: &str) -> String {
    let request = json!({
        "pipeline": pipeline, "file": ".pipelines/many.yml", "repo": "https://git.example.org/team/app",
        "source": { "kind": "none" }, "variables": { "LEVEL": "high" }
    });
    let (status, created) = server.post(path::EXECUTE, request).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    created["execution_id"].as_str().unwrap().to_owned()
}

async fn get(server: &Server, path: &str, id: &str) -> (StatusCode, Value) {
    server.call(Method::GET, &path.replace("{executionId}", id), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pipeline_file_is_shown_as_planned_without_masked_values() {
    let server = Server::start(30_000);
    let repo = "https://git.example.org/team/app";
    for (name, masked) in [("REGION", false), ("TOKEN", true)] {
        let options = json!({ "masked": masked, "protected": false, "file": false, "forks": false });
        let body = json!({ "repo": repo, "name": name, "value": "a-value-of-it", "variable": options });
        let (status, reply) = server.post(path::SECRETS, body).await;
        assert!(status.is_success(), "{reply}");
    }
    let text = file(3);
    let id = start(&server, &text).await;
    let (status, shown) = get(&server, path::PIPELINE_FILE, &id).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    assert_eq!((&shown["path"], &shown["content"]), (&json!(".pipelines/many.yml"), &json!(text)));
    let mut variables = shown["variables"].as_array().unwrap().clone();
    variables.sort_by_key(|variable| variable["name"].to_string());
    assert_eq!(
        variables,
        [
            json!({ "name": "LEVEL", "value": "high", "source": "request" }),
            json!({ "name": "REGION", "value": "a-value-of-it", "source": "repository" }),
        ]
    );
    let unknown = uuid::Uuid::now_v7().to_string();
    assert_eq!(get(&server, path::PIPELINE_FILE, &unknown).await.0, StatusCode::NOT_FOUND);
}

/// A read token, and with it any job's token, may not learn the value of a protected variable.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_the_repositorys_variables_are_only_for_who_may_start_executions() {
    let server = Server::start(30_000);
    let repo = "https://git.example.org/team/app";
    let options = json!({ "masked": false, "protected": true, "file": false, "forks": false });
    let body = json!({ "repo": repo, "name": "REGION", "value": "a-protected-value", "variable": options });
    assert!(server.post(path::SECRETS, body).await.0.is_success());
    let request = json!({
        "pipeline": file(3), "repo": repo, "source": { "kind": "none" }, "variables": { "LEVEL": "high" },
        "branch": "main", "default_branch": "main"
    });
    let (status, created) = server.post(path::EXECUTE, request).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    let url = path::PIPELINE_FILE.replace("{executionId}", created["execution_id"].as_str().unwrap());
    for (scope, value) in [
        (Scope::Read, Value::Null),
        (Scope::Run, json!("a-protected-value")),
        (Scope::Admin, json!("a-protected-value")),
    ] {
        let request = TokenRequest {
            name: "t".into(),
            scopes: [scope].into(),
            repo: Some(repo.into()),
            expire_in_s: None,
        };
        let token = server.services.tokens.create(request, &Caller::bootstrap(Scope::Admin)).await.unwrap();
        let reply = server.reply_with(&url, &token.token).await;
        let shown = reply.into_body().collect().await.unwrap().to_bytes();
        let shown: Value = serde_json::from_slice(&shown).unwrap();
        let of = |name: &str| {
            let all = shown["variables"].as_array().unwrap();
            all.iter().find(|one| one["name"] == name).unwrap()["value"].clone()
        };
        assert_eq!((of("REGION"), of("LEVEL")), (value, json!("high")), "{scope:?}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_jobs_are_listed_with_reasons_and_bounded() {
    let server = Server::start(30_000);
    let id = start(&server, &file(3)).await;
    let (status, shown) = get(&server, path::EXCLUDED_JOBS, &id).await;
    assert_eq!((status, &shown["total"]), (StatusCode::OK, &json!(3)), "{shown}");
    assert_eq!(
        shown["jobs"][0],
        json!({ "job_name": "nightly", "reason": "`event == \"schedule\"` does not hold" })
    );
    assert_eq!(shown["jobs"][1]["job_name"], "wide [n=1]", "{shown}");
    let text = file(256);
    let (_, wide) = text.split_once("  wide:").unwrap();
    let more = format!("  wider:{wide}  widest:{wide}");
    let id = start(&server, &(text.clone() + &more)).await;
    let (_, shown) = get(&server, path::EXCLUDED_JOBS, &id).await;
    assert_eq!((shown["jobs"].as_array().unwrap().len(), &shown["total"]), (500, &json!(1 + 3 * 255)));
}
