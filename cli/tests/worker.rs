//! `tidemill worker`: shutdown, resources, job sources, logging and metadata blocking.

use crate::support::{IGNORES_SIGTERM, TestEnv, finish, has_ended, job, signal, text, wait_until};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// A server without workers on the environment's data directory; it is killed on drop.
struct Server {
    process: Child,
    url: String,
    token: String,
}

impl Server {
    fn start(env: &TestEnv) -> Self {
        let mut process = env
            .command(&["server", "--listen", "127.0.0.1:0", "--jobs", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let token = std::fs::read_to_string(env.data.join("token")).unwrap();
        Self { process, url: url.trim_end_matches(',').to_owned(), token }
    }

    /// Creates a client command for this server.
    fn command(&self, env: &TestEnv, args: &[&str]) -> Command {
        let mut command = env.command(args);
        command
            .env("TIDEMILL_SERVER", &self.url)
            .env("TIDEMILL_TOKEN", &self.token)
            .env("TIDEMILL_LOG", "info");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn worker(&self, env: &TestEnv, args: &[&str]) -> Worker {
        let args: Vec<&str> = ["worker", "--notices", "off"].iter().chain(args).copied().collect();
        Worker(Some(self.command(env, &args).spawn().unwrap()))
    }

    fn run(&self, env: &TestEnv) -> Child {
        self.command(env, &["run", "--quiet"]).spawn().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A worker process; it is killed on drop.
struct Worker(Option<Child>);

impl Worker {
    fn signal(&self, name: &str) {
        signal(self.0.as_ref().unwrap(), name);
    }

    /// Waits until it exits with 0, and returns standard output and standard error.
    fn finish(mut self) -> (String, String) {
        let ended = finish(self.0.take().unwrap());
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        (text(&ended.stdout), text(&ended.stderr))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A job that prints `begun`, and ends after some seconds, in which a loaded machine too reacts to that.
const SHORT: &str = r#"
name: short
stages: [a]
jobs:
  j: { stage: a, image: "IMAGE", script: ["echo begun", "sleep 5", "echo done"] }
"#;

fn wait_for_output(env: &TestEnv, name: &str) {
    env.wait_for("the job prints", |view| job(view, name)["log_bytes"].as_u64().unwrap() > 0);
}

fn failure(attempt: &Value) -> &str {
    attempt["failure"]["kind"].as_str().unwrap_or_default()
}

#[test]
fn stopping_worker_finishes_running_jobs() {
    let mut env = TestEnv::new(SHORT);
    let server = Server::start(&env);
    let worker = server.worker(&env, &[]);
    let run = server.run(&env);
    wait_for_output(&env, "j");
    worker.signal("TERM");
    let (stdout, _) = worker.finish();
    assert!(stdout.contains("running jobs have 60 s to end"), "{stdout}");
    let view = env.latest();
    assert_eq!(
        (&job(&view, "j")["status"], &job(&view, "j")["attempt"]),
        (&"SUCCESS".into(), &1.into()),
        "{view:#}"
    );
    assert_eq!(finish(run).status.code(), Some(0));
    env.wait_until_clean();
}

#[test]
fn expired_grace_or_second_signal_returns_jobs_without_an_attempt() {
    let mut env = TestEnv::new(IGNORES_SIGTERM);
    let server = Server::start(&env);
    let run = server.run(&env);
    let mut attempts = 0;
    for (grace, signals) in [("1s", 1), ("600s", 2)] {
        let worker = server.worker(&env, &["--grace", grace]);
        attempts += 1;
        env.wait_for("the job runs", |view| {
            let deaf = job(view, "deaf");
            deaf["attempt"] == attempts && deaf["log_bytes"].as_u64().unwrap() > 0
        });
        for _ in 0..signals {
            worker.signal("TERM");
            // Simultaneous signals of the same kind are merged.
            thread::sleep(std::time::Duration::from_millis(100));
        }
        worker.finish();
        let view = env.wait_for("the job is given back", |view| job(view, "deaf")["status"] == "QUEUED");
        let ended = job(&view, "deaf")["attempts"].as_array().unwrap();
        assert_eq!((ended.len(), failure(ended.last().unwrap())), (attempts, "given_back"), "{view:#}");
    }
    assert_eq!(env.tidemill(&["cancel"]).status.code(), Some(0));
    assert_eq!(finish(run).status.code(), Some(130));
    env.wait_until_clean();
}

/// A fake of the EC2 instance metadata service with values from `set`.
struct Metadata {
    url: String,
    values: Arc<Mutex<Vec<(&'static str, &'static str)>>>,
}

impl Metadata {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let values = Arc::<Mutex<Vec<(&'static str, &'static str)>>>::default();
        let known = values.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let known = known.clone();
                thread::spawn(move || answer(&stream, &known.lock().unwrap().clone()));
            }
        });
        Self { url, values }
    }

    fn set(&self, path: &'static str, value: &'static str) {
        self.values.lock().unwrap().push((path, value));
    }
}

fn answer(mut stream: &TcpStream, values: &[(&str, &str)]) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let found = values.iter().find(|(path, _)| request.contains(path)).map(|(_, value)| *value);
    let (status, body) = match found {
        _ if request.starts_with("PUT /latest/api/token ") => ("200 OK", "token"),
        Some(value) => ("200 OK", value),
        None => ("404 Not Found", ""),
    };
    let length = body.len();
    let _ =
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
}

#[test]
fn ec2_notice_drains_worker() {
    let env = TestEnv::new(SHORT);
    let server = Server::start(&env);
    let metadata = Metadata::start();
    let args = ["worker", "--notices", "on", "--block-metadata", "off"];
    let worker = server.command(&env, &args).env("TIDEMILL_IMDS", &metadata.url).spawn().unwrap();
    let worker = Worker(Some(worker));
    let run = server.run(&env);
    wait_for_output(&env, "j");
    metadata.set("autoscaling/target-lifecycle-state", "Terminated");
    let (stdout, _) = worker.finish();
    assert!(stdout.contains("the Auto Scaling group will terminate this instance"), "{stdout}");
    assert_eq!(finish(run).status.code(), Some(0));
    assert_eq!(job(&env.latest(), "j")["attempt"], 1);
}

#[test]
fn worker_with_required_notices_does_not_start_without_metadata() {
    let mut env = TestEnv::new(SHORT);
    let server = Server::start(&env);
    let args = ["worker", "--notices", "on"];
    let ended =
        finish(server.command(&env, &args).env("TIDEMILL_IMDS", "http://127.0.0.1:1").spawn().unwrap());
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    assert!(text(&ended.stderr).contains("--notices off"), "{ended:?}");
    env.wait_until_clean();
}

#[test]
fn jobs_that_request_all_resources_run_one_at_a_time() {
    let mut env = TestEnv::new(
        r#"
name: large
stages: [a]
defaults: { image: "IMAGE", resources: { cpus: 1, memory: 64Mi } }
jobs:
  one: { stage: a, script: ["sleep 5"] }
  two: { stage: a, script: ["sleep 5"] }
"#,
    );
    let server = Server::start(&env);
    let worker = server.worker(&env, &["--jobs", "2", "--cpus", "1", "--memory", "1g"]);
    let run = server.run(&env);
    env.wait_for("one waits for the other", |view| {
        let phases =
            ["one", "two"].map(|name| job(view, name)["phase"].as_str().unwrap_or_default().to_owned());
        phases.contains(&"waiting for capacity".to_owned()) && phases.contains(&"running".to_owned())
    });
    assert_eq!(finish(run).status.code(), Some(0));
    worker.signal("TERM");
    worker.finish();
    env.wait_until_clean();
}

#[test]
fn job_too_large_for_a_worker_runs_on_a_larger_one_or_fails_with_the_reason() {
    let pipeline = |cpus| {
        format!(
            "name: large\nstages: [a]\njobs:\n  j: {{ stage: a, image: IMAGE, resources: {{ cpus: {cpus} }}, script: [\"true\"] }}\n"
        )
    };
    let env = TestEnv::new(&pipeline("0.9"));
    let server = Server::start(&env);
    let small = server.worker(&env, &["--name", "small", "--cpus", "0.5"]);
    let run = server.run(&env);
    let view = env
        .wait_for("the job is given back", |view| !job(view, "j")["attempts"].as_array().unwrap().is_empty());
    let first = &job(&view, "j")["attempts"][0];
    assert_eq!(failure(first), "given_back", "{view:#}");
    let message = first["failure"]["message"].as_str().unwrap();
    assert!(message.contains("`small`") && message.contains("0.9 processor(s)"), "{message}");
    let large = server.worker(&env, &["--name", "large", "--cpus", "1"]);
    assert_eq!(finish(run).status.code(), Some(0));
    for worker in [small, large] {
        worker.signal("TERM");
        worker.finish();
    }

    // An embedded run has no other worker to wait for.
    let mut env = TestEnv::new(&pipeline("1000"));
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let view = env.latest();
    assert_eq!(job(&view, "j")["failure_reason"]["kind"], "undeliverable", "{view:#}");
    assert!(has_ended(&view));
    env.wait_until_clean();
}

#[test]
fn json_log_names_the_job() {
    let env = TestEnv::new(SHORT);
    let server = Server::start(&env);
    let worker = server.worker(&env, &["--log-format", "json"]);
    assert_eq!(finish(server.run(&env)).status.code(), Some(0));
    worker.signal("TERM");
    let (_, log) = worker.finish();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let taken =
        lines.iter().find(|line| line["message"] == "claimed a job").unwrap_or_else(|| panic!("{log}"));
    let view = env.latest();
    assert_eq!(taken["span"]["job"], job(&view, "j")["id"], "{taken}");
    assert_eq!(taken["span"]["execution"], view["execution"]["id"], "{taken}");
    assert_eq!(taken["span"]["attempt"], 1, "{taken}");
}

/// Returns the rules of the raw table for the metadata addresses, each with its tool.
fn rules() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (tool, address) in [("iptables", "169.254.169.254"), ("ip6tables", "fd00:ec2::254")] {
        let listed = Command::new(tool).args(["-w", "10", "-t", "raw", "-S", "PREROUTING"]).output();
        let listed = listed.map(|listed| text(&listed.stdout)).unwrap_or_default();
        found
            .extend(listed.lines().filter(|line| line.contains(address)).map(|line| (tool, line.to_owned())));
    }
    found
}

/// Tests that the worker sets the rules. The tests of the worker crate cover their effect.
#[test]
fn worker_with_required_blocking_blocks_metadata() {
    if !Command::new("iptables")
        .args(["-w", "10", "-t", "raw", "-S"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("skipped: this user cannot set rules with iptables");
        return;
    }
    let before = rules();
    let env = TestEnv::new(SHORT);
    let server = Server::start(&env);
    let metadata = Metadata::start();
    let mut after = Vec::new();
    // Twice because it is required, once because metadata is available; the rules are set only once.
    for when in ["required", "required", "auto"] {
        let mut command = server.command(&env, &["worker", "--notices", "off", "--block-metadata", when]);
        let process = command.env("TIDEMILL_IMDS", &metadata.url).stdout(Stdio::piped()).spawn().unwrap();
        let mut worker = Worker(Some(process));
        let mut line = String::new();
        let stdout = worker.0.as_mut().unwrap().stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(line.starts_with("working for"), "{line}");
        after = rules();
        worker.signal("TERM");
        worker.finish();
    }
    for (tool, rule) in after.iter().filter(|rule| !before.contains(rule)) {
        let deletion = rule.replacen("-A ", "-D ", 1);
        let removed = Command::new(tool).args(["-w", "10", "-t", "raw"]).args(deletion.split(' ')).status();
        assert!(removed.unwrap().success(), "{rule}");
    }
    let of = |tool: &str| after.iter().filter(|(with, _)| *with == tool).count();
    // The engine's default bridge, and the bridge of isolated jobs if isolation is available.
    assert!((1..=2).contains(&of("iptables")), "{after:?}");
    assert!(of("ip6tables") <= 2, "{after:?}");
    assert!(after.iter().all(|(_, rule)| rule.ends_with("-j DROP") && rule.contains("-i ")), "{after:?}");
}

#[test]
fn worker_that_cannot_block_metadata_does_not_start() {
    let mut env = TestEnv::new(SHORT);
    let server = Server::start(&env);
    let args = ["worker", "--notices", "off", "--block-metadata"];
    // No tools on the PATH, like on a machine without iptables.
    let ended = finish(server.command(&env, &args).env("PATH", env.dir.path()).spawn().unwrap());
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    assert!(text(&ended.stderr).contains("`iptables` cannot be run"), "{ended:?}");
    env.wait_until_clean();
}

/// SQS of MiniStack, called with its JSON protocol. The tests of the worker crate install it, see `worker/tests/support`.
struct Queue {
    process: Child,
    port: u16,
    url: String,
}

impl Queue {
    /// Starts MiniStack. Returns `None` and prints the reason if it is not installed.
    fn start(env: &TestEnv) -> Option<Self> {
        let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/ministack/bin/ministack");
        let program = std::env::var("TIDEMILL_MINISTACK").unwrap_or_else(|_| tools.to_owned());
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let started = Command::new(&program)
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("SERVICES", "sqs")
            .env("DOCKER_HOST", "unix:///nonexistent")
            .env("TMPDIR", env.dir.path())
            .current_dir(env.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            eprintln!("skipped: {program} is not installed; the tests of the worker crate install it");
            return None;
        };
        let mut queue = Self { process, port, url: String::new() };
        wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok()).expect("MiniStack answers");
        let created = queue.call("CreateQueue", r#"{"QueueName":"jobs"}"#);
        created["QueueUrl"].as_str().unwrap().clone_into(&mut queue.url);
        Some(queue)
    }

    fn call(&self, action: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-amz-target: AmazonSQS.{action}\r\n\
             content-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let body = reply.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let json = body.find('{').map(|at| &body[at..=body.rfind('}').unwrap()]);
        json.map_or(Value::Null, |json| serde_json::from_str(json).unwrap_or_else(|_| panic!("{reply}")))
    }

    fn send(&self, message: &Value) {
        let body = serde_json::json!({ "QueueUrl": self.url, "MessageBody": message.to_string() });
        self.call("SendMessage", &body.to_string());
    }

    /// Returns the number of messages, including received ones.
    fn message_count(&self) -> u64 {
        let body = serde_json::json!({ "QueueUrl": self.url, "AttributeNames": ["All"] });
        let attributes = self.call("GetQueueAttributes", &body.to_string());
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        names
            .iter()
            .map(|name| attributes["Attributes"][name].as_str().unwrap().parse::<u64>().unwrap())
            .sum()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn worker_on_a_queue_runs_jobs_of_messages_and_deletes_them() {
    let env = TestEnv::new(SHORT);
    let Some(queue) = Queue::start(&env) else { return };
    let server = Server::start(&env);
    let args = ["worker", "--notices", "off", "--log-format", "json", "--jobs", "4", "--queue", &queue.url];
    let worker = server
        .command(&env, &args)
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", queue.port))
        .envs([
            ("AWS_ACCESS_KEY_ID", "000000000000"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_REGION", "us-east-1"),
        ])
        .spawn()
        .unwrap();
    let worker = Worker(Some(worker));
    let run = server.run(&env);
    let view = env.wait_for("the job is queued", |view| job(view, "j")["status"] == "QUEUED");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let message = serde_json::json!({
        "v": 1, "execution_id": view["execution"]["id"], "job_id": job(&view, "j")["id"], "ix": 0,
        "trace": format!("00-{trace}-00f067aa0ba902b7-01"),
    });
    // The message is delivered twice, but the job must run once.
    queue.send(&message);
    queue.send(&message);
    assert_eq!(finish(run).status.code(), Some(0));
    assert_eq!(job(&env.latest(), "j")["attempt"], 1);
    wait_until(|| queue.message_count() == 0).expect("both messages are deleted");
    worker.signal("TERM");
    let (_, log) = worker.finish();
    let taken: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["message"] == "claimed a job")
        .collect();
    assert_eq!(taken.len(), 1, "{log}");
    assert_eq!(taken[0]["span"]["trace"], trace, "{log}");
    assert!(log.contains("requests to SQS"), "{log}");
}
