//! Rejected requests and the OpenAPI document.

use super::server::Server;
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tidemill_services::http::{ROUTES, TokenVerifier, openapi_document, router};
use tower::ServiceExt;

#[tokio::test(flavor = "multi_thread")]
async fn worker_token_can_only_run_jobs() {
    let server = Server::start(30_000);
    let token_hash = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    let api = router(server.services.clone(), TokenVerifier::from_hashes([], [token_hash]).unwrap());
    let send = async |token: &str, method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::from(body.to_string())).unwrap();
        api.clone().oneshot(request).await.unwrap().status()
    };
    let claim = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } });
    assert_eq!(send("one", "POST", "/api/job/execute", claim.clone()).await, StatusCode::OK);
    assert_eq!(send("two", "POST", "/api/job/execute", claim).await, StatusCode::UNAUTHORIZED);
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
        assert_eq!(send("one", method, &path, json!({})).await, StatusCode::FORBIDDEN, "{path}");
    }
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
    let (status, problem) = server.post("/api/role/remove", json!([null, null])).await;
    assert_eq!((status, &problem["type"]), (StatusCode::BAD_REQUEST, &json!("tidemill:invalid-request")));
    let large = json!({ "pipeline": "x".repeat(17 << 20), "repo": "r", "source": { "kind": "none" } });
    assert_eq!(server.post("/api/pipeline/execute", large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let request = Request::get("/api/pipeline/executions").body(Body::empty()).unwrap();
    let reply = server.api.clone().oneshot(request).await.unwrap();
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
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
