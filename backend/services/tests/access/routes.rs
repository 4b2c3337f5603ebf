//! Scopes of routes: every route with every kind of token, and their documentation.

use super::server::{BOOT, FixtureIds, PIPELINE, Server, mistyped};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::{access::Scope, api::path};
use tidemill_services::http::{ROUTES, Route, TokenVerifier, Within, openapi_document};

/// Returns the URL of a route with ids of existing objects.
pub fn route_url(route: &Route, execution: &str, ids: &FixtureIds, token: &str) -> String {
    let hash = "ab".repeat(32);
    let mut path = route.path.to_owned();
    for (name, value) in [
        ("{executionId}", execution),
        ("{jobId}", &ids.job),
        ("{artifactId}", &ids.artifact),
        ("{tokenId}", token),
    ] {
        path = path.replace(name, value);
    }
    // Objects of other parameters do not exist; access is checked before that matters.
    while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
        path.replace_range(from..=to, &hash);
    }
    if route.path == path::ARTIFACT_CONTENT {
        path = format!("{path}?job={}&lease={}", ids.job, ids.lease);
    }
    let by_name = [
        (path::SECRETS, "GET"),
        (path::VARIABLES, "GET"),
        (path::REGISTRIES, "GET"),
        (path::ENVIRONMENTS, "GET"),
        (path::PROTECTIONS, "GET"),
        (path::INSIGHTS, "GET"),
        (path::EXPORT, "GET"),
        (path::REPOSITORIES, "DELETE"),
        (path::DELIVERIES, "GET"),
        (path::RETENTION, "GET"),
    ];
    if by_name.contains(&(route.path, route.method)) {
        path = format!("{path}?repo=ours");
    }
    if [path::EVENTS, path::LIST_EVENTS].contains(&route.path) {
        path = format!("{path}?wait_ms=0");
    }
    if route.path == path::ARTIFACT_FILE {
        path = format!("{path}?path=out");
    }
    if route.path == path::CACHE_CONTENT {
        path = format!("{path}?lease={}&object={}&key=aw", ids.lease, ids.artifact);
    }
    path
}

/// Returns a body that a route accepts.
pub fn route_body(route: &Route, repo: &str, ids: &FixtureIds) -> Value {
    match route.path {
        path::EXECUTE => {
            json!({ "pipeline": PIPELINE, "repo": repo, "source": { "kind": "none" }, "force": true })
        }
        path::JOB_EXECUTE => json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } }),
        path::JOB_STATUS => json!({ "job_id": ids.job, "lease": ids.lease, "end": {} }),
        path::ARTIFACT_UPLOAD => {
            json!({ "job_id": ids.job, "lease": ids.lease, "file_path": "x", "files": [] })
        }
        path::SECRETS => json!({ "repo": repo, "name": "NAME", "value": "value" }),
        path::REPOSITORIES => {
            json!({ "url": format!("https://git.example.org/{repo}"), "provider": "github" })
        }
        path::SYNC | path::REDELIVER | path::BADGES | path::REVOKE_BADGE => json!({ "repo": repo }),
        path::CHILD_REPORT => {
            json!({ "job_id": ids.job, "lease": ids.lease, "path": "a.yml", "text": "" })
        }
        path::DISCOVERY_REPORT => json!({ "job_id": ids.job, "lease": ids.lease, "commit": "", "files": [] }),
        path::STOP_ENVIRONMENT => json!({ "repo": repo, "name": "production" }),
        path::PROTECTIONS => json!({ "repo": repo, "environment": "production", "approvals": 1 }),
        path::UNPROTECT_ENVIRONMENT => json!({ "repo": repo, "environment": "production" }),
        path::REMOVE_SECRET => json!({ "repo": repo, "name": "NAME" }),
        path::REGISTRIES => {
            json!({ "repo": repo, "registry": "r.example", "username": "u", "password": "p" })
        }
        path::REMOVE_REGISTRY => json!({ "repo": repo, "registry": "r.example" }),
        path::JOB_TESTS => {
            let counts =
                json!({ "tests": 1, "failures": 0, "errors": 0, "skipped": 0, "flaky": 0, "duration_ms": 1 });
            json!({ "job_id": ids.job, "lease": ids.lease, "report": { "counts": counts } })
        }
        path::JOB_SUMMARY => json!({ "job_id": ids.job, "lease": ids.lease, "markdown": "x" }),
        path::CACHE_LOOKUP => json!({ "job_id": ids.job, "lease": ids.lease, "keys": ["k"] }),
        path::SOURCE_UPLOAD => json!({ "upload": "cd".repeat(48), "size": 3 }),
        path::TOKENS => json!({ "name": "mine", "scopes": ["admin"] }),
        path::WORKER_REPORT => {
            let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
            json!({ "worker": worker, "version": "1", "slots": 1 })
        }
        path::WORKER_DRAIN | path::WORKER_REMOVE => json!({ "worker": "w" }),
        path::RETENTION => json!({ "repo": repo, "settings": { "rule": { "days": 90 } } }),
        path::PIN => json!({ "pinned": false }),
        path::REDELIVER_DELIVERY => json!({ "repo": repo, "id": "00" }),
        path::RUN_PIPELINE | path::RUN_SCHEDULE => json!({ "repo": repo, "path": "a.yml" }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn operations_reject_wrong_scopes() {
    let server = Server::with_verifier(TokenVerifier::from_token(BOOT).with_rate_limit(0));
    let execution = server.run("ours").await;
    let ids = server.upload_artifact(BOOT).await;
    let other = server.run("theirs").await;
    let admin = server.token(&[Scope::Admin], None, None).await;
    let revoked = server.token(&[Scope::Admin], None, None).await;
    let expired = server.token(&[Scope::Admin], None, Some(60)).await;
    let mut of_scope = BTreeMap::new();
    for scope in Scope::ALL {
        of_scope.insert(scope, server.token(&[scope], None, None).await.token);
    }
    // Both tokens are used, and so cached, before they become invalid.
    for token in [&revoked, &expired] {
        server.ok(&token.token, "GET", path::EXECUTIONS, Value::Null).await;
    }
    let revoke = path::TOKEN.replace("{tokenId}", &revoked.view.id.to_string());
    server.ok(&admin.token, "DELETE", &revoke, Value::Null).await;
    server.clock.advance(60_000);
    let mistyped = mistyped(&admin.token);
    let all: BTreeSet<Scope> = Scope::ALL.into();
    let limited = server.token(&[Scope::Run], Some("theirs"), None).await.token;
    let limited_admin = server.token(&[Scope::Admin], Some("theirs"), None).await.token;
    let before = server.state().await;
    let mut calls = 0;
    for route in ROUTES.iter().filter(|route| !route.need.is_empty()) {
        let call = |token: Option<String>| {
            let path = route_url(route, &execution, &ids, &admin.view.id.to_string());
            let body = route_body(route, "ours", &ids);
            let server = &server;
            async move { server.call(token.as_deref(), route.method, &path, body).await }
        };
        let operation = format!("{} {}", route.method, route.path);
        let invalid = ["", "garbage", "tm_", &mistyped, &revoked.token, &expired.token];
        for token in invalid.into_iter().map(|token| Some(token.to_owned())).chain([None]) {
            let case = format!("{operation} with {token:?}");
            let reply = call(token).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{case}: {}", reply.body);
            assert_eq!(reply.body["type"], "tidemill:unauthorized", "{case}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer realm=\"tidemill\"", "{case}");
            calls += 1;
        }
        for scope in all.iter().filter(|scope| !route.need.contains(scope)) {
            let reply = call(Some(of_scope[scope].clone())).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{operation} with {scope}: {}", reply.body);
            calls += 1;
        }
        // A token for another repository.
        let expected: &[StatusCode] = match route.within {
            Within::Path => &[StatusCode::NOT_FOUND],
            Within::Itself
                if route.method == "GET"
                    && ![
                        path::SECRETS,
                        path::VARIABLES,
                        path::REGISTRIES,
                        path::ENVIRONMENTS,
                        path::PROTECTIONS,
                        path::INSIGHTS,
                        path::EXPORT,
                        path::RETENTION,
                        path::DELIVERIES,
                    ]
                    .contains(&route.path) =>
            {
                &[StatusCode::OK]
            }
            Within::Itself | Within::Forbidden => &[StatusCode::FORBIDDEN],
            Within::None => continue,
        };
        let token = if route.need.contains(&Scope::Run) { &limited } else { &limited_admin };
        let reply = call(Some(token.clone())).await;
        assert!(
            expected.contains(&reply.status),
            "{operation} of another repository: {} {}",
            reply.status,
            reply.body
        );
        if reply.status == StatusCode::OK {
            assert!(
                !reply.body.to_string().contains(&execution),
                "{operation} shows the execution: {}",
                reply.body
            );
        }
        calls += 1;
    }
    assert!(calls > 150, "only {calls} calls");
    assert_eq!(server.state().await, before);
    let listed = server.ok(&limited, "GET", path::EXECUTIONS, Value::Null).await;
    assert_eq!(
        (listed["executions"].as_array().unwrap().len(), &listed["executions"][0]["id"]),
        (1, &json!(other))
    );
    let rejected =
        server.call(Some(&limited), "GET", "/api/pipeline/executions?repo=ours", Value::Null).await;
    assert_eq!(rejected.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn operations_accept_their_scopes() {
    for route in ROUTES {
        for scope in route.need {
            let server = Server::start();
            let execution = server.run("ours").await;
            let ids = server.upload_artifact(BOOT).await;
            let victim = server.token(&[Scope::Read], None, None).await.view.id.to_string();
            let token = server.token(&[*scope], None, None).await.token;
            let path = route_url(route, &execution, &ids, &victim);
            let path = if route.path == path::ARTIFACT_DOWNLOAD {
                format!("{path}?job={}&lease={}", ids.job, ids.lease)
            } else {
                path
            };
            let reply = server.call(Some(&token), route.method, &path, route_body(route, "ours", &ids)).await;
            let rejected = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&reply.status);
            assert!(!rejected, "{} {path} with {scope}: {} {}", route.method, reply.status, reply.body);
        }
    }
}

#[test]
fn documented_routes_match_router_and_openapi() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md")).unwrap();
    let table = text.split("<!-- routes -->").nth(1).unwrap().split("<!-- end of routes -->").next().unwrap();
    let documented: BTreeSet<String> =
        table.lines().filter(|line| line.contains("/api/")).map(str::to_owned).collect();
    let routed: BTreeSet<String> = ROUTES
        .iter()
        .map(|route| {
            let scopes: Vec<&str> = route.need.iter().map(|scope| scope.as_str()).collect();
            let scopes = if scopes.is_empty() { "none".to_owned() } else { scopes.join(", ") };
            let within = format!("{:?}", route.within).to_lowercase();
            format!("| {} | `{}` | {scopes} | {within} |", route.method, route.path)
        })
        .collect();
    let missing: Vec<_> = routed.difference(&documented).collect();
    let outdated: Vec<_> = documented.difference(&routed).collect();
    assert!(
        missing.is_empty() && outdated.is_empty(),
        "docs/security.md lacks {missing:#?} and has the outdated {outdated:#?}"
    );

    let document = openapi_document();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            described.insert((method.to_uppercase(), path.clone(), open));
        }
    }
    let routed: BTreeSet<(String, String, bool)> = ROUTES
        .iter()
        .map(|route| (route.method.to_owned(), route.path.to_owned(), route.need.is_empty()))
        .collect();
    assert_eq!(described, routed);
    assert_eq!(routed.len(), ROUTES.len(), "an operation is listed twice");
}

#[test]
fn openapi_document_describes_operations_and_their_errors() {
    let document = openapi_document();
    assert_eq!(document["servers"][0]["url"], "/");
    assert!(document["info"]["description"].as_str().unwrap().contains("worker-protocol.md"));
    let replies = document["components"]["responses"].as_object().unwrap();
    for route in ROUTES {
        let name = format!("{} {}", route.method, route.path);
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        assert!(operation["description"].as_str().unwrap().len() > 20, "{name}");
        let responses = operation["responses"].as_object().unwrap();
        for status in ["400", "429", "500", "default"] {
            assert!(responses.contains_key(status), "{name} lacks {status}");
        }
        assert_eq!(responses.contains_key("401"), !route.need.is_empty(), "{name}");
        assert_eq!(responses.contains_key("404"), route.path.contains('{'), "{name}");
        for reply in responses.values().filter_map(|reply| reply["$ref"].as_str()) {
            let reply = &replies[reply.strip_prefix("#/components/responses/").unwrap()];
            assert!(reply["content"]["application/problem+json"]["schema"].is_object(), "{name}: {reply}");
        }
    }
    let challenge = &replies["Unauthorized"]["headers"]["WWW-Authenticate"];
    assert!(challenge["description"].is_string(), "{challenge}");
}
