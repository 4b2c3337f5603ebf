//! What people may do by their roles: every operation by role and repository, lists, and public repositories.

use super::{
    browser::{Browser, give, server_with, start_body, user},
    routes::{route_body, route_url},
    server::{BOOT, Server, text},
};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidemill_core::{access::roles::Role, api::path};
use tidemill_services::http::{ROUTES, Route, Within};

const ISSUER: &str = "https://id.example.org";

/// A role with a pattern of repositories; `None`: all.
type Grant = (Role, Option<&'static str>);

const OURS: Option<&str> = Some("*ours");
const THEIRS: Option<&str> = Some("*theirs");

/// Lists that leave out what the caller may not see, instead of replying with an error.
const FILTERED: [&str; 5] =
    [path::EXECUTIONS, path::DEAD_LETTERS, path::REPOSITORIES, path::OVERVIEW, path::SCHEDULES];

/// Whether someone with this role may call an operation on `ours`, by the role's description.
fn is_allowed(route: &Route, (role, repos): Grant) -> bool {
    let is_of_role = |role: Role| route.need.contains(&role.scope());
    match (route.within, repos) {
        (Within::Forbidden, None) => match role {
            Role::Admin => true,
            // What concerns the deployment as a whole is read by its viewers, and changed by admins only.
            _ => route.need.contains(&Role::Viewer.scope()),
        },
        (Within::Forbidden, Some(_)) => false,
        (Within::None, _) | (_, None) => is_of_role(role),
        (Within::Path | Within::Itself, repos) => {
            let is_upload = [path::SOURCE_UPLOAD, path::SOURCE_CONTENT].contains(&route.path);
            let is_filtered = route.method == "GET" && FILTERED.contains(&route.path);
            // An upload is checked when an execution names it.
            is_of_role(role) && (repos == OURS || is_upload || is_filtered)
        }
    }
}

#[tokio::test]
async fn every_operation_is_allowed_to_the_roles_that_need_it_and_to_no_other() {
    let grants: Vec<Grant> = Role::ALL
        .into_iter()
        .flat_map(|role| [(role, None), (role, OURS), (role, THEIRS)])
        .filter(|(role, repos)| *role != Role::Admin || repos.is_none())
        .collect();
    let (mut allowed, mut denied) = (0, 0);
    for route in ROUTES.iter().filter(|route| !route.need.is_empty()) {
        let server = server_with(ISSUER);
        let execution = server.run("ours").await;
        let ids = server.upload_artifact(BOOT).await;
        let url = route_url(route, &execution, &ids, &uuid::Uuid::now_v7().to_string());
        let operation = format!("{} {url}", route.method);
        let call = async |browser: &mut Browser| {
            browser.call(&server, route.method, &url, route_body(route, "ours", &ids)).await
        };
        let before = server.state().await;
        let mut nobody = Browser::signed_in(&server, "nobody").await;
        let reply = call(&mut nobody).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{operation} without a role: {}", reply.body);
        // Those that are denied come first, since an allowed call may change something.
        let mut sorted = grants.clone();
        sorted.sort_by_key(|grant| is_allowed(route, *grant));
        for grant in sorted {
            let (role, repos) = grant;
            let name = format!("{role}{}", repos.unwrap_or_default());
            give(&server, role, user(&name, repos)).await;
            let mut browser = Browser::signed_in(&server, &name).await;
            let reply = call(&mut browser).await;
            let case = format!("{operation} as {name}: {} {}", reply.status, reply.body);
            let is_denied = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&reply.status);
            if is_allowed(route, grant) {
                assert!(!is_denied, "{case}");
                if repos == THEIRS {
                    assert!(!reply.body.to_string().contains(&execution), "{case}");
                }
                allowed += 1;
                continue;
            }
            let hides = route.within == Within::Path && repos == THEIRS && route.need.contains(&role.scope());
            let expected = if hides { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
            assert_eq!(reply.status, expected, "{case}");
            assert_eq!(server.state().await, before, "{case}");
            denied += 1;
        }
    }
    assert!(allowed > 200 && denied > 200, "{allowed} {denied}");
}

/// Registers a repository with one schedule, as a push does.
async fn register(server: &Server, url: &str) {
    server.ok(BOOT, "PUT", path::REPOSITORIES, json!({ "url": url, "provider": "gitea" })).await;
    server.ok(BOOT, "POST", path::SYNC, json!({ "repo": url })).await;
    let worker = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } });
    let assignment = server.ok(BOOT, "POST", path::JOB_EXECUTE, worker).await["assignment"].clone();
    let (job, lease) = (&assignment["preparation"]["job_id"], &assignment["lease"]["token"]);
    let file = "{ name: n, on: { schedule: '@hourly' }, jobs: { a: { image: i, script: [x] } } }";
    let report = json!({ "job_id": job, "lease": lease, "commit": "c".repeat(40), "files": [{ "path": "n.yml", "text": file }] });
    server.ok(BOOT, "POST", path::DISCOVERY_REPORT, report).await;
    let end = json!({ "job_id": job, "lease": lease, "end": { "failure": null, "exit_code": 0 } });
    server.ok(BOOT, "POST", path::JOB_STATUS, end).await;
}

#[tokio::test]
async fn lists_show_only_repositories_of_the_roles() {
    const OURS: &str = "https://git.example.org/ours";
    const THEIRS: &str = "https://git.example.org/theirs";
    let server = server_with(ISSUER);
    register(&server, OURS).await;
    register(&server, THEIRS).await;
    give(&server, Role::Maintainer, user("alice", Some(OURS))).await;
    give(&server, Role::Viewer, user("bob", Some(OURS))).await;
    give(&server, Role::Maintainer, user("bob", Some("git.example.org/none"))).await;
    let mut alice = Browser::signed_in(&server, "alice").await;
    let mut bob = Browser::signed_in(&server, "bob").await;
    let all = server.ok(BOOT, "GET", path::SCHEDULES, Value::Null).await;
    assert_eq!(all["schedules"].as_array().unwrap().len(), 2, "{all}");
    for path in [path::SCHEDULES, path::EXECUTIONS, path::OVERVIEW, path::REPOSITORIES] {
        let shown = alice.get(&server, path).await;
        assert_eq!(shown.status, StatusCode::OK, "{path}");
        let shown = shown.body.to_string();
        assert!(!shown.contains("theirs"), "{path}: {shown}");
        assert!(path == path::OVERVIEW || shown.contains("example.org/ours"), "{path}: {shown}");
    }
    // Bob may read our executions, and administers another repository: our settings are not for him.
    let schedules = bob.get(&server, path::SCHEDULES).await.body.to_string();
    assert!(schedules.contains("example.org/ours") && !schedules.contains("theirs"), "{schedules}");
    let repositories = bob.get(&server, path::REPOSITORIES).await;
    assert_eq!((repositories.status, &repositories.body["repositories"]), (StatusCode::OK, &json!([])));
    for url in [OURS, THEIRS] {
        let path = format!("{}?repo={url}", path::SECRETS);
        assert_eq!(bob.get(&server, &path).await.status, StatusCode::FORBIDDEN, "{url}");
    }
}

#[tokio::test]
async fn sources_of_another_repository_are_not_for_a_person_either() {
    let server = server_with(ISSUER);
    give(&server, Role::Developer, user("alice", OURS)).await;
    give(&server, Role::Viewer, user("alice", THEIRS)).await;
    let mut alice = Browser::signed_in(&server, "alice").await;
    let mut body = start_body("ours");
    body["source"] =
        json!({ "kind": "git", "url": "https://git.example.org/theirs", "commit": "c".repeat(40) });
    let reply = alice.call(&server, "POST", path::EXECUTE, body).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.body);
    assert!(text(&reply.body["detail"]).contains("you have the role viewer in"), "{}", reply.body);
}

#[tokio::test]
async fn rules_are_changed_by_administrators_and_hold_at_once() {
    let server = server_with(ISSUER);
    let mut alice = Browser::signed_in(&server, "alice").await;
    assert_eq!(alice.get(&server, path::EXECUTIONS).await.status, StatusCode::FORBIDDEN);
    let rule = json!({ "role": "viewer", "user": "oidc:alice" });
    let set = server.ok(BOOT, "POST", path::ROLES, rule.clone()).await;
    assert_eq!(
        (&set["role"], &set["user"], &set["set_by"]),
        (&json!("viewer"), &json!("oidc:alice"), &json!("admin"))
    );
    assert_eq!(alice.get(&server, path::EXECUTIONS).await.status, StatusCode::OK);
    // The rule for the same target is replaced.
    server.clock.advance(1);
    server.ok(BOOT, "POST", path::ROLES, json!({ "role": "maintainer", "user": "oidc:alice" })).await;
    server.clock.advance(1);
    let listed = server.ok(BOOT, "GET", path::ROLES, Value::Null).await;
    assert_eq!(
        (listed["rules"].as_array().unwrap().len(), &listed["rules"][0]["role"]),
        (1, &json!("maintainer"))
    );
    // Nobody makes themselves an administrator.
    let own = json!({ "role": "admin", "user": "oidc:alice" });
    assert_eq!(alice.call(&server, "POST", path::ROLES, own).await.status, StatusCode::FORBIDDEN);
    for (rule, reason) in [
        (json!({ "role": "admin" }), "need a user or a group"),
        (json!({ "role": "admin", "user": "oidc:a", "repo": "git.example.org/*" }), "for all repositories"),
        (json!({ "role": "viewer", "user": "alice" }), "oidc:NAME"),
        (json!({ "role": "viewer", "user": "oidc:a", "group": "oidc:b" }), "not for both"),
    ] {
        let reply = server.call(Some(BOOT), "POST", path::ROLES, rule).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(text(&reply.body["detail"]).contains(reason), "{}", reply.body);
    }
    let removed = server.ok(BOOT, "POST", path::REMOVE_ROLE, json!({ "user": "oidc:alice" })).await;
    assert_eq!(removed, json!({ "removed": true }));
    assert_eq!(alice.get(&server, path::EXECUTIONS).await.status, StatusCode::FORBIDDEN);
    let again = server.ok(BOOT, "POST", path::REMOVE_ROLE, json!({ "user": "oidc:alice" })).await;
    assert_eq!(again, json!({ "removed": false }));
    let audit = server.ok(BOOT, "GET", path::AUDIT, Value::Null).await;
    let actions: Vec<&Value> =
        audit["entries"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["role.remove", "role.set", "role.set"]);
    assert_eq!(
        (&audit["entries"][1]["target"], &audit["entries"][1]["outcome"]),
        (&json!("oidc:alice"), &json!("maintainer"))
    );
}

#[tokio::test]
async fn nobody_sees_less_of_public_repositories_than_anyone() {
    const PUBLIC: &str = "https://git.example.org/public";
    let server = server_with(ISSUER);
    server
        .ok(BOOT, "PUT", path::REPOSITORIES, json!({ "url": PUBLIC, "provider": "gitea", "public": true }))
        .await;
    let mut body = start_body(PUBLIC);
    body["requested_by"] = json!("a-person");
    let public = text(&server.ok(BOOT, "POST", path::EXECUTE, body).await["execution_id"]);
    let private = server.run("ours").await;
    let status = |id: &str| path::STATUS.replace("{executionId}", id);
    let list = format!("{}?repo={PUBLIC}", path::EXECUTIONS);
    give(&server, Role::Developer, user("carol", OURS)).await;
    let mut ended = Browser::signed_in(&server, "alice").await;
    let kept = ended.clone();
    ended.call(&server, "DELETE", path::SESSION, Value::Null).await;
    let foreign = Browser { cookies: [("another-session".to_owned(), "x".to_owned())].into() };
    let without_role = Browser::signed_in(&server, "bob").await;
    let of_other = Browser::signed_in(&server, "carol").await;
    let anyone = Browser::default().get(&server, &status(&public)).await.body;
    for (who, browser) in
        [("foreign", foreign), ("ended", kept), ("no role", without_role), ("other", of_other)]
    {
        for path in [&status(&public), &list] {
            let reply = browser.clone().get(&server, path).await;
            assert_eq!(reply.status, StatusCode::OK, "{who} {path}: {}", reply.body);
        }
        assert_eq!(
            browser.clone().get(&server, &status(&public)).await.body,
            anyone,
            "{who} sees no more either"
        );
        let cancel = path::CANCEL_EXECUTION.replace("{executionId}", &public);
        assert!(
            browser.clone().call(&server, "POST", &cancel, Value::Null).await.status.is_client_error(),
            "{who}"
        );
        let file = path::PIPELINE_FILE.replace("{executionId}", &public);
        assert!(browser.clone().get(&server, &file).await.status.is_client_error(), "{who}");
        let reply = browser.clone().get(&server, &status(&private)).await;
        assert_eq!(reply.status.is_success(), who == "other", "{who}: {}", reply.body);
    }
    give(&server, Role::Viewer, user("bob", Some(PUBLIC))).await;
    let mut bob = Browser::signed_in(&server, "bob").await;
    let shown = bob.get(&server, &status(&public)).await.body;
    assert_ne!(shown, anyone, "with a role one sees all");
    assert!(bob.get(&server, &path::TESTS.replace("{executionId}", &public)).await.status.is_success());
}

#[tokio::test]
async fn stream_of_events_ends_with_the_role() {
    let server = server_with(ISSUER);
    let id = server.run("ours").await;
    give(&server, Role::Viewer, user("alice", OURS)).await;
    let mut alice = Browser::signed_in(&server, "alice").await;
    let path = path::EVENTS.replace("{executionId}", &id);
    // It outlasts several checks of the session, and ends as the client asked.
    let short = format!("{path}?wait_ms=7000");
    let started = std::time::Instant::now();
    assert_eq!(alice.get(&server, &short).await.status, StatusCode::OK);
    assert!(started.elapsed().as_secs() >= 6, "{:?}", started.elapsed());
    let (end, take) = tokio::join!(alice.get(&server, &path), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        server.ok(BOOT, "POST", path::REMOVE_ROLE, json!({ "user": "oidc:alice", "repo": "*ours" })).await
    });
    assert_eq!((end.status, take), (StatusCode::OK, json!({ "removed": true })), "the reply has ended");
}
