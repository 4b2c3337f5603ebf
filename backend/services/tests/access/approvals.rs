//! Approvals of jobs of protected environments, by people and tokens.

use super::{
    browser::{Browser, give, server_with, user},
    server::{BOOT, Reply, Server, text},
};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidemill_core::{access::roles::Role, api::path};

const OURS: Option<&str> = Some("*ours");
const PIPELINE: &str =
    "name: delivery\njobs:\n  deploy: { image: i, script: [x], environment: production }\n";

async fn signed_in(server: &Server, role: Role, name: &str) -> Browser {
    give(server, role, user(name, OURS)).await;
    Browser::signed_in(server, name).await
}

/// Returns the only job of an execution.
async fn deploy(server: &Server, execution: &str) -> Value {
    let status = path::STATUS.replace("{executionId}", execution);
    server.ok(BOOT, "GET", &status, Value::Null).await["jobs"][0].clone()
}

async fn approve(server: &Server, browser: &mut Browser, job: &Value) -> Reply {
    let url = path::APPROVE_JOB.replace("{jobId}", job["id"].as_str().unwrap());
    browser.call(server, "POST", &url, Value::Null).await
}

#[tokio::test]
async fn those_whom_a_maintainer_names_approve_and_nobody_else() {
    let server = server_with("https://id.example.org");
    let mut mia = signed_in(&server, Role::Maintainer, "mia").await;
    let mut ann = signed_in(&server, Role::Developer, "ann").await;
    let mut bob = signed_in(&server, Role::Developer, "bob").await;
    let mut eve = signed_in(&server, Role::Viewer, "eve").await;
    let rule = json!({
        "repo": "ours", "environment": "production", "approvals": 1,
        "by": ["user:oidc:bob", "user:oidc:ann", "user:oidc:eve"], "exclude_starter": true
    });
    let denied = ann.call(&server, "POST", path::PROTECTIONS, rule.clone()).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "{}", denied.body);
    let set = mia.call(&server, "POST", path::PROTECTIONS, rule).await;
    assert_eq!((set.status, &set.body["set_by"]), (StatusCode::OK, &json!("mia")), "{}", set.body);

    let body = json!({ "pipeline": PIPELINE, "repo": "ours", "source": { "kind": "none" } });
    let started = ann.call(&server, "POST", path::EXECUTE, body).await;
    let execution = text(&started.body["execution_id"]);
    let job = deploy(&server, &execution).await;
    assert_eq!(job["approval"], "awaited", "{job}");
    assert_eq!(job["approvals"]["required"][0]["missing"], 1, "{job}");
    for (browser, why) in [
        (&mut ann, "who started the execution does not approve it"),
        (&mut mia, "`mia` is not among those who approve"),
        (&mut eve, "needs the role developer"),
    ] {
        let reply = approve(&server, browser, &job).await;
        let detail = text(&reply.body["detail"]);
        assert!(reply.status == StatusCode::FORBIDDEN && detail.contains(why), "{detail}");
    }
    let url = path::APPROVE_JOB.replace("{jobId}", job["id"].as_str().unwrap());
    let by_token = server.call(Some(BOOT), "POST", &url, Value::Null).await;
    assert_eq!(by_token.status, StatusCode::FORBIDDEN, "{}", by_token.body);
    assert_eq!(deploy(&server, &execution).await["status"], "PENDING");
    let reply = approve(&server, &mut bob, &job).await;
    assert_eq!((reply.status, &reply.body), (StatusCode::OK, &json!({ "approved": true })));
    let job = deploy(&server, &execution).await;
    assert_eq!((&job["status"], &job["approval"]), (&json!("QUEUED"), &json!("given")));
    assert_eq!(job["approvals"]["given"][0]["name"], "bob");

    let audit = server.ok(BOOT, "GET", path::AUDIT, Value::Null).await;
    let entries = audit["entries"].as_array().unwrap().iter();
    let mut entries: Vec<String> = entries
        .filter(|entry| entry["action"] != "execution.start")
        .map(|entry| format!("{} {} {}", entry["who"], entry["action"], entry["outcome"]).replace('"', ""))
        .collect();
    // Both are of the same moment.
    entries.sort();
    let rule = "1 by user:oidc:ann, user:oidc:bob, user:oidc:eve, not by who started it";
    assert_eq!(entries, ["bob job.approve done".to_owned(), format!("mia environment.protect {rule}")]);

    let remove = json!({ "repo": "ours", "environment": "production" });
    let removed = mia.call(&server, "POST", path::UNPROTECT_ENVIRONMENT, remove).await;
    assert_eq!(removed.body, json!({ "removed": true }));
    let listed = eve.get(&server, &format!("{}?repo=ours", path::PROTECTIONS)).await;
    assert_eq!(listed.body, json!({ "protections": [] }));
}

#[tokio::test]
async fn token_approves_only_where_a_rule_names_it() {
    let server = server_with("https://id.example.org");
    let rule = json!({ "repo": "ours", "environment": "production", "approvals": 1, "by": ["token:admin"] });
    server.ok(BOOT, "POST", path::PROTECTIONS, rule).await;
    let body = json!({ "pipeline": PIPELINE, "repo": "ours", "source": { "kind": "none" } });
    let execution = text(&server.ok(BOOT, "POST", path::EXECUTE, body).await["execution_id"]);
    let job = deploy(&server, &execution).await;
    // A person is no token, whatever they are called.
    let mut admin = signed_in(&server, Role::Developer, "admin").await;
    assert_eq!(approve(&server, &mut admin, &job).await.status, StatusCode::FORBIDDEN);
    let url = path::APPROVE_JOB.replace("{jobId}", job["id"].as_str().unwrap());
    let other = server.token(&[tidemill_core::access::Scope::Run], None, None).await.token;
    let denied = server.call(Some(&other), "POST", &url, Value::Null).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "{}", denied.body);
    assert_eq!(server.ok(BOOT, "POST", &url, Value::Null).await, json!({ "approved": true }));
}

/// The page of an execution, and the first page, say what each caller may do, so that they offer nothing that the server rejects.
#[tokio::test]
async fn views_say_what_the_caller_may_approve() {
    let server = server_with("https://id.example.org");
    let mut ann = signed_in(&server, Role::Developer, "ann").await;
    let mut bob = signed_in(&server, Role::Developer, "bob").await;
    let mut cas = signed_in(&server, Role::Developer, "cas").await;
    let mut eve = signed_in(&server, Role::Viewer, "eve").await;
    // May run other repositories, which does not count here.
    let mut dan = signed_in(&server, Role::Viewer, "dan").await;
    give(&server, Role::Developer, user("dan", Some("elsewhere"))).await;
    let rule = json!({
        "repo": "ours", "environment": "production", "approvals": 2,
        "by": ["user:oidc:ann", "user:oidc:bob", "user:oidc:dan", "user:oidc:eve"], "exclude_starter": true
    });
    server.ok(BOOT, "POST", path::PROTECTIONS, rule).await;
    let body = json!({ "pipeline": PIPELINE, "repo": "ours", "source": { "kind": "none" } });
    let started = ann.call(&server, "POST", path::EXECUTE, body).await;
    let execution = text(&started.body["execution_id"]);
    let status = path::STATUS.replace("{executionId}", &execution);
    let shown = async |browser: &mut Browser| {
        let reply = browser.get(&server, &status).await;
        assert_eq!(reply.headers["cache-control"], "private, no-store", "the view depends on the caller");
        let view = reply.body;
        let overview = browser.get(&server, path::OVERVIEW).await.body;
        let (awaited, job) = (&overview["approvals"][0], &view["jobs"][0]);
        assert_eq!(awaited["jobs"][0]["caller_approval"], job["caller_approval"]);
        assert_eq!(awaited["jobs"][0]["approvals"], job["approvals"]);
        assert_eq!(awaited["caller_may_run"], view["caller_may_run"]);
        (view["caller_may_run"] == true, text(&job["caller_approval"]))
    };
    assert_eq!(shown(&mut ann).await, (true, "starter".to_owned()));
    assert_eq!(shown(&mut bob).await, (true, "counts".to_owned()));
    assert_eq!(shown(&mut cas).await, (true, "not_approver".to_owned()));
    assert_eq!(shown(&mut eve).await, (false, "not_approver".to_owned()));
    assert_eq!(shown(&mut dan).await, (false, "not_approver".to_owned()));
    let by_token = deploy(&server, &execution).await;
    assert_eq!(by_token["caller_approval"], "not_approver", "no rule names the token");
    // What the view says is what the server does.
    for (browser, expected) in [
        (&mut ann, StatusCode::FORBIDDEN),
        (&mut cas, StatusCode::FORBIDDEN),
        (&mut eve, StatusCode::FORBIDDEN),
        (&mut dan, StatusCode::FORBIDDEN),
        (&mut bob, StatusCode::OK),
    ] {
        assert_eq!(approve(&server, browser, &by_token).await.status, expected);
    }
    assert_eq!(shown(&mut bob).await, (true, "given".to_owned()));
    let job = deploy(&server, &execution).await;
    assert_eq!(job["approvals"]["required"][0]["missing"], 1, "{job}");
    let cancel = path::CANCEL_EXECUTION.replace("{executionId}", &execution);
    assert_eq!(eve.call(&server, "POST", &cancel, Value::Null).await.status, StatusCode::FORBIDDEN);
    assert!(cas.call(&server, "POST", &cancel, Value::Null).await.status.is_success());
    assert!(deploy(&server, &execution).await.get("caller_approval").is_none(), "it is over");
}
