//! Logs: places and times of commands, sizes, and times of lines.

use super::server::{Server, log};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

const ONE_JOB: &str = "name: one\njobs:\n  only: { image: i, script: [a, b] }\n";

#[tokio::test(flavor = "multi_thread")]
async fn steps_have_place_and_time_and_logs_have_size_and_times() {
    let server = Server::start(30_000);
    let id = server.execute(ONE_JOB).await.1["execution_id"].as_str().unwrap().to_owned();
    let job = server.claim().await.unwrap();
    let path = format!("/api/job/logs/{}", job["preparation"]["job_id"].as_str().unwrap());
    let times = path.replace("logs", "log-times");

    let steps = json!([
        { "index": 0, "exit_code": 0, "duration_ms": 5, "started_at": "2026-11-30T10:00:00.000Z", "log_offset": 0 },
        { "index": 1, "exit_code": null, "duration_ms": null },
    ]);
    let marks = json!([
        { "offset": 0, "line": 0, "at": "2026-11-30T10:00:00.000Z" },
        { "offset": 6, "line": 1, "at": "2026-11-30T10:00:02.500Z" },
    ]);
    let mut report = log(0, b"$ a\nxx\n$ b\n");
    report["log"]["marks"] = marks.clone();
    report["steps"] = steps.clone();
    for _ in 0..2 {
        let (status, reply) = server.report(&job, report.clone()).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
    }
    let view = server.view(&id).await;
    assert_eq!(view["jobs"][0]["steps"], steps);
    let expected = json!({ "size": 11, "complete": false, "marks": marks });
    assert_eq!(server.get(&times).await, expected, "a repeated report stores its marks once");
    assert_eq!(server.get(&format!("{times}?attempt=1")).await, expected);
    assert_eq!(server.call(Method::GET, &format!("{times}?attempt=2"), None).await.0, StatusCode::NOT_FOUND);

    // More marks, of bytes that were reported before.
    let mut report = log(11, b"");
    report["log"]["marks"] = json!([{ "offset": 9, "line": 2, "at": "2026-11-30T10:00:03.000Z" }]);
    assert_eq!(server.report(&job, report.clone()).await.0, StatusCode::OK);
    report["log"]["marks"] = json!([marks[1], marks[0]]);
    assert_eq!(server.report(&job, report).await.0, StatusCode::BAD_REQUEST, "not in order");

    let size = async |query: &str| {
        let reply = server.reply(&format!("{path}{query}")).await;
        let header = |name| reply.headers()[name].to_str().unwrap().to_owned();
        (header("x-tidemill-log-size"), header("x-tidemill-log-complete"), header("x-tidemill-log-end"))
    };
    let text =
        |size: &str, complete: bool, end: bool| (size.to_owned(), complete.to_string(), end.to_string());
    assert_eq!(size("?limit=1").await, text("11", false, false));
    server.finish(&job, 0).await;
    assert_eq!(size("?limit=1").await, text("11", true, false), "the size is known after one byte");
    assert_eq!(size("?offset=11").await, text("11", true, true));
    let times = server.get(&times).await;
    let offsets: Vec<&Value> =
        times["marks"].as_array().unwrap().iter().map(|mark| &mark["offset"]).collect();
    assert_eq!((offsets, &times["complete"]), (vec![&json!(0), &json!(6), &json!(9)], &json!(true)));
}
