//! Deliveries: authentication, repetitions, and the executions that they start.

use super::server::{COMMIT, ClaimedJob, SECRET, Server, URL, pull_request, push};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tidemill_core::api::path;
use tidemill_core::repository::webhook::sign;
use tidemill_services::http::ClientAddress;

const CI: &str = "name: ci\non: { push: { branches: [main] } }\njobs: { a: { image: i, script: [x] } }\n";
const DOCS: &str =
    "name: docs\non: { push: { paths: [\"docs/**\"] } }\njobs: { a: { image: i, script: [x] } }\n";
const PULL: &str = "name: pull\non: { pull_request: }\njobs: { a: { image: i, script: [x] } }\n";
const BAD: &str = "name: bad\njobs: { a: { image: i, scrpt: [x] } }\n";

fn lines(reply: &Value) -> Vec<String> {
    reply["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn push_starts_matching_pipelines() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let (status, reply) = server.github("push", "d-1", &push("main")).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        let claimed = server.claim().await.expect("a discovery job");
        assert_eq!(claimed.discovery()["before"], "b".repeat(40));
        let source = &claimed.assignment["preparation"]["source"];
        assert_eq!(
            source,
            &json!({ "kind": "git", "url": URL, "branch": "main", "commit": COMMIT, "private_host": true })
        );
        assert_eq!(claimed.assignment["script"], json!([]));
        let files = [("p/ci.yml", CI), ("p/docs.yml", DOCS), ("p/pull.yml", PULL), ("p/bad.yml", BAD)];
        let reply = server.report_discovery_at(&claimed, COMMIT, &files, Some(&["src/a.rs"])).await;
        let messages = lines(&reply);
        assert!(messages[0].starts_with("p/ci.yml: started: ci 1 ("), "{messages:?}");
        assert_eq!(messages[1], "p/docs.yml: not started: no changed file matches its `paths`");
        assert_eq!(messages[2], "p/pull.yml: not started: its `on` has no `push`");
        assert!(messages[3].starts_with("p/bad.yml:2:") && messages[3].contains("scrpt"), "{messages:?}");
        assert_eq!(reply["failed"], true);
        // The worker repeats the report because the reply was lost: nothing starts twice.
        let repeated =
            lines(&server.report_discovery_at(&claimed, COMMIT, &files, Some(&["src/a.rs"])).await);
        assert!(repeated[0].starts_with("p/ci.yml: started before: ci 1 ("), "{repeated:?}");
        server.finish(&claimed, false).await;
        let all = server.executions().await;
        assert_eq!(server.pipelines().await, ["discover", "ci"]);
        let ci = &all[1];
        assert_eq!(
            (&ci["trigger"], &ci["branch"], &ci["commit"], &ci["requested_by"], &ci["repo"]),
            (&json!("push"), &json!("main"), &json!(COMMIT), &json!("jo"), &json!(URL))
        );
        let job = server.claim().await.unwrap();
        assert_eq!(job.assignment["script"], json!(["x"]));
        server.finish(&job, true).await;
        assert_eq!(server.executions().await[1]["status"], "SUCCESS");
    }
}

#[tokio::test]
async fn repeated_delivery_is_accepted_once() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let body = push("main");
        let all = futures_util::future::join_all((0..8).map(|_| server.github("push", "same", &body))).await;
        let accepted = all.iter().filter(|(status, _)| *status == StatusCode::ACCEPTED).count();
        let repeated = all.iter().filter(|(status, _)| *status == StatusCode::OK).count();
        assert_eq!((accepted, repeated), (1, 7), "{all:?}");
        assert_eq!(server.pipelines().await, ["discover"]);
        assert_eq!(server.github("push", "other", &body).await.0, StatusCode::ACCEPTED);
        assert_eq!(server.pipelines().await.len(), 2);
    }
}

#[tokio::test]
async fn replayed_body_is_accepted_once_per_day() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let post = async |id: &str| server.github_exact("push", id, &push("main")).await;
        assert_eq!(post("d-1").await.0, StatusCode::ACCEPTED);
        for id in ["d-1", "d-2", "", "d-3"] {
            let (status, reply) = post(id).await;
            assert_eq!(status, StatusCode::OK, "{reply}");
            let advice = format!("to allow it again, run `tidemill repo redeliver {URL}`");
            assert!(lines(&reply)[0].starts_with("delivered before, see execution "), "{reply}");
            assert!(lines(&reply)[0].ends_with(&advice), "{reply}");
        }
        server.clock.advance(24 * 3_600_000 - 1);
        assert_eq!(post("d-4").await.0, StatusCode::OK);
        server.clock.advance(1);
        assert_eq!(post("d-5").await.0, StatusCode::ACCEPTED, "after a day it counts as a new event");
        assert_eq!(server.pipelines().await.len(), 2);
        // The same delivery id of another repository is not affected.
        let mut other = push("main");
        other["repository"]["clone_url"] = json!("https://git.example.org/team/other.git");
        server.add_repository("https://git.example.org/team/other.git", "github", json!({})).await;
        assert_eq!(server.github_exact("push", "d-1", &other).await.0, StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn redelivery_is_accepted_once_more() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let post = async || server.github_exact("push", "d-1", &push("main")).await.0;
        assert_eq!((post().await, post().await), (StatusCode::ACCEPTED, StatusCode::OK));
        for round in 2..=3 {
            let request = json!({ "repo": "git@git.example.org:team/app" });
            let allowed = server.ok(Method::POST, path::REDELIVER, request).await;
            assert_eq!(allowed["repository"], "git.example.org/team/app");
            assert_eq!((post().await, post().await), (StatusCode::ACCEPTED, StatusCode::OK), "{round}");
            assert_eq!(server.pipelines().await.len(), round);
        }
        let unknown = json!({ "repo": "https://git.example.org/nothing" });
        assert_eq!(server.call(Method::POST, path::REDELIVER, unknown).await.0, StatusCode::NOT_FOUND);
        let audit = server.ok(Method::GET, path::AUDIT, Value::Null).await.to_string();
        assert_eq!(audit.matches("repository.redeliver").count(), 2, "{audit}");
        // A change of the repository does not allow another redelivery.
        server.add_repository(URL, "github", json!({ "approval": "all" })).await;
        assert_eq!(post().await, StatusCode::OK);
    }
}

#[tokio::test]
async fn unauthenticated_deliveries_get_same_reply() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        server.add_repository("https://git.example.org/team/lab.git", "gitlab", json!({})).await;
        let unknown = push("main").to_string().replace("team/app", "team/none");
        let of_gitlab = push("main").to_string().replace("team/app", "team/lab");
        let registered = push("main").to_string();
        let mut replies = Vec::new();
        for body in [&registered, &unknown, &of_gitlab] {
            for signature in
                [None, Some("sha256=00"), Some(&*format!("sha256={}", sign(b"x", body.as_bytes())))]
            {
                let mut request = Request::post("/api/webhook/github").header("x-github-event", "push");
                if let Some(signature) = signature {
                    request = request.header("x-hub-signature-256", signature);
                }
                replies.push(server.send(request.body(Body::from(body.clone())).unwrap()).await);
            }
        }
        for hint in ["git.example.org%2Fteam%2Fapp", "git.example.org%2Fteam%2Fnone", "%2Fsrv%2Fgit"] {
            let request = Request::post(format!("/api/webhook/github?repo={hint}")).body(Body::from("{"));
            replies.push(server.send(request.unwrap()).await);
        }
        assert_eq!(replies.len(), 12);
        assert_eq!(replies[0].0, StatusCode::UNAUTHORIZED);
        for reply in &replies {
            assert_eq!(reply, &replies[0]);
        }
        assert!(server.executions().await.is_empty());
    }
}

#[tokio::test]
async fn invalid_signatures_are_rate_limited_and_valid_ones_accepted() {
    let server = Server::memory();
    server.add_repository(URL, "github", json!({})).await;
    let server = server.with_rate_limit();
    let post = async |from: [u8; 4], secret: &[u8], id: &str, repo: &str| {
        let mut body = push("main");
        body["pushed_at"] = json!(id);
        let body = body.to_string().replace("team/app", repo);
        let mut request = Request::post("/api/webhook/github")
            .header("x-github-event", "push")
            .header("x-hub-signature-256", format!("sha256={}", sign(secret, body.as_bytes())))
            .body(Body::from(body))
            .unwrap();
        request.extensions_mut().insert(ClientAddress(from.into()));
        server.send(request).await.0
    };
    let mut statuses = Vec::new();
    for number in 0..30 {
        statuses.push(post([192, 0, 2, 1], b"wrong", &number.to_string(), "team/app").await);
    }
    assert_eq!(statuses[..10], [StatusCode::UNAUTHORIZED; 10]);
    assert_eq!(statuses[12..], [StatusCode::TOO_MANY_REQUESTS; 18]);
    let secret = SECRET.as_bytes();
    assert_eq!(post([192, 0, 2, 1], secret, "valid", "team/app").await, StatusCode::ACCEPTED);
    // From many addresses, with the same result for a registered and an unknown repository.
    for repo in ["team/app", "team/none"] {
        let mut limited = 0;
        for number in 0..200_u8 {
            let status = post([198, 51, 100, number], b"wrong", &number.to_string(), repo).await;
            limited += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
        }
        assert!(limited > 100, "{repo}: {limited}");
    }
    assert_eq!(post([192, 0, 2, 2], secret, "valid too", "team/app").await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn unsigned_delivery_records_nothing() {
    let server = Server::memory();
    server.add_repository(URL, "github", json!({})).await;
    let body = push("main").to_string();
    let good = format!("sha256={}", sign(SECRET.as_bytes(), body.as_bytes()));
    let post = async |provider: &str, body: &str, signature: Option<&str>| {
        let mut request = Request::post(format!("/api/webhook/{provider}")).header("x-github-event", "push");
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        server.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let other = body.replace("team/app", "team/other");
    let wrong = format!("sha256={}", sign(b"the secret of another repository", body.as_bytes()));
    for (provider, body, signature, expected) in [
        ("github", body.as_str(), None, StatusCode::UNAUTHORIZED),
        ("github", &body, Some(wrong.as_str()), StatusCode::UNAUTHORIZED),
        ("github", &body.replace("jo", "eve"), Some(&good), StatusCode::UNAUTHORIZED),
        ("github", &other, Some(&good), StatusCode::UNAUTHORIZED),
        // A body without the signature of its provider is not parsed.
        ("gitlab", &body, Some(&good), StatusCode::UNAUTHORIZED),
        ("gitea", &body, Some(&good), StatusCode::UNAUTHORIZED),
        ("sourceforge", &body, Some(&good), StatusCode::NOT_FOUND),
        ("github", "{", Some(&good), StatusCode::BAD_REQUEST),
        ("github", "", Some(&good), StatusCode::BAD_REQUEST),
    ] {
        let (status, reply) = post(provider, body, signature).await;
        assert_eq!(status, expected, "{provider} {body}: {reply}");
        assert!(reply["detail"].as_str().unwrap().len() > 10, "{reply}");
        assert!(!reply.to_string().contains(SECRET));
    }
    let large = "x".repeat((25 << 20) + 1);
    assert_eq!(post("github", &large, Some(&good)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(server.executions().await.is_empty());
    assert_eq!(post("github", &body, Some(&good)).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn webhook_repo_parameter_names_repository() {
    let server = Server::memory();
    server.add_repository("ssh://git@git.internal:2222/app.git", "gitea", json!({})).await;
    let mut body = push("main");
    body["repository"]["clone_url"] = json!("https://elsewhere.example.org/x.git");
    let body = body.to_string();
    let post = async |address: &str| {
        let request = Request::post(address)
            .header("x-gitea-event", "push")
            .header("x-gitea-signature", sign(SECRET.as_bytes(), body.as_bytes()));
        server.send(request.body(Body::from(body.clone())).unwrap()).await.0
    };
    assert_eq!(post("/api/webhook/gitea").await, StatusCode::UNAUTHORIZED);
    assert_eq!(post("/api/webhook/gitea?repo=git.internal%3A2222%2Fapp").await, StatusCode::ACCEPTED);
    let claimed = server.claim().await.unwrap();
    let source = &claimed.assignment["preparation"]["source"];
    assert_eq!(source["url"], "ssh://git@git.internal:2222/app.git");
    assert_eq!(source["private_host"], true, "it is registered");
}

#[tokio::test]
async fn fork_is_held_by_approval_policy() {
    for (approval, from_fork, held) in [
        ("none", true, false),
        ("forks", true, true),
        ("forks", false, false),
        ("all", false, true),
        ("all", true, true),
    ] {
        for server in Server::for_each_store() {
            server.add_repository(URL, "github", json!({ "approval": approval })).await;
            server.github("pull_request", "d", &pull_request(7, from_fork)).await;
            let claimed = server.claim().await.unwrap();
            let discovery = claimed.discovery();
            let source = (&discovery["fetch_ref"], &discovery["target_branch"]);
            assert_eq!(source, (&json!("refs/pull/7/head"), &json!("main")));
            assert_eq!(discovery["event"]["pull_request"]["from_fork"], from_fork);
            let messages =
                lines(&server.report_discovery(&claimed, &[("p/pull.yml", PULL), ("p/ci.yml", CI)]).await);
            let case = format!("{approval}, from a fork: {from_fork}: {messages:?}");
            assert_eq!(messages[0].contains("waits for an approval"), held, "{case}");
            assert!(messages[1].contains("not started"), "{case}");
            server.finish(&claimed, true).await;
            let execution = server.executions().await.remove(1);
            let branch = if from_fork { "eve:main" } else { "main" };
            assert_eq!(
                (&execution["branch"], &execution["trigger"]),
                (&json!(branch), &json!("pull_request"))
            );
            let job = server.claim().await;
            assert_eq!(job.is_none(), held, "{case}");
            let job = if let Some(job) = job {
                job
            } else {
                let id = execution["id"].as_str().unwrap();
                let approve = path::APPROVE_EXECUTION.replace("{executionId}", id);
                server.ok(Method::POST, &approve, Value::Null).await;
                server.claim().await.expect("it runs after the approval")
            };
            // Otherwise other executions would get what a fork's commit leaves in a cache.
            let may_keep = &job.assignment["extras"]["may_keep_caches"];
            assert_eq!(may_keep.as_bool().unwrap_or(false), !from_fork, "{case}");
        }
    }
}

#[tokio::test]
async fn fork_cannot_cancel_repository_group() {
    let server = Server::memory();
    server.add_repository(URL, "github", json!({ "approval": "none" })).await;
    let pipeline = "name: ci\non: { push: , pull_request: }\nconcurrency: { group: deploy, cancel_superseded: true }\n\
                jobs: { a: { image: i, script: [x] } }\n";
    for (event, body) in [("push", push("main")), ("pull_request", pull_request(7, true))] {
        server.github(event, event, &body).await;
        let claimed = loop {
            let claimed = server.claim().await.unwrap();
            if claimed.discovery().is_object() {
                break claimed;
            }
        };
        server.report_discovery(&claimed, &[("p/ci.yml", pipeline)]).await;
        server.finish(&claimed, true).await;
    }
    let all = server.executions().await;
    let of_ci: Vec<_> = all.iter().filter(|execution| execution["pipeline_name"] == "ci").collect();
    assert_eq!(of_ci.len(), 2);
    assert!(of_ci.iter().all(|execution| execution["cancel_requested"] == false), "{of_ci:#?}");
}

#[tokio::test]
async fn retried_discovery_starts_only_missing_pipelines() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        server.github("push", "d", &push("main")).await;
        let claimed = server.claim().await.unwrap();
        server.report_discovery(&claimed, &[("p/ci.yml", CI), ("p/bad.yml", BAD)]).await;
        server.finish(&claimed, false).await;
        assert_eq!(server.pipelines().await, ["discover", "ci"]);
        let ci = server.claim().await.unwrap();
        server.finish(&ci, true).await;
        let id = server.executions().await[0]["id"].as_str().unwrap().to_owned();
        server.ok(Method::POST, &path::RETRY.replace("{executionId}", &id), json!({})).await;
        let retried = server.claim().await.expect("the retried discovery job");
        assert_eq!(retried.discovery(), claimed.discovery());
        let messages = lines(&server.report_discovery(&retried, &[("p/ci.yml", CI)]).await);
        assert!(messages[0].contains("started before: ci 1"), "{messages:?}");
        server.finish(&retried, true).await;
        assert_eq!(server.pipelines().await, ["discover", "ci", "discover"]);
    }
}

#[tokio::test]
async fn included_files_of_a_pushed_pipeline_are_recorded_and_a_retry_discovers_nothing() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        server.github("push", "d-1", &push("main")).await;
        let claimed = server.claim().await.expect("a discovery job");
        let include = json!({ "kind": "git", "url": "https://git.example/lib", "reference": "v2",
            "commit": "c".repeat(40), "file": "ci.yml" });
        let report = |include: &Value| {
            json!({ "job_id": claimed.job(), "lease": claimed.lease(), "commit": COMMIT,
                "files": [{ "path": "p/ci.yml", "text": CI, "includes": [include] }] })
        };
        let unpinned = json!({ "kind": "template", "name": "Go.yml", "sha256": "latest" });
        let (status, problem) = server.call(Method::POST, path::DISCOVERY_REPORT, report(&unpinned)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        server.ok(Method::POST, path::DISCOVERY_REPORT, report(&include)).await;
        server.finish(&claimed, true).await;
        let status_of = |id: &Value| path::STATUS.replace("{executionId}", id.as_str().unwrap());
        let id = server.executions().await[1]["id"].clone();
        let view = server.ok(Method::GET, &status_of(&id), Value::Null).await;
        assert_eq!(view["includes"], json!([include]));
        let job = server.claim().await.unwrap();
        server.finish(&job, false).await;
        let retry = path::RETRY.replace("{executionId}", id.as_str().unwrap());
        let retried = server.ok(Method::POST, &retry, json!({})).await["execution_id"].clone();
        let view = server.ok(Method::GET, &status_of(&retried), Value::Null).await;
        assert_eq!(view["includes"], json!([include]));
        let job = server.claim().await.unwrap();
        assert_eq!(job.assignment["script"], json!(["x"]), "the recorded text runs again");
        assert_eq!(server.pipelines().await, ["discover", "ci", "ci"]);
    }
}

#[tokio::test]
async fn discovery_report_requires_lease() {
    let server = Server::memory();
    server.add_repository(URL, "github", json!({})).await;
    server.github("push", "d", &push("main")).await;
    let claimed = server.claim().await.unwrap();
    let report_files = async |job: &Value, lease: &Value| {
        let report = json!({ "job_id": job, "lease": lease, "commit": COMMIT,
                             "files": [{ "path": "p/ci.yml", "text": CI }] });
        server.call(Method::POST, path::DISCOVERY_REPORT, report).await.0
    };
    assert_eq!(report_files(claimed.job(), &json!(uuid::Uuid::now_v7())).await, StatusCode::CONFLICT);
    assert_eq!(report_files(claimed.job(), claimed.lease()).await, StatusCode::OK);
    server.finish(&claimed, true).await;
    assert_eq!(report_files(claimed.job(), claimed.lease()).await, StatusCode::CONFLICT);
    let ci: ClaimedJob = server.claim().await.unwrap();
    assert_eq!(report_files(ci.job(), ci.lease()).await, StatusCode::CONFLICT, "it is not a discovery job");
    server.ok(Method::DELETE, "/api/repository?repo=git.example.org/team/app", Value::Null).await;
    assert_eq!(server.github("push", "e", &push("main")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn secrets_of_repository_are_never_shown_again() {
    for server in Server::for_each_store() {
        let created =
            server.ok(Method::PUT, path::REPOSITORIES, json!({ "url": URL, "provider": "gitlab" })).await;
        let secret = created["webhook_secret"].as_str().unwrap().to_owned();
        assert!(secret.len() >= 43 && created["webhook_path"] == "/api/webhook/gitlab", "{created}");
        let change = json!({ "url": URL, "provider": "gitlab", "status_token": "the-status-token",
            "notify": [{ "kind": "chat", "url": "https://chat.example.org/hooks/the-chat-hook" }] });
        let changed = server.ok(Method::PUT, path::REPOSITORIES, change).await.to_string();
        let listed = server.ok(Method::GET, path::REPOSITORIES, Value::Null).await.to_string();
        for hidden in [secret.as_str(), "the-status-token", "the-chat-hook"] {
            assert!(!listed.contains(hidden) && !changed.contains(hidden), "{hidden}: {listed} {changed}");
        }
        let more = json!({ "url": URL, "provider": "gitlab", "approval": "all", "api_url": "https://api.example.org",
            "default_branch": "trunk", "status_token": "the-status-token" });
        server.ok(Method::PUT, path::REPOSITORIES, more).await;
        let same = json!({ "url": URL, "provider": "gitlab", "default_branch": "" });
        let unchanged = server.ok(Method::PUT, path::REPOSITORIES, same).await["repository"].clone();
        assert_eq!(
            (
                &unchanged["approval"],
                &unchanged["api_url"],
                &unchanged["default_branch"],
                &unchanged["statuses"]
            ),
            (&json!("all"), &json!("https://api.example.org"), &Value::Null, &json!(true))
        );
        assert!(listed.contains("\"statuses\":true") && listed.contains("\"notify\":[\"chat\"]"), "{listed}");
        // The generated secret is still valid.
        let body = json!({ "object_kind": "push", "ref": "refs/heads/main", "after": COMMIT, "checkout_sha": COMMIT,
                           "project": { "git_http_url": URL } });
        let request = Request::post("/api/webhook/gitlab")
            .header("x-gitlab-event", "Push Hook")
            .header("x-gitlab-token", &secret);
        let (status, reply) = server.send(request.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        for invalid in [
            json!({ "url": "ext::sh -c x", "provider": "github" }),
            json!({ "url": "--upload-pack=x", "provider": "github" }),
            json!({ "url": "https://jo:token@git.example.org/x", "provider": "github" }),
            json!({ "url": "relative/path", "provider": "github" }),
            json!({ "url": "/srv/git/app.git", "provider": "github" }),
            json!({ "url": "file:///srv/git/app.git", "provider": "github" }),
            json!({ "url": "http://127.0.0.1?@git.example.org/x", "provider": "github" }),
            json!({ "url": URL, "provider": "github", "webhook_secret": "short" }),
            json!({ "url": URL, "provider": "github", "notify": [{ "kind": "chat", "url": "file:///etc/passwd" }] }),
            json!({ "url": URL, "provider": "github", "notify": [{ "kind": "webhook", "url": "https://x" }] }),
            json!({ "url": URL, "provider": "github", "api_url": "ftp://x" }),
        ] {
            let (status, reply) = server.call(Method::PUT, path::REPOSITORIES, invalid.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{invalid}: {reply}");
        }
    }
}
