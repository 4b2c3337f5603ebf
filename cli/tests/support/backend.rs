//! Where the tests' commands run their jobs: in their own process, or on a deployment with a worker for each place.

use super::{Place, finish, signal, text};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Variables that would point a command elsewhere than the test means.
const POINTERS: [&str; 6] = [
    "TIDEMILL_SERVER",
    "TIDEMILL_TOKEN",
    "TIDEMILL_PROFILE",
    "TIDEMILL_QUEUE_URL",
    "TIDEMILL_DATA_DIR",
    "TIDEMILL_INSECURE_HTTP",
];

/// What runs the jobs.
#[derive(Debug, Clone)]
pub enum Backend {
    /// The command itself.
    Embedded,
    /// A server without workers of its own, and a worker: both are started for the place.
    Server,
    /// A deployment that is there already; a worker is started for the place.
    Deployment(Deployment),
}

/// How a deployment is reached.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub server: String,
    pub token: String,
    pub worker_token: String,
    /// The job queue, for workers that take their jobs from one.
    pub queue_url: Option<String>,
    /// The queue of jobs that demand `gpu=true`.
    pub labelled_queue_url: Option<String>,
    /// What the worker's AWS SDK reads.
    pub aws: Vec<(String, String)>,
}

impl Backend {
    /// A repository with this pipeline, committed, whose commands are pointed at this backend.
    pub fn place(&self, pipeline: &str) -> Place {
        self.equip(Place::new(pipeline))
    }

    /// The same, whose server and worker write all that they can say into [`Place::logs`].
    pub fn talkative_place(&self, pipeline: &str) -> Place {
        let mut place = Place::new(pipeline);
        place.logs = true;
        // Saying so much takes time, and here no lease is to run out.
        place.lease_ttl_ms = 30_000;
        self.equip(place)
    }

    fn equip(&self, mut place: Place) -> Place {
        match self {
            Self::Embedded => {}
            Self::Server => {
                let (server, url) = serve(&place, &place.dir.path().join("server"), "0");
                let token = fs::read_to_string(place.dir.path().join("server/token")).unwrap();
                let words = ["token", "create", "--name", "w", "--scope", "worker"];
                let made = binary(&place, &place.dir.path().join("server")).args(words).output().unwrap();
                let deployment = Deployment {
                    server: url,
                    worker_token: String::from_utf8(made.stdout).unwrap().trim().to_owned(),
                    token,
                    queue_url: None,
                    labelled_queue_url: None,
                    aws: Vec::new(),
                };
                place.server = Some(server);
                place.join(deployment);
            }
            Self::Deployment(deployment) => place.join(deployment.clone()),
        }
        place
    }

    /// The deployment that the file `TIDEMILL_TEST_CLOUD_ENV` describes, by lines `NAME=VALUE`: `TIDEMILL_SERVER`,
    /// `TIDEMILL_TOKEN`, `TIDEMILL_QUEUE_URL`, if it has another `TIDEMILL_WORKER_TOKEN`, and what the AWS SDK reads.
    /// No other worker may take jobs from its queue meanwhile. `None`, and the reason is printed: there is none.
    pub fn cloud() -> Option<Self> {
        let Some(path) = std::env::var_os("TIDEMILL_TEST_CLOUD_ENV") else {
            println!("skipped: TIDEMILL_TEST_CLOUD_ENV names no file that describes a deployment");
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
        // The worker's own credentials, where it has some; they come last and so win.
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

/// The binary, in the place's repository, pointed at nothing, with its own data directory.
pub fn binary(place: &Place, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.current_dir(place.repo());
    for pointer in POINTERS {
        command.env_remove(pointer);
    }
    if place.logs {
        command.env("TIDEMILL_LOG", "trace");
    }
    command
        .env("TIDEMILL_DATA_DIR", data)
        .env("TIDEMILL_CONFIG", place.dir.path().join("config.toml"))
        .env("TIDEMILL_LEASE_TTL_MS", place.lease_ttl_ms.to_string())
        // What this machine may have of it is none of the tests' business.
        .env("TIDEMILL_IMDS", "http://127.0.0.1:1");
    command
}

/// A server on this data directory, once it answers; and its address.
pub fn serve(place: &Place, data: &Path, workers: &str) -> (Child, String) {
    let mut server = binary(place, data)
        .args(["server", "--listen", "127.0.0.1:0", "--workers", workers])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(place.log_of("server"))
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    (server, url.trim_end_matches(',').to_owned())
}

/// Stops a server or a worker as a service manager does; it must end well.
pub fn stop(mut process: Child) {
    signal(&process, "TERM");
    drop(process.stdout.take());
    let ended = finish(process);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

/// What a place on a deployment has beside its repository.
impl Place {
    fn join(&mut self, deployment: Deployment) {
        self.worker_data = self.dir.path().join("worker");
        self.deployment = Some(deployment);
        self.start_worker("first");
    }

    /// Starts a worker for this place: where the commands themselves run the jobs, a server that does.
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

    /// Starts one more worker, with the label `gpu=true`, on a deployment.
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
        words: &[&str],
    ) -> Child {
        let mut command = binary(self, data);
        command.args(["worker", "--name", name]).args(words);
        command.env("TIDEMILL_SERVER", &deployment.server).env("TIDEMILL_TOKEN", &deployment.worker_token);
        command.envs(queue.iter().map(|url| ("TIDEMILL_QUEUE_URL", url)));
        // It ends once its last request to the queue has been answered.
        command.env("TIDEMILL_QUEUE_WAIT", "1s");
        command.envs(deployment.aws.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.log_of(name));
        command.spawn().unwrap()
    }

    /// Where a process of this place that stays writes its log.
    fn log_of(&self, name: &str) -> Stdio {
        if !self.logs {
            return Stdio::null();
        }
        Stdio::from(fs::File::create(self.dir.path().join(format!("{name}.log"))).unwrap())
    }

    /// Kills whoever runs the jobs of `run`, so that it cannot say a word; `run` is still there if it is another one.
    pub fn lose_worker(&mut self, run: Child) -> Option<Child> {
        if let Some(mut worker) = self.worker.take() {
            signal(&worker, "KILL");
            worker.wait().unwrap();
            return Some(run);
        }
        signal(&run, "KILL");
        drop(finish(run));
        None
    }

    /// Stops what was started for this place.
    pub fn stop_all(&mut self) {
        // The worker first: what it gives back must still be taken.
        let processes = [self.labelled_worker.take(), self.worker.take(), self.server.take()];
        for process in processes.into_iter().flatten() {
            stop(process);
        }
    }

    /// Containers, running or not, of workers on this place's data.
    pub fn containers(&self) -> Vec<String> {
        let data = self.worker_data.join("worker");
        let Ok(data) = data.canonicalize() else { return Vec::new() };
        let label = format!("label=tidemill.data={}", data.display());
        let listed = Command::new("docker").args(["ps", "-aq", "--filter", &label]).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
        text(&listed.stdout).lines().map(str::to_owned).collect()
    }

    /// Networks of workers on this place's data.
    pub fn networks(&self) -> Vec<String> {
        let data = self.worker_data.join("worker");
        let Ok(data) = data.canonicalize() else { return Vec::new() };
        let label = format!("label=tidemill.data={}", data.display());
        let listed =
            Command::new("docker").args(["network", "ls", "-q", "--filter", &label]).output().unwrap();
        text(&listed.stdout).lines().map(str::to_owned).collect()
    }

    /// Where this place's workers keep what a job needs while it runs.
    pub fn rooms(&self) -> PathBuf {
        self.worker_data.join("worker/work")
    }
}
