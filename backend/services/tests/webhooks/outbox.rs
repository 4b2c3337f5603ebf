//! Commit statuses and notices, with a way to others that fails as it is told to.

use super::server::{COMMIT, Server, URL, push};
use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tidemill_core::api::path;
use tidemill_core::execution::announcement::OutgoingRequest;
use tidemill_core::repository::webhook::sign;
use tidemill_services::ports::Messenger;
use tidemill_services::services::{Notifiers, Services};

const CI: &str = "name: ci\non: { push: }\njobs: { a: { image: i, script: [x] } }\n";
const CHAT: &str = "https://chat.example.org/hook";
const HOOK: &str = "https://told.example.org/hook";
const KEY: &str = "what notices are signed with";

#[derive(Default)]
struct RecordingMessenger {
    heard: Mutex<Vec<OutgoingRequest>>,
    /// What the next requests are answered; then 201.
    answers: Mutex<Vec<Result<u16, String>>>,
}

#[async_trait]
impl Messenger for RecordingMessenger {
    async fn post(&self, post: &OutgoingRequest) -> Result<u16, String> {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let answer = self.answers.lock().unwrap().pop().unwrap_or(Ok(201));
        // One that answers badly may have heard it all the same.
        self.heard.lock().unwrap().push(post.clone());
        answer
    }
}

impl RecordingMessenger {
    fn states(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let statuses = heard.iter().filter(|post| post.url.contains("/statuses/"));
        let word = |post: &OutgoingRequest| {
            serde_json::from_str::<Value>(&post.body).unwrap()["description"].clone()
        };
        statuses.map(|post| word(post).as_str().unwrap().to_owned()).collect()
    }

    fn notices(&self) -> Vec<OutgoingRequest> {
        self.heard.lock().unwrap().iter().filter(|post| !post.url.contains("/statuses/")).cloned().collect()
    }
}

fn reaching(server: Server, others: &Arc<RecordingMessenger>) -> Server {
    let outside = Notifiers { messenger: others.clone(), public_url: Some("https://ci.example.org/".into()) };
    let services: Services = server.services.clone().reaching(outside);
    server.with(services)
}

async fn start(server: &Server, id: &str) {
    server.github("push", id, &push("main")).await;
    let taken = server.take().await.unwrap();
    server.found(&taken, &[("p/ci.yml", CI)]).await;
    server.end(&taken, true).await;
}

/// Runs the outbox often enough that all is told that can be.
async fn run(server: &Server) {
    for _ in 0..4 {
        server.services.outbox.run().await.unwrap();
        server.clock.turn(2_000);
    }
}

#[tokio::test]
async fn commit_status_follows_execution() {
    for server in Server::each() {
        let others = Arc::new(RecordingMessenger::default());
        let server = reaching(server, &others);
        server.add(URL, "gitea", json!({})).await;
        server.add(URL, "github", json!({ "status_token": "T0KEN" })).await;
        start(&server, "1").await;
        run(&server).await;
        assert_eq!(others.states(), ["run 1 is pending"]);
        let job = server.take().await.unwrap();
        run(&server).await;
        server.end(&job, true).await;
        run(&server).await;
        assert_eq!(others.states(), ["run 1 is pending", "run 1 is running", "run 1 succeeded"]);
        let first = others.heard.lock().unwrap()[0].clone();
        assert_eq!(first.url, format!("https://git.example.org/api/v3/repos/team/app/statuses/{COMMIT}"));
        let body: Value = serde_json::from_str(&first.body).unwrap();
        let id = server.executions().await[1]["id"].as_str().unwrap().to_owned();
        assert_eq!(body["context"], "tidemill/ci");
        assert_eq!(body["target_url"], format!("https://ci.example.org/api/view/{id}"));
        run(&server).await;
        assert_eq!(others.heard.lock().unwrap().len(), 3, "the end is told once");
    }
}

#[tokio::test]
async fn no_status_without_token() {
    let others = Arc::new(RecordingMessenger::default());
    let server = reaching(Server::memory(), &others);
    server.add(URL, "github", json!({})).await;
    start(&server, "1").await;
    run(&server).await;
    assert!(others.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn failed_status_is_retried_and_final_status_is_last() {
    for server in Server::each() {
        let others = Arc::new(RecordingMessenger::default());
        let server = reaching(server, &others);
        server.add(URL, "github", json!({ "status_token": "T0KEN" })).await;
        *others.answers.lock().unwrap() = vec![Ok(503), Err("it is away".into()), Ok(500)];
        start(&server, "1").await;
        server.services.outbox.run().await.unwrap();
        server.services.outbox.run().await.unwrap();
        assert_eq!(others.states().len(), 1, "there is a pause before the next try");
        let job = server.take().await.unwrap();
        server.end(&job, false).await;
        for _ in 0..30 {
            server.clock.turn(5_000);
            // Two at once tell nothing twice, and nothing in another order.
            let (one, other) = tokio::join!(server.services.outbox.run(), server.services.outbox.run());
            one.unwrap();
            other.unwrap();
        }
        assert_eq!(others.states(), ["run 1 is pending", "run 1 failed", "run 1 failed", "run 1 failed"]);
    }
}

#[tokio::test]
async fn status_is_given_up_after_a_day() {
    let others = Arc::new(RecordingMessenger::default());
    let server = reaching(Server::memory(), &others);
    server.add(URL, "github", json!({ "status_token": "T0KEN" })).await;
    *others.answers.lock().unwrap() = vec![Ok(401); 10_000];
    start(&server, "1").await;
    let job = server.take().await.unwrap();
    server.end(&job, true).await;
    for _ in 0..200 {
        server.services.outbox.run().await.unwrap();
        server.clock.turn(600_000);
    }
    let tries = others.states().len();
    assert!((100..200).contains(&tries), "{tries} tries");
    server.services.outbox.run().await.unwrap();
    assert_eq!(others.states().len(), tries);
}

#[tokio::test]
async fn delivery_failure_is_shown_until_fixed() {
    for server in Server::each() {
        let others = Arc::new(RecordingMessenger::default());
        let server = reaching(server, &others);
        server.add(URL, "github", json!({ "status_token": "T0KEN" })).await;
        *others.answers.lock().unwrap() = vec![Ok(401), Ok(401)];
        start(&server, "1").await;
        let trouble = async || {
            server.services.outbox.run().await.unwrap();
            server.clock.turn(60_000);
            server.ok(Method::GET, path::REPOSITORIES, Value::Null).await["repositories"][0]["trouble"]
                .to_string()
        };
        assert!(trouble().await.contains("a status could not be sent: it answered 401"));
        server.add(URL, "github", json!({ "status_token": "N3W" })).await;
        assert_eq!(
            server.ok(Method::GET, path::REPOSITORIES, Value::Null).await["repositories"][0]["trouble"],
            Value::Null,
            "what somebody changed may be right now"
        );
        assert!(trouble().await.contains("401"));
        assert_eq!(trouble().await, "null");
    }
}

#[tokio::test]
async fn changed_status_is_sent_at_once_by_one_process() {
    for server in Server::each() {
        let others = Arc::new(RecordingMessenger::default());
        let server = reaching(server, &others);
        server.add(URL, "github", json!({ "status_token": "T0KEN" })).await;
        start(&server, "1").await;
        let id = server.executions().await[1]["id"].as_str().unwrap().parse().unwrap();
        let changed = async || server.services.outbox.changed(id).await.unwrap();
        assert_eq!(changed().await, 1);
        assert_eq!(changed().await, 0, "nothing is new");
        let job = server.take().await.unwrap();
        assert_eq!(changed().await, 1);
        server.end(&job, true).await;
        let (one, other) = tokio::join!(changed(), changed());
        assert_eq!(one + other, 1);
        assert_eq!(others.states(), ["run 1 is pending", "run 1 is running", "run 1 succeeded"]);
    }
}

#[tokio::test]
async fn failure_and_recovery_are_notified_once() {
    for server in Server::each() {
        let others = Arc::new(RecordingMessenger::default());
        let server = reaching(server, &others);
        let notify = json!({ "notify": [
            { "kind": "chat", "url": CHAT },
            { "kind": "webhook", "url": HOOK, "secret": KEY },
        ] });
        server.add(URL, "github", notify).await;
        *others.answers.lock().unwrap() = vec![Ok(500)];
        for (at, well) in [true, false, true, true].into_iter().enumerate() {
            start(&server, &at.to_string()).await;
            let job = server.take().await.unwrap();
            server.end(&job, well).await;
            for _ in 0..4 {
                run(&server).await;
            }
        }
        let notices = others.notices();
        let texts: Vec<&str> =
            notices.iter().filter(|post| post.url == CHAT).map(|post| post.body.as_str()).collect();
        let hooks: Vec<&OutgoingRequest> = notices.iter().filter(|post| post.url == HOOK).collect();
        // The first was answered 500 by one of both, and came again.
        assert_eq!(texts.len() + hooks.len(), 5, "{texts:?}");
        assert!(
            texts[0].contains("ci 2 of git.example.org/team/app on main failed: https://ci.example.org/api/")
        );
        assert!(texts[texts.len() - 1].contains("ci 3 of git.example.org/team/app on main succeeded again"));
        for hook in &hooks {
            let signature = format!("sha256={}", sign(KEY.as_bytes(), hook.body.as_bytes()));
            assert!(hook.headers.contains(&("x-tidemill-signature-256", signature)));
            let body: Value = serde_json::from_str(&hook.body).unwrap();
            assert!(body["sent_at"].is_string() && body["delivery"].is_string(), "{body}");
        }
        let events =
            |post: &&OutgoingRequest| serde_json::from_str::<Value>(&post.body).unwrap()["event"].clone();
        assert_eq!(events(&hooks[0]), "failure");
        assert_eq!(events(&hooks[hooks.len() - 1]), "recovery");
    }
}
