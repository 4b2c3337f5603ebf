//! Public repositories: what anyone sees without a token, and what nobody does.

use super::{
    routes::{route_body, route_url},
    server::{BOOT, FixtureIds, Server, text},
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tidemill_core::api::path;
use tidemill_services::http::{ClientAddress, PUBLIC_PATHS, ROUTES, TokenVerifier};

const PUBLIC: &str = "https://git.example.org/team/public";
const PRIVATE: &str = "https://git.example.org/team/private";
const PIPELINE: &str = "
name: two
on: { manual: { inputs: { level: { default: a-value-of-an-input } } } }
jobs:
  first: { image: i, script: [a], artifacts: { paths: [out] }, secrets: [TIDEMILL_JOB_TOKEN] }
  last: { image: i, script: [b], needs: [first] }
";

/// Registers a repository, public or not.
async fn register(server: &Server, url: &str, public: Option<bool>) -> Value {
    let body = json!({ "url": url, "provider": "gitea", "public": public });
    server.ok(BOOT, "PUT", path::REPOSITORIES, body).await
}

/// Starts an execution whose facts and variables are not for anyone.
async fn start(server: &Server, repo: &str) -> String {
    let body = json!({
        "pipeline": PIPELINE, "repo": repo, "source": { "kind": "none" }, "force": true,
        "requested_by": "a-person", "variables": { "LEVEL": "a-value-of-a-variable" },
        "commit_details": { "message": "Faster", "author": "Ada <ada@example.org>" }
    });
    text(&server.ok(BOOT, "POST", path::EXECUTE, body).await["execution_id"])
}

/// Claims the first job, and reports what a worker does of it.
async fn report(server: &Server) -> FixtureIds {
    let ids = server.upload_artifact(BOOT).await;
    let (job, lease) = (&ids.job, &ids.lease);
    let summary = json!({ "job_id": job, "lease": lease, "markdown": "# Done" });
    server.ok(BOOT, "POST", path::JOB_SUMMARY, summary).await;
    let counts =
        json!({ "tests": 2, "failures": 1, "errors": 0, "skipped": 0, "flaky": 0, "duration_ms": 1 });
    let tests = json!({ "counts": counts, "failed": [{ "suite": "s", "name": "sinks" }] });
    server.ok(BOOT, "POST", path::JOB_TESTS, json!({ "job_id": job, "lease": lease, "report": tests })).await;
    ids
}

#[tokio::test]
async fn anyone_reads_executions_and_logs_of_public_repositories_and_nothing_else() {
    let server = Server::with_verifier(TokenVerifier::from_token(BOOT).with_rate_limit(0));
    register(&server, PUBLIC, Some(true)).await;
    register(&server, PRIVATE, None).await;
    let public = start(&server, PUBLIC).await;
    let public_ids = report(&server).await;
    let pin = json!({ "pinned": true, "note": "a-value-of-a-note" });
    server.ok(BOOT, "POST", &path::PIN.replace("{executionId}", &public), pin).await;
    server.ok(BOOT, "POST", &path::CANCEL_EXECUTION.replace("{executionId}", &public), Value::Null).await;
    let private = start(&server, PRIVATE).await;
    let private_ids = report(&server).await;
    let victim = uuid::Uuid::now_v7().to_string();
    let before = server.state().await;
    let mut open = BTreeSet::new();
    for route in ROUTES.iter().filter(|route| !route.need.is_empty()) {
        for (execution, ids, repo) in [(&public, &public_ids, PUBLIC), (&private, &private_ids, PRIVATE)] {
            let url = route_url(route, execution, ids, &victim).replace("repo=ours", &format!("repo={repo}"));
            let named = if url.contains('?') { url.clone() } else { format!("{url}?repo={repo}") };
            for url in [url, named] {
                let case = format!("{} {url}", route.method);
                let reply = server.call(None, route.method, &url, route_body(route, repo, ids)).await;
                let is_listed = route.path == path::EXECUTIONS && !url.contains("repo=");
                let is_public = repo == PUBLIC && PUBLIC_PATHS.contains(&route.path) && !is_listed;
                let expected = if is_public { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
                assert_eq!(reply.status, expected, "{case}: {}", reply.body);
                if is_public {
                    open.insert(route.path);
                    let shown = reply.body.to_string();
                    for hidden in [&*private, "a-value-of", "a-person", "ada@example.org", "\"w\""] {
                        assert!(!shown.contains(hidden), "{case} shows {hidden}: {shown}");
                    }
                }
            }
        }
    }
    assert_eq!(open, PUBLIC_PATHS.iter().copied().collect::<BTreeSet<_>>());
    assert_eq!(server.state().await, before, "nothing was changed");

    let of_execution = async |path: &str| {
        server.call(None, "GET", &path.replace("{executionId}", &public), Value::Null).await.body
    };
    assert_eq!(of_execution(path::SUMMARIES).await["summaries"][0]["job_name"], "first");
    assert_eq!(of_execution(path::TESTS).await["jobs"][0]["report"]["failed"][0]["name"], "sinks");

    // A wrong token is not replaced by none.
    let status = path::STATUS.replace("{executionId}", &public);
    assert_eq!(
        server.call(Some("tm_wrong"), "GET", &status, Value::Null).await.status,
        StatusCode::UNAUTHORIZED
    );
    let list = format!("{}?repo={PUBLIC}&author=ada", path::EXECUTIONS);
    let listed = server.call(None, "GET", &list, Value::Null).await;
    assert_eq!(listed.body["executions"][0]["id"], *public, "filters by people do not count");
    assert_eq!(listed.body["executions"][0]["commit_details"]["author"], "Ada");

    // A change of other settings leaves it public, and it can be withdrawn.
    assert_eq!(register(&server, PUBLIC, None).await["repository"]["public"], true);
    assert_eq!(server.call(None, "GET", &status, Value::Null).await.status, StatusCode::OK);
    register(&server, PUBLIC, Some(false)).await;
    assert_eq!(server.call(None, "GET", &status, Value::Null).await.status, StatusCode::UNAUTHORIZED);
}

/// Authors without a name, texts below the first line of a message, addresses of environments, and names of workers.
#[tokio::test]
async fn less_obvious_facts_of_public_executions_are_hidden() {
    let server = Server::with_verifier(TokenVerifier::from_token(BOOT).with_rate_limit(0));
    register(&server, PUBLIC, Some(true)).await;
    let pipeline = "
name: p
variables: { LEVEL: low }
jobs:
  one: { image: i, script: [a], environment: { name: \"to-${LEVEL}\", url: \"https://${LEVEL}.example.org\" } }
";
    let body = json!({
        "pipeline": pipeline, "repo": PUBLIC, "source": { "kind": "none" },
        "variables": { "LEVEL": "a-value-of-a-variable" },
        "commit_details": { "message": "Faster\n\nReviewed-by: a-person", "author": "ada@example.org" }
    });
    let id = text(&server.ok(BOOT, "POST", path::EXECUTE, body).await["execution_id"]);
    let worker = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "a-worker" } });
    let claimed = server.ok(BOOT, "POST", path::JOB_EXECUTE, worker).await;
    let assignment = &claimed["assignment"];
    let failure = json!({ "kind": "given_back", "message": "worker `a-worker` is stopping" });
    let end = json!({
        "job_id": assignment["preparation"]["job_id"], "lease": assignment["lease"]["token"],
        "end": { "failure": failure, "exit_code": null }
    });
    server.ok(BOOT, "POST", path::JOB_STATUS, end).await;

    let status = path::STATUS.replace("{executionId}", &id);
    let list = |text: &str| format!("{}?repo={PUBLIC}&text={text}", path::EXECUTIONS);
    let all = server.ok(BOOT, "GET", &status, Value::Null).await.to_string();
    let hidden = ["ada@example.org", "a-value-of-a-variable", "a-worker"];
    for fact in hidden {
        assert!(all.contains(fact), "members see {fact}: {all}");
    }
    for url in [status, list("faster")] {
        let shown = server.call(None, "GET", &url, Value::Null).await;
        assert_eq!(shown.status, StatusCode::OK, "{url}: {}", shown.body);
        let shown = shown.body.to_string();
        assert!(shown.contains(&id), "{url}: {shown}");
        for fact in hidden {
            assert!(!shown.contains(fact), "{url} shows {fact}: {shown}");
        }
    }
    for (token, number) in [(None, 0), (Some(BOOT), 1)] {
        let found = server.call(token, "GET", &list("reviewed"), Value::Null).await;
        assert_eq!(found.body["executions"].as_array().unwrap().len(), number, "{}", found.body);
    }
}

#[tokio::test]
async fn discoveries_of_public_repositories_are_hidden() {
    let server = Server::start();
    register(&server, PUBLIC, Some(true)).await;
    let sync = server.ok(BOOT, "POST", path::SYNC, json!({ "repo": PUBLIC })).await;
    let id = text(&sync["execution_id"]);
    let view = server.ok(BOOT, "GET", &path::STATUS.replace("{executionId}", &id), Value::Null).await;
    let job = text(&view["jobs"][0]["id"]);
    for path in PUBLIC_PATHS.iter().filter(|path| path.contains('{')) {
        let url = path.replace("{executionId}", &id).replace("{jobId}", &job);
        assert_eq!(
            server.call(None, "GET", &url, Value::Null).await.status,
            StatusCode::UNAUTHORIZED,
            "{url}"
        );
    }
    let listed = server.call(None, "GET", &format!("{}?repo={PUBLIC}", path::EXECUTIONS), Value::Null).await;
    assert_eq!((listed.status, &listed.body["executions"]), (StatusCode::OK, &json!([])));
}

#[tokio::test]
async fn anonymous_calls_are_limited_by_address() {
    let server = Server::start();
    register(&server, PUBLIC, Some(true)).await;
    let call = async |from: [u8; 4]| {
        let mut request =
            Request::get(format!("{}?repo={PUBLIC}", path::EXECUTIONS)).body(Body::empty()).unwrap();
        request.extensions_mut().insert(ClientAddress(from.into()));
        server.send(request).await.status
    };
    let mut limited = 0;
    for _ in 0..200 {
        limited += usize::from(call([192, 0, 2, 1]).await == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(limited > 50, "{limited}");
    assert_eq!(call([192, 0, 2, 2]).await, StatusCode::OK);
    assert!(server.call(Some(BOOT), "GET", path::EXECUTIONS, Value::Null).await.status.is_success());
}
