//! Published example payloads of providers: each is accepted, or rejected with a reason.

use super::server::{SECRET, Server};
use axum::{body::Body, http::Request};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};
use tidemill_core::repository::{
    canonical_name,
    webhook::{Provider, sign},
};

/// Posts a body with its event name, and returns the status and the reply.
async fn post(server: &Server, provider: Provider, event: &str, id: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let hmac = sign(SECRET.as_bytes(), body.as_bytes());
    let (event_header, id_header, signature, value) = match provider {
        Provider::Github => {
            ("x-github-event", "x-github-delivery", "x-hub-signature-256", format!("sha256={hmac}"))
        }
        Provider::Gitlab => ("x-gitlab-event", "x-gitlab-event-uuid", "x-gitlab-token", SECRET.to_owned()),
        Provider::Gitea => ("x-gitea-event", "x-gitea-delivery", "x-gitea-signature", hmac),
        Provider::Bitbucket => ("x-event-key", "x-request-uuid", "x-hub-signature", format!("sha256={hmac}")),
    };
    let request = Request::post(format!("/api/webhook/{provider}"))
        .header("content-type", "application/json")
        .header(event_header, event)
        .header(id_header, id)
        .header(signature, value);
    let (status, reply) = server.send(request.body(Body::from(body)).unwrap()).await;
    (status.as_u16(), reply)
}

/// Registers the repositories that a body names, so that its signature is checked and its event parsed.
async fn register(server: &Server, provider: Provider, body: &Value) {
    for name in provider.repository_names(body.to_string().as_bytes()) {
        let url = format!("https://{name}.git");
        assert_eq!(canonical_name(&url), name);
        server.add_repository(&url, provider.as_str(), serde_json::json!({})).await;
    }
}

/// Posts bodies of GitHub events, and returns the number of replies by status and event.
async fn post_all(all: Vec<(String, Vec<Value>)>) -> BTreeMap<(u16, String), usize> {
    let server = Server::memory();
    let mut counts = BTreeMap::new();
    for (event, bodies) in all {
        for (index, body) in bodies.into_iter().enumerate() {
            register(&server, Provider::Github, &body).await;
            let (status, reply) =
                post(&server, Provider::Github, &event, &format!("{event}-{index}"), &body).await;
            let reason = if status < 300 { &reply["lines"][0] } else { &reply["detail"] };
            assert!((200..500).contains(&status), "{event} {index}: {status} {reply}");
            assert!(
                reason.as_str().is_some_and(|reason| reason.len() > 10),
                "{event} {index}: {status} {reply}"
            );
            *counts.entry((status, event.clone())).or_default() += 1;
        }
    }
    counts
}

#[tokio::test]
async fn github_examples_are_accepted_or_rejected_with_reason() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/webhooks/github");
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let bodies = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        all.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), bodies));
    }
    assert!(all.len() >= 58, "only {} events", all.len());
    let counts = post_all(all).await;
    let count = |status: u16, event: &str| counts.get(&(status, event.to_owned())).copied().unwrap_or(0);
    assert_eq!((count(202, "push"), count(200, "push")), (3, 4), "{counts:#?}");
    assert_eq!((count(202, "pull_request"), count(200, "pull_request")), (6, 0), "{counts:#?}");
    assert_eq!(
        (count(202, "release"), count(200, "release"), count(202, "merge_group")),
        (1, 1, 1),
        "{counts:#?}"
    );
    assert!(
        count(200, "create") > 0 && count(200, "delete") > 0 && count(200, "issue_comment") > 0,
        "{counts:#?}"
    );
}

/// Posts all bodies of the npm package `@octokit/webhooks-examples`, which is too large for this repository, if
/// `TIDEMILL_WEBHOOK_EXAMPLES` is the path of its `index.json`.
#[tokio::test]
async fn full_example_package_is_accepted_or_rejected_with_reason() {
    let Some(path) = std::env::var_os("TIDEMILL_WEBHOOK_EXAMPLES") else { return };
    let package: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let all = package.into_iter().map(|mut event| {
        let bodies = event["examples"].take().as_array().unwrap().clone();
        (event["name"].as_str().unwrap().to_owned(), bodies)
    });
    let counts = post_all(all.collect()).await;
    let mut by_status: BTreeMap<u16, usize> = BTreeMap::new();
    for ((status, _), count) in &counts {
        *by_status.entry(*status).or_default() += count;
    }
    println!("{by_status:?}\n{counts:#?}");
    assert!(by_status.values().sum::<usize>() > 40);
}

#[tokio::test]
async fn documented_payloads_of_providers_are_parsed() {
    for (provider, file, status, executions, message) in [
        (Provider::Gitlab, "push", 202, 1, "started discovery"),
        (Provider::Gitlab, "push-delete", 200, 0, "deleted"),
        (Provider::Gitlab, "tag", 202, 1, "started discovery"),
        (Provider::Gitlab, "merge-request", 202, 1, "started discovery"),
        (Provider::Gitlab, "merge-request-fork", 202, 1, "started discovery"),
        (Provider::Gitlab, "merge-request-labels", 200, 0, "no new commits"),
        (Provider::Gitlab, "note", 200, 0, "only comments on merge requests"),
        (Provider::Gitea, "push", 202, 1, "started discovery"),
        (Provider::Gitea, "tag", 202, 1, "started discovery"),
        (Provider::Gitea, "create", 200, 0, "starts nothing"),
        (Provider::Gitea, "delete", 200, 0, "starts nothing"),
        (Provider::Gitea, "pull-request", 202, 1, "started discovery"),
        (Provider::Gitea, "pull-request-fork", 202, 1, "started discovery"),
        (Provider::Gitea, "pull-request-closed", 202, 1, "started discovery"),
        (Provider::Bitbucket, "push", 202, 2, "started discovery"),
        (Provider::Bitbucket, "pull-request", 202, 1, "started discovery"),
        (Provider::Bitbucket, "pull-request-fork", 200, 0, "in the fork only"),
        (Provider::Bitbucket, "comment", 200, 0, "--comment-authors"),
    ] {
        let path = format!("{}/tests/fixtures/webhooks/{provider}/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let example: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let server = Server::memory();
        register(&server, provider, &example["body"]).await;
        let event = example["event"].as_str().unwrap();
        let (code, reply) = post(&server, provider, event, "1", &example["body"]).await;
        assert_eq!(code, status, "{provider} {file}: {reply}");
        assert_eq!(reply["executions"].as_array().unwrap().len(), executions, "{provider} {file}: {reply}");
        assert!(reply["lines"].to_string().contains(message), "{provider} {file}: {reply}");
        let (code, reply) = post(&server, provider, event, "1", &example["body"]).await;
        assert_eq!(
            (code, reply["executions"].as_array().unwrap().len()),
            (200, 0),
            "{provider} {file} again"
        );
        if file.ends_with("-fork") && executions > 0 {
            let branch = server.executions().await[0]["branch"].as_str().unwrap().to_owned();
            assert!(branch.starts_with("eve:"), "{provider} {file}: {branch}");
        }
    }
}
