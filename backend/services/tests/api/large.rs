//! The largest execution that a file may describe, over the embedded stores.
#![allow(clippy::print_stdout)]

use super::server::Server;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

/// A pipeline of 40 jobs with 250 combinations each, in a file that is large enough for so many.
fn pipeline_of_ten_thousand_jobs() -> String {
    let list = |name: &str, values: u32| {
        let values: Vec<String> = (0..values).map(|value| format!("{name}{value}")).collect();
        format!("[{}]", values.join(", "))
    };
    let matrix = format!("{{ A: {}, B: {} }}", list("a", 25), list("b", 10));
    let mut file = format!("# {}\n", "x".repeat(100)).repeat(6_400);
    file.push_str("name: large\njobs:\n");
    for job in 0..40 {
        writeln!(file, "  test{job}: {{ image: i, script: [a], matrix: {matrix} }}").unwrap();
    }
    file
}

fn count(view: &Value, status: &str) -> usize {
    view["jobs"].as_array().unwrap().iter().filter(|job| job["status"] == status).count()
}

/// Reads the execution until this many of its jobs have this status.
async fn wait_for(server: &Server, id: &str, jobs: usize, status: &str) -> Value {
    loop {
        let view = server.view(id).await;
        if count(&view, status) == jobs {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_jobs_are_recorded_and_canceled_after_the_replies() {
    let server = Server::start(30_000);
    let begin = Instant::now();
    let (status, created) = server.execute(&pipeline_of_ten_thousand_jobs()).await;
    println!("created in {:?}", begin.elapsed());
    assert_eq!(status, StatusCode::CREATED, "{created}");
    let id = created["execution_id"].as_str().unwrap();
    wait_for(&server, id, 10_000, "QUEUED").await;
    println!("queued after {:?}", begin.elapsed());
    assert!(server.claim().await.is_some(), "its messages were sent");

    let begin = Instant::now();
    let (_, reply) = server.post(&format!("/api/pipeline/cancel/{id}"), json!(null)).await;
    println!("canceled in {:?}", begin.elapsed());
    assert_eq!(reply["canceled"], true, "{reply}");
    let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
    let claim = json!({ "worker": worker, "job_id": server.view(id).await["jobs"][9_999]["id"] });
    let (_, reply) = server.post("/api/job/execute", claim).await;
    assert_eq!(reply["kind"], "nothing", "no attempt starts after the reply");
    let view = wait_for(&server, id, 9_999, "CANCELED").await;
    println!("all canceled after {:?}", begin.elapsed());
    assert_eq!(count(&view, "RUNNING"), 1, "its worker is to stop it, and has not reported yet");
    // What a client of the cloud gets of such an execution, compressed.
    let bytes = view.to_string().into_bytes();
    let compressed = zstd::bulk::compress(&bytes, 3).unwrap().len();
    println!("a view of {} bytes, compressed {compressed}", bytes.len());
    assert!(compressed < 1 << 20, "{compressed}");
}
