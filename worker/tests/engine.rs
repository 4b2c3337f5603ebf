//! Jobs in real containers, against a server double that hands out one assignment at a time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tidemill_core::{
    api::{
        ArtifactUploadReply, ArtifactUploadRequest, AttemptEnd, JobExecuteReply, JobReport, JobReportReply,
        path,
    },
    assignment::{
        ArtifactSource, Artifacts, Assignment, Extras, LeaseGrant, Preparation, PullPolicy, Resources,
        SecretValue, Service, Source,
    },
    failure::FailureKind,
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken},
    pipeline::{Health, Reports},
    test_report::{TestReport, TestsReply, TestsRequest},
};
use tidemill_worker::{Client, Worker, WorkerConfig, source::snapshot};

#[derive(Default)]
struct Server {
    queue: Mutex<VecDeque<Assignment>>,
    upcoming: Mutex<Vec<Preparation>>,
    log: Mutex<Vec<u8>>,
    artifact: Mutex<Vec<u8>>,
    tests: Mutex<Option<TestReport>>,
    /// So many requests for the artifact's bytes, either way, still go wrong.
    trouble: AtomicUsize,
    cancel: Mutex<bool>,
    reports: AtomicUsize,
    ends: Mutex<Option<tokio::sync::mpsc::UnboundedSender<AttemptEnd>>>,
}

async fn execute(State(server): State<Arc<Server>>) -> Json<JobExecuteReply> {
    let next = server.queue.lock().unwrap().pop_front();
    let upcoming = server.upcoming.lock().unwrap().clone();
    Json(match next {
        Some(next) => JobExecuteReply::Assigned { assignment: Box::new(next), upcoming },
        None => JobExecuteReply::Nothing { reason: "empty".into() },
    })
}

async fn report(State(server): State<Arc<Server>>, Json(report): Json<JobReport>) -> Json<JobReportReply> {
    server.reports.fetch_add(1, Ordering::SeqCst);
    if let Some(bytes) = report.log {
        let packed = STANDARD.decode(bytes.zstd_base64).unwrap();
        let mut log = server.log.lock().unwrap();
        assert_eq!(bytes.offset, log.len() as u64, "no gap and no repeat");
        log.extend(zstd::bulk::decompress(&packed, bytes.length as usize).unwrap());
    }
    if let Some(end) = report.end {
        server.ends.lock().unwrap().as_ref().unwrap().send(end).unwrap();
    }
    let cancel = *server.cancel.lock().unwrap();
    Json(JobReportReply { cancel, log_bytes: 0, lease_ttl_ms: 3000 })
}

async fn tests(State(server): State<Arc<Server>>, Json(request): Json<TestsRequest>) -> Json<TestsReply> {
    *server.tests.lock().unwrap() = Some(request.report);
    Json(TestsReply { attempt: 1 })
}

async fn upload(Json(_): Json<ArtifactUploadRequest>) -> Json<ArtifactUploadReply> {
    let artifact_id = ArtifactId(uuid::Uuid::nil());
    Json(ArtifactUploadReply {
        artifact_id,
        url: Some("/bytes".into()),
        headers: BTreeMap::new(),
        encoding: "identity".into(),
    })
}

impl Server {
    fn is_in_trouble(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.trouble.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

async fn put(State(server): State<Arc<Server>>, bytes: Bytes) -> StatusCode {
    if server.is_in_trouble() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    *server.artifact.lock().unwrap() = bytes.to_vec();
    StatusCode::NO_CONTENT
}

async fn get(State(server): State<Arc<Server>>) -> Body {
    let bytes = server.artifact.lock().unwrap().clone();
    if server.is_in_trouble() {
        let half = Ok(Bytes::copy_from_slice(&bytes[..bytes.len() / 2]));
        return Body::from_stream(futures_util::stream::iter([
            half,
            Err(std::io::Error::other("broken off")),
        ]));
    }
    bytes.into()
}

struct Bench {
    server: Arc<Server>,
    worker: tidemill_worker::WorkerHandle,
    ends: tokio::sync::mpsc::UnboundedReceiver<AttemptEnd>,
    data: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        Self::start_at("127.0.0.1").await
    }

    /// With its server at this address of this machine.
    async fn start_at(address: &str) -> Self {
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
        let config = WorkerConfig {
            labels: tidemill_core::labels::Labels::new(),
            name: "test".into(),
            slots: 1,
            data_dir: data.path().to_owned(),
            docker_host: None,
            capacity: Resources::default(),
        };
        let client =
            Client { server: format!("http://{address}"), token: "token".into(), only_execution: None };
        let worker = Worker::open(config).await.unwrap().work_for(&client);
        Self { server, worker, ends, data }
    }

    fn give(&self, assignment: Assignment) {
        self.server.log.lock().unwrap().clear();
        self.server.queue.lock().unwrap().push_back(assignment);
    }

    async fn run(&mut self, assignment: Assignment) -> (AttemptEnd, String) {
        self.give(assignment);
        let end = self.end().await;
        let log = String::from_utf8_lossy(&self.server.log.lock().unwrap()).into_owned();
        (end, log)
    }

    async fn end(&mut self) -> AttemptEnd {
        tokio::time::timeout(Duration::from_secs(60), self.ends.recv()).await.unwrap().unwrap()
    }

    async fn stop(self) {
        let (data, label) = (self.data.path().join("work"), self.label());
        self.worker.shutdown().await.unwrap();
        assert_eq!(containers(&label), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(data).unwrap().count(), 0, "no working directory is left");
    }

    fn label(&self) -> String {
        format!("label=tidemill.data={}", self.data.path().canonicalize().unwrap().display())
    }

    /// Waits until `wanted` holds for the number of this worker's containers.
    async fn until(&self, wanted: impl Fn(usize) -> bool) {
        let begun = std::time::Instant::now();
        while !wanted(containers(&self.label()).len()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", containers(&self.label()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn job(script: &[&str]) -> Assignment {
    let image = std::env::var("TIDEMILL_TEST_IMAGE").unwrap_or_else(|_| "tidemill-demo:1".into());
    Assignment {
        preparation: Preparation {
            job_id: JobId(uuid::Uuid::now_v7()),
            execution_id: ExecutionId(uuid::Uuid::now_v7()),
            image,
            pull_policy: PullPolicy::Never,
            resources: Resources::default(),
            working_dir: None,
            source: Source::None,
        },
        job_name: "job".into(),
        stage: "test".into(),
        attempt: 1,
        lease: LeaseGrant { token: LeaseToken(uuid::Uuid::now_v7()), ttl_ms: 3000 },
        script: script.iter().map(|line| (*line).to_owned()).collect(),
        variables: [("GREETING".to_owned(), "it's here".to_owned())].into_iter().collect(),
        timeout_s: 30,
        artifacts: None,
        needs_artifacts: Vec::new(),
        trace: None,
        extras: Extras::default(),
    }
}

fn containers(label: &str) -> Vec<String> {
    let listed =
        std::process::Command::new("docker").args(["ps", "-aq", "--filter", label]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

/// The network that a job printed with [`NETWORK`].
fn network(log: &str) -> String {
    let line = log.lines().find(|line| line.starts_with("net:"));
    line.unwrap_or_else(|| panic!("no network in {log}")).to_owned()
}

/// Containers in one network share the hostname, the id of the container that brought it. (The number of a namespace would not
/// do: the kernel gives it again.)
const NETWORK: &str = "echo net:$(hostname)";

fn kind(end: &AttemptEnd) -> Option<FailureKind> {
    end.failure.as_ref().map(|reason| reason.kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_sees_sources_and_variables_and_ends_with_its_code() {
    let mut bench = Bench::start().await;
    let sources = tempfile::tempdir().unwrap();
    std::fs::write(sources.path().join("a.txt"), "from the sources\n").unwrap();
    let found = snapshot(sources.path(), &bench.data.path().join("cache")).unwrap();
    let mut first = job(&["echo \"$GREETING\"", "cat a.txt; echo err >&2", "echo changed > a.txt", "exit 3"]);
    first.preparation.source = found.source.clone();
    let (end, log) = bench.run(first).await;
    assert_eq!((end.exit_code, kind(&end)), (Some(3), Some(FailureKind::ScriptFailed)));
    assert!(log.contains("\nit's here\n") && log.contains("\nfrom the sources\nerr\n"), "{log}");
    assert!(!log.contains('\u{1e}'), "{log}");

    let mut second = job(&["cat a.txt", "sleep 100 &"]);
    second.preparation.source = found.source;
    let (end, log) = bench.run(second).await;
    assert_eq!((end.exit_code, kind(&end)), (Some(0), None));
    assert!(log.contains("from the sources"), "a fresh workspace: {log}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_over_at_once_is_told_in_one_report() {
    let mut bench = Bench::start().await;
    let execution = ExecutionId(uuid::Uuid::now_v7());
    let mut counted = Vec::new();
    // A loaded machine may take longer over one than a report waits: what must be seen is that it can be one.
    while !counted.contains(&1) {
        assert!(counted.len() < 20, "reports for each job: {counted:?}");
        bench.server.reports.store(0, Ordering::SeqCst);
        let mut no_op = job(&["true"]);
        no_op.preparation.execution_id = execution;
        let (end, log) = bench.run(no_op).await;
        assert_eq!((kind(&end), log.as_str()), (None, "$ true\n"));
        counted.push(bench.server.reports.load(Ordering::SeqCst));
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_goes_from_job_to_job() {
    let bench = Bench::start().await;
    let cache = bench.data.path().join("cache/artifacts");
    hand_an_artifact_on(bench, |_| {}).await;
    assert!(!cache.exists(), "what is on this machine already is not copied");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_of_a_server_elsewhere_is_fetched_once() {
    // An address of this machine that does not say so: the one from which it would speak to a container. Older engines
    // do not name the gateway, so the kernel is asked; nothing is sent.
    let words = ["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"];
    let seen = std::process::Command::new("docker").args(words).output().unwrap();
    let subnet = String::from_utf8_lossy(&seen.stdout).trim().to_owned();
    let peer = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    peer.connect(format!("{}:9", subnet.split('/').next().unwrap().replace(".0.0", ".0.9"))).unwrap();
    let address = peer.local_addr().unwrap().ip().to_string();
    let bench = Bench::start_at(&address).await;
    let cache = bench.data.path().join("cache/artifacts");
    hand_an_artifact_on(bench, |server| {
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
        server.artifact.lock().unwrap().clear();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_outlasts_a_server_that_is_away_for_a_moment() {
    let bench = Bench::start().await;
    bench.server.trouble.store(2, Ordering::SeqCst);
    hand_an_artifact_on(bench, |server| {
        assert_eq!(server.trouble.swap(3, Ordering::SeqCst), 0, "it was put again");
    })
    .await;
}

/// One job leaves an artifact, `between` happens, and another job gets it.
async fn hand_an_artifact_on(mut bench: Bench, between: impl FnOnce(&Server)) {
    let mut leaves = job(&["mkdir -p out/deep", "echo hello > out/deep/a.txt", "echo no > other"]);
    let paths = vec!["out/**/*.txt".to_owned(), "none/*".to_owned()];
    leaves.artifacts = Some(Artifacts {
        paths,
        when: tidemill_core::assignment::ArtifactsWhen::OnSuccess,
        expire_in_s: None,
        reports: Reports::default(),
    });
    let (end, log) = bench.run(leaves).await;
    assert_eq!(kind(&end), None, "{end:?}");
    assert!(log.contains("no file matches `none/*`"), "{log}");

    let stored = bench.server.artifact.lock().unwrap().clone();
    let mut gets = job(&["cat out/deep/a.txt", "test ! -e other"]);
    let sha256 = tidemill_worker::store::hex(&<sha2::Sha256 as sha2::Digest>::digest(&stored));
    let needed = ArtifactSource {
        artifact_id: ArtifactId(uuid::Uuid::nil()),
        from_job: "leaves".into(),
        url: "/bytes".into(),
        sha256,
        size: stored.len() as u64,
    };
    gets.needs_artifacts = vec![needed.clone()];
    between(&bench.server);
    let (end, log) = bench.run(gets).await;
    assert_eq!(kind(&end), None, "{log}");
    assert!(log.contains("\nhello\n"), "{log}");

    let mut broken = job(&["true"]);
    broken.needs_artifacts = vec![ArtifactSource { sha256: "00".into(), ..needed }];
    assert_eq!(kind(&bench.run(broken).await.0), Some(FailureKind::ArtifactFailed));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_go_on_ends_with_the_reason() {
    let mut bench = Bench::start().await;
    let mut slow = job(&["sleep 60"]);
    slow.timeout_s = 1;
    assert_eq!(kind(&bench.run(slow).await.0), Some(FailureKind::TimedOut));

    let mut missing = job(&["true"]);
    missing.preparation.image = "tidemill-no-such-image:0".into();
    assert_eq!(kind(&bench.run(missing).await.0), Some(FailureKind::ImageUnavailable));

    let mut unreachable = job(&["true"]);
    unreachable.preparation.image = "127.0.0.1:1/no-such-registry:0".into();
    unreachable.preparation.pull_policy = PullPolicy::IfNotPresent;
    assert_eq!(kind(&bench.run(unreachable).await.0), Some(FailureKind::ImagePullFailed));

    let mut hungry = job(&["x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x}"]);
    hungry.preparation.resources.memory_bytes = Some(32 << 20);
    let (end, log) = bench.run(hungry).await;
    assert_eq!(kind(&end), Some(FailureKind::OutOfMemory), "{end:?}\n{log}");

    bench.give(job(&["trap '' TERM", "while :; do sleep 1; done"]));
    *bench.server.cancel.lock().unwrap() = true;
    let begun = std::time::Instant::now();
    assert_eq!(kind(&bench.end().await), Some(FailureKind::Canceled));
    assert!(begun.elapsed() < Duration::from_secs(10));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_much_output_arrives() {
    let mut bench = Bench::start().await;
    let (end, log) = bench.run(job(&["seq 1 400000"])).await;
    assert_eq!(kind(&end), None);
    let mut expected = String::from("$ seq 1 400000\n");
    for number in 1..=400_000 {
        expected += &number.to_string();
        expected.push('\n');
    }
    assert!(log == expected, "{} bytes of {}", log.len(), expected.len());
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_kept_for_the_next_job_of_the_execution_and_for_no_other() {
    let mut bench = Bench::start().await;
    let execution = ExecutionId(uuid::Uuid::now_v7());
    let of_execution = |script: &[&str]| {
        let mut made = job(script);
        made.preparation.execution_id = execution;
        made
    };
    let first = bench.run(of_execution(&[NETWORK, "echo '6.6.6.6 evil' >> /etc/hosts"])).await.1;
    let second = bench.run(of_execution(&[NETWORK, "cat /etc/hosts"])).await.1;
    assert_eq!(network(&first), network(&second));
    assert!(
        second.contains("localhost") && !second.contains("evil"),
        "a job changes no other's hosts: {second}"
    );
    let third = bench.run(of_execution(&["echo '6.6.6.6 evil' > /etc/hosts"])).await.0;
    assert_eq!(kind(&third), None);
    let fourth = bench.run(of_execution(&["cat /etc/hosts"])).await.1;
    assert!(fourth.contains("localhost") && !fourth.contains("evil"), "{fourth}");
    let other = bench.run(job(&[NETWORK])).await.1;
    assert_ne!(network(&first), network(&other), "executions share nothing");

    // A listener that a killed job leaves must not be met by the next one.
    let mut killed = job(&["sleep 60"]);
    killed.preparation.execution_id = execution;
    killed.timeout_s = 1;
    assert_eq!(kind(&bench.run(killed).await.0), Some(FailureKind::TimedOut));
    let after = bench.run(of_execution(&[NETWORK])).await.1;
    assert_ne!(network(&first), network(&after));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_container_is_gone_is_replaced() {
    let mut bench = Bench::start().await;
    let execution = ExecutionId(uuid::Uuid::now_v7());
    let mut assignments = [job(&[NETWORK]), job(&[NETWORK])];
    for assignment in &mut assignments {
        assignment.preparation.execution_id = execution;
    }
    let [first, second] = assignments;
    let first = bench.run(first).await.1;
    let kept = containers(&bench.label());
    let removed = std::process::Command::new("docker").args(["rm", "-f"]).args(&kept).output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    let (end, second) = bench.run(second).await;
    assert_eq!(kind(&end), None, "{second}");
    assert_ne!(network(&first), network(&second));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_used_or_removed() {
    let mut bench = Bench::start().await;
    let next = job(&["hostname"]);
    *bench.server.upcoming.lock().unwrap() = vec![next.preparation.clone()];
    let end = bench.run(job(&["true"])).await.0;
    assert_eq!(kind(&end), None);
    bench.until(|count| count == 2).await;
    let parked = containers(&bench.label());
    bench.server.upcoming.lock().unwrap().clear();
    let log = bench.run(next).await.1;
    let ran_in = log.lines().last().unwrap_or_default();
    assert!(parked.iter().any(|id| *id == ran_in), "{ran_in} of {parked:?}");

    // Parked for a job that never comes: it goes when the worker has had nothing to do for a while.
    let mut never = job(&["true"]);
    never.preparation.resources.memory_bytes = Some(64 << 20);
    *bench.server.upcoming.lock().unwrap() = vec![never.preparation];
    assert_eq!(kind(&bench.run(job(&["true"])).await.0), None);
    bench.server.upcoming.lock().unwrap().clear();
    bench.until(|count| count == 0).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_the_engine_lost_track_of_is_removed() {
    let bench = Bench::start().await;
    let docker = |words: &[&str]| {
        let done = std::process::Command::new("docker").arg("volume").args(words).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    // As an engine leaves it that was killed: the container is gone, its volume is not.
    let data = bench.label().replace("label=", "");
    let labels = ["--label", "tidemill=1", "--label", &data, "--label", "tidemill.worker=dead"];
    let volume = docker(&[&["create"], &labels[..]].concat());
    let others = docker(&["create", "--label", "tidemill=1", "--label", "tidemill.data=/elsewhere"]);
    bench.stop().await;
    let left = docker(&["ls", "--quiet"]);
    assert!(!left.contains(&volume), "{left}");
    assert!(left.contains(&others), "what is another's stays");
    docker(&["rm", &others]);
}

fn secret(variable: &str, value: &str, file: bool) -> SecretValue {
    SecretValue { variable: variable.into(), value: value.into(), file }
}

#[tokio::test]
async fn secrets_come_as_variables_or_files_and_are_masked_in_all_that_is_printed() {
    let mut bench = Bench::start().await;
    let mut uses = job(&[
        "printf '%s' \"$TOKEN\" | cut -c1-5; test \"$(cat \"$KEY\")\" = \"$(printf 'line-one\\nline-two')\"",
        "echo \"token=$TOKEN\"; printf '%s' \"$TOKEN\" | base64; cat $KEY",
        "printf 's3cr3t'; sleep 1; printf -- '-value\\n'",
        "ls -l $KEY | cut -c1-10; echo $KEY; ls /workspace",
        "docker-not-here s3cr3t-value",
    ]);
    uses.extras.secrets =
        vec![secret("TOKEN", "s3cr3t-value", false), secret("KEY", "line-one\nline-two", true)];
    let (end, log) = bench.run(uses).await;
    assert_eq!(end.exit_code, Some(127), "{log}");
    assert!(log.contains("s3cr3\n"), "a part is no secret: {log}");
    assert!(log.contains("token=[masked]\n") && log.contains("$ docker-not-here [masked]\n"), "{log}");
    assert!(log.contains("-rw-------\n/dev/shm/tidemill-secrets/KEY\n"), "{log}");
    for leaked in ["s3cr3t-value", "line-one", "line-two", "czNjcjN0LXZhbHVl"] {
        assert!(!log.contains(leaked), "{leaked} in {log}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn test_reports_are_read_whatever_became_of_the_script_and_say_no_secret() {
    let mut bench = Bench::start().await;
    let mut tested = job(&[
        "mkdir -p out/deep && cd out",
        "printf '<testsuite><testcase name=\"a [%s]\"><failure>a\\033[1m%s' $TOKEN $TOKEN >one.xml",
        "echo '</failure></testcase><testcase name=\"b\"/></testsuite>' >>one.xml",
        "echo '<testsuite><testcase name=\"c\"/></testsuite>' >deep/two.xml",
        "echo '<testsuite>' >deep/bad.xml; ln -s two.xml deep/link.xml; truncate -s 40M deep/huge.xml",
        "false",
    ]);
    tested.extras.secrets = vec![secret("TOKEN", "s3cr3t-value", false)];
    let junit = vec!["out/**/*.xml".to_owned(), "none.xml".to_owned()];
    tested.artifacts = Some(Artifacts {
        paths: Vec::new(),
        when: tidemill_core::assignment::ArtifactsWhen::OnSuccess,
        expire_in_s: None,
        reports: Reports { junit },
    });
    let (end, log) = bench.run(tested.clone()).await;
    assert_eq!(kind(&end), Some(FailureKind::ScriptFailed), "{log}");
    let report = bench.server.tests.lock().unwrap().take().expect(&log);
    assert_eq!((report.counts.tests, report.counts.failures, report.passed.len()), (3, 1, 16), "{log}");
    let failed = &report.failed[0];
    assert_eq!((failed.name.as_str(), failed.message.as_str()), ("a [[masked]]", "a[1m[masked]"));
    for line in [
        "warning: artifacts: no file matches `none.xml`\n",
        "warning: tests: out/deep/bad.xml:2:1: it ends in the middle\n",
        "warning: tests: out/deep/link.xml: left out, as it is no file but a link\n",
        "warning: tests: out/deep/huge.xml: left out, as it has more than 32 MiB\n",
        "\ntests 3: 1 failed\n",
    ] {
        assert!(log.contains(line), "{line} in {log}");
    }
    // Where nothing is read there is nothing to tell.
    tested.script = vec!["true".to_owned()];
    let (end, log) = bench.run(tested).await;
    assert!(end.failure.is_none() && log.contains("no file matches `out/**/*.xml`"), "{log}");
    assert_eq!(*bench.server.tests.lock().unwrap(), None);
    bench.stop().await;
}

#[tokio::test]
async fn an_after_script_runs_whatever_becomes_of_the_script() {
    let mut bench = Bench::start().await;
    for (script, code, status) in [("X=1; exit 3", 3, "failed"), ("X=1", 0, "success")] {
        let mut tidies = job(&[script]);
        tidies.extras.after_script =
            vec!["echo \"after: $TIDEMILL_JOB_STATUS $GREETING x=${X-none} $PWD\"".into(), "exit 9".into()];
        let (end, log) = bench.run(tidies).await;
        assert_eq!(end.exit_code, Some(code), "{log}");
        assert!(log.contains(&format!("after: {status} it's here x=none /workspace\n")), "{log}");
    }
    bench.stop().await;
}

fn service(alias: &str, command: &str, health: Option<Health>) -> Service {
    Service {
        image: std::env::var("TIDEMILL_TEST_IMAGE").unwrap_or_else(|_| "tidemill-demo:1".into()),
        alias: vec![alias.into()],
        variables: [("WORD".to_owned(), "tide".to_owned())].into_iter().collect(),
        command: Some(vec!["-c".into(), command.into()]),
        entrypoint: Some(vec!["sh".into()]),
        health,
        ready_within_s: 20,
    }
}

/// Serves one word again and again at a port.
fn serving(port: u16) -> String {
    format!("echo starting at {port}; sleep 1; while :; do printf '%s\\n' \"$WORD\" | nc -l -p {port}; done")
}

#[tokio::test]
async fn services_are_reached_by_their_names_once_they_are_ready_and_removed_with_the_job() {
    let mut bench = Bench::start().await;
    let mut served = job(&["nc db 5432 </dev/null; nc cache 5432 </dev/null; false"]);
    // Both serve the same port: each has an address of its own.
    served.extras.services = vec![
        service("db", &serving(5432), Some(Health::Port(5432))),
        service(
            "cache",
            "touch /ready; WORD=mill; export WORD; while :; do echo $WORD | nc -l -p 5432; done",
            Some(Health::Command("test -e /ready".into())),
        ),
    ];
    let (end, log) = bench.run(served).await;
    assert_eq!(end.exit_code, Some(1), "{log}");
    assert!(log.contains("tide\nmill\n"), "{log}");
    assert!(log.contains("starting at 5432"), "the log of a service is shown when the job fails: {log}");
    let (end, log) = bench.run(job(&["cat /etc/hosts"])).await;
    assert!(end.failure.is_none() && !log.contains("cache"), "the next job knows nothing of them: {log}");
    bench.stop().await;
}

#[tokio::test]
async fn a_service_that_is_never_ready_or_ends_fails_the_job_with_its_last_words() {
    let mut bench = Bench::start().await;
    for (command, health, says) in [
        ("seq 9000; echo oh no; exit 4", None, "ended with exit code 4"),
        ("echo oh no; sleep 60", Some(Health::Port(5432)), "was not ready within 2 s"),
    ] {
        let mut fails = job(&["echo never"]);
        fails.extras.services = vec![Service { ready_within_s: 2, ..service("db", command, health) }];
        let (end, log) = bench.run(fails).await;
        let reason = end.failure.unwrap();
        assert_eq!(reason.kind, FailureKind::ServiceFailed, "{log}");
        assert!(reason.message.contains(says), "{reason:?}");
        assert!(log.contains("oh no") && !log.contains("never"), "{log}");
    }
    bench.stop().await;
}
