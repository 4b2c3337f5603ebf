//! A server with one execution, whose state the test sets.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

pub const ID: &str = "01980000-0000-7000-8000-000000000001";

#[derive(Clone)]
pub struct ExecutionServer {
    pub url: String,
    state: Arc<Mutex<(u64, Value)>>,
}

impl ExecutionServer {
    pub fn start(view: Value) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, state: Arc::new(Mutex::new((1, view))) };
        let accepting = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = accepting.clone();
                thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// Changes the execution.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        change(&mut state.1);
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        loop {
            let (mut head, mut length, mut known) = (String::new(), 0, String::new());
            if lines.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
            loop {
                let mut line = String::new();
                if lines.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some((name, value)) = line.split_once(':') {
                    match name.to_lowercase().as_str() {
                        "content-length" => length = value.trim().parse().unwrap(),
                        "if-none-match" => value.trim().clone_into(&mut known),
                        _ => {}
                    }
                }
            }
            lines.read_exact(&mut vec![0; length]).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            if stream.write_all(&self.reply(path, &known)).is_err() {
                return;
            }
        }
    }

    fn reply(&self, path: &str, known: &str) -> Vec<u8> {
        let (status, headers, body) = if path.starts_with("/api/pipeline/status/") {
            if path.contains("wait_ms") {
                // Replies are held until something changes.
                for _ in 0..200 {
                    if format!("\"{}\"", self.state.lock().unwrap().0) != known {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            }
            let state = self.state.lock().unwrap();
            let tag = format!("\"{}\"", state.0);
            if tag == known {
                (304, format!("etag: {tag}\r\n"), Vec::new())
            } else {
                (200, format!("etag: {tag}\r\n"), state.1.to_string().into_bytes())
            }
        } else if path.starts_with("/api/job/logs/") {
            let log = b"collected 0 items\nERROR: file not found: tests/unit\n".to_vec();
            let headers = format!("x-tidemill-log-next: {}\r\nx-tidemill-log-end: true\r\n", log.len());
            (200, headers, log)
        } else if path.starts_with("/api/pipeline/cancel") {
            self.change(|view| view["execution"]["cancel_requested"] = json!(true));
            (200, String::new(), json!({ "canceled": true, "status": "RUNNING" }).to_string().into_bytes())
        } else {
            let problem =
                json!({ "type": "tidemill:not-found", "title": "Not found", "status": 404, "detail": "no" });
            (404, String::new(), problem.to_string().into_bytes())
        };
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    }
}

/// Returns a time this many seconds ago.
pub fn ago(seconds: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let time = tidemill_core::time::Timestamp(i64::try_from(now).unwrap() - seconds * 1000);
    serde_json::to_value(time).unwrap().as_str().unwrap().to_owned()
}

/// Returns a job with this status.
pub fn job(number: usize, stage: &str, name: &str, status: &str) -> Value {
    let id = format!("01980000-0000-8000-8000-{number:012}");
    let mut job = json!({
        "id": id, "pipeline_execution_id": ID, "stage": stage, "job_name": name, "docker_image": "rust:1",
        "status": status, "needs": [], "allow_failure": false, "attempt": 0, "attempts": [], "queued_at": null,
        "start_time": null, "end_time": null, "exit_code": null, "failure_reason": null, "steps": [], "phase": null,
        "log_bytes": 52,
    });
    let (start, end) = (125 - i64::try_from(number % 5).unwrap() * 11, 60);
    match status {
        "RUNNING" => {
            job["attempt"] = json!(1);
            job["queued_at"] = json!(ago(start));
            job["start_time"] = json!(ago(start));
            job["phase"] = json!("running");
        }
        "SUCCESS" | "FAILED" | "CANCELED" => {
            job["attempt"] = json!(1);
            job["queued_at"] = json!(ago(start));
            job["start_time"] = json!(ago(start));
            job["end_time"] = json!(ago(end));
        }
        "QUEUED" => job["queued_at"] = json!(ago(40)),
        _ => {}
    }
    if status == "FAILED" {
        job["failure_reason"] = json!({
            "kind": "script_failed",
            "message": "the script exited with 101 at `cargo test --workspace --all-features -- --nocapture`; its last lines are in the log",
        });
    }
    job
}

/// Returns an execution with these stages and jobs.
pub fn execution(stages: &[&str], jobs: &[Value]) -> Value {
    json!({
        "execution": {
            "id": ID, "kind": "run_pipeline", "pipeline_name": "ci", "run_number": 12,
            "repo": "https://git.example.org/a-team-with-a-long-name/application.git", "branch": "main", "commit": "c0ffee",
            "status": "RUNNING", "trigger": "manual", "requested_by": "me", "created_at": ago(125), "start_time": ago(125),
            "end_time": null,
        },
        "stages": stages,
        "jobs": jobs,
    })
}
