//! The audit log, and what the server's own log must not contain.

use super::server::{BOOT, PIPELINE, Server, mistyped, text};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::{
    io::Write,
    sync::{Arc, Mutex},
};
use tidemill_core::{access::Scope, api::path};

#[tokio::test]
async fn audit_log_lists_actions_newest_first() {
    let server = Server::start();
    let bot = server.token(&[Scope::Run], Some("ours"), None).await;
    let body = json!({ "pipeline": PIPELINE, "repo": "ours", "source": { "kind": "none" } });
    let id = text(&server.ok(&bot.token, "POST", path::EXECUTE, body.clone()).await["execution_id"]);
    server.ok(&bot.token, "POST", path::EXECUTE, body).await;
    server.clock.advance(1_000);
    let cancel = path::CANCEL_EXECUTION.replace("{executionId}", &id);
    for _ in 0..2 {
        server.ok(BOOT, "POST", &cancel, Value::Null).await;
    }
    server.clock.advance(1_000);
    let retry = path::RETRY.replace("{executionId}", &id);
    let retried = text(&server.ok(BOOT, "POST", &retry, json!({})).await["execution_id"]);
    let list = async |query: &str| {
        let page = server.ok(BOOT, "GET", &format!("{}{query}", path::AUDIT), Value::Null).await;
        let entries = page["entries"].as_array().unwrap().clone();
        (entries, page["next_cursor"].as_str().map(str::to_owned))
    };
    let summaries = |entries: &[Value]| {
        let line = |entry: &Value| {
            format!("{} {} {}", text(&entry["who"]), text(&entry["action"]), text(&entry["target"]))
        };
        entries.iter().map(line).collect::<Vec<_>>()
    };
    let (all, _) = list("").await;
    let expected = [
        format!("admin execution.retry {id}"),
        format!("admin execution.cancel {id}"),
        format!("t execution.start {id}"),
    ];
    assert_eq!(summaries(&all), expected);
    assert_eq!(all[0]["outcome"], format!("retried as {retried}"));
    assert_eq!((&all[2]["token"], &all[2]["repo"]), (&json!(bot.view.id), &json!("ours")));
    let (one, cursor) = list("?limit=1").await;
    assert_eq!(summaries(&one), expected[..1]);
    assert_eq!(summaries(&list(&format!("?cursor={}", cursor.unwrap())).await.0), expected[1..]);
    assert_eq!(summaries(&list("?who=t").await.0), expected[2..]);
    assert_eq!(summaries(&list("?action=execution.cancel&repo=ours").await.0), expected[1..2]);
    assert_eq!(list("?repo=theirs").await.0, [] as [Value; 0]);
    server.clock.advance(400 * 24 * 3_600_000);
    assert_eq!(list("").await.0, [] as [Value; 0], "entries are kept for 400 days");
}

/// The captured log output.
#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn server_log_contains_no_token_or_lease() {
    let log = CapturedLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let server = Server::start();
    let request = json!({ "name": "w", "scopes": ["worker"] });
    let worker = text(&server.ok(BOOT, "POST", path::TOKENS, request).await["token"]);
    server.run("ours").await;
    let ids = server.upload_artifact(&worker).await;
    let end = json!({ "job_id": ids.job, "lease": ids.lease, "end": { "failure": null, "exit_code": 0 } });
    server.ok(&worker, "POST", path::JOB_STATUS, end.clone()).await;
    assert_eq!(server.call(Some(&worker), "POST", path::JOB_STATUS, end).await.status, StatusCode::CONFLICT);
    let mistyped = mistyped(&worker);
    server.call(Some(&mistyped), "GET", path::EXECUTIONS, Value::Null).await;
    tracing::info!("the end of the test");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("the end of the test"), "nothing was logged");
    for secret in [BOOT, &worker, &mistyped, &ids.lease] {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}
