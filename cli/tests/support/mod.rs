//! A repository, a data directory and the real binary; everything is gone afterwards.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    missing_docs
)]

mod backend;
pub mod git;

pub use backend::{Backend, Deployment, binary, serve, stop};

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Longer than anything takes on a loaded machine; only a fault reaches it.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How long what is left of a test is asked to end before it is ended.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// A job that no signal but the last ends.
pub const IGNORES_SIGTERM: &str = r#"
name: stubborn
stages: [a]
jobs:
  deaf: { stage: a, image: "IMAGE", script: ["trap '' TERM INT HUP", "echo ready", "while true; do sleep 1; done"] }
"#;

/// A slow job, and one after it.
pub const TWO: &str = r#"
name: two
stages: [a, b]
defaults: { image: "IMAGE" }
jobs:
  slow: { stage: a, script: ["echo begun", "sleep 3", "echo done"] }
  after: { stage: b, script: ["true"] }
"#;

pub struct Place {
    pub dir: tempfile::TempDir,
    /// The data directory of the place's commands.
    pub data: PathBuf,
    /// That of its worker, which is the same where commands run the jobs.
    pub worker_data: PathBuf,
    pub lease_ttl_ms: u64,
    /// The pipeline's name, which no other place's has.
    pub pipeline: String,
    pub deployment: Option<Deployment>,
    /// Whether its processes log all that they can, those that stay into files `*.log` of `dir`.
    pub logs: bool,
    server: Option<Child>,
    worker: Option<Child>,
    labelled_worker: Option<Child>,
}

pub fn image() -> String {
    std::env::var("TIDEMILL_TEST_IMAGE").unwrap_or_else(|_| "tidemill-demo:1".to_owned())
}

impl Place {
    /// A repository with this pipeline, committed, whose commands run the jobs.
    pub fn new(pipeline: &str) -> Self {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let name = pipeline.split_once("name: ").unwrap().1.lines().next().unwrap();
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let own_name = format!("{name}-{}-{number}", std::process::id());
        let pipeline = pipeline.replacen(&format!("name: {name}\n"), &format!("name: {own_name}\n"), 1);
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        fs::create_dir_all(repo.join(".pipelines")).unwrap();
        fs::write(repo.join(".pipelines/ci.yml"), pipeline.replace("IMAGE", &image())).unwrap();
        fs::write(repo.join("source.txt"), "from the repository\n").unwrap();
        let data = dir.path().join("data");
        let place = Self {
            dir,
            worker_data: data.clone(),
            data,
            lease_ttl_ms: 2_000,
            pipeline: own_name,
            deployment: None,
            logs: false,
            server: None,
            worker: None,
            labelled_worker: None,
        };
        let identity =
            ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
        for words in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "first"]] {
            let git =
                Command::new("git").current_dir(place.repo()).args(identity).args(words).status().unwrap();
            assert!(git.success());
        }
        place
    }

    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = binary(self, &self.data);
        if let Some(deployment) = &self.deployment {
            command.env("TIDEMILL_SERVER", &deployment.server).env("TIDEMILL_TOKEN", &deployment.token);
        }
        command.args(words);
        command
    }

    pub fn tidemill(&self, words: &[&str]) -> Output {
        finish(self.spawn(words))
    }

    pub fn spawn(&self, words: &[&str]) -> Child {
        self.command(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub fn json(&self, words: &[&str]) -> Value {
        json(&self.tidemill(words))
    }

    /// The executions, newest first.
    pub fn executions(&self) -> Vec<Value> {
        self.json(&["status", "--json", "--all-repositories", "--pipeline", &self.pipeline])
            .as_array()
            .unwrap()
            .clone()
    }

    /// The same command about the latest execution of this place's pipeline.
    pub fn of_latest(&self, words: &[&str]) -> Output {
        self.tidemill(&[words, &["--pipeline", &self.pipeline]].concat())
    }

    /// The log of a job of the latest execution.
    pub fn log(&self, job: &str) -> String {
        let newest = self.executions().into_iter().find(|one| one["pipeline_name"] == self.pipeline.as_str());
        let id = newest.as_ref().and_then(|newest| newest["id"].as_str()).unwrap_or_default();
        text(&self.tidemill(&["logs", "--job", job, "--execution", id]).stdout)
    }

    /// Waits until the slow job of [`TWO`] prints.
    pub fn wait_until_begun(&self) {
        self.wait_for("the slow job prints", |view| {
            job(view, "slow")["log_bytes"].as_u64().unwrap() > 0 && self.log("slow").contains("begun\n")
        });
    }

    /// The latest execution, with its jobs.
    pub fn latest(&self) -> Value {
        let Some(newest) = self.executions().into_iter().next() else { return Value::Null };
        self.json(&["status", "--json", "--execution", newest["id"].as_str().unwrap()])
    }

    /// The latest execution once `is_so`.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        wait_until(|| {
            last = self.latest();
            !last.is_null() && is_so(&last)
        })
        .unwrap_or_else(|()| panic!("never: {what}; last seen: {last:#}"));
        last
    }

    /// Stops what was started for this place, and waits until nothing is left of what ran: containers go in the
    /// background.
    pub fn wait_until_clean(&mut self) {
        self.stop_all();
        let rooms = self.rooms();
        let is_clean = || {
            let left = fs::read_dir(&rooms).map_or(0, Iterator::count);
            left == 0 && self.containers().is_empty()
        };
        wait_until(is_clean).unwrap_or_else(|()| {
            panic!("left: {:?} {:?}", self.containers(), fs::read_dir(&rooms).map(Iterator::count))
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let processes = [self.labelled_worker.take(), self.worker.take(), self.server.take()];
        for mut process in processes.into_iter().flatten() {
            // Gently first: what the queue was about to give a worker that is cut off, nobody sees for a while.
            let _ = Command::new("kill").arg("-TERM").arg(process.id().to_string()).status();
            let begun = Instant::now();
            while begun.elapsed() < TERM_GRACE && matches!(process.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        // A worker that was killed or cut off leaves its containers to the next start, which there is none of here.
        // Those that are being removed already cannot be removed again: they are waited for.
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

/// The output of a process that must end.
pub fn finish(mut child: Child) -> Output {
    let begun = Instant::now();
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            let (out, err) = (stdout.join().unwrap(), stderr.join().unwrap());
            panic!("it hangs: {}\n{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
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

pub fn wait_until(mut is_so: impl FnMut() -> bool) -> Result<(), ()> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > PATIENCE {
            return Err(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
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

/// The kind of a job's failure.
pub fn kind(view: &Value, name: &str) -> String {
    job(view, name)["failure_reason"]["kind"].as_str().unwrap_or_default().to_owned()
}

/// What a command printed, as JSON.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub fn is_over(view: &Value) -> bool {
    view["execution"]["end_time"].is_string()
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}
