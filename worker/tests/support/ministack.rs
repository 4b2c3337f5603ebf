//! A local SQS and ECR: MiniStack from PyPI on its own port, stopped when dropped.

use aws_sdk_sqs::{Client, config::Credentials};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tidemill_worker::store::FileLock;

/// The version with which the tests were written.
const VERSION: &str = "ministack==1.5.33";

pub struct MiniStack {
    process: Child,
    pub endpoint: String,
    _data: tempfile::TempDir,
}

impl MiniStack {
    /// Starts MiniStack and waits until it responds. Returns `None` and prints the reason if there is no Python to run it.
    pub async fn start() -> Option<Self> {
        let program = program()?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let data = tempfile::tempdir().unwrap();
        let endpoint = format!("http://127.0.0.1:{port}");
        let process = Command::new(program)
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("SERVICES", "sqs,ecr")
            .env("TMPDIR", data.path())
            // It needs no containers and must not use the local engine.
            .env("DOCKER_HOST", "unix:///nonexistent")
            .current_dir(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stack = Self { process, endpoint, _data: data };
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "MiniStack does not respond");
            assert!(stack.process.try_wait().unwrap().is_none(), "MiniStack ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(stack)
    }

    pub async fn config(&self) -> aws_config::SdkConfig {
        aws_config::from_env()
            .endpoint_url(&self.endpoint)
            .region("us-east-1")
            .credentials_provider(Credentials::new("000000000000", "secret", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await
    }

    /// Creates a queue with these attributes, and returns a client and the queue's URL.
    pub async fn queue(&self, attributes: &[(&str, String)]) -> (Client, String) {
        let sqs = Client::new(&self.config().await);
        let mut request = sqs.create_queue().queue_name(uuid::Uuid::now_v7().to_string());
        for (name, value) in attributes {
            request = request.attributes((*name).into(), value);
        }
        let url = request.send().await.unwrap().queue_url.unwrap();
        (sqs, url)
    }
}

impl Drop for MiniStack {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the program of `TIDEMILL_MINISTACK`, or the one in `target/tools`, which is installed if missing.
fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("TIDEMILL_MINISTACK") {
        return Some(path.into());
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let (home, program) = (tools.join("ministack"), tools.join("ministack/bin/ministack"));
    let _lock = FileLock::wait(&tools.join("ministack.lock")).unwrap();
    if program.exists() {
        return Some(program);
    }
    if Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no python3 to run MiniStack with");
        return None;
    }
    let steps: [(&Path, &[&str]); 2] = [
        (Path::new("python3"), &["-m", "venv", home.to_str().unwrap()]),
        (&home.join("bin/pip"), &["install", "--quiet", VERSION]),
    ];
    for (program, args) in steps {
        let status = Command::new(program).args(args).status().unwrap();
        assert!(status.success(), "{} {args:?}", program.display());
    }
    Some(program)
}
