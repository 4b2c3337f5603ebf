//! Schedules: registration, starts and crashes.

use super::server::{COMMIT, Server, URL, push};
use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tidemill_core::api::path;
use tidemill_services::Error;
use tidemill_services::Result;
use tidemill_services::ports::{Document, Documents, NewDocument};
use tidemill_testkit::conformance::ManualClock;
use tidemill_testkit::intercepted::{BeforeWrite, InterceptedDocuments, Write};
use tidemill_testkit::memory::open;

const HOUR: i64 = 3_600_000;
const NIGHTLY: &str =
    "name: nightly\non: { schedule: \"@hourly\" }\njobs: { a: { image: i, script: [x] } }\n";
const OTHER: &str = "name: other\non: { push: }\njobs: { a: { image: i, script: [x] } }\n";

/// Registers the schedules of the default branch, as a push to it does.
async fn register(server: &Server, id: &str, files: &[(&str, &str)]) -> String {
    server.github("push", id, &push("main")).await;
    let claimed = loop {
        let claimed = server.claim().await.expect("a discovery job");
        if claimed.discovery().is_object() {
            break claimed;
        }
        server.finish(&claimed, true).await;
    };
    let reply = server.report_discovery(&claimed, files).await;
    server.finish(&claimed, true).await;
    reply["lines"].to_string()
}

async fn discoveries(server: &Server) -> usize {
    let all = server.executions().await;
    all.iter()
        .filter(|execution| execution["pipeline_name"] == "discover" && execution["trigger"] == "schedule")
        .count()
}

/// The discovery that a schedule of the default branch starts.
fn discovery_of_schedule() -> Value {
    json!({
        "fetch_ref": "refs/heads/main", "only": ["p/n.yml"],
        "event": { "branch": "main", "default_branch": "main", "trigger": "schedule" }
    })
}

#[tokio::test]
async fn schedule_starts_pipeline_and_missed_times_once() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        let messages = register(&server, "1", &[("p/n.yml", NIGHTLY), ("p/o.yml", OTHER)]).await;
        assert!(messages.contains("p/n.yml: schedule `@hourly` (UTC): next "), "{messages}");
        while let Some(job) = server.claim().await {
            server.finish(&job, true).await;
        }
        assert_eq!(server.services.schedules.run().await.unwrap(), 0, "not due yet");
        server.clock.advance(HOUR);
        assert_eq!(server.services.schedules.run().await.unwrap(), 1);
        assert_eq!(server.services.schedules.run().await.unwrap(), 0);
        let claimed = server.claim().await.unwrap();
        assert_eq!(claimed.discovery(), &discovery_of_schedule());
        server.report_discovery(&claimed, &[("p/n.yml", NIGHTLY)]).await;
        server.finish(&claimed, true).await;
        let started = server.executions().await.pop().unwrap();
        assert_eq!(
            (&started["pipeline_name"], &started["trigger"], &started["branch"], &started["commit"]),
            (&json!("nightly"), &json!("schedule"), &json!("main"), &json!(COMMIT))
        );
        // After five hours of downtime the missed times start it once.
        server.clock.advance(5 * HOUR);
        assert_eq!(server.services.schedules.run().await.unwrap(), 1);
        assert_eq!(server.services.schedules.run().await.unwrap(), 0);
        server.clock.advance(HOUR);
        assert_eq!(server.services.schedules.run().await.unwrap(), 1);
        assert_eq!(discoveries(&server).await, 3);
        while let Some(job) = server.claim().await {
            server.finish(&job, true).await;
        }
        // The file was removed from the branch.
        register(&server, "2", &[("p/o.yml", OTHER)]).await;
        server.clock.advance(3 * HOUR);
        assert_eq!(server.services.schedules.run().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn concurrent_sweeps_start_schedule_once() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        register(&server, "1", &[("p/n.yml", NIGHTLY)]).await;
        for round in 1..=5 {
            server.clock.advance(HOUR);
            let sweeps = (0..4).map(|_| {
                let schedules = server.services.schedules.clone();
                tokio::spawn(async move { schedules.run().await.unwrap() })
            });
            let counts = futures_util::future::join_all(sweeps).await;
            let started: usize = counts.into_iter().map(std::result::Result::unwrap).sum();
            assert_eq!((started, discoveries(&server).await), (1, round));
        }
    }
}

/// Makes the next `left` writes of schedules fail, as if the sweep crashed after the start.
#[derive(Default)]
struct Crashes {
    left: AtomicUsize,
}

/// Whether one is left.
fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl BeforeWrite for Crashes {
    async fn before_write(&self, _: &dyn Documents, write: Write<'_>) -> Option<Result<bool>> {
        let crashes =
            matches!(write, Write::Put(_)) && write.key().kind == "schedule" && take_one(&self.left);
        crashes.then(|| Err(Error::storage("writing a schedule", "the process crashed")))
    }
}

#[tokio::test]
async fn crashed_sweep_starts_schedule_once() {
    let clock: Arc<ManualClock> = Arc::default();
    let mut stores = open(clock.clone());
    let crashing = Arc::new(InterceptedDocuments::new(stores.documents.clone(), Crashes::default()));
    stores.documents = crashing.clone();
    let server = Server::over(stores, clock);
    server.add_repository(URL, "github", json!({})).await;
    register(&server, "1", &[("p/n.yml", NIGHTLY)]).await;
    server.clock.advance(HOUR);
    crashing.before.left.store(2, Ordering::SeqCst);
    for _ in 0..4 {
        server.services.schedules.run().await.unwrap();
        assert_eq!(discoveries(&server).await, 1);
    }
    server.clock.advance(HOUR);
    server.services.schedules.run().await.unwrap();
    assert_eq!(discoveries(&server).await, 2);
}

#[tokio::test]
async fn sync_registers_schedules_and_starts_nothing() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        server.github("push", "old", &push("main")).await;
        let old = server.claim().await.unwrap();
        server.ok(Method::POST, path::SYNC, json!({ "repo": URL })).await;
        let new = server.claim().await.unwrap();
        assert_eq!(new.discovery()["fetch_ref"], "refs/heads/main");
        assert_eq!(new.assignment["preparation"]["source"]["commit"], "");
        let reply = server.report_discovery(&new, &[("p/n.yml", NIGHTLY), ("p/o.yml", OTHER)]).await;
        assert!(
            reply["lines"]
                .to_string()
                .contains("p/o.yml: not started: a manual event starts a pipeline only by its name"),
            "{reply}"
        );
        server.finish(&new, true).await;
        // The push is older, but its worker reports later.
        server.report_discovery(&old, &[]).await;
        server.finish(&old, true).await;
        server.clock.advance(HOUR);
        assert_eq!(server.services.schedules.run().await.unwrap(), 1);
        server.ok(Method::DELETE, "/api/repository?repo=git.example.org/team/app", Value::Null).await;
        server.clock.advance(HOUR);
        assert_eq!(server.services.schedules.run().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn skipped_push_starts_nothing_and_keeps_schedules() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        register(&server, "1", &[("p/n.yml", NIGHTLY), ("p/o.yml", OTHER)]).await;
        while let Some(job) = server.claim().await {
            server.finish(&job, true).await;
        }
        let before = server.pipelines().await;
        server.github("push", "2", &push("main")).await;
        let skipped = server.claim().await.unwrap();
        assert_eq!(skipped.discovery()["can_skip"], true);
        let report = json!({ "job_id": skipped.job(), "lease": skipped.lease(), "commit": COMMIT, "files": [],
                             "skipped": true });
        let reply = server.ok(Method::POST, path::DISCOVERY_REPORT, report).await;
        assert_eq!(reply, json!({ "lines": [], "failed": false }), "nothing is claimed about the files");
        server.finish(&skipped, true).await;
        assert_eq!(server.pipelines().await.len(), before.len() + 1, "only the discovery is new");
        let listed = server.ok(Method::GET, path::SCHEDULES, Value::Null).await;
        assert_eq!(listed["schedules"][0]["pipeline_name"], "nightly", "{listed}");
        server.clock.advance(HOUR);
        assert_eq!(server.services.schedules.run().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn push_of_files_that_cannot_be_read_keeps_their_schedules() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        register(&server, "1", &[("p/n.yml", NIGHTLY), ("p/o.yml", OTHER)]).await;
        while let Some(job) = server.claim().await {
            server.finish(&job, true).await;
        }
        server.github("push", "2", &push("main")).await;
        let pushed = server.claim().await.unwrap();
        // The worker shows the errors in the log and sends no such file.
        let report = json!({ "job_id": pushed.job(), "lease": pushed.lease(), "commit": COMMIT, "files": [],
                             "incomplete": true });
        let reply = server.ok(Method::POST, path::DISCOVERY_REPORT, report).await;
        assert_eq!(reply, json!({ "lines": [], "failed": true }), "nothing is claimed about the files");
        server.finish(&pushed, false).await;
        let listed = server.ok(Method::GET, path::SCHEDULES, Value::Null).await;
        assert_eq!(listed["schedules"][0]["pipeline_name"], "nightly", "{listed}");
        // What was read without an error replaces what there was of it.
        server.github("push", "3", &push("main")).await;
        let fixed = server.claim().await.unwrap();
        server.report_discovery(&fixed, &[("p/o.yml", OTHER)]).await;
        let listed = server.ok(Method::GET, path::SCHEDULES, Value::Null).await;
        assert_eq!(listed["schedules"], json!([]), "{listed}");
    }
}

#[tokio::test]
async fn older_discovery_does_not_restore_schedules() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        server.github("push", "old", &push("main")).await;
        let old = server.claim().await.unwrap();
        server.ok(Method::POST, path::SYNC, json!({ "repo": URL })).await;
        let new = server.claim().await.unwrap();
        server.report_discovery(&new, &[]).await;
        server.finish(&new, true).await;
        // The push is older, but its worker reports later.
        let reply = server.report_discovery(&old, &[("p/n.yml", NIGHTLY)]).await;
        assert!(reply["lines"].to_string().contains("a later discovery of the branch"), "{reply}");
        server.finish(&old, true).await;
        server.clock.advance(HOUR);
        assert_eq!(server.services.schedules.run().await.unwrap(), 0);
    }
}

/// Changes a schedule just before each of its next `left` writes, as a concurrent sweep does.
#[derive(Default)]
struct Races {
    left: AtomicUsize,
}

#[async_trait]
impl BeforeWrite for Races {
    async fn before_write(&self, documents: &dyn Documents, write: Write<'_>) -> Option<Result<bool>> {
        let key = write.key();
        if key.kind == "schedule"
            && let Some(Document { key, value, due_at, version }) = documents.get(key).await.unwrap()
            && take_one(&self.left)
        {
            let same = NewDocument { key, value, due_at, expires_at: None };
            assert!(documents.put(same, Some(version)).await.unwrap());
        }
        None
    }
}

#[tokio::test]
async fn schedule_registered_during_start_is_updated() {
    let clock: Arc<ManualClock> = Arc::default();
    let mut stores = open(clock.clone());
    let racing = Arc::new(InterceptedDocuments::new(stores.documents.clone(), Races::default()));
    stores.documents = racing.clone();
    let server = Server::over(stores, clock);
    server.add_repository(URL, "github", json!({})).await;
    register(&server, "1", &[("p/n.yml", NIGHTLY)]).await;
    racing.before.left.store(2, Ordering::SeqCst);
    register(&server, "2", &[("p/n.yml", &NIGHTLY.replace("@hourly", "@daily"))]).await;
    let (all, _) = racing.list("schedule", "", None, 10).await.unwrap();
    assert!(all.len() == 1 && all[0].value.contains("@daily"), "{all:?}");
    racing.before.left.store(2, Ordering::SeqCst);
    register(&server, "3", &[("p/o.yml", OTHER)]).await;
    assert_eq!(racing.list("schedule", "", None, 10).await.unwrap().0, []);
    assert_eq!(racing.before.left.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn schedules_are_listed_and_run_on_request() {
    for server in Server::for_each_store() {
        server.add_repository(URL, "github", json!({})).await;
        register(&server, "1", &[("p/n.yml", NIGHTLY), ("p/o.yml", OTHER)]).await;
        while let Some(job) = server.claim().await {
            server.finish(&job, true).await;
        }
        let list = async || server.ok(Method::GET, path::SCHEDULES, Value::Null).await;
        let shown = list().await;
        let schedules = shown["schedules"].as_array().unwrap();
        assert_eq!(schedules.len(), 1, "{shown}");
        let (one, times) = (&schedules[0], &schedules[0]["next_times"]);
        assert_eq!((&one["path"], &one["pipeline_name"]), (&json!("p/n.yml"), &json!("nightly")));
        assert_eq!((&one["repo"], &one["cron"]), (&json!("git.example.org/team/app"), &json!("@hourly")));
        assert_eq!(times.as_array().unwrap().len(), 3, "{shown}");
        assert!(times[0].as_str() < times[1].as_str() && times[1].as_str() < times[2].as_str(), "{shown}");
        assert_eq!(one["last_execution"], Value::Null);

        let request = json!({ "repo": URL, "path": "p/n.yml" });
        let started = server.ok(Method::POST, path::RUN_SCHEDULE, request.clone()).await;
        let claimed = server.claim().await.unwrap();
        assert_eq!(claimed.discovery(), &discovery_of_schedule());
        server.finish(&claimed, true).await;
        let after = &list().await["schedules"][0];
        assert_eq!(after["last_execution"], started["execution_id"]);
        assert_eq!(after["next_times"], *times, "its next time stays");
        assert_eq!(discoveries(&server).await, 1);
        server.clock.advance(HOUR);
        assert_eq!(server.services.schedules.run().await.unwrap(), 1, "and it runs then");
        let newest = &list().await["schedules"][0]["last_execution"];
        assert!(newest.is_string() && *newest != started["execution_id"], "{newest}");

        for unknown in
            [json!({ "repo": URL, "path": "p/o.yml" }), json!({ "repo": URL, "path": "p/n.yml", "index": 1 })]
        {
            let (status, _) = server.call(Method::POST, path::RUN_SCHEDULE, unknown).await;
            assert_eq!(status, axum::http::StatusCode::NOT_FOUND);
        }
        let audit = server.ok(Method::GET, path::AUDIT, Value::Null).await.to_string();
        assert_eq!(audit.matches("schedule.run").count(), 1, "{audit}");
    }
}
