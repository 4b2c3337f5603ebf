//! A fake server that returns assignments one after another, and a worker connected to it.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tidemill_core::execution::{
    assignment::{
        Assignment, CheckoutRefs, ContainerOptions, ImageOptions, JobExtras, LeaseGrant, Origin, Preparation,
        PullPolicy, Resources, Source,
    },
    failure::FailureKind,
    test_report::{TestReport, TestsReply, TestsRequest},
};
use tidemill_core::{
    api::{
        ArtifactUploadReply, ArtifactUploadRequest, AttemptEnd, JobExecuteReply, JobExecuteRequest,
        JobReport, JobReportReply, LogContent, path,
    },
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken},
    pipeline::Checkout,
};
use tidemill_worker::{
    ServerConnection, Worker, WorkerConfig,
    policy::{JobSettings, Limits, Permissions},
    source::SourceSettings,
};
use tokio::sync::Notify;

/// How long the fake server holds a request: shorter than the real one, so that a worker that is idle soon notices it.
const MAX_WAIT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Server {
    pub queue: Mutex<VecDeque<Assignment>>,
    /// Wakes one request that waits for a job.
    pub enqueued: Notify,
    pub upcoming: Mutex<Vec<Preparation>>,
    pub logs: Mutex<HashMap<JobId, Vec<u8>>>,
    pub artifact: Mutex<Vec<u8>>,
    pub tests: Mutex<Option<TestReport>>,
    /// Upload requests for artifacts.
    pub uploads: Mutex<Vec<ArtifactUploadRequest>>,
    /// Containers with this label are removed at the next download of an artifact or upload of a test report.
    pub removes: Mutex<Option<String>>,
    /// Number of the next uploads and downloads of artifacts that fail.
    pub failing_transfers: AtomicUsize,
    pub cancel: Mutex<bool>,
    pub reports: AtomicUsize,
    pub ends: Mutex<Option<tokio::sync::mpsc::UnboundedSender<AttemptEnd>>>,
}

/// Holds a request until there is a job, as the real server does: a worker whose requests are not held asks every 5 s only.
async fn execute(
    State(server): State<Arc<Server>>,
    Json(request): Json<JobExecuteRequest>,
) -> Json<JobExecuteReply> {
    let take = async {
        loop {
            let next = server.queue.lock().unwrap().pop_front();
            if let Some(next) = next {
                return next;
            }
            server.enqueued.notified().await;
        }
    };
    let wait = Duration::from_millis(request.wait_ms).min(MAX_WAIT);
    let next = tokio::time::timeout(wait, take).await.ok();
    let upcoming = server.upcoming.lock().unwrap().clone();
    Json(match next {
        Some(assignment) => JobExecuteReply::Assigned { assignment: Box::new(assignment), upcoming },
        None => JobExecuteReply::Nothing { reason: "empty".into() },
    })
}

async fn report(State(server): State<Arc<Server>>, Json(report): Json<JobReport>) -> Json<JobReportReply> {
    server.reports.fetch_add(1, Ordering::SeqCst);
    if let Some(bytes) = report.log {
        let LogContent::Zstd(text) = bytes.content else { panic!("{:?}", bytes.content) };
        let compressed = STANDARD.decode(text).unwrap();
        let mut logs = server.logs.lock().unwrap();
        let log = logs.entry(report.job_id).or_default();
        assert_eq!(bytes.offset, log.len() as u64, "no gap and no repeat");
        log.extend(zstd::bulk::decompress(&compressed, bytes.length as usize).unwrap());
    }
    if let Some(end) = report.end {
        server.ends.lock().unwrap().as_ref().unwrap().send(end).unwrap();
    }
    let cancel = *server.cancel.lock().unwrap();
    Json(JobReportReply { cancel, log_bytes: 0, lease_ttl_ms: 3000, report_interval_ms: 1000, shell: None })
}

async fn tests(State(server): State<Arc<Server>>, Json(request): Json<TestsRequest>) -> Json<TestsReply> {
    server.remove_containers();
    *server.tests.lock().unwrap() = Some(request.report);
    Json(TestsReply { attempt: 1 })
}

async fn upload(
    State(server): State<Arc<Server>>,
    Json(request): Json<ArtifactUploadRequest>,
) -> Json<ArtifactUploadReply> {
    server.uploads.lock().unwrap().push(request);
    let artifact_id = ArtifactId(uuid::Uuid::nil());
    Json(ArtifactUploadReply { artifact_id, url: Some("/bytes".into()), headers: BTreeMap::new() })
}

impl Server {
    pub fn remove_containers(&self) {
        let Some(label) = self.removes.lock().unwrap().take() else { return };
        for container in containers(&label) {
            docker(&["rm", "-f", "-v", &container]);
        }
        // The engine removes volumes with a delay.
        let started = std::time::Instant::now();
        while !docker(&["volume", "ls", "-q", "--filter", &label]).is_empty() {
            assert!(started.elapsed() < Duration::from_secs(60), "volumes remain");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn take_failure(&self) -> bool {
        let decrement = |count: usize| count.checked_sub(1);
        self.failing_transfers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, decrement).is_ok()
    }
}

async fn put(State(server): State<Arc<Server>>, bytes: Bytes) -> StatusCode {
    if server.take_failure() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    *server.artifact.lock().unwrap() = bytes.to_vec();
    StatusCode::NO_CONTENT
}

async fn get(State(server): State<Arc<Server>>) -> Body {
    server.remove_containers();
    let bytes = server.artifact.lock().unwrap().clone();
    if server.take_failure() {
        let half = Ok(Bytes::copy_from_slice(&bytes[..bytes.len() / 2]));
        return Body::from_stream(futures_util::stream::iter([
            half,
            Err(std::io::Error::other("connection closed")),
        ]));
    }
    bytes.into()
}

pub struct Bench {
    pub server: Arc<Server>,
    pub worker: tidemill_worker::WorkerHandle,
    pub ends: tokio::sync::mpsc::UnboundedReceiver<AttemptEnd>,
    pub data: tempfile::TempDir,
}

impl Bench {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1").await
    }

    /// Starts the server at this address of this machine.
    pub async fn start_at(address: &str) -> Self {
        Self::start_with(address, 1, Limits::default(), async |_| {}).await
    }

    /// Starts a worker with one slot after `change` changed its configuration.
    pub async fn start_configured(change: impl FnOnce(&mut WorkerConfig)) -> Self {
        Self::start_changed("127.0.0.1", 1, Limits::default(), async |_| {}, change).await
    }

    /// Starts a worker with `slots` slots and these limits, on which `prepare` is called first.
    pub async fn start_with(
        address: &str,
        slots: usize,
        limits: Limits,
        prepare: impl AsyncFnOnce(&Worker),
    ) -> Self {
        Self::start_changed(address, slots, limits, prepare, |_| {}).await
    }

    async fn start_changed(
        address: &str,
        slots: usize,
        limits: Limits,
        prepare: impl AsyncFnOnce(&Worker),
        change: impl FnOnce(&mut WorkerConfig),
    ) -> Self {
        let server = Arc::new(Server::default());
        let (sender, ends) = tokio::sync::mpsc::unbounded_channel();
        *server.ends.lock().unwrap() = Some(sender);
        let router = Router::new()
            .route(path::JOB_EXECUTE, post(execute))
            .route(path::JOB_STATUS, post(report))
            .route(path::JOB_TESTS, post(tests))
            .route(path::ARTIFACT_UPLOAD, post(upload))
            .route("/bytes", axum::routing::put(put).get(get))
            .with_state(server.clone());
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let data = tempfile::tempdir().unwrap();
        let mut config = WorkerConfig {
            addresses: tidemill_core::repository::AddressPolicy::unrestricted(),
            labels: tidemill_core::pipeline::labels::Labels::new(),
            name: "test".into(),
            slots,
            data_dir: data.path().to_owned(),
            docker_host: None,
            capacity: Resources::default(),
            sources: SourceSettings::default(),
            registries: tidemill_worker::RegistrySettings::default(),
            limits,
            permissions: Permissions::default(),
            jobs: JobSettings::default(),
            slot_price: 0,
            executor: tidemill_worker::ExecutorKind::default(),
            end: tidemill_worker::EndCondition::default(),
        };
        change(&mut config);
        let client = ServerConnection {
            server: format!("http://{address}"),
            token: "token".into(),
            only_execution: None,
            // The server of one test is at another address of this machine.
            insecure_http: true,
        };
        let worker = Worker::open(config).await.unwrap();
        prepare(&worker).await;
        let worker = worker.start(&client);
        Self { server, worker, ends, data }
    }

    pub fn enqueue(&self, assignment: Assignment) {
        self.server.logs.lock().unwrap().remove(&assignment.preparation.job_id);
        self.server.queue.lock().unwrap().push_back(assignment);
        self.server.enqueued.notify_one();
    }

    pub async fn run(&mut self, assignment: Assignment) -> (AttemptEnd, String) {
        let job = assignment.preparation.job_id;
        self.enqueue(assignment);
        let end = self.end().await;
        (end, self.log(job))
    }

    pub async fn end(&mut self) -> AttemptEnd {
        tokio::time::timeout(Duration::from_secs(60), self.ends.recv()).await.unwrap().unwrap()
    }

    pub async fn stop(self) {
        let (data, label) = (self.data.path().join("work"), self.label());
        self.worker.shutdown().await.unwrap();
        assert_eq!(containers(&label), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(data).unwrap().count(), 0, "no working directory remains");
    }

    pub fn label(&self) -> String {
        format!("label=tidemill.data={}", self.data.path().canonicalize().unwrap().display())
    }

    pub fn log(&self, job: JobId) -> String {
        let logs = self.server.logs.lock().unwrap();
        logs.get(&job).map(|log| String::from_utf8_lossy(log).into_owned()).unwrap_or_default()
    }

    /// Waits until the log of `job` contains `text`, and returns the log.
    pub async fn until_logged(&self, job: JobId, text: &str) -> String {
        let started = std::time::Instant::now();
        loop {
            let log = self.log(job);
            if log.contains(text) {
                return log;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no {text:?} in {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts `assignment`, whose script must be [`HELD`], and returns its container once the script runs. While a job
    /// runs, the worker keeps containers prepared for other jobs, however long the test takes.
    pub async fn hold(&self, assignment: Assignment) -> String {
        let job = assignment.preparation.job_id;
        self.enqueue(Assignment { timeout_s: 600, ..assignment });
        // A complete line, so that the name is complete.
        let log = self.until_logged(job, &format!("$ {WAIT_FOR_RELEASE}\n")).await;
        network(&log).replace("net:", "")
    }

    /// Ends a job started with [`Bench::hold`].
    pub async fn release(&mut self, container: &str) -> AttemptEnd {
        docker(&["exec", container, "touch", "/tmp/release"]);
        self.end().await
    }

    /// Waits until exactly `count` containers of this worker run in addition to `other`, and returns their ids.
    pub async fn until_running_beside(&self, other: &str, count: usize) -> Vec<String> {
        let started = std::time::Instant::now();
        loop {
            let mut running = running(&self.label());
            running.retain(|id| id != other);
            if running.len() == count {
                return running;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "running: {running:?}, expected {count}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until no container of this worker exists.
    pub async fn until_none_exists(&self) {
        let started = std::time::Instant::now();
        while !containers(&self.label()).is_empty() {
            assert!(started.elapsed() < Duration::from_secs(60), "{:?}", containers(&self.label()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub fn job(script: &[&str]) -> Assignment {
    let image = std::env::var("TIDEMILL_TEST_IMAGE").unwrap_or_else(|_| "tidemill-demo:1".into());
    Assignment {
        preparation: Preparation {
            job_id: JobId(uuid::Uuid::now_v7()),
            execution_id: ExecutionId(uuid::Uuid::now_v7()),
            image,
            image_options: ImageOptions::default(),
            pull_policy: Some(PullPolicy::Never),
            resources: Resources::default(),
            working_dir: None,
            source: Source::None,
            container: ContainerOptions::default(),
            origin: Origin::default(),
            checkout: Checkout::default(),
            refs: CheckoutRefs::default(),
            credential: None,
        },
        job_name: "job".into(),
        stage: "test".into(),
        attempt: 1,
        lease: LeaseGrant { token: LeaseToken(uuid::Uuid::now_v7()), ttl_ms: 3000, report_interval_ms: 1000 },
        script: script.iter().map(|line| (*line).to_owned()).collect(),
        variables: [("GREETING".to_owned(), "it's here".to_owned())].into_iter().collect(),
        timeout_s: 30,
        artifacts: None,
        needs_artifacts: Vec::new(),
        trace: None,
        extras: JobExtras::default(),
    }
}

/// Runs a `docker` command, which must succeed, and returns its output lines.
pub fn docker(args: &[&str]) -> Vec<String> {
    let output = std::process::Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Lists the containers with this label: created, running, or ended and not removed.
pub fn containers(label: &str) -> Vec<String> {
    docker(&["ps", "-aq", "--filter", label])
}

/// Lists the running containers with this label.
pub fn running(label: &str) -> Vec<String> {
    docker(&["ps", "-q", "--filter", label])
}

/// Returns the network that a job printed with [`NETWORK`].
pub fn network(log: &str) -> String {
    let line = log.lines().find(|line| line.starts_with("net:"));
    line.unwrap_or_else(|| panic!("no network in {log}")).to_owned()
}

/// Prints the hostname, which containers in one network share: the id of the container that owns it. (The number of a namespace
/// is not usable, as the kernel reuses it.)
pub const NETWORK: &str = "echo net:$(hostname)";

/// A command that waits for [`Bench::release`].
pub const WAIT_FOR_RELEASE: &str = "until [ -e /tmp/release ]; do sleep 0.1; done";
/// The script of jobs for [`Bench::hold`].
pub const HELD: [&str; 2] = [NETWORK, WAIT_FOR_RELEASE];

pub fn kind(end: &AttemptEnd) -> Option<FailureKind> {
    end.failure.as_ref().map(|reason| reason.kind)
}
