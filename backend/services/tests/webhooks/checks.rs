//! Check runs, at a provider on loopback that checks each request, and the button that runs them again.

use super::{
    report_provider::{APP_ID, Fault, app},
    reported::{CI, Reported, request_at},
    server::{COMMIT, SECRET, Server, URL, push},
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tidemill_core::{api::path, repository::webhook::sign};
use tidemill_services::ports::Clock;

#[tokio::test]
async fn check_run_follows_execution_with_annotations_in_batches() {
    const CI: &str =
        "name: ci\non: { push: }\njobs:\n  a: { image: i, script: [x] }\n  b: { image: i, script: [x] }\n";
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({})).await;
        on.start_at("push", &push("main"), COMMIT, CI).await;
        on.run().await;
        let jobs = [on.claim().await, on.claim().await];
        on.run().await;
        for (job, file) in jobs.iter().zip(["a.rs", "b.rs"]) {
            on.annotate(job, 70, file).await;
            on.server.finish(job, false).await;
        }
        on.run().await;
        assert_eq!(on.provider.states(), ["queued", "in_progress", "completed failure"]);
        let requests = on.provider.requests();
        // Created, two states, and two more batches of annotations.
        assert_eq!(requests.len(), 5, "{requests:?}");
        assert_eq!(on.provider.tokens(), 1, "the token is kept");
        let runs = on.provider.runs();
        assert_eq!(runs.len(), 1);
        let run = &runs[0];
        assert_eq!((&run["name"], &run["head_sha"]), (&json!("tidemill/ci"), &json!(COMMIT)));
        let id = on.server.executions().await[1]["id"].clone();
        assert_eq!(run["external_id"], id);
        assert_eq!(run["output"]["title"], "run 1 failed");
        let annotations = run["annotations"].as_array().unwrap();
        assert_eq!(annotations.len(), 140);
        assert_eq!(annotations[0]["path"], "a.rs");
        assert_eq!((&annotations[0]["start_line"], &annotations[0]["title"]), (&json!(1), &json!("a")));
        let summary = run["output"]["summary"].as_str().unwrap();
        assert!(
            summary.contains("**failed:** `a`") && summary.contains("annotations: 140 failures"),
            "{summary}"
        );
        on.server.clock.advance(3_600_000);
        on.start_at("push", &push("topic"), COMMIT, CI).await;
        on.run().await;
        assert_eq!(on.provider.tokens(), 2, "an expired token is replaced");
    }
}

#[tokio::test]
async fn lost_replies_create_and_append_nothing_twice() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({})).await;
        on.start_at("push", &push("main"), COMMIT, CI).await;
        on.provider.fail_next(Fault::lost_reply());
        on.run_retries().await;
        assert_eq!(on.provider.runs().len(), 1, "{:?}", on.provider.requests());
        let job = on.claim().await;
        on.annotate(&job, 90, "a.rs").await;
        on.server.finish(&job, false).await;
        on.provider.fail_next(Fault::status(503));
        on.provider.fail_next(Fault::lost_reply());
        on.provider.fail_next(Fault::lost_reply());
        on.run_retries().await;
        let runs = on.provider.runs();
        assert_eq!((runs.len(), runs[0]["annotations"].as_array().unwrap().len()), (1, 90));
        assert_eq!((&runs[0]["status"], &runs[0]["conclusion"]), (&json!("completed"), &json!("failure")));
        on.provider.requests();
        on.run_retries().await;
        assert_eq!(on.provider.requests(), Vec::<String>::new(), "everything is delivered");
    }
}

#[tokio::test]
async fn annotations_that_are_rejected_do_not_keep_the_state_from_the_check_run() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({})).await;
        on.start_at("push", &push("main"), COMMIT, CI).await;
        on.run().await;
        let job = on.claim().await;
        on.run().await;
        on.annotate(&job, 70, "a.rs").await;
        on.server.finish(&job, false).await;
        on.provider.fail_next(Fault::status(422));
        on.run_retries().await;
        let runs = on.provider.runs();
        assert_eq!((&runs[0]["status"], &runs[0]["conclusion"]), (&json!("completed"), &json!("failure")));
        assert_eq!(runs[0]["annotations"].as_array().unwrap().len(), 20, "the batch after the rejected one");
        on.provider.requests();
    }
}

#[tokio::test]
async fn limit_of_requests_is_honoured() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({})).await;
        let reset = on.server.clock.now().0 / 1_000 + 1_800;
        let limited = Fault::status(403).with_header("x-ratelimit-remaining", "0");
        on.provider.fail_next(limited.with_header("x-ratelimit-reset", reset.to_string()));
        on.start_at("push", &push("main"), COMMIT, CI).await;
        on.server.services.outbox.run().await.unwrap();
        assert_eq!(on.provider.requests().len(), 1);
        // Another execution has the same limit.
        on.claim_and_finish(true).await;
        on.start_at("push", &push("topic"), COMMIT, CI).await;
        for _ in 0..17 {
            on.server.services.outbox.run().await.unwrap();
            on.server.clock.advance(100_000);
        }
        assert_eq!(on.provider.requests(), Vec::<String>::new(), "nothing is sent before the limit is reset");
        on.server.clock.advance(200_000);
        on.run_retries().await;
        assert_eq!(on.provider.runs().len(), 2);
        on.provider.fail_next(Fault::status(429).with_header("retry-after", "600"));
        on.claim_and_finish(true).await;
        on.provider.requests();
        on.server.services.outbox.run().await.unwrap();
        on.server.clock.advance(500_000);
        on.server.services.outbox.run().await.unwrap();
        assert_eq!(on.provider.requests().len(), 1);
        on.server.clock.advance(200_000);
        on.run_retries().await;
        let states = on.provider.states();
        assert_eq!(states.iter().filter(|state| *state == "completed success").count(), 2, "{states:?}");
    }
}

fn rerun(event: &str, execution: &Value, author: &str) -> Value {
    let mut check = json!({ "head_sha": COMMIT, "app": { "id": APP_ID } });
    if event == "check_run" {
        check["external_id"] = execution.clone();
    }
    json!({ "action": "rerequested", event: check, "sender": { "login": author },
            "repository": { "clone_url": URL, "default_branch": "main" } })
}

#[tokio::test]
async fn checks_are_run_again_by_those_who_may_write() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({})).await;
        on.start_at("push", &push("main"), COMMIT, CI).await;
        let execution = on.server.executions().await[1]["id"].clone();
        on.provider.allow_writer("jo");
        let body = rerun("check_run", &execution, "jo");
        let lines = |reply: &Value| reply["lines"].to_string();
        let (status, reply) = on.server.github_exact("check_run", "live", &body).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert!(lines(&reply).contains("has not ended"), "{reply}");
        on.claim_and_finish(false).await;
        // A wrong signature, people without rights, other Apps and other commits start nothing.
        let forged = Request::post("/api/webhook/github")
            .header("content-type", "application/json")
            .header("x-github-event", "check_run")
            .header(
                "x-hub-signature-256",
                format!("sha256={}", sign(b"another secret", body.to_string().as_bytes())),
            );
        let (status, _) = on.server.send(forged.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let mut of_app = body.clone();
        of_app["check_run"]["app"]["id"] = json!(1);
        let mut at_commit = body.clone();
        at_commit["check_run"]["head_sha"] = json!("b".repeat(40));
        for (body, why) in [
            (rerun("check_run", &execution, "eve"), "eve may not write to the repository"),
            (of_app, "not those of the App"),
            (at_commit, "no execution here"),
            (rerun("check_run", &json!("x"), "jo"), "no execution here"),
        ] {
            let (status, reply) = on.server.github("check_run", why, &body).await;
            assert_eq!(status, StatusCode::OK, "{reply}");
            assert!(lines(&reply).contains(why), "{reply}");
        }
        assert_eq!(on.server.executions().await.len(), 2);
        let (status, reply) = on.server.github("check_run", "1", &body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        let (status, reply) = on.server.github("check_run", "1", &body).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert!(lines(&reply).contains("delivered before"), "{reply}");
        let executions = on.server.executions().await;
        assert_eq!(executions.len(), 3);
        assert_eq!((&executions[2]["retry_of"], &executions[2]["requested_by"]), (&execution, &json!("jo")));
        on.claim_and_finish(true).await;
        on.run().await;
        assert_eq!(on.provider.runs().len(), 2, "the retry has a check run of its own");
        // All checks of the commit: the newest execution, which succeeded, runs again as a whole.
        let all = rerun("check_suite", &Value::Null, "jo");
        let (status, reply) = on.server.github("check_suite", "2", &all).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        let executions = on.server.executions().await;
        assert_eq!((executions.len(), &executions[3]["retry_of"]), (4, &executions[2]["id"]));
        // Listed people only.
        on.server.add_repository(URL, "github", json!({ "comment_authors": ["ada"] })).await;
        let (_, reply) = on.server.github("check_run", "3", &body).await;
        assert!(lines(&reply).contains("jo is not among"), "{reply}");
    }
}

#[tokio::test]
async fn unapproved_execution_of_a_fork_is_not_started_by_the_button() {
    for server in Server::for_each_store() {
        let mut on = Reported::with_app(server, json!({ "notes": true })).await;
        on.start_at("pull_request", &request_at(COMMIT, true), COMMIT, CI).await;
        on.run().await;
        let runs = on.provider.runs();
        assert_eq!(
            (&runs[0]["status"], &runs[0]["output"]["title"]),
            (&json!("queued"), &json!("run 1 waits for an approval"))
        );
        assert!(on.provider.notes()[0].contains("waits for an approval"), "{:?}", on.provider.notes());
        let execution = on.server.executions().await[1]["id"].clone();
        let id = execution.as_str().unwrap();
        on.server.ok(Method::POST, &path::CANCEL_EXECUTION.replace("{executionId}", id), json!({})).await;
        on.run().await;
        assert_eq!(on.provider.runs()[0]["conclusion"], "cancelled");
        on.provider.allow_writer("jo");
        let (status, reply) = on.server.github("check_run", "1", &rerun("check_run", &execution, "jo")).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert_eq!(on.server.executions().await.len(), 2);
        on.provider.requests();
    }
}

#[tokio::test]
async fn invalid_registrations_are_rejected_and_keys_are_not_shown() {
    let server = Server::memory();
    let put = async |provider: &str, more: Value| {
        let mut body = json!({ "url": URL, "provider": provider, "webhook_secret": SECRET });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.call(Method::PUT, path::REPOSITORIES, body).await
    };
    let no_key = json!({ "app": { "set": { "app_id": 1, "installation_id": 2, "private_key": "x" } } });
    for (provider, more, why) in [
        ("github", no_key, "not an RSA key"),
        ("gitlab", json!({ "app": app() }), "for repositories at GitHub"),
        ("github", json!({ "notes": true }), "notes need a token"),
        ("bitbucket", json!({ "notes": true, "status_token": "T" }), "notes are for pull requests at"),
    ] {
        let (status, reply) = put(provider, more).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{reply}");
        assert!(reply["detail"].as_str().unwrap().contains(why), "{reply}");
    }
    let (status, reply) = put("github", json!({ "app": app(), "notes": true })).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    let list = server.ok(Method::GET, path::REPOSITORIES, Value::Null).await;
    assert_eq!(list["repositories"][0]["app"], json!({ "app_id": APP_ID, "installation_id": 88 }));
    assert_eq!(list["repositories"][0]["notes"], true);
    assert!(!list.to_string().contains("PRIVATE KEY") && !reply.to_string().contains("PRIVATE KEY"));
    let document = tidemill_services::ports::DocumentKey::new("repository", "git.example.org/team/app");
    let stored = server.stores.documents.get(&document).await.unwrap().unwrap();
    assert!(!stored.value.contains("PRIVATE KEY"));
}

#[tokio::test]
async fn kept_token_and_app_are_sent_to_no_other_api() {
    for server in Server::for_each_store() {
        let put = async |more: Value| {
            let mut body = json!({ "url": URL, "provider": "github" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            server.call(Method::PUT, path::REPOSITORIES, body).await
        };
        for credential in [json!({ "status_token": "T0KEN" }), json!({ "app": app() })] {
            let with = |more: Value| {
                let mut all = credential.clone();
                all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                all
            };
            let default_api = json!({ "api_url": "", "webhook_secret": SECRET });
            assert_eq!(put(with(default_api)).await.0, StatusCode::OK);
            let others = [
                json!({ "api_url": "https://evil.example.org/api" }),
                json!({ "api_url": "http://git.example.org/api/v3" }),
                json!({ "provider": "bitbucket" }),
            ];
            for other in others {
                let (status, reply) = put(other.clone()).await;
                assert_eq!(status, StatusCode::BAD_REQUEST, "{other}: {reply}");
            }
            // The same address, and another one with the credential.
            let same = json!({ "api_url": "https://git.example.org/api/v3/" });
            assert_eq!(put(same).await.0, StatusCode::OK);
            let moved = with(json!({ "api_url": "https://api.example.org" }));
            assert_eq!(put(moved).await.0, StatusCode::OK);
            let removed = json!({ "api_url": "", "status_token": "", "app": "remove" });
            assert_eq!(put(removed).await.0, StatusCode::OK, "without credentials");
        }
    }
}
