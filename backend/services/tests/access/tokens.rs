//! Creation, use, limits and revocation of tokens.

use super::server::{BOOT, PIPELINE, Server, text};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_core::{
    access::{Scope, TokenRequest},
    api::path,
};
use tidemill_services::http::{ClientAddress, TokenVerifier};
use tidemill_services::{Caller, Services, Settings};
use tidemill_testkit::conformance::ManualClock;
use tidemill_testkit::memory::open;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn token_is_shown_once_and_revocable() {
    let server = Server::start();
    let request = json!({ "name": "bot", "scopes": ["run"], "repo": "ours", "expire_in_s": 86_400 });
    let created = server.ok(BOOT, "POST", path::TOKENS, request).await;
    let token = text(&created["token"]);
    let list = async || server.ok(BOOT, "GET", path::TOKENS, Value::Null).await;
    let listed = list().await.to_string();
    assert!(!listed.contains(&token) && listed.contains("\"last_used_at\":null"), "{listed}");
    server.ok(&token, "GET", path::EXECUTIONS, Value::Null).await;
    let used = list().await["tokens"][0]["last_used_at"].clone();
    assert!(used.is_string());
    server.clock.advance(1_800_000);
    server.ok(&token, "GET", path::EXECUTIONS, Value::Null).await;
    assert_eq!(list().await["tokens"][0]["last_used_at"], used, "it is updated at most once per hour");
    server.clock.advance(3_600_000);
    server.ok(&token, "GET", path::EXECUTIONS, Value::Null).await;
    assert_ne!(list().await["tokens"][0]["last_used_at"], used);
    let url = path::TOKEN.replace("{tokenId}", created["view"]["id"].as_str().unwrap());
    server.ok(BOOT, "DELETE", &url, Value::Null).await;
    let reply = server.call(Some(&token), "GET", path::EXECUTIONS, Value::Null).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.call(Some(BOOT), "DELETE", &url, Value::Null).await.status, StatusCode::NOT_FOUND);
    for invalid in [
        json!({ "name": "", "scopes": ["run"] }),
        json!({ "name": "x", "scopes": [] }),
        json!({ "name": "x", "scopes": ["everything"] }),
        json!({ "name": "x", "scopes": ["worker"], "repo": "r" }),
        json!({ "name": "x", "scopes": ["run"], "expire_in_s": 0 }),
        json!({ "name": "x", "scopes": ["run"], "expire_in_s": u64::MAX }),
        json!({ "name": "a\nb", "scopes": ["run"] }),
    ] {
        let reply = server.call(Some(BOOT), "POST", path::TOKENS, invalid.clone()).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{invalid}: {}", reply.body);
    }
}

#[tokio::test]
async fn revocation_applies_in_other_process() {
    let clock: Arc<ManualClock> = Arc::default();
    let stores = open(clock.clone());
    let services = || Services::new(stores.clone(), Settings::default(), CancellationToken::new());
    let (one, other) = (services(), services());
    let request =
        TokenRequest { name: "t".into(), scopes: [Scope::Read].into(), repo: None, expire_in_s: None };
    let created = one.tokens.create(request, &Caller::bootstrap(Scope::Admin)).await.unwrap();
    let is_known =
        async |services: &Services| services.tokens.caller(created.token.as_bytes()).await.unwrap().is_some();
    assert!(is_known(&one).await && is_known(&other).await);
    one.tokens.revoke(created.view.id).await.unwrap();
    assert!(!is_known(&one).await);
    clock.advance(10_000);
    assert!(!is_known(&other).await);
}

#[tokio::test]
async fn run_token_sources_are_limited_to_its_repository() {
    let server = Server::start();
    let token = server.token(&[Scope::Run], Some("https://x/ours.git"), None).await.token;
    let execute = async |repo: &str, url: &str| {
        let source =
            json!({ "kind": "git", "url": url, "commit": "c".repeat(40), "branch": null, "tree": null });
        let body = json!({ "pipeline": PIPELINE, "repo": repo, "source": source });
        server.call(Some(&token), "POST", path::EXECUTE, body).await.status
    };
    assert_eq!(execute("https://x/ours.git", "https://x/theirs.git").await, StatusCode::FORBIDDEN);
    assert_eq!(execute("https://x/theirs.git", "https://x/ours.git").await, StatusCode::FORBIDDEN);
    assert_eq!(execute("https://x/ours.git", "https://x/ours.git").await, StatusCode::CREATED);
}

#[tokio::test]
async fn worker_artifact_download_requires_lease() {
    let server = Server::start();
    let worker = server.token(&[Scope::Worker], None, None).await.token;
    server.run("ours").await;
    let ids = server.upload_artifact(&worker).await;
    let end = json!({ "job_id": ids.job, "lease": ids.lease, "end": { "failure": null, "exit_code": 0 } });
    server.ok(&worker, "POST", path::JOB_STATUS, end).await;
    let claim = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } });
    let next = server.ok(&worker, "POST", path::JOB_EXECUTE, claim.clone()).await;
    let url = text(&next["assignment"]["needs_artifacts"][0]["url"]);
    server.run("theirs").await;
    let theirs = server.ok(&worker, "POST", path::JOB_EXECUTE, claim).await;
    let get = async |url: &str| server.call(Some(&worker), "GET", url, Value::Null).await.status;
    assert_eq!(get(&url).await, StatusCode::OK);
    let bare = url.split('?').next().unwrap();
    assert_eq!(get(bare).await, StatusCode::FORBIDDEN);
    let old = format!("{bare}?job={}&lease={}", ids.job, ids.lease);
    assert_eq!(get(&old).await, StatusCode::CONFLICT, "that attempt has ended");
    let (job, lease) =
        (text(&theirs["assignment"]["preparation"]["job_id"]), text(&theirs["assignment"]["lease"]["token"]));
    assert_eq!(get(&format!("{bare}?job={job}&lease={lease}")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn export_is_for_administrators_and_limited_to_the_repository_of_a_token() {
    let server = Server::start();
    for repo in ["ours", "theirs"] {
        server.run(repo).await;
    }
    let repos = async |token: &str, query: &str| {
        let reply = server.ok(token, "GET", &format!("{}{query}", path::EXPORT), Value::Null).await;
        let executions = reply["executions"].as_array().unwrap();
        executions.iter().map(|row| text(&row["repo"])).collect::<Vec<_>>()
    };
    assert_eq!(repos(BOOT, "").await, ["theirs", "ours"]);
    assert_eq!(repos(BOOT, "?repo=ours").await, ["ours"]);
    let ours = server.token(&[Scope::Admin], Some("ours"), None).await.token;
    assert_eq!(repos(&ours, "").await, ["ours"]);
    let status = async |token: &str, query: &str| {
        server.call(Some(token), "GET", &format!("{}{query}", path::EXPORT), Value::Null).await.status
    };
    assert_eq!(status(&ours, "?repo=theirs").await, StatusCode::FORBIDDEN);
    let reader = server.token(&[Scope::Read], None, None).await.token;
    assert_eq!(status(&reader, "").await, StatusCode::FORBIDDEN);
    for invalid in ["?cursor=x", "?limit=0", "?limit=2001", "?since=yesterday"] {
        assert_eq!(status(BOOT, invalid).await, StatusCode::BAD_REQUEST, "{invalid}");
    }
    let audited = server.ok(BOOT, "GET", path::AUDIT, Value::Null).await.to_string();
    assert!(audited.contains("records.export"), "{audited}");
}

#[tokio::test]
async fn export_from_any_cursor_on_is_audited() {
    let server = Server::start();
    server.run("ours").await;
    let all = format!("{}?cursor=ffffffff-ffff-ffff-ffff-ffffffffffff", path::EXPORT);
    let rows = server.ok(BOOT, "GET", &all, Value::Null).await;
    assert_eq!(rows["executions"].as_array().unwrap().len(), 1, "a cursor may be of the caller's choice");
    let audited = server.ok(BOOT, "GET", path::AUDIT, Value::Null).await.to_string();
    assert!(audited.contains("records.export"), "{audited}");
}

#[tokio::test]
async fn rate_limited_caller_gets_retry_after() {
    let server = Server::with_verifier(TokenVerifier::from_token(BOOT).with_rate_limit(1));
    let token = server.token(&[Scope::Read], None, None).await.token;
    for _ in 0..4 {
        server.ok(&token, "GET", path::EXECUTIONS, Value::Null).await;
    }
    let reply = server.call(Some(&token), "GET", path::EXECUTIONS, Value::Null).await;
    assert_eq!(
        (reply.status, &reply.body["type"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("tidemill:too-many"))
    );
    assert_eq!(reply.headers["retry-after"], "1");
    server.ok(BOOT, "GET", path::EXECUTIONS, Value::Null).await;
    let from = |address: [u8; 4], token: &str| {
        let request = Request::get(path::EXECUTIONS)
            .extension(ClientAddress(address.into()))
            .header("authorization", format!("Bearer {token}"));
        server.send(request.body(Body::empty()).unwrap())
    };
    for _ in 0..10 {
        assert_eq!(from([192, 0, 2, 1], "wrong").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(from([192, 0, 2, 1], "wrong").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from([192, 0, 2, 2], "wrong").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(from([192, 0, 2, 1], BOOT).await.status, StatusCode::OK, "a valid token is accepted");
}
