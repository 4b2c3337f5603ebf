//! Backends of tests: the embedded server, a server, or an existing deployment, with a worker for each environment.

use super::{TestEnv, finish, signal, text, wait_until};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Environment variables that would redirect a command to another deployment or data directory.
const CLEARED_VARIABLES: [&str; 7] = [
    "TIDEMILL_SERVER",
    "TIDEMILL_TOKEN",
    "TIDEMILL_PROFILE",
    "TIDEMILL_QUEUE_URL",
    "TIDEMILL_DATA_DIR",
    "TIDEMILL_INSECURE_HTTP",
    "TRACEPARENT",
];

/// Where jobs run.
#[derive(Debug, Clone)]
pub enum Backend {
    /// In the process of the command.
    Embedded,
    /// On a server without workers and a worker, both started for the environment.
    Server,
    /// On a server without workers and a worker that runs jobs as plain processes.
    Processes,
    /// On an existing deployment, with a worker started for the environment.
    Deployment(Deployment),
}

/// Addresses and credentials of a deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub server: String,
    pub token: String,
    pub worker_token: String,
    /// URL of the job queue, for workers that receive jobs from a queue.
    pub queue_url: Option<String>,
    /// URL of the queue for jobs that require `gpu=true`.
    pub labelled_queue_url: Option<String>,
    /// Environment variables for the worker's AWS SDK.
    pub aws: Vec<(String, String)>,
}

impl Backend {
    /// Creates an environment with this pipeline whose commands use this backend.
    pub fn test_env(&self, pipeline: &str) -> TestEnv {
        self.connect(self.unconnected(pipeline))
    }

    /// Creates an environment like [`Backend::test_env`] whose processes write trace logs to files.
    pub fn test_env_with_logs(&self, pipeline: &str) -> TestEnv {
        let mut env = self.unconnected(pipeline);
        env.logs = true;
        // Trace logging is slow, and leases must not expire.
        env.lease_ttl_ms = 30_000;
        self.connect(env)
    }

    fn unconnected(&self, pipeline: &str) -> TestEnv {
        match self {
            Self::Processes => TestEnv::of_processes(pipeline),
            _ => TestEnv::new(pipeline),
        }
    }

    fn connect(&self, mut env: TestEnv) -> TestEnv {
        match self {
            Self::Embedded => {}
            Self::Server | Self::Processes => {
                let (server, url) = serve(&env, &env.dir.path().join("server"), "0");
                let token = fs::read_to_string(env.dir.path().join("server/token")).unwrap();
                let args = ["token", "create", "--name", "w", "--scope", "worker"];
                let created = binary(&env, &env.dir.path().join("server")).args(args).output().unwrap();
                let deployment = Deployment {
                    server: url,
                    worker_token: String::from_utf8(created.stdout).unwrap().trim().to_owned(),
                    token,
                    queue_url: None,
                    labelled_queue_url: None,
                    aws: Vec::new(),
                };
                env.server = Some(server);
                env.join_deployment(deployment);
            }
            Self::Deployment(deployment) => env.join_deployment(deployment.clone()),
        }
        env
    }

    /// Returns the deployment that the file in `TIDEMILL_TEST_CLOUD_ENV` describes, with lines `NAME=VALUE`: `TIDEMILL_SERVER`,
    /// `TIDEMILL_TOKEN`, `TIDEMILL_QUEUE_URL`, optionally `TIDEMILL_WORKER_TOKEN`, and variables of the AWS SDK. No other worker may
    /// receive jobs from its queue during the test. Returns `None` and prints the reason if the variable is not set.
    pub fn cloud() -> Option<Self> {
        let Some(path) = std::env::var_os("TIDEMILL_TEST_CLOUD_ENV") else {
            println!("skipped: TIDEMILL_TEST_CLOUD_ENV is not set");
            return None;
        };
        let lines = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let all: Vec<(String, String)> = lines
            .lines()
            .map(|line| line.trim().trim_start_matches("export "))
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
            .collect();
        let get = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let need = |name: &str| get(name).unwrap_or_else(|| panic!("{} does not set {name}", path.display()));
        // The worker's own credentials, if any, override the others.
        let own = [
            ("AWS_ACCESS_KEY_ID", get("TIDEMILL_WORKER_ACCESS_KEY_ID")),
            ("AWS_SECRET_ACCESS_KEY", get("TIDEMILL_WORKER_SECRET_ACCESS_KEY")),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let aws = all.iter().filter(|(name, _)| name.starts_with("AWS_")).cloned().chain(own).collect();
        Some(Self::Deployment(Deployment {
            server: need("TIDEMILL_SERVER"),
            token: need("TIDEMILL_TOKEN"),
            worker_token: get("TIDEMILL_WORKER_TOKEN").unwrap_or_else(|| need("TIDEMILL_TOKEN")),
            queue_url: get("TIDEMILL_QUEUE_URL"),
            labelled_queue_url: get("TIDEMILL_LABELLED_QUEUE_URL_A"),
            aws,
        }))
    }
}

/// Creates a command of the binary in the environment's repository, with this data directory and without a deployment.
pub fn binary(env: &TestEnv, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.current_dir(env.repo());
    for variable in CLEARED_VARIABLES {
        command.env_remove(variable);
    }
    if env.logs {
        command.env("TIDEMILL_LOG", "trace");
    }
    command
        .env("TIDEMILL_DATA_DIR", data)
        .env("TIDEMILL_CONFIG", env.dir.path().join("config.toml"))
        .env("TIDEMILL_LEASE_TTL_MS", env.lease_ttl_ms.to_string())
        // Tests must not use the instance metadata of this machine.
        .env("TIDEMILL_IMDS", "http://127.0.0.1:1");
    command
}

/// Starts a server on this data directory, waits until it listens, and returns it with its URL.
pub fn serve(env: &TestEnv, data: &Path, workers: &str) -> (Child, String) {
    serve_with(env, data, workers, |_| {})
}

/// Starts a server as [`serve`] does, with what `configure` adds to its command.
pub fn serve_with(
    env: &TestEnv,
    data: &Path,
    workers: &str,
    configure: impl FnOnce(&mut Command),
) -> (Child, String) {
    let mut server = binary(env, data);
    configure(server.args(["server", "--listen", "127.0.0.1:0", "--jobs", workers]));
    let mut server =
        server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(env.log_output("server")).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let url = line.split_whitespace().find(|word| word.contains("://")).unwrap();
    (server, url.trim_end_matches(',').to_owned())
}

/// Stops a server or a worker like a service manager does. It must exit with 0.
pub fn stop(mut process: Child) {
    signal(&process, "TERM");
    drop(process.stdout.take());
    let ended = finish(process);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

/// Processes, containers and networks of an environment.
impl TestEnv {
    fn join_deployment(&mut self, deployment: Deployment) {
        self.worker_data = self.dir.path().join("worker");
        self.deployment = Some(deployment);
        self.start_worker("first");
    }

    /// Starts a worker for this environment; with the embedded backend, a server with workers.
    pub fn start_worker(&mut self, name: &str) {
        let Some(deployment) = &self.deployment else {
            let (server, _) = serve(self, &self.data, "2");
            self.worker = Some(server);
            return;
        };
        let worker =
            self.worker_of(deployment, &self.worker_data, deployment.queue_url.as_deref(), name, &[]);
        self.worker = Some(worker);
    }

    /// Starts another worker with the label `gpu=true`. Requires a deployment.
    pub fn start_labelled_worker(&mut self) {
        let deployment = self.deployment.as_ref().unwrap();
        let queue = deployment.labelled_queue_url.as_deref();
        let data = self.dir.path().join("labelled");
        let worker = self.worker_of(deployment, &data, queue, "labelled", &["--label", "gpu=true"]);
        self.labelled_worker = Some(worker);
    }

    fn worker_of(
        &self,
        deployment: &Deployment,
        data: &Path,
        queue: Option<&str>,
        name: &str,
        args: &[&str],
    ) -> Child {
        let mut command = binary(self, data);
        command.args(["worker", "--name", name]).args(args);
        if self.runs_processes {
            command.env("TIDEMILL_EXECUTOR", "process");
        }
        command.env("TIDEMILL_SERVER", &deployment.server).env("TIDEMILL_TOKEN", &deployment.worker_token);
        command.envs(queue.iter().map(|url| ("TIDEMILL_QUEUE_URL", url)));
        // The worker exits only after its last request to the queue was answered.
        command.env("TIDEMILL_QUEUE_WAIT", "1s");
        command.envs(deployment.aws.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.log_output(name));
        command.spawn().unwrap()
    }

    /// Returns the standard error of a long-running process: a log file, if logs are enabled.
    fn log_output(&self, name: &str) -> Stdio {
        if !self.logs {
            return Stdio::null();
        }
        Stdio::from(fs::File::create(self.dir.path().join(format!("{name}.log"))).unwrap())
    }

    /// Kills the process that runs the jobs of `run`. Returns `run` unless it is that process.
    pub fn kill_worker(&mut self, run: Child) -> Option<Child> {
        if let Some(mut worker) = self.worker.take() {
            signal(&worker, "KILL");
            worker.wait().unwrap();
            return Some(run);
        }
        signal(&run, "KILL");
        drop(finish(run));
        None
    }

    /// Stops the processes of this environment.
    pub fn stop_all(&mut self) {
        // Workers first: the server must accept the jobs that they give back.
        let processes = [self.labelled_worker.take(), self.worker.take(), self.server.take()];
        for process in processes.into_iter().flatten() {
            stop(process);
        }
    }

    /// Returns the ids of all containers of this environment's workers, including stopped ones.
    pub fn containers(&self) -> Vec<String> {
        let data = self.worker_data.join("worker");
        let Ok(data) = data.canonicalize() else { return Vec::new() };
        let label = format!("label=tidemill.data={}", data.display());
        let listed = Command::new("docker").args(["ps", "-aq", "--filter", &label]).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
        text(&listed.stdout).lines().map(str::to_owned).collect()
    }

    /// Lets the slow job of [`GATED`](super::GATED) end, once its script runs: makes the file that it waits for.
    pub fn open_gate(&self) {
        // Before that, the only container could be another one of the job.
        self.wait_until_started();
        let open = |container: &String| {
            let touched =
                Command::new("docker").args(["exec", container, "touch", "/tmp/go"]).output().unwrap();
            touched.status.success()
        };
        let opened = self.containers().iter().filter(|container| open(container)).count();
        assert!(opened > 0, "no container runs");
    }

    /// Returns the ids of the networks of this environment's workers.
    pub fn networks(&self) -> Vec<String> {
        let data = self.worker_data.join("worker");
        let Ok(data) = data.canonicalize() else { return Vec::new() };
        let label = format!("label=tidemill.data={}", data.display());
        let listed =
            Command::new("docker").args(["network", "ls", "-q", "--filter", &label]).output().unwrap();
        text(&listed.stdout).lines().map(str::to_owned).collect()
    }

    /// Returns the directory with the working files of running jobs.
    pub fn work_dir(&self) -> PathBuf {
        self.worker_data.join("worker/work")
    }
}
