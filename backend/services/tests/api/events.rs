//! The stream of events of an execution.

use super::server::{Server, log};
use axum::{
    body::Body,
    http::{Method, StatusCode},
    response::Response,
};
use http_body_util::BodyExt;
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};
use tidemill_core::access::{Scope, TokenRequest};
use tidemill_services::{Caller, Settings};
use tokio::time::timeout;

const ONE_JOB: &str = "name: one\njobs:\n  only: { image: i, script: [a] }\n";

/// Returns the name and version of the next event; `None` at the end of the stream.
async fn next(events: &mut Body) -> Option<(String, String)> {
    let frame =
        timeout(Duration::from_secs(30), events.frame()).await.expect("an event or the end in time")?;
    let text = String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let data: serde_json::Value = serde_json::from_str(field("data:")).unwrap_or_else(|_| panic!("{text}"));
    Some((field("event:").to_owned(), data["version"].as_str().unwrap().to_owned()))
}

async fn start(server: &Server) -> (String, String) {
    let id = server.execute(ONE_JOB).await.1["execution_id"].as_str().unwrap().to_owned();
    (format!("/api/pipeline/events/{id}"), format!("/api/pipeline/status/{id}"))
}

async fn version(server: &Server, status: &str) -> String {
    server.reply(status).await.headers()["etag"].to_str().unwrap().trim_matches('"').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_follow_an_execution_to_its_end_and_a_slow_reader_gets_fewer() {
    let server = Server::start(30_000);
    let (path, status) = start(&server).await;
    let reply = server.reply(&path).await;
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.headers()["content-type"], "text/event-stream");
    let mut events = reply.into_body();
    let created = next(&mut events).await.unwrap();
    assert_eq!(created, ("changed".into(), version(&server, &status).await));

    // Nothing is read meanwhile: the reader gets one event for all of these.
    let job = server.claim().await.unwrap();
    for offset in 0..5 {
        assert_eq!(server.report(&job, log(offset, b"x")).await.0, StatusCode::OK);
    }
    assert_eq!(next(&mut events).await.unwrap(), ("changed".into(), version(&server, &status).await));

    // A log that grows is a change, and wakes a reader that waits.
    let waiting = tokio::spawn(async move { (next(&mut events).await, events) });
    assert_eq!(server.report(&job, log(5, b"y")).await.0, StatusCode::OK);
    let (event, mut events) = waiting.await.unwrap();
    assert_eq!(event.unwrap(), ("changed".into(), version(&server, &status).await));

    server.finish(&job, 0).await;
    let mut last = next(&mut events).await.unwrap();
    while last.0 == "changed" {
        last = next(&mut events).await.unwrap();
    }
    assert_eq!(last, ("end".into(), version(&server, &status).await));
    assert_eq!(next(&mut events).await, None);

    // Of an ended execution, the stream ends at once.
    let mut events = server.reply(&path).await.into_body();
    assert_eq!(next(&mut events).await.unwrap().0, "end");
    assert_eq!(next(&mut events).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_lists_come_for_any_execution() {
    let server = Server::start(30_000);
    let reply = server.reply("/api/pipeline/changes").await;
    assert_eq!(
        (reply.status(), reply.headers()["content-type"].to_str().unwrap()),
        (StatusCode::OK, "text/event-stream")
    );
    let mut events = reply.into_body();
    let (name, first) = next(&mut events).await.unwrap();
    assert_eq!(name, "changed", "the state of now");
    start(&server).await;
    let (name, second) = next(&mut events).await.unwrap();
    assert_eq!(name, "changed");
    assert_ne!(first, second);
    let job = server.claim().await.unwrap();
    server.finish(&job, 0).await;
    let (_, third) = next(&mut events).await.unwrap();
    assert_ne!(second, third);
    let mut short = server.reply("/api/pipeline/changes?wait_ms=0").await.into_body();
    assert_eq!(next(&mut short).await.unwrap().0, "changed");
    assert_eq!(next(&mut short).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_end_when_asked() {
    let server = Server::start(30_000);
    let (path, _) = start(&server).await;
    let mut open: Vec<Response> = Vec::new();
    let refused = loop {
        let reply = server.reply(&path).await;
        if reply.status() != StatusCode::OK || open.len() > 1_000 {
            break reply.status();
        }
        open.push(reply);
    };
    assert_eq!((refused, open.len()), (StatusCode::TOO_MANY_REQUESTS, 32));
    open.pop();
    let mut events = server.reply(&format!("{path}?wait_ms=0")).await.into_body();
    assert_eq!(next(&mut events).await.unwrap().0, "changed", "the closed stream does not count");
    assert_eq!(next(&mut events).await, None);
    let missing = "/api/pipeline/events/01900000-0000-7000-8000-000000000000";
    assert_eq!(server.call(Method::GET, missing, None).await.0, StatusCode::NOT_FOUND);
}

/// A change of one job is a number for each stream, however many jobs there are: they are not read.
#[tokio::test(flavor = "multi_thread")]
async fn streams_read_no_jobs() {
    let server = Server::start(30_000);
    let (path, status) = start(&server).await;
    let job = server.claim().await.unwrap();
    let database = rusqlite::Connection::open(server.dir.path().join("tidemill.db")).unwrap();
    let damaged = |is_damaged: bool| {
        let (from, to) = if is_damaged { ("nodes", "hidden_nodes") } else { ("hidden_nodes", "nodes") };
        database.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    };
    let mut streams = Vec::new();
    damaged(true);
    assert_eq!(server.call(Method::GET, &status, None).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    for _ in 0..3 {
        let mut events = server.reply(&path).await.into_body();
        let created = next(&mut events).await.unwrap();
        streams.push((events, created));
    }
    damaged(false);
    let current = version(&server, &status).await;
    for (_, created) in &streams {
        assert_eq!(created, &("changed".to_owned(), current.clone()));
    }
    server.finish(&job, 0).await;
    for (events, _) in &mut streams {
        let mut last = next(events).await.unwrap();
        while last.0 == "changed" {
            last = next(events).await.unwrap();
        }
        assert_eq!(last, ("end".to_owned(), version(&server, &status).await));
        assert_eq!(next(events).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_ends_when_its_token_is_revoked() {
    let server = Server::start(30_000);
    let (path, _) = start(&server).await;
    let request = TokenRequest {
        name: "reader".into(),
        scopes: BTreeSet::from([Scope::Read]),
        repo: Some("here".into()),
        expire_in_s: None,
    };
    let tokens = &server.services.tokens;
    let token = tokens.create(request, &Caller::bootstrap(Scope::Admin)).await.unwrap();
    let mut events = server.reply_with(&path, &token.token).await.into_body();
    assert_eq!(next(&mut events).await.unwrap().0, "changed");
    tokens.revoke(token.view.id).await.unwrap();
    assert_eq!(next(&mut events).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn deployment_that_holds_no_replies_sends_no_events() {
    let server = Server::start_with(Settings { max_wait_ms: 0, ..Settings::default() });
    let (path, _) = start(&server).await;
    let (status, problem) = server.call(Method::GET, &path, None).await;
    assert_eq!((status, &problem["type"]), (StatusCode::NOT_IMPLEMENTED, &json!("tidemill:no-event-stream")));
}
