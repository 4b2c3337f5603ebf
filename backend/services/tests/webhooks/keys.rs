//! Scopes of idempotency keys: a caller's key cannot collide with internal keys or with those of other tokens.

use super::server::{COMMIT, Server, URL, push};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tidemill_core::api::path;
use tidemill_services::ports::{Clock, DocumentKey, NewDocument};

const HOUR: i64 = 3_600_000;
const PIPELINE: &str = "name: mine\njobs: { a: { image: i, script: [x] } }\n";
const NIGHTLY: &str =
    "name: nightly\non: { schedule: \"@hourly\" }\njobs: { a: { image: i, script: [x] } }\n";
const CI: &str = "name: ci\non: { push: }\njobs: { a: { image: i, script: [x] } }\n";

async fn token(server: &Server, name: &str, repo: &str) -> String {
    let request = json!({ "name": name, "scopes": ["run"], "repo": repo });
    server.ok(Method::POST, path::TOKENS, request).await["token"].as_str().unwrap().to_owned()
}

async fn execute(server: &Server, token: &str, key: &str, repo: &str, commit: &str) -> (StatusCode, Value) {
    let body = json!({ "pipeline": PIPELINE, "repo": repo, "commit": commit, "source": { "kind": "none" },
                       "force": true });
    let request = Request::post(path::EXECUTE)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("idempotency-key", key);
    server.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn hash(text: &str) -> String {
    let json = serde_json::to_vec(text).unwrap();
    data_encoding::HEXLOWER.encode(&Sha256::digest(json))
}

#[tokio::test]
async fn caller_key_is_scoped_and_conflict_reveals_nothing() {
    for server in Server::for_each_store() {
        let (ours, theirs) = ("https://git.example.org/ours", "https://git.example.org/theirs");
        let (one, other, third) = (
            token(&server, "one", ours).await,
            token(&server, "other", ours).await,
            token(&server, "third", theirs).await,
        );
        let (status, first) = execute(&server, &one, "k", ours, COMMIT).await;
        assert_eq!(status, StatusCode::CREATED, "{first}");
        for (token, repo) in [(&other, ours), (&third, theirs), (&"secret".to_owned(), theirs)] {
            let (status, reply) = execute(&server, token, "k", repo, "other").await;
            assert_eq!(status, StatusCode::CREATED, "keys are scoped to a token: {reply}");
            assert_ne!(reply["execution_id"], first["execution_id"]);
        }
        let (status, same) = execute(&server, &one, "k", ours, COMMIT).await;
        assert_eq!((status, &same["execution_id"]), (StatusCode::OK, &first["execution_id"]));
        let (status, rejected) = execute(&server, &one, "k", ours, "other").await;
        assert_eq!((status, &rejected["type"]), (StatusCode::CONFLICT, &json!("tidemill:key-reused")));
        let id = first["execution_id"].as_str().unwrap();
        assert!(!rejected.to_string().contains(id), "{rejected}");
        for invalid in ["", &"x".repeat(201)] {
            let (status, reply) = execute(&server, &one, invalid, ours, COMMIT).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{reply}");
        }
    }
}

#[tokio::test]
async fn caller_cannot_use_internal_keys() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let other_token = token(&server, "other", "https://git.example.org/theirs").await;
        server.github("push", "1", &push("main")).await;
        let discovery = server.claim().await.unwrap();
        let id = server.executions().await[0]["id"].as_str().unwrap().to_owned();
        let due = server.clock.now().0.div_euclid(HOUR) * HOUR + HOUR;
        let schedule = hash("git.example.org/team/app\np/n.yml\n0");
        for key in [
            format!("schedule:{schedule}:{due}"),
            format!("discovered:{id}:{}", hash("p/ci.yml")),
            format!("caller:{schedule}"),
        ] {
            let (status, reply) =
                execute(&server, &other_token, &key, "https://git.example.org/theirs", COMMIT).await;
            assert_eq!(status, StatusCode::CREATED, "{key}: {reply}");
        }
        let reply = server.report_discovery(&discovery, &[("p/ci.yml", CI), ("p/n.yml", NIGHTLY)]).await;
        assert!(reply["lines"][0].as_str().unwrap().starts_with("p/ci.yml: started: ci 1"), "{reply}");
        server.clock.advance(due - server.clock.now().0);
        assert_eq!(server.services.schedules.run().await.unwrap(), 1, "the schedule starts on time");
    }
}

#[tokio::test]
async fn failing_schedule_does_not_block_others() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        server.github("push", "1", &push("main")).await;
        let discovery = server.claim().await.unwrap();
        server.report_discovery(&discovery, &[("p/n.yml", NIGHTLY)]).await;
        server.finish(&discovery, true).await;
        server.clock.advance(HOUR);
        // More than one sweep processes, and all due before the valid one.
        for number in 0..250 {
            let key = DocumentKey::new("schedule", format!("damaged\np/{number}.yml\n0"));
            let due_at = Some(server.clock.now().plus_ms(-2 * HOUR));
            let new = NewDocument { key, value: "{".into(), due_at, expires_at: None };
            assert!(server.stores.documents.put(new, None).await.unwrap());
        }
        let mut started = 0;
        for _ in 0..3 {
            started += server.services.schedules.run().await.unwrap();
        }
        assert_eq!(started, 1, "the valid one is reached by the third sweep");
        assert_eq!(server.services.schedules.run().await.unwrap(), 0);
        let now = server.clock.now();
        let due = server.stores.documents.due("schedule", now, 500).await.unwrap();
        assert_eq!(due.len(), 0, "failed ones wait for their next attempt");
    }
}

/// The plan depends on the facts: a run with other facts is a new execution, one with the same facts joins the running one.
#[tokio::test]
async fn run_with_other_facts_starts_another_execution() {
    const TAGGED: &str = "name: mine\njobs:\n  a: { image: i, script: [x] }\n  b: { image: i, script: [x], if: \"tag == 'v1'\" }\n";
    const CHANGED: &str = "name: mine\njobs:\n  a: { image: i, script: [x] }\n  b: { image: i, script: [x], if: \"changed('src/**')\" }\n";
    for server in Server::for_each_store() {
        let run = async |pipeline: &str, more: Value| {
            let mut body =
                json!({ "pipeline": pipeline, "repo": URL, "commit": COMMIT, "source": { "kind": "none" } });
            body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
            let reply = server.ok(Method::POST, path::EXECUTE, body).await;
            (reply["execution_id"].as_str().unwrap().to_owned(), reply["attached"] == true)
        };
        let mut ids = std::collections::BTreeSet::new();
        for (pipeline, facts) in [
            (TAGGED, json!({ "branch": "main" })),
            (TAGGED, json!({ "tag": "v1" })),
            (TAGGED, json!({ "branch": "main", "default_branch": "main" })),
            (TAGGED, json!({ "branch": "main", "trigger": "push" })),
            (CHANGED, json!({ "branch": "main", "changed": ["docs/a.md"] })),
            (CHANGED, json!({ "branch": "main", "changed": ["src/a.rs"] })),
        ] {
            let (id, attached) = run(pipeline, facts.clone()).await;
            assert!(!attached && ids.insert(id.clone()), "{facts} joined another execution");
            assert_eq!(run(pipeline, facts.clone()).await, (id, true), "the same run again: {facts}");
        }
        let (tagged, _) = run(TAGGED, json!({ "tag": "v1" })).await;
        let status = path::STATUS.replace("{executionId}", &tagged);
        let view = server.ok(Method::GET, &status, Value::Null).await;
        assert_eq!(view["jobs"].as_array().unwrap().len(), 2, "the job for the tag is planned: {view}");
        assert_eq!(view["execution"]["kind"], "run_pipeline");
    }
}

/// A request to run a pipeline of a branch whose reply was lost is sent again with its key, and starts nothing more.
#[tokio::test]
async fn repeated_run_of_a_branch_starts_one_discovery() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let own = token(&server, "own", URL).await;
        let other = token(&server, "other", URL).await;
        let run = async |token: &str, key: Option<&str>, body: Value| {
            let mut request = Request::post(path::RUN_PIPELINE)
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json");
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let (status, reply) = server.send(request.body(Body::from(body.to_string())).unwrap()).await;
            (status, reply["execution_id"].as_str().map(str::to_owned), reply["type"].clone())
        };
        let body = json!({ "repo": URL, "path": "p/ci.yml", "branch": "topic", "inputs": { "level": 7 } });
        let (status, first, _) = run(&own, Some("k"), body.clone()).await;
        assert_eq!(status, StatusCode::CREATED);
        let spelled_differently = json!({ "repo": "git@git.example.org:team/app.git", "path": "p/ci.yml",
                                          "branch": "topic", "inputs": { "level": 7 } });
        for again in [body.clone(), spelled_differently] {
            let (status, same, _) = run(&own, Some("k"), again).await;
            assert_eq!((status, same), (StatusCode::OK, first.clone()));
        }
        let repeated =
            futures_util::future::join_all((0..8).map(|_| run(&own, Some("many"), body.clone()))).await;
        let created = repeated.iter().filter(|(status, ..)| *status == StatusCode::CREATED).count();
        assert_eq!(created, 1, "{repeated:?}");
        // The end of the discovery changes nothing: the key stays.
        let discovery = server.claim().await.unwrap();
        server.finish(&discovery, true).await;
        assert_eq!(run(&own, Some("k"), body.clone()).await.1, first);
        let another = json!({ "repo": URL, "path": "p/other.yml", "branch": "topic" });
        let (status, _, kind) = run(&own, Some("k"), another).await;
        assert_eq!((status, kind), (StatusCode::CONFLICT, json!("tidemill:key-reused")));
        assert_eq!(run(&own, Some(""), body.clone()).await.0, StatusCode::BAD_REQUEST);
        // Another token, and a request without a key, are other requests.
        let mut ids: Vec<_> = [first, repeated[0].1.clone()].into();
        for (token, key) in [(&other, Some("k")), (&own, None), (&own, None)] {
            let (status, id, _) = run(token, key, body.clone()).await;
            assert_eq!(status, StatusCode::CREATED);
            assert!(!ids.contains(&id), "{id:?}");
            ids.push(id);
        }
        let audit = server.ok(Method::GET, path::AUDIT, Value::Null).await;
        let runs = audit["entries"].as_array().unwrap().iter();
        assert_eq!(runs.filter(|entry| entry["action"] == "pipeline.run").count(), 5, "{audit}");
    }
}

/// The same for a request to start a schedule now.
#[tokio::test]
async fn repeated_run_of_a_schedule_starts_one_discovery() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        server.github("push", "1", &push("main")).await;
        let discovery = server.claim().await.unwrap();
        server.report_discovery(&discovery, &[("p/n.yml", NIGHTLY), ("p/o.yml", NIGHTLY)]).await;
        server.finish(&discovery, true).await;
        let run = async |key: &str, path: &str| {
            let request = Request::post(path::RUN_SCHEDULE)
                .header("authorization", "Bearer secret")
                .header("content-type", "application/json")
                .header("idempotency-key", key);
            let body = json!({ "repo": URL, "path": path }).to_string();
            let (status, reply) = server.send(request.body(Body::from(body)).unwrap()).await;
            (status, reply["execution_id"].as_str().map(str::to_owned), reply["type"].clone())
        };
        let (status, first, _) = run("k", "p/n.yml").await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(run("k", "p/n.yml").await, (StatusCode::OK, first.clone(), Value::Null));
        let (status, _, kind) = run("k", "p/o.yml").await;
        assert_eq!((status, kind), (StatusCode::CONFLICT, json!("tidemill:key-reused")));
        let (status, another, _) = run("l", "p/n.yml").await;
        assert_eq!(status, StatusCode::CREATED);
        assert_ne!(another, first);
        let audit = server.ok(Method::GET, path::AUDIT, Value::Null).await.to_string();
        assert_eq!(audit.matches("schedule.run").count(), 2, "{audit}");
    }
}
