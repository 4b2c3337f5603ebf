//! Commit statuses and notifications, with a messenger whose failures the test controls.

use super::server::{COMMIT, Server, URL, push};
use async_trait::async_trait;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tidemill_core::api::path;
use tidemill_core::notification::message::{OutgoingReply, OutgoingRequest};
use tidemill_core::repository::webhook::sign;
use tidemill_services::ports::{Messenger, RequestError};
use tidemill_services::{Notifiers, Services};

const CI: &str = "name: ci\non: { push: }\njobs: { a: { image: i, script: [x] } }\n";
const CHAT: &str = "https://chat.example.org/hook";
const HOOK: &str = "https://notified.example.org/hook";
const KEY: &str = "the signing key of notifications";

#[derive(Default)]
pub struct RecordingMessenger {
    sent: Mutex<Vec<OutgoingRequest>>,
    /// Replies to the next requests, the last one first; then 201.
    replies: Mutex<Vec<Result<u16, RequestError>>>,
}

#[async_trait]
impl Messenger for RecordingMessenger {
    async fn send(&self, post: &OutgoingRequest) -> Result<OutgoingReply, RequestError> {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let reply = self.replies.lock().unwrap().pop().unwrap_or(Ok(201));
        // A receiver that replies with an error may still have processed the request.
        self.sent.lock().unwrap().push(post.clone());
        reply.map(OutgoingReply::with_status)
    }
}

impl RecordingMessenger {
    pub fn states(&self) -> Vec<String> {
        let sent = self.sent.lock().unwrap();
        let statuses = sent.iter().filter(|post| post.url.contains("/statuses/"));
        let description = |post: &OutgoingRequest| {
            serde_json::from_str::<Value>(&post.body).unwrap()["description"].clone()
        };
        statuses.map(|post| description(post).as_str().unwrap().to_owned()).collect()
    }

    /// Forgets what was sent.
    pub fn clear(&self) {
        self.sent.lock().unwrap().clear();
    }

    pub fn notifications(&self) -> Vec<OutgoingRequest> {
        self.sent.lock().unwrap().iter().filter(|post| !post.url.contains("/statuses/")).cloned().collect()
    }
}

fn with_messenger(server: Server, messenger: &Arc<RecordingMessenger>) -> Server {
    let notifiers = Notifiers {
        messenger: messenger.clone(),
        mail: None,
        public_url: Some("https://ci.example.org/".into()),
    };
    let services: Services = server.services.clone().with_notifiers(notifiers);
    server.with_services(services)
}

async fn start(server: &Server, id: &str) {
    server.github("push", id, &push("main")).await;
    let claimed = server.claim().await.unwrap();
    server.report_discovery(&claimed, &[("p/ci.yml", CI)]).await;
    server.finish(&claimed, true).await;
}

/// Runs the outbox until everything that can be sent is sent.
pub async fn run(server: &Server) {
    for _ in 0..4 {
        server.services.outbox.run().await.unwrap();
        server.clock.advance(2_000);
    }
}

#[tokio::test]
async fn commit_status_follows_execution() {
    for server in Server::for_each_store() {
        let messenger = Arc::new(RecordingMessenger::default());
        let server = with_messenger(server, &messenger);
        server.add_repository(URL, "gitea", json!({})).await;
        server.add_repository(URL, "github", json!({ "status_token": "T0KEN" })).await;
        start(&server, "1").await;
        run(&server).await;
        assert_eq!(messenger.states(), ["run 1 is pending"]);
        let job = server.claim().await.unwrap();
        run(&server).await;
        server.finish(&job, true).await;
        run(&server).await;
        assert_eq!(messenger.states(), ["run 1 is pending", "run 1 is running", "run 1 succeeded"]);
        let first = messenger.sent.lock().unwrap()[0].clone();
        assert_eq!(first.url, format!("https://git.example.org/api/v3/repos/team/app/statuses/{COMMIT}"));
        let body: Value = serde_json::from_str(&first.body).unwrap();
        let id = server.executions().await[1]["id"].as_str().unwrap().to_owned();
        assert_eq!(body["context"], "tidemill/ci");
        assert_eq!(body["target_url"], format!("https://ci.example.org/executions/{id}"));
        run(&server).await;
        assert_eq!(messenger.sent.lock().unwrap().len(), 3, "the end is sent once");
    }
}

#[tokio::test]
async fn no_status_without_token() {
    let messenger = Arc::new(RecordingMessenger::default());
    let server = with_messenger(Server::memory(), &messenger);
    server.add_repository(URL, "github", json!({})).await;
    start(&server, "1").await;
    run(&server).await;
    assert!(messenger.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn failed_status_is_retried_and_final_status_is_last() {
    for server in Server::for_each_store() {
        let messenger = Arc::new(RecordingMessenger::default());
        let server = with_messenger(server, &messenger);
        server.add_repository(URL, "github", json!({ "status_token": "T0KEN" })).await;
        *messenger.replies.lock().unwrap() =
            vec![Ok(503), Err(RequestError::Connection("connection refused".into())), Ok(500)];
        start(&server, "1").await;
        server.services.outbox.run().await.unwrap();
        server.services.outbox.run().await.unwrap();
        assert_eq!(messenger.states().len(), 1, "the next attempt waits");
        let job = server.claim().await.unwrap();
        server.finish(&job, false).await;
        for _ in 0..30 {
            server.clock.advance(5_000);
            // Two concurrent runs send nothing twice, and keep the order.
            let (one, other) = tokio::join!(server.services.outbox.run(), server.services.outbox.run());
            one.unwrap();
            other.unwrap();
        }
        assert_eq!(messenger.states(), ["run 1 is pending", "run 1 failed", "run 1 failed", "run 1 failed"]);
    }
}

#[tokio::test]
async fn status_is_given_up_after_a_day() {
    let messenger = Arc::new(RecordingMessenger::default());
    let server = with_messenger(Server::memory(), &messenger);
    server.add_repository(URL, "github", json!({ "status_token": "T0KEN" })).await;
    *messenger.replies.lock().unwrap() = vec![Ok(401); 10_000];
    start(&server, "1").await;
    let job = server.claim().await.unwrap();
    server.finish(&job, true).await;
    for _ in 0..200 {
        server.services.outbox.run().await.unwrap();
        server.clock.advance(600_000);
    }
    let attempts = messenger.states().len();
    assert!((100..200).contains(&attempts), "{attempts} attempts");
    server.services.outbox.run().await.unwrap();
    assert_eq!(messenger.states().len(), attempts);
}

#[tokio::test]
async fn delivery_failure_is_shown_until_fixed() {
    for server in Server::for_each_store() {
        let messenger = Arc::new(RecordingMessenger::default());
        let server = with_messenger(server, &messenger);
        server.add_repository(URL, "github", json!({ "status_token": "T0KEN" })).await;
        *messenger.replies.lock().unwrap() = vec![Ok(401), Ok(401)];
        start(&server, "1").await;
        let failure = async || {
            server.services.outbox.run().await.unwrap();
            server.clock.advance(60_000);
            server.ok(Method::GET, path::REPOSITORIES, Value::Null).await["repositories"][0]["trouble"]
                .to_string()
        };
        assert!(failure().await.contains("cannot send a status: the receiver replied with status 401"));
        server.add_repository(URL, "github", json!({ "status_token": "N3W" })).await;
        assert_eq!(
            server.ok(Method::GET, path::REPOSITORIES, Value::Null).await["repositories"][0]["trouble"],
            Value::Null,
            "a change resets the failure"
        );
        assert!(failure().await.contains("401"));
        assert_eq!(failure().await, "null");
    }
}

#[tokio::test]
async fn changed_status_is_sent_at_once_by_one_process() {
    for server in Server::for_each_store() {
        let messenger = Arc::new(RecordingMessenger::default());
        let server = with_messenger(server, &messenger);
        server.add_repository(URL, "github", json!({ "status_token": "T0KEN" })).await;
        start(&server, "1").await;
        let id = server.executions().await[1]["id"].as_str().unwrap().parse().unwrap();
        let changed = async || server.services.outbox.send_status_now(id).await.unwrap();
        assert_eq!(changed().await, 1);
        assert_eq!(changed().await, 0, "nothing is new");
        let job = server.claim().await.unwrap();
        assert_eq!(changed().await, 1);
        server.finish(&job, true).await;
        let (one, other) = tokio::join!(changed(), changed());
        assert_eq!(one + other, 1);
        assert_eq!(messenger.states(), ["run 1 is pending", "run 1 is running", "run 1 succeeded"]);
    }
}

#[tokio::test]
async fn failure_and_recovery_are_notified_once() {
    for server in Server::for_each_store() {
        let messenger = Arc::new(RecordingMessenger::default());
        let server = with_messenger(server, &messenger);
        let notify = json!({ "notify": [
            { "kind": "chat", "url": CHAT },
            { "kind": "webhook", "url": HOOK, "secret": KEY },
        ] });
        server.add_repository(URL, "github", notify).await;
        *messenger.replies.lock().unwrap() = vec![Ok(500)];
        for (index, success) in [true, false, true, true].into_iter().enumerate() {
            start(&server, &index.to_string()).await;
            let job = server.claim().await.unwrap();
            server.finish(&job, success).await;
            for _ in 0..4 {
                run(&server).await;
            }
        }
        let notifications = messenger.notifications();
        let texts: Vec<&str> =
            notifications.iter().filter(|post| post.url == CHAT).map(|post| post.body.as_str()).collect();
        let hooks: Vec<&OutgoingRequest> = notifications.iter().filter(|post| post.url == HOOK).collect();
        // One of the two receivers replied 500 to the first notification, which was sent again.
        assert_eq!(texts.len() + hooks.len(), 5, "{texts:?}");
        assert!(
            texts[0].contains(
                "ci 2 of git.example.org/team/app on main failed: https://ci.example.org/executions/"
            )
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

#[tokio::test]
async fn receivers_of_one_kind_leave_those_of_the_other() {
    for server in Server::for_each_store() {
        let chat = || json!({ "kind": "chat", "url": CHAT });
        let hook = || json!({ "kind": "webhook", "url": HOOK, "secret": KEY });
        let put = async |targets: Vec<Value>| {
            let reply = server.add_repository(URL, "github", json!({ "notify": targets })).await;
            reply["repository"]["notify"].clone()
        };
        assert_eq!(put(vec![chat()]).await, json!(["chat"]));
        assert_eq!(put(vec![hook(), hook()]).await, json!(["chat", "webhook", "webhook"]));
        assert_eq!(put(vec![hook()]).await, json!(["chat", "webhook"]), "those of its kind are replaced");
        assert_eq!(put(vec![chat()]).await, json!(["webhook", "chat"]));
        let many = json!({ "url": URL, "provider": "github", "notify": vec![chat(); 10] });
        let (status, problem) = server.call(Method::PUT, path::REPOSITORIES, many).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        assert_eq!(put(Vec::new()).await, json!([]));
    }
}
