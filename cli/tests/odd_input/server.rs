//! A server that answers as a test says, and records what it was asked.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// A reply: status, additional headers with their line ends, body.
pub type Reply = (u16, String, Vec<u8>);

/// Returns a reply with a JSON body.
pub fn ok(body: &Value) -> Reply {
    (200, String::new(), body.to_string().into_bytes())
}

/// A server on a loopback address.
pub struct FakeServer {
    /// Its URL.
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeServer {
    /// Starts a server that answers requests, `METHOD /path?query`, with `answer`.
    pub fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &*answer, &log));
            }
        });
        Self { url, requests }
    }

    /// Returns the requests so far: `METHOD /path?query`, and the headers in lower case.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str) -> Reply, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if lines.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.map_or(0, |length| length.trim().parse().unwrap());
        lines.read_exact(&mut vec![0; length]).unwrap();
        let request = head.split(' ').take(2).collect::<Vec<_>>().join(" ");
        log.lock().unwrap().push(head.clone());
        let (status, headers, body) = answer(&request);
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

/// Id of the execution and its job that the server knows.
pub const ID: &str = "01980000-0000-7000-8000-000000000001";

/// Returns an execution with one job of this status.
pub fn execution(status: &str, job_status: &str, repo: &str) -> Value {
    let at = "2026-11-25T10:00:00Z";
    let end = if status == "RUNNING" { Value::Null } else { json!(at) };
    json!({
        "execution": {
            "id": ID, "kind": "run_pipeline", "pipeline_name": "ci", "run_number": 1, "repo": repo, "branch": null,
            "commit": null, "status": status, "trigger": "manual", "requested_by": null, "created_at": at,
            "start_time": at, "end_time": end,
        },
        "stages": ["test"],
        "jobs": [{
            "id": ID, "pipeline_execution_id": ID, "stage": "test", "job_name": "j", "docker_image": "i",
            "status": job_status, "needs": [], "allow_failure": false, "attempt": 1, "attempts": [],
            "queued_at": null, "start_time": at, "end_time": end, "exit_code": null, "failure_reason": null,
            "steps": [], "phase": null, "log_bytes": 0,
        }],
    })
}
