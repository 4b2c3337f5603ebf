//! Failed discoveries in the overview: pushes whose pipeline files have mistakes.

use super::server::{Server, URL, push};
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_core::api::path;
use tidemill_services::Stores;
use tidemill_testkit::conformance::ManualClock;
use tidemill_testkit::memory::{MemoryDocuments, MemoryRecords, open};

const CI: &str = "name: ci\non: { push: { branches: [main] } }\njobs: { a: { image: i, script: [x] } }\n";
const BAD: &str = "name: bad\njobs: { a: { image: i, scrpt: [x] } }\n";

#[tokio::test]
async fn overview_shows_broken_files_until_the_next_push_of_the_branch() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let overview = async || server.ok(Method::GET, path::OVERVIEW, Value::Null).await;
        let broken = async |branch: &str, commit: &str| {
            let mut body = push(branch);
            body["after"] = json!(commit.repeat(40));
            body["head_commit"]["id"] = body["after"].clone();
            server.github("push", &format!("{branch} {commit}"), &body).await;
            server.claim().await.expect("a discovery job")
        };
        let branches = async || {
            let failed = overview().await["failed_discoveries"].clone();
            let failed = failed.as_array().cloned().unwrap_or_default();
            failed.iter().map(|one| one["branch"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let first = broken("main", "c").await;
        server.report_discovery(&first, &[("p/bad.yml", BAD), ("p/ci.yml", CI)]).await;
        server.finish(&first, false).await;
        let job = server.claim().await.expect("the other pipeline runs");
        server.finish(&job, true).await;
        let second = broken("topic", "c").await;
        server.report_discovery(&second, &[("p/bad.yml", BAD)]).await;
        server.finish(&second, false).await;
        assert_eq!(branches().await, ["topic", "main"], "what ran of the same push repairs nothing");
        // The next push of the branch is read: whatever comes of it shows instead.
        let third = broken("main", "d").await;
        assert_eq!(branches().await, ["topic"]);
        server.report_discovery(&third, &[("p/ci.yml", CI)]).await;
        server.finish(&third, true).await;
        assert_eq!(branches().await, ["topic"]);
        // A failure of a pipeline is none of a discovery.
        let job = server.claim().await.unwrap();
        server.finish(&job, false).await;
        assert_eq!(branches().await, ["topic"]);
    }
}

#[tokio::test]
async fn overview_reads_no_more_for_many_broken_files_than_for_none() {
    let clock: Arc<ManualClock> = Arc::default();
    let (records, documents) = (Arc::new(MemoryRecords::default()), Arc::new(MemoryDocuments::default()));
    let stores = Stores { records: records.clone(), documents: documents.clone(), ..open(clock.clone()) };
    let server = Server::over(stores, clock);
    server.add_repository(URL, "github", json!({})).await;
    let failed = async || {
        let before = (records.listings(), documents.reads());
        let overview = server.ok(Method::GET, path::OVERVIEW, Value::Null).await;
        let calls = (records.listings() - before.0, documents.reads() - before.1);
        let failed = overview["failed_discoveries"].as_array().cloned().unwrap_or_default();
        (calls, failed.iter().map(|one| one["branch"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let (calls_without, none) = failed().await;
    assert_eq!((calls_without.0, none.len()), (2, 0), "executions that run, and those that wait");
    for number in 0..12 {
        let branch = format!("topic-{number:02}");
        server.github("push", &branch, &push(&branch)).await;
        let discovery = server.claim().await.expect("a discovery job");
        server.report_discovery(&discovery, &[("p/bad.yml", BAD)]).await;
        server.finish(&discovery, false).await;
    }
    let (calls, branches) = failed().await;
    assert_eq!(calls, calls_without);
    let newest: Vec<String> = (2..12).rev().map(|number| format!("topic-{number:02}")).collect();
    assert_eq!(branches, newest, "the newest ten");
    // A repaired branch makes room for an older one, and all are over after a week.
    server.github("push", "again", &push("topic-11")).await;
    let discovery = server.claim().await.expect("a discovery job");
    server.report_discovery(&discovery, &[("p/ci.yml", CI)]).await;
    server.finish(&discovery, true).await;
    let (_, branches) = failed().await;
    assert_eq!((branches[0].as_str(), branches[9].as_str()), ("topic-10", "topic-01"));
    server.clock.advance(8 * 86_400_000);
    assert_eq!(failed().await.1.len(), 0);
}
