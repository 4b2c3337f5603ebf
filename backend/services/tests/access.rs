//! Who may call what: every operation with every token that does not fit, and what the audit record says.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use base64::Engine;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::Digest;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::{Arc, Mutex},
};
use tidemill_core::{
    access::{Scope, TokenReply, TokenRequest},
    api::path,
};
use tidemill_services::http::{
    ClientAddress, ROUTES, Route, TokenVerifier, Within, openapi_document, router,
};
use tidemill_services::{Caller, Services, Settings};
use tidemill_testkit::conformance::ManualClock;
use tidemill_testkit::memory::open;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const PIPELINE: &str = "
name: two
jobs:
  first: { image: i, script: [a], artifacts: { paths: [out] } }
  last: { image: i, script: [b], needs: [first] }
";
const BOOT: &str = "the-boot-token-of-this-test";

struct Server {
    api: Router,
    services: Services,
    clock: Arc<ManualClock>,
}

struct Reply {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Value,
}

impl Server {
    fn start() -> Self {
        Self::with(TokenVerifier::of_token(BOOT))
    }

    fn with(access: TokenVerifier) -> Self {
        let clock: Arc<ManualClock> = Arc::default();
        let services = Services::new(open(clock.clone()), Settings::default(), CancellationToken::new());
        Self { api: router(services.clone(), access), services, clock }
    }

    async fn call(&self, token: Option<&str>, method: &str, path: &str, body: Value) -> Reply {
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let reply = self.api.clone().oneshot(request).await.unwrap();
        let (status, headers) = (reply.status(), reply.headers().clone());
        let bytes = reply.into_body().collect().await.unwrap().to_bytes();
        Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    async fn ok(&self, token: &str, method: &str, path: &str, body: Value) -> Value {
        let reply = self.call(Some(token), method, path, body).await;
        assert!(reply.status.is_success(), "{method} {path}: {} {}", reply.status, reply.body);
        reply.body
    }

    async fn token(&self, scopes: &[Scope], repo: Option<&str>, expire_in_s: Option<u64>) -> TokenReply {
        let request = TokenRequest {
            name: "t".into(),
            scopes: scopes.iter().copied().collect(),
            repo: repo.map(str::to_owned),
            expire_in_s,
        };
        self.services.tokens.create(request, &Caller::bootstrap(Scope::Admin)).await.unwrap()
    }

    async fn run(&self, repo: &str) -> String {
        let body = json!({ "pipeline": PIPELINE, "repo": repo, "source": { "kind": "none" } });
        text(&self.ok(BOOT, "POST", path::EXECUTE, body).await["execution_id"])
    }

    /// Takes the first job and leaves an artifact of it.
    async fn work(&self, token: &str) -> FixtureIds {
        let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
        let taken = self.ok(token, "POST", path::JOB_EXECUTE, json!({ "worker": worker })).await;
        let assignment = &taken["assignment"];
        let (job, lease) = (text(&assignment["preparation"]["job_id"]), text(&assignment["lease"]["token"]));
        let announce = json!({ "job_id": job, "lease": lease, "file_path": "out", "files": [] });
        let place = self.ok(token, "POST", path::ARTIFACT_UPLOAD, announce.clone()).await;
        let put =
            Request::put(place["url"].as_str().unwrap()).header("authorization", format!("Bearer {token}"));
        assert!(self.send(put.body(Body::from("bytes")).unwrap()).await.status.is_success());
        let mut complete = announce;
        let sha256 = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";
        complete["complete"] = json!({ "artifact_id": place["artifact_id"], "size": 5, "sha256": sha256 });
        self.ok(token, "POST", path::ARTIFACT_UPLOAD, complete).await;
        FixtureIds { job, lease, artifact: text(&place["artifact_id"]) }
    }

    /// All that calls could change, as an admin sees it.
    async fn state(&self) -> Value {
        let executions = self.ok(BOOT, "GET", path::EXECUTIONS, Value::Null).await;
        let mut views = Vec::new();
        for execution in executions["executions"].as_array().unwrap() {
            let id = execution["id"].as_str().unwrap();
            let of_it = |path: &str| path.replace("{executionId}", id);
            views.push(self.ok(BOOT, "GET", &of_it(path::STATUS), Value::Null).await);
            views.push(self.ok(BOOT, "GET", &of_it(path::ARTIFACTS), Value::Null).await);
        }
        let mut tokens = self.ok(BOOT, "GET", path::TOKENS, Value::Null).await;
        for token in tokens["tokens"].as_array_mut().unwrap() {
            token["last_used_at"] = Value::Null;
        }
        let audit = self.ok(BOOT, "GET", path::AUDIT, Value::Null).await;
        let dead = self.ok(BOOT, "GET", path::DEAD_LETTERS, Value::Null).await;
        json!([executions, views, tokens, audit, dead])
    }
}

struct FixtureIds {
    job: String,
    lease: String,
    artifact: String,
}

/// A token with another last digit.
fn mistyped(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The address of a route with ids of things that are there.
fn filled(route: &Route, execution: &str, ids: &FixtureIds, token: &str) -> String {
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
    // What other parameters name is not there; a check comes before that shows.
    while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
        path.replace_range(from..=to, &hash);
    }
    if route.path == path::ARTIFACT_CONTENT {
        path = format!("{path}?job={}&lease={}", ids.job, ids.lease);
    }
    let by_name = [(path::SECRETS, "GET"), (path::REPOSITORIES, "DELETE")];
    if by_name.contains(&(route.path, route.method)) {
        path = format!("{path}?repo=ours");
    }
    if route.path == path::CACHE_CONTENT {
        path = format!("{path}?lease={}&object={}&key=aw", ids.lease, ids.artifact);
    }
    path
}

/// A body that a route would take.
fn body(route: &Route, repo: &str, ids: &FixtureIds) -> Value {
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
        path::SYNC | path::REDELIVER => json!({ "repo": repo }),
        path::DISCOVERED => json!({ "job_id": ids.job, "lease": ids.lease, "commit": "", "files": [] }),
        path::REMOVE_SECRET => json!({ "repo": repo, "name": "NAME" }),
        path::JOB_TESTS => {
            let counts =
                json!({ "tests": 1, "failures": 0, "errors": 0, "skipped": 0, "flaky": 0, "duration_ms": 1 });
            json!({ "job_id": ids.job, "lease": ids.lease, "report": { "counts": counts } })
        }
        path::CACHE_LOOKUP => json!({ "job_id": ids.job, "lease": ids.lease, "keys": ["k"] }),
        path::SOURCE_UPLOAD => json!({ "upload": "cd".repeat(48), "size": 3 }),
        path::TOKENS => json!({ "name": "mine", "scopes": ["admin"] }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn operations_reject_wrong_scopes() {
    let server = Server::with(TokenVerifier::of_token(BOOT).at_most(0));
    let execution = server.run("ours").await;
    let ids = server.work(BOOT).await;
    let other = server.run("theirs").await;
    let admin = server.token(&[Scope::Admin], None, None).await;
    let revoked = server.token(&[Scope::Admin], None, None).await;
    let expired = server.token(&[Scope::Admin], None, Some(60)).await;
    let mut of_scope = BTreeMap::new();
    for scope in Scope::ALL {
        of_scope.insert(scope, server.token(&[scope], None, None).await.token);
    }
    // Both were good, and looked up, before they were not.
    for token in [&revoked, &expired] {
        server.ok(&token.token, "GET", path::EXECUTIONS, Value::Null).await;
    }
    let revoke = path::TOKEN.replace("{tokenId}", &revoked.view.id.to_string());
    server.ok(&admin.token, "DELETE", &revoke, Value::Null).await;
    server.clock.turn(60_000);
    let mistyped = mistyped(&admin.token);
    let all: BTreeSet<Scope> = Scope::ALL.into();
    let here = server.token(&[Scope::Run], Some("theirs"), None).await.token;
    let everything_here = server.token(&[Scope::Admin], Some("theirs"), None).await.token;
    let before = server.state().await;
    let mut tried = 0;
    for route in ROUTES.iter().filter(|route| !route.need.is_empty()) {
        let call = |token: Option<String>| {
            let path = filled(route, &execution, &ids, &admin.view.id.to_string());
            let body = body(route, "ours", &ids);
            let server = &server;
            async move { server.call(token.as_deref(), route.method, &path, body).await }
        };
        let is = format!("{} {}", route.method, route.path);
        let wrong = ["", "garbage", "tm_", &mistyped, &revoked.token, &expired.token];
        for token in wrong.into_iter().map(|token| Some(token.to_owned())).chain([None]) {
            let said = format!("{is} with {token:?}");
            let reply = call(token).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{said}: {}", reply.body);
            assert_eq!(reply.body["type"], "tidemill:unauthorized", "{said}");
            tried += 1;
        }
        for scope in all.iter().filter(|scope| !route.need.contains(scope)) {
            let reply = call(Some(of_scope[scope].clone())).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{is} with {scope}: {}", reply.body);
            tried += 1;
        }
        // A token of another repository.
        let expected: &[StatusCode] = match route.within {
            Within::Path => &[StatusCode::NOT_FOUND],
            Within::Itself if route.method == "GET" && route.path != path::SECRETS => &[StatusCode::OK],
            Within::Itself | Within::Forbidden => &[StatusCode::FORBIDDEN],
            Within::None => continue,
        };
        let fits = if route.need.contains(&Scope::Run) { &here } else { &everything_here };
        let reply = call(Some(fits.clone())).await;
        assert!(expected.contains(&reply.status), "{is} of another: {} {}", reply.status, reply.body);
        if reply.status == StatusCode::OK {
            assert!(!reply.body.to_string().contains(&execution), "{is} shows it: {}", reply.body);
        }
        tried += 1;
    }
    assert!(tried > 150, "only {tried}");
    assert_eq!(server.state().await, before);
    let seen = server.ok(&here, "GET", path::EXECUTIONS, Value::Null).await;
    assert_eq!(
        (seen["executions"].as_array().unwrap().len(), &seen["executions"][0]["id"]),
        (1, &json!(other))
    );
    let asked = server.call(Some(&here), "GET", "/api/pipeline/executions?repo=ours", Value::Null).await;
    assert_eq!(asked.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn operations_accept_their_scopes() {
    for route in ROUTES {
        for scope in route.need {
            let server = Server::start();
            let execution = server.run("ours").await;
            let ids = server.work(BOOT).await;
            let victim = server.token(&[Scope::Read], None, None).await.view.id.to_string();
            let token = server.token(&[*scope], None, None).await.token;
            let path = filled(route, &execution, &ids, &victim);
            let path = if route.path == path::ARTIFACT_DOWNLOAD {
                format!("{path}?job={}&lease={}", ids.job, ids.lease)
            } else {
                path
            };
            let reply = server.call(Some(&token), route.method, &path, body(route, "ours", &ids)).await;
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&reply.status);
            assert!(!refused, "{} {path} with {scope}: {} {}", route.method, reply.status, reply.body);
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
            let scopes: Vec<&str> = route.need.iter().map(|scope| scope.word()).collect();
            let scopes = if scopes.is_empty() { "none".to_owned() } else { scopes.join(", ") };
            let within = format!("{:?}", route.within).to_lowercase();
            format!("| {} | `{}` | {scopes} | {within} |", route.method, route.path)
        })
        .collect();
    let missing: Vec<_> = routed.difference(&documented).collect();
    let untrue: Vec<_> = documented.difference(&routed).collect();
    assert!(
        missing.is_empty() && untrue.is_empty(),
        "docs/security.md lacks {missing:#?} and has {untrue:#?}"
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
    assert_eq!(routed.len(), ROUTES.len(), "an operation is there twice");
}

#[tokio::test]
async fn token_is_shown_once_and_revocable() {
    let server = Server::start();
    let make = json!({ "name": "bot", "scopes": ["run"], "repo": "ours", "expire_in_s": 86_400 });
    let made = server.ok(BOOT, "POST", path::TOKENS, make).await;
    let token = text(&made["token"]);
    let list = async || server.ok(BOOT, "GET", path::TOKENS, Value::Null).await;
    let listed = list().await.to_string();
    assert!(!listed.contains(&token) && listed.contains("\"last_used_at\":null"), "{listed}");
    server.ok(&token, "GET", path::EXECUTIONS, Value::Null).await;
    let used = list().await["tokens"][0]["last_used_at"].clone();
    assert!(used.is_string());
    server.clock.turn(1_800_000);
    server.ok(&token, "GET", path::EXECUTIONS, Value::Null).await;
    assert_eq!(list().await["tokens"][0]["last_used_at"], used, "to the hour");
    server.clock.turn(3_600_000);
    server.ok(&token, "GET", path::EXECUTIONS, Value::Null).await;
    assert_ne!(list().await["tokens"][0]["last_used_at"], used);
    let gone = path::TOKEN.replace("{tokenId}", made["view"]["id"].as_str().unwrap());
    server.ok(BOOT, "DELETE", &gone, Value::Null).await;
    let reply = server.call(Some(&token), "GET", path::EXECUTIONS, Value::Null).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.call(Some(BOOT), "DELETE", &gone, Value::Null).await.status, StatusCode::NOT_FOUND);
    for wrong in [
        json!({ "name": "", "scopes": ["run"] }),
        json!({ "name": "x", "scopes": [] }),
        json!({ "name": "x", "scopes": ["everything"] }),
        json!({ "name": "x", "scopes": ["worker"], "repo": "r" }),
        json!({ "name": "x", "scopes": ["run"], "expire_in_s": 0 }),
        json!({ "name": "x", "scopes": ["run"], "expire_in_s": u64::MAX }),
        json!({ "name": "a\nb", "scopes": ["run"] }),
    ] {
        let reply = server.call(Some(BOOT), "POST", path::TOKENS, wrong.clone()).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{wrong}: {}", reply.body);
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
    let made = one.tokens.create(request, &Caller::bootstrap(Scope::Admin)).await.unwrap();
    let is_known =
        async |services: &Services| services.tokens.caller(made.token.as_bytes()).await.unwrap().is_some();
    assert!(is_known(&one).await && is_known(&other).await);
    one.tokens.revoke(made.view.id).await.unwrap();
    assert!(!is_known(&one).await);
    clock.turn(10_000);
    assert!(!is_known(&other).await);
}

#[tokio::test]
async fn run_token_sources_are_limited_to_its_repository() {
    let server = Server::start();
    let token = server.token(&[Scope::Run], Some("https://x/ours.git"), None).await.token;
    let ask = async |repo: &str, url: &str| {
        let source =
            json!({ "kind": "git", "url": url, "commit": "c".repeat(40), "branch": null, "tree": null });
        let body = json!({ "pipeline": PIPELINE, "repo": repo, "source": source });
        server.call(Some(&token), "POST", path::EXECUTE, body).await.status
    };
    assert_eq!(ask("https://x/ours.git", "https://x/theirs.git").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("https://x/theirs.git", "https://x/ours.git").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("https://x/ours.git", "https://x/ours.git").await, StatusCode::CREATED);
}

#[tokio::test]
async fn worker_artifact_download_requires_lease() {
    let server = Server::start();
    let worker = server.token(&[Scope::Worker], None, None).await.token;
    server.run("ours").await;
    let ids = server.work(&worker).await;
    let end = json!({ "job_id": ids.job, "lease": ids.lease, "end": { "failure": null, "exit_code": 0 } });
    server.ok(&worker, "POST", path::JOB_STATUS, end).await;
    let ask = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } });
    let next = server.ok(&worker, "POST", path::JOB_EXECUTE, ask.clone()).await;
    let url = text(&next["assignment"]["needs_artifacts"][0]["url"]);
    server.run("theirs").await;
    let theirs = server.ok(&worker, "POST", path::JOB_EXECUTE, ask).await;
    let get = async |url: &str| server.call(Some(&worker), "GET", url, Value::Null).await.status;
    assert_eq!(get(&url).await, StatusCode::OK);
    let bare = url.split('?').next().unwrap();
    assert_eq!(get(bare).await, StatusCode::FORBIDDEN);
    let old = format!("{bare}?job={}&lease={}", ids.job, ids.lease);
    assert_eq!(get(&old).await, StatusCode::CONFLICT, "that attempt is over");
    let (job, lease) =
        (text(&theirs["assignment"]["preparation"]["job_id"]), text(&theirs["assignment"]["lease"]["token"]));
    assert_eq!(get(&format!("{bare}?job={job}&lease={lease}")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn rate_limited_caller_gets_retry_after() {
    let server = Server::with(TokenVerifier::of_token(BOOT).at_most(1));
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
    assert_eq!(from([192, 0, 2, 1], BOOT).await.status, StatusCode::OK, "a valid token is taken");
}

#[tokio::test]
async fn audit_log_lists_actions_newest_first() {
    let server = Server::start();
    let bot = server.token(&[Scope::Run], Some("ours"), None).await;
    let body = json!({ "pipeline": PIPELINE, "repo": "ours", "source": { "kind": "none" } });
    let id = text(&server.ok(&bot.token, "POST", path::EXECUTE, body.clone()).await["execution_id"]);
    server.ok(&bot.token, "POST", path::EXECUTE, body).await;
    server.clock.turn(1_000);
    let cancel = path::CANCEL_EXECUTION.replace("{executionId}", &id);
    for _ in 0..2 {
        server.ok(BOOT, "POST", &cancel, Value::Null).await;
    }
    server.clock.turn(1_000);
    let retry = path::RETRY.replace("{executionId}", &id);
    let again = text(&server.ok(BOOT, "POST", &retry, json!({})).await["execution_id"]);
    let list = async |query: &str| {
        let page = server.ok(BOOT, "GET", &format!("{}{query}", path::AUDIT), Value::Null).await;
        let entries = page["entries"].as_array().unwrap().clone();
        (entries, page["next_cursor"].as_str().map(str::to_owned))
    };
    let short = |entries: &[Value]| {
        let of = |entry: &Value| {
            format!("{} {} {}", text(&entry["who"]), text(&entry["action"]), text(&entry["target"]))
        };
        entries.iter().map(of).collect::<Vec<_>>()
    };
    let (all, _) = list("").await;
    let expected = [
        format!("admin execution.retry {id}"),
        format!("admin execution.cancel {id}"),
        format!("t execution.start {id}"),
    ];
    assert_eq!(short(&all), expected);
    assert_eq!(all[0]["outcome"], format!("retried as {again}"));
    assert_eq!((&all[2]["token"], &all[2]["repo"]), (&json!(bot.view.id), &json!("ours")));
    let (one, cursor) = list("?limit=1").await;
    assert_eq!(short(&one), expected[..1]);
    assert_eq!(short(&list(&format!("?cursor={}", cursor.unwrap())).await.0), expected[1..]);
    assert_eq!(short(&list("?who=t").await.0), expected[2..]);
    assert_eq!(short(&list("?action=execution.cancel&repo=ours").await.0), expected[1..2]);
    assert_eq!(list("?repo=theirs").await.0, [] as [Value; 0]);
    server.clock.turn(400 * 24 * 3_600_000);
    assert_eq!(list("").await.0, [] as [Value; 0], "they are kept for 400 days");
}

/// Everything that was logged.
#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn server_log_contains_no_token_or_lease() {
    let log = CapturedLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let server = Server::start();
    let make = json!({ "name": "w", "scopes": ["worker"] });
    let worker = text(&server.ok(BOOT, "POST", path::TOKENS, make).await["token"]);
    server.run("ours").await;
    let ids = server.work(&worker).await;
    let end = json!({ "job_id": ids.job, "lease": ids.lease, "end": { "failure": null, "exit_code": 0 } });
    server.ok(&worker, "POST", path::JOB_STATUS, end.clone()).await;
    assert_eq!(server.call(Some(&worker), "POST", path::JOB_STATUS, end).await.status, StatusCode::CONFLICT);
    let mistyped = mistyped(&worker);
    server.call(Some(&mistyped), "GET", path::EXECUTIONS, Value::Null).await;
    tracing::info!("the end of the test");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("the end of the test"), "nothing was logged");
    for secret in [BOOT, &worker, &mistyped, &ids.lease] {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}

#[tokio::test]
async fn web_view_has_strict_content_security_policy() {
    let server = Server::start();
    let mut pages = BTreeSet::new();
    for place in ["/api/view", "/api/view/01a21318-5bcd-75cc-a6fa-8311bb8facd8"] {
        let request = Request::builder().uri(place).body(Body::empty()).unwrap();
        let reply = server.api.clone().oneshot(request).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK, "{place}");
        let policy = reply.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let page = reply.into_body().collect().await.unwrap().to_bytes();
        pages.insert((policy, String::from_utf8(page.to_vec()).unwrap()));
    }
    assert_eq!(pages.len(), 1, "it is the same for everyone");
    assert_eq!(
        server.call(None, "GET", "/api/view/%3Cscript%3E", Value::Null).await.status,
        StatusCode::BAD_REQUEST
    );
    let (policy, page) = pages.pop_first().unwrap();
    for element in ["script", "style"] {
        assert_eq!(page.matches(&format!("<{element}>")).count(), 1);
        let text = page.split_once(&format!("<{element}>")).unwrap().1;
        let text = text.split_once(&format!("</{element}>")).unwrap().0;
        let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text));
        assert!(policy.contains(&format!("{element}-src 'sha256-{hash}'")), "{policy}");
    }
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    // What would take names and logs for markup, or run what stands in an attribute, the policy forbids or this does.
    for never in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick=\""]
    {
        assert!(!page.contains(never), "{never}");
    }
}
