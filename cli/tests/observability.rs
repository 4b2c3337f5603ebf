//! What a server and its workers show of themselves: metrics, logs as JSON, and log levels that signals change.

use crate::support::{TestEnv, binary, finish, signal, text, wait_until};
use regex::Regex;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Stdio},
    sync::{Arc, Mutex},
    thread,
};

const PIPELINE: &str = "\
name: observed
stages: [test]
jobs:
  good: { stage: test, image: \"IMAGE\", script: ['echo \"mine: $TRACEPARENT\"'] }
  bad: { stage: test, image: \"IMAGE\", script: ['exit 3'] }
  own: { stage: test, image: \"IMAGE\", variables: { TRACEPARENT: own }, script: ['test \"$TRACEPARENT\" = own'] }
";
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Collects the lines of a process's log.
fn collect(log: ChildStderr) -> Arc<Mutex<String>> {
    let all: Arc<Mutex<String>> = Arc::default();
    let lines = all.clone();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let mut all = lines.lock().unwrap();
            all.push_str(&line);
            all.push('\n');
        }
    });
    all
}

struct Server {
    process: Child,
    url: String,
    metrics: String,
    log: Arc<Mutex<String>>,
}

/// Starts a server or a worker that shows all it has. The receiver of OpenTelemetry does not answer.
fn start(env: &TestEnv, data: &Path, args: &[&str]) -> Server {
    let mut command = binary(env, data);
    command.args(args).args(["--metrics-listen", "127.0.0.1:0", "--otlp-endpoint", "http://127.0.0.1:1"]);
    command.args(["--log-format", "json", "--log-level", "info"]);
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut address = |before: &str| {
        let line = lines.next().unwrap().unwrap();
        let address = line.strip_prefix(before).unwrap_or_else(|| panic!("{line}"));
        address.split([',', ' ']).next().unwrap().to_owned()
    };
    let url = address(if args[0] == "server" { "serving on " } else { "working for " });
    let metrics = address("metrics on ");
    let log = collect(process.stderr.take().unwrap());
    // The pipe is read to its end, so that no line blocks the process.
    thread::spawn(move || lines.for_each(drop));
    Server { process, url, metrics, log }
}

impl Server {
    fn metrics(&self) -> String {
        let (host, path) = self.metrics.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        reply
    }

    fn lines(&self) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    fn has_logged(&self, message: &str) -> bool {
        self.lines().iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains(message)))
    }

    fn stop(self) {
        signal(&self.process, "TERM");
        let ended = finish(self.process);
        assert_eq!(ended.status.code(), Some(0), "{}", self.log.lock().unwrap());
    }
}

/// Returns the metrics that a text names, without the suffixes of histograms.
fn names(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:tidemill|process)_[a-z_]+").unwrap();
    let names = name.find_iter(text).map(|found| found.as_str());
    names.map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned()).collect()
}

#[test]
fn server_and_worker_show_metrics_logs_and_traces_that_the_dashboard_names() {
    let mut env = TestEnv::new(PIPELINE);
    let server = start(&env, &env.data, &["server", "--listen", "127.0.0.1:0", "--jobs", "0"]);
    let token = fs::read_to_string(env.data.join("token")).unwrap().trim().to_owned();
    let worker_data = env.dir.path().join("worker");
    let connection = ["--server", &server.url, "--token", &token];
    let worker_args = [&["worker", "--isolate", "off", "--notices", "off"][..], &connection].concat();
    let worker = start(&env, &worker_data, &worker_args);
    let mut run = env.command(&[&["run", "--upload-all"][..], &connection].concat());
    let run = run.env("TRACEPARENT", CALLER).output().unwrap();
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let log = text(&env.command(&[&["logs", "good"][..], &connection].concat()).output().unwrap().stdout);
    let status = |args: &[&str]| -> Value {
        let shown =
            env.command(&[&["status", "--format", "json"], args, &connection].concat()).output().unwrap();
        serde_json::from_slice(&shown.stdout).unwrap_or_else(|error| panic!("{error}: {shown:?}"))
    };
    let all = status(&["--all-repositories"]);
    let view = status(&[all[0]["id"].as_str().unwrap()]);

    // The job is part of the caller's trace.
    let mine = log.lines().find_map(|line| line.strip_prefix("mine: ")).unwrap_or_else(|| panic!("{log}"));
    assert_eq!(mine.split('-').nth(1), CALLER.split('-').nth(1), "{mine}");
    assert_ne!(mine.split('-').nth(2), CALLER.split('-').nth(2), "{mine}");
    assert_eq!(status_of(&view, "own"), "SUCCESS", "a variable of the job's own stays: {view:#}");

    // The worker counts a job once it knows that its end was acknowledged.
    let acknowledged = "tidemill_worker_jobs_total{outcome=\"acknowledged\"} 3";
    wait_until(|| worker.metrics().contains(acknowledged)).expect(acknowledged);

    // All that the dashboard and the alert rules name is there.
    let metrics = server.metrics() + &worker.metrics();
    let known: BTreeSet<String> = names(&metrics);
    for file in ["alerts.yml", "dashboard.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/observability").join(file);
        let named = names(&fs::read_to_string(path).unwrap());
        let missing: Vec<&String> = named.difference(&known).collect();
        assert!(named.len() > 10 && missing.is_empty(), "{file}: {missing:?}\n{metrics}");
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability.md");
    let documented = names(&fs::read_to_string(page).unwrap());
    assert_eq!(documented.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
    let undocumented: Vec<&String> = known.difference(&documented).collect();
    let is_series = |name: &&&String| !name.ends_with("_sum") && !name.ends_with("_count");
    assert_eq!(undocumented.iter().filter(is_series).collect::<Vec<_>>(), Vec::<&&String>::new());
    for line in [
        "tidemill_executions_ended_total{status=\"failed\"} 1",
        "tidemill_jobs_ended_total{status=\"failed\"} 1",
        "tidemill_attempts_failed_total{kind=\"script_failed\"} 1",
        "tidemill_workers{state=\"online\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }

    // The log has the ids, and its level changes while the server runs.
    let execution = view["execution"]["id"].as_str().unwrap();
    let lines = server.lines();
    let created = lines.iter().find(|line| line["message"] == "created an execution").unwrap();
    assert_eq!((created["execution"].as_str(), created["level"].as_str()), (Some(execution), Some("INFO")));
    assert_eq!(created["span"]["request"].as_str().map(str::len), Some(32), "{created}");
    assert!(
        lines.iter().any(|line| line["message"] == "an execution ended" && line["execution"] == execution)
    );
    assert!(!server.has_logged("answered a request"));
    signal(&server.process, "USR1");
    wait_until(|| server.has_logged("the log level was raised")).expect("the level is raised");
    env.command(&[&["status"][..], &connection].concat()).output().unwrap();
    wait_until(|| server.has_logged("answered a request")).expect("requests are logged");
    signal(&server.process, "USR2");
    wait_until(|| server.has_logged("the log level is reset")).expect("the level is reset");
    worker.stop();
    server.stop();
    env.wait_until_clean();
}

/// Returns the status of a job of an execution.
fn status_of<'a>(view: &'a Value, job: &str) -> &'a str {
    let jobs = view["jobs"].as_array().unwrap();
    jobs.iter().find(|one| one["job_name"] == job).unwrap()["status"].as_str().unwrap()
}

#[test]
fn invalid_settings_of_the_export_are_usage_errors() {
    let env = TestEnv::new(PIPELINE);
    for (endpoint, headers) in [("127.0.0.1:4318", ""), ("http://127.0.0.1:4318", "s3cret")] {
        let mut command = binary(&env, &env.data);
        command.args(["server", "--listen", "127.0.0.1:0", "--jobs", "0", "--otlp-endpoint", endpoint]);
        let ended = command.env("OTEL_EXPORTER_OTLP_HEADERS", headers).output().unwrap();
        let error = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{error}");
        assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS") && !error.contains("s3cret"), "{error}");
    }
}
