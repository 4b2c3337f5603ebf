//! Sources that a request may name: addresses that the server and git parse alike, on allowed hosts.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_core::api::path;
use tidemill_core::execution::upload::UploadId;
use tidemill_core::repository::AddressPolicy;
use tidemill_services::http;
use tidemill_services::{Services, Settings, SourcePolicy};
use tidemill_testkit::conformance::ManualClock;
use tidemill_testkit::memory::open;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const PIPELINE: &str = "name: p\njobs:\n  j: { image: i, script: [\"true\"] }\n";
const APP: &str = "https://git.example.org/team/app.git";

struct Server {
    api: Router,
}

impl Server {
    fn start(policy: SourcePolicy) -> Self {
        let clock: Arc<ManualClock> = Arc::default();
        let settings = Settings { max_wait_ms: 0, ..Settings::default() };
        let services =
            Services::new(open(clock), settings, CancellationToken::new()).with_source_policy(policy);
        Self { api: http::router(services, http::TokenVerifier::from_token("secret").with_rate_limit(0)) }
    }

    async fn call(&self, token: &str, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let reply = self.api.clone().oneshot(request).await.unwrap();
        let status = reply.status();
        let bytes = reply.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Creates a token that may run executions of `repo` only.
    async fn limited_token(&self, repo: &str) -> String {
        let request = json!({ "name": "t", "scopes": ["run"], "repo": repo });
        let (status, created) = self.call("secret", "POST", path::TOKENS, &request).await;
        assert!(status.is_success(), "{created}");
        created["token"].as_str().unwrap().to_owned()
    }

    async fn execute(&self, token: &str, repo: &str, source: Value) -> (StatusCode, Value) {
        let request = json!({ "pipeline": PIPELINE, "repo": repo, "source": source, "force": true });
        self.call(token, "POST", path::EXECUTE, &request).await
    }

    async fn fetch(&self, token: &str, url: &str) -> (StatusCode, Value) {
        self.execute(token, APP, git(url)).await
    }

    async fn register(&self, url: &str) {
        let (status, reply) =
            self.call("secret", "PUT", path::REPOSITORIES, &json!({ "url": url, "provider": "gitea" })).await;
        assert!(status.is_success(), "{reply}");
    }

    /// Claims the next job and returns its source.
    async fn next_source(&self) -> Value {
        let worker = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } });
        let (_, reply) = self.call("secret", "POST", path::JOB_EXECUTE, &worker).await;
        reply["assignment"]["preparation"]["source"].clone()
    }

    async fn executions(&self) -> usize {
        let (_, list) = self.call("secret", "GET", path::EXECUTIONS, &Value::Null).await;
        list["executions"].as_array().unwrap().len()
    }
}

fn git(url: &str) -> Value {
    json!({ "kind": "git", "url": url, "commit": "c".repeat(40), "private_host": true })
}

/// Addresses that could be read as the allowed repository here, but as another repository, a path or a program by git.
const AMBIGUOUS: [&str; 30] = [
    "/srv/git/app.git",
    "file:///srv/git/app.git",
    "/proc/1/root/x://git.example.org/team/app",
    "x/y://git.example.org/team/app",
    "./app",
    "~/app",
    "ext::sh -c id",
    "ext::sh",
    "fd::1",
    "fd::1/git.example.org/team/app",
    "-oProxyCommand=id:x/y",
    "ftp://git.example.org/team/app",
    "git+ssh://git.example.org/team/app",
    "http://127.0.0.1:8080?@git.example.org/team/app",
    "https://127.0.0.1:8080?@git.example.org/team/app",
    "https://127.0.0.1:8080#@git.example.org/team/app",
    "https://127.0.0.1\\@git.example.org/team/app",
    "https://git.example.org@127.0.0.1/team/app",
    "https://user:pw@git.example.org/team/app",
    "https://token@git.example.org/team/app",
    "https://git.example.org/team/app/../other",
    "https://git.example.org/team%2fapp",
    "https://git.example.org/team/%2e%2e/other",
    "https://git.example.org//team/app",
    "https://git.example.org:0/team/app",
    "https://git.ex\u{e4}mple.org/team/app",
    "https://git.example.org/team/app\u{0}",
    "https://git.example.org/team/app\n",
    "https://0x7f.1/team/app",
    "https://[::ffff:127.0.0.1]/team/app",
];

#[tokio::test]
async fn ambiguous_addresses_and_paths_are_rejected() {
    let server = Server::start(SourcePolicy::default());
    let limited = server.limited_token(APP).await;
    for url in AMBIGUOUS {
        let (status, reply) = server.fetch("secret", url).await;
        // Control characters are rejected in every string.
        assert!(matches!(status.as_u16(), 400 | 422), "{url}: {reply}");
        assert!(!reply.to_string().contains("user:pw"), "{reply}");
        let (status, reply) = server.fetch(&limited, url).await;
        assert!(matches!(status.as_u16(), 400 | 403 | 422), "{url}: {reply}");
        let (status, reply) = server.execute(&limited, url, json!({ "kind": "none" })).await;
        assert!(matches!(status.as_u16(), 400 | 403 | 422), "{url}: {reply}");
    }
    assert_eq!(server.executions().await, 0);
    let (status, _) = server.fetch(&limited, "git@git.example.org:team/app").await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(
        server.fetch(&limited, "https://git.example.org:8443/team/app").await.0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn private_hosts_need_registration_or_allow_host() {
    let server = Server::start(SourcePolicy::default());
    for host in ["127.0.0.1", "10.0.0.5:3000", "169.254.169.254", "[::1]", "[fd00:ec2::254]", "100.64.0.1"] {
        let (status, reply) = server.fetch("secret", &format!("https://{host}/team/app")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{host}: {reply}");
        assert!(reply["detail"].as_str().unwrap().contains("--allow-host"), "{reply}");
    }
    // The flag in a request has no effect.
    assert_eq!(server.fetch("secret", "https://git.example.org/team/app").await.0, StatusCode::CREATED);
    let source = server.next_source().await;
    assert_eq!(
        (&source["url"], &source["private_host"]),
        (&json!("https://git.example.org/team/app"), &Value::Null)
    );

    server.register("https://10.0.0.5:3000/team/app").await;
    assert_eq!(server.fetch("secret", "https://10.0.0.5:3000/team/app.git").await.0, StatusCode::CREATED);
    assert_eq!(server.next_source().await["private_host"], true);
    for other in
        ["https://10.0.0.5:3000/team/other", "https://10.0.0.5/team/app", "git://10.0.0.5:3000/team/x"]
    {
        assert_eq!(server.fetch("secret", other).await.0, StatusCode::BAD_REQUEST, "{other}");
    }
    let hosts = vec!["10.0.0.5:3000".parse().unwrap()];
    let addresses = AddressPolicy { hosts, ..AddressPolicy::default() };
    let server = Server::start(SourcePolicy { addresses, snapshots: false });
    assert_eq!(server.fetch("secret", "https://10.0.0.5:3000/team/other").await.0, StatusCode::CREATED);
    assert_eq!(server.fetch("secret", "https://10.0.0.6:3000/team/other").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn http_needs_registration_or_allow_http() {
    let server = Server::start(SourcePolicy::default());
    let url = "http://git.example.org/team/app";
    let (status, reply) = server.fetch("secret", url).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{reply}");
    server.register("https://git.example.org/team/app").await;
    assert_eq!(
        server.fetch("secret", url).await.0,
        StatusCode::BAD_REQUEST,
        "it is registered with https only"
    );
    server.register(url).await;
    assert_eq!(server.fetch("secret", url).await.0, StatusCode::CREATED);
    let addresses = AddressPolicy { allow_http: true, ..AddressPolicy::default() };
    let server = Server::start(SourcePolicy { addresses, snapshots: false });
    assert_eq!(server.fetch("secret", url).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn snapshots_are_accepted_only_by_local_server() {
    let source = |repository: &str| json!({ "kind": "snapshot", "snapshot": "a".repeat(64), "repository": repository, "commit": "c".repeat(40) });
    let server = Server::start(SourcePolicy::default());
    let (status, reply) = server.execute("secret", "/home/jo/app", source("/home/jo/app")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{reply}");
    let local = Server::start(SourcePolicy::unrestricted());
    assert_eq!(local.execute("secret", "/home/jo/app", source("/home/jo/app")).await.0, StatusCode::CREATED);
    assert_eq!(
        local.execute("secret", "/home/jo/app", source("/home/jo/other")).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        local.fetch("secret", "/srv/git/app.git").await.0,
        StatusCode::BAD_REQUEST,
        "a path is never a git source"
    );
}

#[tokio::test]
async fn upload_serves_own_repository_only() {
    let server = Server::start(SourcePolicy::default());
    let limited = server.limited_token(APP).await;
    let id = |repo: &str| UploadId::new(repo, &"a".repeat(64)).unwrap().to_string();
    let (ours, theirs) = (id(APP), id("https://git.example.org/team/secret"));
    let source = |upload: &str, url: Value| {
        json!({ "kind": "uploaded", "upload": upload, "url": url, "base": "b".repeat(40), "branch": null,
                "commit": "c".repeat(40), "tree": null })
    };
    for token in ["secret", limited.as_str()] {
        let (status, reply) = server.execute(token, APP, source(&theirs, Value::Null)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{reply}");
    }
    assert_eq!(server.execute(&limited, APP, source(&ours, Value::Null)).await.0, StatusCode::CREATED);
    for url in ["/srv/git/secret.git", "https://127.0.0.1/x", "https://git.example.org/team/secret"] {
        let (status, reply) = server.execute(&limited, APP, source(&ours, json!(url))).await;
        assert!(matches!(status.as_u16(), 400 | 403 | 422), "{url}: {reply}");
    }
    let upload_request = |upload: &str| json!({ "upload": upload, "size": 3 });
    assert_eq!(
        server.call(&limited, "POST", path::SOURCE_UPLOAD, &upload_request(&theirs)).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        server.call(&limited, "POST", path::SOURCE_UPLOAD, &upload_request(&ours)).await.0,
        StatusCode::OK
    );
    let put = path::SOURCE_CONTENT.replace("{uploadId}", &theirs);
    assert_eq!(server.call(&limited, "PUT", &put, &json!("x")).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn retry_checks_source_policy_again() {
    let server = Server::start(SourcePolicy::default());
    server.register("https://10.0.0.5:3000/team/app").await;
    let (status, created) = server.fetch("secret", "https://10.0.0.5:3000/team/app").await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    let id = created["execution_id"].as_str().unwrap();
    let url = |path: &str| path.replace("{executionId}", id);
    assert!(server.call("secret", "POST", &url(path::CANCEL_EXECUTION), &json!({})).await.0.is_success());
    let delete = format!("{}?repo=10.0.0.5:3000/team/app", path::REPOSITORIES);
    assert!(server.call("secret", "DELETE", &delete, &Value::Null).await.0.is_success());
    let (status, reply) = server.call("secret", "POST", &url(path::RETRY), &json!({ "all": true })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{reply}");
}
