use super::server::{COMMIT, SECRET, Server, Taken, URL, pull_request, push};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tidemill_core::{api::path, webhook::sign};

const CI: &str = "name: ci\non: { push: { branches: [main] } }\njobs: { a: { image: i, script: [x] } }\n";
const DOCS: &str =
    "name: docs\non: { push: { paths: [\"docs/**\"] } }\njobs: { a: { image: i, script: [x] } }\n";
const ASKED: &str = "name: asked\non: { pull_request: }\njobs: { a: { image: i, script: [x] } }\n";
const BAD: &str = "name: bad\njobs: { a: { image: i, scrpt: [x] } }\n";

fn lines(reply: &Value) -> Vec<String> {
    reply["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_push_starts_the_pipelines_that_fit_it() {
    for server in Server::each() {
        server.add(URL, "github", json!({})).await;
        let (status, reply) = server.github("push", "d-1", &push("main")).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        let taken = server.take().await.expect("a job that looks at the commit");
        assert_eq!(taken.discovery()["before"], "b".repeat(40));
        let source = &taken.assignment["preparation"]["source"];
        assert_eq!(
            source,
            &json!({ "kind": "git", "url": URL, "branch": "main", "commit": COMMIT, "private_host": true })
        );
        assert_eq!(taken.assignment["script"], json!([]));
        let files = [("p/ci.yml", CI), ("p/docs.yml", DOCS), ("p/asked.yml", ASKED), ("p/bad.yml", BAD)];
        let reply = server.found_at(&taken, COMMIT, &files, Some(&["src/a.rs"])).await;
        let said = lines(&reply);
        assert!(said[0].starts_with("p/ci.yml: started: ci 1 ("), "{said:?}");
        assert_eq!(said[1], "p/docs.yml: not started: no file changed that its `paths` match");
        assert_eq!(said[2], "p/asked.yml: not started: its `on` has no `push`");
        assert!(said[3].starts_with("p/bad.yml:2:") && said[3].contains("scrpt"), "{said:?}");
        assert_eq!(reply["failed"], true);
        // The reply was lost: nothing starts twice.
        let again = lines(&server.found_at(&taken, COMMIT, &files, Some(&["src/a.rs"])).await);
        assert!(again[0].starts_with("p/ci.yml: started before: ci 1 ("), "{again:?}");
        server.end(&taken, false).await;
        let all = server.executions().await;
        assert_eq!(server.pipelines().await, ["discover", "ci"]);
        let ci = &all[1];
        assert_eq!(
            (&ci["trigger"], &ci["branch"], &ci["commit"], &ci["requested_by"], &ci["repo"]),
            (&json!("push"), &json!("main"), &json!(COMMIT), &json!("jo"), &json!(URL))
        );
        let job = server.take().await.unwrap();
        assert_eq!(job.assignment["script"], json!(["x"]));
        server.end(&job, true).await;
        assert_eq!(server.executions().await[1]["status"], "SUCCESS");
    }
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_taken_once() {
    for server in Server::each() {
        server.add(URL, "github", json!({})).await;
        let body = push("main");
        let all = futures_util::future::join_all((0..8).map(|_| server.github("push", "same", &body))).await;
        let taken = all.iter().filter(|(status, _)| *status == StatusCode::ACCEPTED).count();
        let again = all.iter().filter(|(status, _)| *status == StatusCode::OK).count();
        assert_eq!((taken, again), (1, 7), "{all:?}");
        assert_eq!(server.pipelines().await, ["discover"]);
        assert_eq!(server.github("push", "other", &body).await.0, StatusCode::ACCEPTED);
        assert_eq!(server.pipelines().await.len(), 2);
    }
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_refused_and_nothing_is_recorded() {
    let server = Server::memory();
    server.add(URL, "github", json!({})).await;
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
    let wrong = format!("sha256={}", sign(b"another secret of others", body.as_bytes()));
    for (provider, body, signature, expected) in [
        ("github", body.as_str(), None, StatusCode::UNAUTHORIZED),
        ("github", &body, Some(wrong.as_str()), StatusCode::UNAUTHORIZED),
        ("github", &body.replace("jo", "eve"), Some(&good), StatusCode::UNAUTHORIZED),
        ("github", &other, Some(&good), StatusCode::NOT_FOUND),
        ("gitlab", &body, Some(&good), StatusCode::BAD_REQUEST),
        ("gitea", &body, Some(&good), StatusCode::NOT_FOUND),
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
async fn a_repository_that_the_body_cannot_name_is_named_in_the_address() {
    let server = Server::memory();
    server.add("ssh://git@git.internal:2222/app.git", "gitea", json!({})).await;
    let mut body = push("main");
    body["repository"]["clone_url"] = json!("https://elsewhere.example.org/x.git");
    let body = body.to_string();
    let post = async |address: &str| {
        let request = Request::post(address)
            .header("x-gitea-event", "push")
            .header("x-gitea-signature", sign(SECRET.as_bytes(), body.as_bytes()));
        server.send(request.body(Body::from(body.clone())).unwrap()).await.0
    };
    assert_eq!(post("/api/webhook/gitea").await, StatusCode::NOT_FOUND);
    assert_eq!(post("/api/webhook/gitea?repo=git.internal%3A2222%2Fapp").await, StatusCode::ACCEPTED);
    let taken = server.take().await.unwrap();
    let source = &taken.assignment["preparation"]["source"];
    assert_eq!(source["url"], "ssh://git@git.internal:2222/app.git");
    assert_eq!(source["private_host"], true, "it is registered");
}

#[tokio::test]
async fn a_fork_is_held_as_the_repository_says_and_gets_no_branch_of_the_repository() {
    for (approval, from_fork, held) in [
        ("none", true, false),
        ("forks", true, true),
        ("forks", false, false),
        ("all", false, true),
        ("all", true, true),
    ] {
        for server in Server::each() {
            server.add(URL, "github", json!({ "approval": approval })).await;
            server.github("pull_request", "d", &pull_request(7, from_fork)).await;
            let taken = server.take().await.unwrap();
            let expected = json!({ "fetch_ref": "refs/pull/7/head", "target_branch": "main" });
            assert_eq!(taken.discovery(), &expected);
            let said = lines(&server.found(&taken, &[("p/asked.yml", ASKED), ("p/ci.yml", CI)]).await);
            let is = format!("{approval}, from a fork: {from_fork}: {said:?}");
            assert_eq!(said[0].contains("waits for an approval"), held, "{is}");
            assert!(said[1].contains("not started"), "{is}");
            server.end(&taken, true).await;
            let execution = server.executions().await.remove(1);
            let branch = if from_fork { "eve:main" } else { "main" };
            assert_eq!(
                (&execution["branch"], &execution["trigger"]),
                (&json!(branch), &json!("pull_request"))
            );
            let job = server.take().await;
            assert_eq!(job.is_none(), held, "{is}");
            let job = if let Some(job) = job {
                job
            } else {
                let id = execution["id"].as_str().unwrap();
                let approve = path::APPROVE_EXECUTION.replace("{executionId}", id);
                server.ok(Method::POST, &approve, Value::Null).await;
                server.take().await.expect("it runs once it is approved")
            };
            // What a fork's commit leaves in a cache others would get.
            let keeps = &job.assignment["extras"]["may_keep_caches"];
            assert_eq!(keeps.as_bool().unwrap_or(false), !from_fork, "{is}");
        }
    }
}

#[tokio::test]
async fn a_fork_cannot_cancel_what_the_repository_runs_in_a_group_of_the_same_name() {
    let server = Server::memory();
    server.add(URL, "github", json!({ "approval": "none" })).await;
    let both = "name: ci\non: { push: , pull_request: }\nconcurrency: { group: deploy, cancel_superseded: true }\n\
                jobs: { a: { image: i, script: [x] } }\n";
    for (event, body) in [("push", push("main")), ("pull_request", pull_request(7, true))] {
        server.github(event, event, &body).await;
        let taken = loop {
            let taken = server.take().await.unwrap();
            if taken.discovery().is_object() {
                break taken;
            }
        };
        server.found(&taken, &[("p/ci.yml", both)]).await;
        server.end(&taken, true).await;
    }
    let all = server.executions().await;
    let of_ci: Vec<_> = all.iter().filter(|one| one["pipeline_name"] == "ci").collect();
    assert_eq!(of_ci.len(), 2);
    assert!(of_ci.iter().all(|one| one["cancel_requested"] == false), "{of_ci:#?}");
}

#[tokio::test]
async fn a_discovery_that_failed_can_be_retried_and_starts_only_what_did_not() {
    for server in Server::each() {
        server.add(URL, "github", json!({})).await;
        server.github("push", "d", &push("main")).await;
        let taken = server.take().await.unwrap();
        server.found(&taken, &[("p/ci.yml", CI), ("p/bad.yml", BAD)]).await;
        server.end(&taken, false).await;
        assert_eq!(server.pipelines().await, ["discover", "ci"]);
        let ci = server.take().await.unwrap();
        server.end(&ci, true).await;
        let id = server.executions().await[0]["id"].as_str().unwrap().to_owned();
        server.ok(Method::POST, &path::RETRY.replace("{executionId}", &id), json!({})).await;
        let retried = server.take().await.expect("the retry looks at the commit again");
        assert_eq!(retried.discovery(), taken.discovery());
        let said = lines(&server.found(&retried, &[("p/ci.yml", CI)]).await);
        assert!(said[0].contains("started before: ci 1"), "{said:?}");
        server.end(&retried, true).await;
        assert_eq!(server.pipelines().await, ["discover", "ci", "discover"]);
    }
}

#[tokio::test]
async fn a_discovery_is_told_with_its_lease_only() {
    let server = Server::memory();
    server.add(URL, "github", json!({})).await;
    server.github("push", "d", &push("main")).await;
    let taken = server.take().await.unwrap();
    let tell = async |job: &Value, lease: &Value| {
        let report = json!({ "job_id": job, "lease": lease, "commit": COMMIT,
                             "files": [{ "path": "p/ci.yml", "text": CI }] });
        server.call(Method::POST, path::DISCOVERED, report).await.0
    };
    assert_eq!(tell(taken.job(), &json!(uuid::Uuid::now_v7())).await, StatusCode::CONFLICT);
    assert_eq!(tell(taken.job(), taken.lease()).await, StatusCode::OK);
    server.end(&taken, true).await;
    assert_eq!(tell(taken.job(), taken.lease()).await, StatusCode::CONFLICT);
    let ci: Taken = server.take().await.unwrap();
    assert_eq!(tell(ci.job(), ci.lease()).await, StatusCode::CONFLICT, "it looks at no commit");
    server.ok(Method::DELETE, "/api/repository?repo=git.example.org/team/app", Value::Null).await;
    assert_eq!(server.github("push", "e", &push("main")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_secrets_of_a_repository_are_never_shown_again() {
    for server in Server::each() {
        let made =
            server.ok(Method::PUT, path::REPOSITORIES, json!({ "url": URL, "provider": "gitlab" })).await;
        let secret = made["webhook_secret"].as_str().unwrap().to_owned();
        assert!(secret.len() >= 43 && made["webhook_path"] == "/api/webhook/gitlab", "{made}");
        let change = json!({ "url": URL, "provider": "gitlab", "status_token": "the-status-token",
            "notify": [{ "kind": "chat", "url": "https://chat.example.org/hooks/the-chat-hook" }] });
        let changed = server.ok(Method::PUT, path::REPOSITORIES, change).await.to_string();
        let listed = server.ok(Method::GET, path::REPOSITORIES, Value::Null).await.to_string();
        for hidden in [secret.as_str(), "the-status-token", "the-chat-hook"] {
            assert!(!listed.contains(hidden) && !changed.contains(hidden), "{hidden}: {listed} {changed}");
        }
        let more = json!({ "url": URL, "provider": "gitlab", "approval": "all", "api_url": "https://api.example.org",
            "default_branch": "trunk" });
        server.ok(Method::PUT, path::REPOSITORIES, more).await;
        let same = json!({ "url": URL, "provider": "gitlab", "default_branch": "" });
        let kept = server.ok(Method::PUT, path::REPOSITORIES, same).await["repository"].clone();
        assert_eq!(
            (&kept["approval"], &kept["api_url"], &kept["default_branch"], &kept["statuses"]),
            (&json!("all"), &json!("https://api.example.org"), &Value::Null, &json!(true))
        );
        assert!(listed.contains("\"statuses\":true") && listed.contains("\"notify\":[\"chat\"]"), "{listed}");
        // The secret that was made still opens.
        let body = json!({ "object_kind": "push", "ref": "refs/heads/main", "after": COMMIT, "checkout_sha": COMMIT,
                           "project": { "git_http_url": URL } });
        let request = Request::post("/api/webhook/gitlab")
            .header("x-gitlab-event", "Push Hook")
            .header("x-gitlab-token", &secret);
        let (status, reply) = server.send(request.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        for wrong in [
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
            let (status, reply) = server.call(Method::PUT, path::REPOSITORIES, wrong.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {reply}");
        }
    }
}
