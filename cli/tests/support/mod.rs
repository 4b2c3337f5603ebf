//! Test environments: a repository, a data directory and the real binary. Everything is removed on drop.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    missing_docs
)]

mod backend;
pub mod engine_proxy;
pub mod git;
pub mod registry;
pub mod terminal;

pub use backend::{Backend, Deployment, binary, serve, serve_with, stop};

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Timeout of every wait; long enough for a loaded machine.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// Time between SIGTERM and SIGKILL for processes that a test left running.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// A job that only SIGKILL ends.
pub const IGNORES_SIGTERM: &str = r#"
name: stubborn
stages: [a]
jobs:
  deaf: { stage: a, image: "IMAGE", script: ["trap '' TERM INT HUP", "echo ready", "while true; do sleep 1; done"] }
"#;

/// A slow job and a job that depends on it.
pub const TWO_JOBS: &str = r#"
name: two
stages: [a, b]
defaults: { image: "IMAGE" }
jobs:
  slow: { stage: a, script: ["echo begun", "sleep 3", "echo done"] }
  after: { stage: b, script: ["true"] }
"#;

/// What the slow job of [`TWO_JOBS`] executes instead of `sleep 3` to run until [`TestEnv::open_gate`]. With [`OPEN_GATE`], it does
/// not wait.
pub const GATED: &str = "while [ ! -e ${GATE:-/tmp/go} ]; do sleep 0.1; done";

/// Options of a run whose gate is open from the start.
pub const OPEN_GATE: [&str; 2] = ["-e", "GATE=/tmp"];

/// A repository with a pipeline, a data directory, and processes of a backend.
pub struct TestEnv {
    pub dir: tempfile::TempDir,
    /// Data directory of the commands.
    pub data: PathBuf,
    /// Data directory of the worker; with the embedded backend, the same.
    pub worker_data: PathBuf,
    pub lease_ttl_ms: u64,
    /// Name of the pipeline, unique among all environments.
    pub pipeline: String,
    pub deployment: Option<Deployment>,
    /// Whether the jobs of the workers that this environment starts are plain processes.
    pub runs_processes: bool,
    /// Whether processes write trace logs; long-running ones write them to `*.log` files in `dir`.
    pub logs: bool,
    server: Option<Child>,
    worker: Option<Child>,
    labelled_worker: Option<Child>,
}

pub fn image() -> String {
    std::env::var("TIDEMILL_TEST_IMAGE").unwrap_or_else(|_| "tidemill-demo:1".to_owned())
}

/// Replaces `IMAGE` in a pipeline file by the image of the tests, but not in names of variables such as `IMAGE_ID`.
fn with_image(pipeline: &str, image: &str) -> String {
    const KEPT: &str = "\u{0}_";
    pipeline.replace("IMAGE_", KEPT).replace("IMAGE", image).replace(KEPT, "IMAGE_")
}

impl TestEnv {
    /// Creates an environment with this pipeline, committed to a repository, on the embedded backend.
    pub fn new(pipeline: &str) -> Self {
        Self::with_image(pipeline, &image())
    }

    /// Creates an environment like [`Self::new`] whose jobs are plain processes: `IMAGE` in its pipeline is `none`.
    pub fn of_processes(pipeline: &str) -> Self {
        let mut env = Self::with_image(pipeline, "none");
        env.runs_processes = true;
        env
    }

    fn with_image(pipeline: &str, image: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = pipeline.split_once("name: ").unwrap().1.lines().next().unwrap();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let unique_name = format!("{name}-{}-{number}", std::process::id());
        let pipeline = pipeline.replacen(&format!("name: {name}\n"), &format!("name: {unique_name}\n"), 1);
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        fs::create_dir_all(repo.join(".pipelines")).unwrap();
        fs::write(repo.join(".pipelines/ci.yml"), with_image(&pipeline, image)).unwrap();
        fs::write(repo.join("source.txt"), "from the repository\n").unwrap();
        let data = dir.path().join("data");
        let env = Self {
            dir,
            worker_data: data.clone(),
            data,
            lease_ttl_ms: 2_000,
            pipeline: unique_name,
            deployment: None,
            runs_processes: false,
            logs: false,
            server: None,
            worker: None,
            labelled_worker: None,
        };
        let identity =
            ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
        for args in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "first"]] {
            let git = Command::new("git").current_dir(env.repo()).args(identity).args(args).status().unwrap();
            assert!(git.success());
        }
        env
    }

    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = binary(self, &self.data);
        if let Some(deployment) = &self.deployment {
            command.env("TIDEMILL_SERVER", &deployment.server).env("TIDEMILL_TOKEN", &deployment.token);
        }
        command.args(args);
        command
    }

    pub fn tidemill(&self, args: &[&str]) -> Output {
        finish(self.spawn(args))
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn json(&self, args: &[&str]) -> Value {
        json(&self.tidemill(args))
    }

    /// Returns the executions of the pipeline, newest first.
    pub fn executions(&self) -> Vec<Value> {
        self.json(&["status", "--format", "json", "--all-repositories", "--pipeline", &self.pipeline])
            .as_array()
            .unwrap()
            .clone()
    }

    /// Runs a command on the latest execution of the pipeline.
    pub fn on_latest(&self, args: &[&str]) -> Output {
        self.tidemill(&[args, &["--pipeline", &self.pipeline]].concat())
    }

    /// Returns the log of a job of the latest execution.
    pub fn log(&self, job: &str) -> String {
        let newest = self
            .executions()
            .into_iter()
            .find(|execution| execution["pipeline_name"] == self.pipeline.as_str());
        let id = newest.as_ref().and_then(|newest| newest["id"].as_str()).unwrap_or_default();
        text(&self.tidemill(&["logs", id, job]).stdout)
    }

    /// Waits until the job named `slow`, as in [`TWO_JOBS`], has printed `begun`.
    pub fn wait_until_started(&self) {
        self.wait_for("the slow job prints", |view| {
            job(view, "slow")["log_bytes"].as_u64().unwrap() > 0 && self.log("slow").contains("begun\n")
        });
    }

    /// Returns the latest execution with its jobs; null if there is none.
    pub fn latest(&self) -> Value {
        let Some(newest) = self.executions().into_iter().next() else { return Value::Null };
        self.json(&["status", "--format", "json", newest["id"].as_str().unwrap()])
    }

    /// Waits until `condition` holds for the latest execution, and returns it.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        wait_until(|| {
            last = self.latest();
            !last.is_null() && condition(&last)
        })
        .unwrap_or_else(|()| panic!("timeout: {what}; latest execution: {last:#}"));
        last
    }

    /// Stops the processes of this environment, and waits until containers and working files are removed, which is done in the
    /// background.
    pub fn wait_until_clean(&mut self) {
        self.stop_all();
        let work_dir = self.work_dir();
        let is_clean = || {
            let left = fs::read_dir(&work_dir).map_or(0, Iterator::count);
            left == 0 && self.containers().is_empty()
        };
        wait_until(is_clean).unwrap_or_else(|()| {
            panic!("left: {:?} {:?}", self.containers(), fs::read_dir(&work_dir).map(Iterator::count))
        });
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        let processes = [self.labelled_worker.take(), self.worker.take(), self.server.take()];
        for mut process in processes.into_iter().flatten() {
            // SIGTERM first: a message received by a killed worker stays hidden in the queue for a while.
            let _ = Command::new("kill").arg("-TERM").arg(process.id().to_string()).status();
            let start = Instant::now();
            while start.elapsed() < TERM_GRACE && matches!(process.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        // A killed worker leaves its containers to the next start, which does not follow here. Containers that are being removed
        // already cannot be removed again: wait for them.
        let _ = wait_until(|| {
            let left = self.containers();
            if !left.is_empty() {
                let mut removal = Command::new("docker");
                let _ = removal
                    .args(["rm", "-f", "-v"])
                    .args(&left)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
            }
            left.is_empty()
        });
        for network in self.networks() {
            let mut removal = Command::new("docker");
            let _ = removal
                .args(["network", "rm", &network])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// Waits until a process ends, and returns its output. Panics at the timeout.
pub fn finish(mut child: Child) -> Output {
    let start = Instant::now();
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > TIMEOUT {
            let _ = child.kill();
            let _ = child.wait();
            let (out, err) = (stdout.join().unwrap(), stderr.join().unwrap());
            panic!("the process hangs: {}\n{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn drain<R: std::io::Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).unwrap();
        }
        bytes
    })
}

pub fn wait_until(mut condition: impl FnMut() -> bool) -> Result<(), ()> {
    let start = Instant::now();
    loop {
        let asked = Instant::now();
        if condition() {
            return Ok(());
        }
        if start.elapsed() > TIMEOUT {
            return Err(());
        }
        // Most conditions start processes: at least half of the time is left to what the test waits for.
        std::thread::sleep(asked.elapsed().max(Duration::from_millis(50)));
    }
}

pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn job<'a>(view: &'a Value, name: &str) -> &'a Value {
    view["jobs"].as_array().unwrap().iter().find(|job| job["job_name"] == name).unwrap()
}

/// Returns the failure kind of a job; empty if there is none.
pub fn failure_kind(view: &Value, name: &str) -> String {
    job(view, name)["failure_reason"]["kind"].as_str().unwrap_or_default().to_owned()
}

/// Parses the standard output of a command as JSON.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub fn has_ended(view: &Value) -> bool {
    view["execution"]["end_time"].is_string()
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}
