//! Kept deliveries: the list of a repository, and how one is processed again.

use super::server::{SECRET, Server, URL, push};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_core::api::path;
use tidemill_core::repository::webhook::sign;
use tidemill_services::ports::{Key, KeyStore, Keys};
use tidemill_services::{Services, Settings, Stores};
use tokio_util::sync::CancellationToken;

/// Keys of a deployment.
struct FixedKeys(Keys);

#[async_trait::async_trait]
impl KeyStore for FixedKeys {
    async fn keys(&self) -> tidemill_services::Result<Keys> {
        Ok(self.0.clone())
    }
}

const DAY: i64 = 86_400_000;

/// Returns the list of a repository's deliveries.
async fn list(server: &Server, repo: &str) -> Value {
    server.ok(Method::GET, &format!("{}?repo={repo}", path::DELIVERIES), Value::Null).await
}

/// Asks to process a delivery again, with an idempotency key.
async fn redeliver(server: &Server, id: &str, key: &str) -> (StatusCode, Value) {
    let request = Request::post(path::REDELIVER_DELIVERY)
        .header("authorization", "Bearer secret")
        .header("content-type", "application/json")
        .header("idempotency-key", key);
    let body = json!({ "repo": URL, "id": id }).to_string();
    server.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn deliveries_are_listed_with_outcome_and_redelivered_once_per_key() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        assert_eq!(server.github("push", "d-1", &push("main")).await.0, StatusCode::ACCEPTED);
        server.clock.advance(1_000);
        let ping = json!({ "zen": "z", "repository": { "clone_url": URL } });
        assert_eq!(server.github("ping", "d-2", &ping).await.0, StatusCode::OK);
        server.clock.advance(1_000);
        let bad = json!({ "action": "opened", "repository": { "clone_url": URL } });
        assert_eq!(server.github("pull_request", "d-3", &bad).await.0, StatusCode::BAD_REQUEST);

        let shown = list(&server, "git@git.example.org:team/app").await;
        let of = |index: usize, field: &str| shown["deliveries"][index][field].clone();
        assert_eq!(shown["repository"], "git.example.org/team/app");
        let outcomes: Vec<Value> = (0..3).map(|index| of(index, "outcome")).collect();
        assert_eq!(outcomes, ["refused", "skipped", "started"], "{shown}");
        assert_eq!((of(0, "action"), of(0, "event")), (json!("opened"), json!("pull_request")));
        assert!(of(0, "lines")[0].as_str().unwrap().contains("not a valid github webhook"), "{shown}");
        assert_eq!((of(1, "delivery_id"), of(1, "action")), (json!("d-2"), Value::Null));
        assert_eq!(of(2, "executions").as_array().unwrap().len(), 1, "{shown}");
        assert_eq!((of(2, "can_redeliver"), of(2, "provider")), (json!(true), json!("github")));
        assert!(!shown.to_string().contains(SECRET));

        let id = of(2, "id").as_str().unwrap().to_owned();
        let (status, reply) = redeliver(&server, &id, "k-1").await;
        assert_eq!(status, StatusCode::ACCEPTED, "{reply}");
        assert_eq!(server.pipelines().await, ["discover", "discover"]);
        let (status, reply) = redeliver(&server, &id, "k-1").await;
        assert_eq!((status, &reply["executions"]), (StatusCode::OK, &json!([])), "{reply}");
        assert_eq!(redeliver(&server, &id, "k-2").await.0, StatusCode::ACCEPTED);
        assert_eq!(server.pipelines().await.len(), 3);
        // Without a key each request counts.
        let request = json!({ "repo": URL, "id": id });
        for _ in 0..2 {
            server.ok(Method::POST, path::REDELIVER_DELIVERY, request.clone()).await;
        }
        assert_eq!(server.pipelines().await.len(), 5);
        let all = server.executions().await;
        assert_eq!((&all[4]["trigger"], &all[4]["branch"]), (&json!("push"), &json!("main")));
        let shown = list(&server, URL).await;
        let again = shown["deliveries"].as_array().unwrap();
        assert_eq!(again.iter().filter(|one| one["redelivery_of"] == *id).count(), 5, "{shown}");
        let audit = server.ok(Method::GET, path::AUDIT, Value::Null).await.to_string();
        assert_eq!(audit.matches("webhook.redeliver").count(), 5, "{audit}");

        for unknown in ["", "00", &"0".repeat(48), "../x"] {
            assert_eq!(redeliver(&server, unknown, "k").await.0, StatusCode::NOT_FOUND, "{unknown}");
        }
        server.clock.advance(7 * DAY);
        assert_eq!(list(&server, URL).await["deliveries"], json!([]));
        assert_eq!(redeliver(&server, &id, "k-3").await.0, StatusCode::NOT_FOUND, "after 7 days");
    }
}

#[tokio::test]
async fn kept_bodies_are_sealed_again_under_the_newest_key() {
    let server = Server::memory();
    server.add_repository(URL, "github", json!({})).await;
    let key = |byte: u8| Keys::from(Key([byte; 32])).to_text();
    let under = |keys: String| {
        let keys = Arc::new(FixedKeys(Keys::parse(&keys).unwrap()));
        let stores = Stores { keys, ..server.stores.clone() };
        Services::new(stores, Settings::default(), CancellationToken::new())
    };
    assert_eq!(server.github("push", "d-1", &push("main")).await.0, StatusCode::ACCEPTED);
    let bodies = async || server.stores.documents.all("webhook-body", "").await.unwrap();
    let first = bodies().await;
    // A key is lost: nothing is changed.
    let reply = under(key(1)).webhooks.rekey().await.unwrap();
    assert_eq!(
        (reply.renewed, reply.unreadable),
        (0, vec!["a delivery of git.example.org/team/app".to_owned()])
    );
    assert_eq!(bodies().await, first);

    // Under a newer key, the delivery can be repeated without the older one.
    let both = under(key(2) + &server.stores.keys.keys().await.unwrap().to_text());
    assert_eq!(both.webhooks.rekey().await.unwrap().renewed, 1);
    let again = both.webhooks.rekey().await.unwrap();
    assert_eq!((again.renewed, again.more, again.unreadable.len()), (0, false, 0));
    assert_ne!(bodies().await, first);
    let id = list(&server, URL).await["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let newer = under(key(2));
    assert_eq!(newer.webhooks.redeliver(URL, &id, None).await.unwrap().executions.len(), 1);
    // An administrator's call reaches them as well.
    let reply = server.with_services(both).ok(Method::POST, path::REKEY_SECRETS, Value::Null).await;
    assert_eq!(reply["more"], json!(false), "{reply}");
}

#[tokio::test]
async fn failed_redelivery_is_in_the_audit_log() {
    let server = Server::memory();
    server.add_repository(URL, "github", json!({})).await;
    assert_eq!(server.github("push", "d-1", &push("main")).await.0, StatusCode::ACCEPTED);
    let id = list(&server, URL).await["deliveries"][0]["id"].as_str().unwrap().to_owned();
    server.add_repository(URL, "gitea", json!({})).await;
    assert_eq!(redeliver(&server, &id, "k").await.0, StatusCode::CONFLICT);
    let audit = server.ok(Method::GET, path::AUDIT, Value::Null).await;
    let entries = audit["entries"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["action"] == "webhook.redeliver").expect("an entry");
    assert_eq!((&entry["target"], &entry["outcome"]), (&json!(id), &json!("failed")), "{audit}");
}

#[tokio::test]
async fn kept_bodies_are_sealed_and_bounded() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let mut body = push("main");
        body["private"] = json!("a-private-word");
        for number in 0..30 {
            server.github("push", &format!("d-{number}"), &body).await;
            server.clock.advance(1_000);
        }
        let shown = list(&server, URL).await;
        let deliveries = shown["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), 20);
        assert_eq!(
            (&deliveries[0]["delivery_id"], &deliveries[19]["delivery_id"]),
            (&json!("d-29"), &json!("d-10"))
        );
        let kept = async |kind: &str| server.stores.documents.all(kind, "").await.unwrap();
        let bodies = kept("webhook-body").await;
        assert_eq!((bodies.len(), kept("webhook-delivery").await.len()), (20, 20));
        for document in bodies.iter().chain(&kept("webhook-delivery").await) {
            assert!(!document.value.contains("a-private-word") && !document.value.contains(SECRET));
        }
        let mut large = push("main");
        large["commits"] = json!("x".repeat(256 << 10));
        assert_eq!(server.github("push", "large", &large).await.0, StatusCode::ACCEPTED);
        let shown = list(&server, URL).await;
        let newest = &shown["deliveries"][0];
        assert_eq!((&newest["delivery_id"], &newest["can_redeliver"]), (&json!("large"), &json!(false)));
        let id = newest["id"].as_str().unwrap();
        assert_eq!(redeliver(&server, id, "k").await.0, StatusCode::NOT_FOUND);

        server.ok(Method::DELETE, &format!("{}?repo={URL}", path::REPOSITORIES), Value::Null).await;
        assert!(kept("webhook-body").await.is_empty() && kept("webhook-delivery").await.is_empty());
        let (status, _) =
            server.call(Method::GET, &format!("{}?repo={URL}", path::DELIVERIES), Value::Null).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn rejected_deliveries_are_counted_for_registered_repositories_only() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        for number in 0..50 {
            let repo = if number % 2 == 0 { "team/app".to_owned() } else { format!("team/other-{number}") };
            let body = push("main").to_string().replace("team/app", &repo);
            let request = Request::post("/api/webhook/github")
                .header("x-github-event", "push")
                .header("x-hub-signature-256", format!("sha256={}", sign(b"wrong", body.as_bytes())));
            let (status, _) = server.send(request.body(Body::from(body)).unwrap()).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
        let unsigned = "/api/webhook/github?repo=git.example.org%2Fteam%2Fapp";
        server.send(Request::post(unsigned).body(Body::from("{}")).unwrap()).await;
        let rejected = &list(&server, URL).await["rejected"];
        assert_eq!(rejected["count"], 26, "{rejected}");
        assert!(rejected["last_reason"].as_str().unwrap().contains("X-Hub-Signature-256"), "{rejected}");
        let counted = server.stores.documents.all("webhook-rejected", "").await.unwrap();
        assert_eq!(counted.len(), 2, "one for the repository, and one for all others");
        assert!(server.stores.documents.all("webhook-delivery", "").await.unwrap().is_empty());
        server.clock.advance(7 * DAY);
        assert_eq!(list(&server, URL).await["rejected"]["count"], 0);
    }
}
