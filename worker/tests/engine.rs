//! Runs jobs in real containers against a fake server that returns one assignment at a time.

mod ends;
mod equivalence;
mod evidence;
mod git;
mod harness;
mod isolation;

use harness::{Bench, HELD, NETWORK, Server, docker, job, kind, network};
use std::{sync::atomic::Ordering, time::Duration};
use tidemill_core::execution::{
    assignment::{ArtifactSource, Artifacts, Assignment, PullPolicy, SecretValue, Service, Source},
    failure::FailureKind,
};
use tidemill_core::{
    api::ArtifactEncoding,
    ids::{ArtifactId, ExecutionId},
    pipeline::{Health, Reports},
};
use tidemill_worker::source::snapshot;

mod images;
mod limits;
mod losses;
mod messages;
mod networks;
mod options;
mod push;
mod push_ssh;
mod services;
mod sharing;
mod shells;
mod slow_engine;

#[tokio::test(flavor = "multi_thread")]
async fn script_gets_sources_and_variables_and_returns_exit_code() {
    let mut bench = Bench::start().await;
    let sources = tempfile::tempdir().unwrap();
    std::fs::write(sources.path().join("a.txt"), "from the sources\n").unwrap();
    let snapshot = snapshot(sources.path(), &bench.data.path().join("cache")).unwrap();
    let mut first = job(&["echo \"$GREETING\"", "cat a.txt; echo err >&2", "echo changed > a.txt", "exit 3"]);
    first.preparation.source = snapshot.source.clone();
    let (end, log) = bench.run(first).await;
    assert_eq!((end.exit_code, kind(&end)), (Some(3), Some(FailureKind::ScriptFailed)));
    assert!(log.contains("\nit's here\n") && log.contains("\nfrom the sources\nerr\n"), "{log}");
    assert!(!log.contains('\u{1e}'), "{log}");

    let mut second = job(&["cat a.txt", "sleep 100 &"]);
    second.preparation.source = snapshot.source;
    let (end, log) = bench.run(second).await;
    assert_eq!((end.exit_code, kind(&end)), (Some(0), None));
    assert!(log.contains("from the sources"), "the workspace is not shared: {log}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn immediate_job_sends_one_report() {
    let mut bench = Bench::start().await;
    let execution = ExecutionId(uuid::Uuid::now_v7());
    let mut report_counts = Vec::new();
    // On a loaded machine, a job may take longer than the delay of a report; so one of several jobs must send a single report.
    while !report_counts.contains(&1) {
        assert!(report_counts.len() < 20, "reports per job: {report_counts:?}");
        bench.server.reports.store(0, Ordering::SeqCst);
        let mut no_op = job(&["true"]);
        no_op.preparation.execution_id = execution;
        let (end, log) = bench.run(no_op).await;
        assert_eq!((kind(&end), log.as_str()), (None, "$ true\n"));
        report_counts.push(bench.server.reports.load(Ordering::SeqCst));
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifact_goes_from_job_to_job() {
    let bench = Bench::start().await;
    let cache = bench.data.path().join("cache/artifacts");
    pass_artifact(bench, |_| {}).await;
    assert!(!cache.exists(), "artifacts on the same machine are not copied");
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_artifact_is_downloaded_once() {
    // A non-loopback address of this machine: the one from which it would contact a container. Older engines do not report the
    // gateway, so the kernel selects the address; nothing is sent.
    let args = ["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"];
    let subnet = docker(&args).remove(0);
    let peer = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    peer.connect(format!("{}:9", subnet.split('/').next().unwrap().replace(".0.0", ".0.9"))).unwrap();
    let address = peer.local_addr().unwrap().ip().to_string();
    let bench = Bench::start_at(&address).await;
    let cache = bench.data.path().join("cache/artifacts");
    pass_artifact(bench, |server| {
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
        server.artifact.lock().unwrap().clear();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifact_upload_survives_server_outage() {
    let bench = Bench::start().await;
    bench.server.failing_transfers.store(2, Ordering::SeqCst);
    pass_artifact(bench, |server| {
        assert_eq!(server.failing_transfers.swap(3, Ordering::SeqCst), 0, "the upload was retried");
    })
    .await;
}

/// Runs a job that stores an artifact, then `between`, then a job that gets the artifact.
async fn pass_artifact(mut bench: Bench, between: impl FnOnce(&Server)) {
    let mut producer = job(&["mkdir -p out/deep", "echo hello > out/deep/a.txt", "echo no > other"]);
    let paths = vec!["out/**/*.txt".to_owned(), "none/*".to_owned()];
    producer.artifacts = Some(Artifacts {
        paths,
        when: tidemill_core::execution::assignment::ArtifactsWhen::OnSuccess,
        reports: Reports::default(),
        ..Artifacts::default()
    });
    let (end, log) = bench.run(producer).await;
    assert_eq!(kind(&end), None, "{end:?}");
    assert!(log.contains("no file matches `none/*`"), "{log}");

    let stored = bench.server.artifact.lock().unwrap().clone();
    let mut consumer = job(&["cat out/deep/a.txt", "test ! -e other"]);
    let sha256 = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(&stored));
    let needed = ArtifactSource {
        artifact_id: ArtifactId(uuid::Uuid::nil()),
        from_job: "leaves".into(),
        url: "/bytes".into(),
        sha256,
        size: stored.len() as u64,
        encoding: ArtifactEncoding::Identity,
        unpacked_size: 0,
        image: None,
    };
    consumer.needs_artifacts = vec![needed.clone()];
    between(&bench.server);
    let (end, log) = bench.run(consumer).await;
    assert_eq!(kind(&end), None, "{log}");
    assert!(log.contains("\nhello\n"), "{log}");

    let mut broken = job(&["true"]);
    broken.needs_artifacts = vec![ArtifactSource { sha256: "00".into(), ..needed }];
    assert_eq!(kind(&bench.run(broken).await.0), Some(FailureKind::ArtifactFailed));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_job_reports_reason() {
    let mut bench = Bench::start().await;
    let mut slow = job(&["printf waiting; sleep 60"]);
    slow.timeout_s = 1;
    let (end, log) = bench.run(slow).await;
    assert_eq!(kind(&end), Some(FailureKind::TimedOut));
    let reason = "the job exceeded its timeout of 1 s; raise `timeout`, or split the job";
    // The shell may say that the command was terminated.
    assert!(log.contains("\nwaiting") && log.ends_with(&format!("\n{reason}\n")), "{log}");

    let mut missing = job(&["true"]);
    missing.preparation.image = "tidemill-no-such-image:0".into();
    assert_eq!(kind(&bench.run(missing).await.0), Some(FailureKind::ImageUnavailable));

    let mut unreachable = job(&["true"]);
    unreachable.preparation.image = "127.0.0.1:1/no-such-registry:0".into();
    unreachable.preparation.pull_policy = Some(PullPolicy::IfNotPresent);
    assert_eq!(kind(&bench.run(unreachable).await.0), Some(FailureKind::ImagePullFailed));

    let mut hungry = job(&["x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x}"]);
    hungry.preparation.resources.memory_bytes = Some(32 << 20);
    let (end, log) = bench.run(hungry).await;
    assert_eq!(kind(&end), Some(FailureKind::OutOfMemory), "{end:?}\n{log}");

    let mut ignores_term = job(&["trap '' TERM", "while :; do sleep 1; done"]);
    // The cancellation ends it, not the timeout.
    ignores_term.timeout_s = 600;
    let id = ignores_term.preparation.job_id;
    bench.enqueue(ignores_term);
    bench.until_logged(id, "$ while").await;
    *bench.server.cancel.lock().unwrap() = true;
    assert_eq!(kind(&bench.end().await), Some(FailureKind::Canceled));
    bench.stop().await;
}

/// Creates a job whose sources are on a git server that accepts connections and sends nothing.
fn job_of_silent_server() -> (Assignment, String) {
    let url = crate::support::git_server::silent_server();
    let mut waiting = job(&["true"]);
    waiting.preparation.source = Source::Git {
        url: url.clone(),
        branch: None,
        commit: "12".repeat(20),
        private_host: true,
        has_credential: false,
    };
    (waiting, url)
}

/// Waits until git processes for `url` exist, or until none exists.
async fn until_fetching(url: &str, expected: bool) {
    let fetches = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.any(|line| String::from_utf8_lossy(&line).contains(url))
    };
    let started = std::time::Instant::now();
    while fetches() != expected {
        assert!(started.elapsed() < Duration::from_secs(60), "fetching: {}", !expected);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn job_whose_git_server_is_silent_is_canceled_and_its_slot_is_free() {
    let mut bench = Bench::start().await;
    let (waiting, url) = job_of_silent_server();
    bench.enqueue(waiting);
    until_fetching(&url, true).await;
    // Heartbeats continue meanwhile, so that the lease stays valid.
    let before = bench.server.reports.load(Ordering::SeqCst);
    let started = std::time::Instant::now();
    while bench.server.reports.load(Ordering::SeqCst) < before + 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "no heartbeat");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    *bench.server.cancel.lock().unwrap() = true;
    let started = std::time::Instant::now();
    assert_eq!(kind(&bench.end().await), Some(FailureKind::Canceled));
    until_fetching(&url, false).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    *bench.server.cancel.lock().unwrap() = false;
    assert_eq!(kind(&bench.run(job(&["true"])).await.0), None, "the only slot takes the next job");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_whose_git_hangs_stops_within_ten_seconds() {
    let mut bench = Bench::start().await;
    let (waiting, url) = job_of_silent_server();
    bench.enqueue(waiting);
    until_fetching(&url, true).await;
    let started = std::time::Instant::now();
    bench.worker.stop();
    assert_eq!(kind(&bench.end().await), Some(FailureKind::GivenBack));
    bench.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    until_fetching(&url, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_output_is_complete() {
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

/// Creates jobs of one execution, the first of which is announced as upcoming.
fn jobs_of_execution(bench: &Bench, scripts: &[&[&str]]) -> Vec<Assignment> {
    let execution = ExecutionId(uuid::Uuid::now_v7());
    let mut jobs: Vec<Assignment> = scripts.iter().map(|script| job(script)).collect();
    for job in &mut jobs {
        job.preparation.execution_id = execution;
    }
    *bench.server.upcoming.lock().unwrap() = vec![jobs[0].preparation.clone()];
    jobs
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_container_is_used_or_removed() {
    let mut bench = Bench::start().await;
    let next = job(&["hostname"]);
    *bench.server.upcoming.lock().unwrap() = vec![next.preparation.clone()];
    let held = bench.hold(job(&HELD)).await;
    let standby = bench.until_running_beside(&held, 1).await;
    assert_eq!(kind(&bench.release(&held).await), None);
    bench.server.upcoming.lock().unwrap().clear();
    let log = bench.run(next).await.1;
    assert_eq!(log.lines().last(), Some(standby[0].as_str()), "it runs in the standby container: {log}");

    // A standby container whose job never starts is removed when the worker has been idle for a while.
    let mut never = job(&["true"]);
    never.preparation.resources.memory_bytes = Some(64 << 20);
    *bench.server.upcoming.lock().unwrap() = vec![never.preparation];
    let held = bench.hold(job(&HELD)).await;
    bench.until_running_beside(&held, 1).await;
    assert_eq!(kind(&bench.release(&held).await), None);
    bench.until_none_exists().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphaned_volume_is_removed() {
    let bench = Bench::start().await;
    let volumes = |args: &[&str]| docker(&[&["volume"], args].concat()).join("\n");
    // A killed engine leaves a volume without its container.
    let data = bench.label().replace("label=", "");
    let labels = ["--label", "tidemill=1", "--label", &data, "--label", "tidemill.worker=dead"];
    let volume = volumes(&[&["create"], &labels[..]].concat());
    let foreign = volumes(&["create", "--label", "tidemill=1", "--label", "tidemill.data=/elsewhere"]);
    bench.stop().await;
    let remaining = volumes(&["ls", "--quiet"]);
    assert!(!remaining.contains(&volume), "{remaining}");
    assert!(remaining.contains(&foreign), "volumes of other data directories stay");
    volumes(&["rm", &foreign]);
}

fn secret(variable: &str, value: &str, file: bool) -> SecretValue {
    SecretValue { variable: variable.into(), value: value.into(), file, unmasked: false }
}

#[tokio::test]
async fn secrets_are_passed_and_masked() {
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
    assert!(log.contains("s3cr3\n"), "a part of a secret is not masked: {log}");
    assert!(log.contains("token=[masked]\n") && log.contains("$ docker-not-here [masked]\n"), "{log}");
    assert!(log.contains("-rw-------\n/dev/shm/tidemill-secrets/KEY\n"), "{log}");
    for leaked in ["s3cr3t-value", "line-one", "line-two", "czNjcjN0LXZhbHVl"] {
        assert!(!log.contains(leaked), "{leaked} in {log}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn test_reports_are_read_after_failure_and_masked() {
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
        when: tidemill_core::execution::assignment::ArtifactsWhen::OnSuccess,
        reports: Reports { junit, ..Reports::default() },
        ..Artifacts::default()
    });
    let (end, log) = bench.run(tested.clone()).await;
    assert_eq!(kind(&end), Some(FailureKind::ScriptFailed), "{log}");
    let report = bench.server.tests.lock().unwrap().take().expect(&log);
    assert_eq!((report.counts.tests, report.counts.failures, report.passed.len()), (3, 1, 16), "{log}");
    let failed = &report.failed[0];
    assert_eq!((failed.name.as_str(), failed.message.as_str()), ("a [[masked]]", "a[1m[masked]"));
    for line in [
        "warning: artifacts: no file matches `none.xml`\n",
        "warning: tests: out/deep/bad.xml:2:1: unexpected end of file\n",
        "warning: tests: out/deep/link.xml: ignored, as it is not a regular file\n",
        "warning: tests: out/deep/huge.xml: ignored, as it has more than 32 MiB\n",
        "\ntests 3: 1 failed\n",
    ] {
        assert!(log.contains(line), "{line} in {log}");
    }
    // Without report files, nothing is sent.
    tested.script = vec!["true".to_owned()];
    let (end, log) = bench.run(tested).await;
    assert!(end.failure.is_none() && log.contains("no file matches `out/**/*.xml`"), "{log}");
    assert_eq!(*bench.server.tests.lock().unwrap(), None);
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
        required: true,
        pull_policy: None,
        ..Service::default()
    }
}

/// Returns a command that serves `$WORD` at a port.
fn serving(port: u16) -> String {
    format!("echo starting at {port}; sleep 1; while :; do printf '%s\\n' \"$WORD\" | nc -l -p {port}; done")
}

#[tokio::test]
async fn services_are_reached_by_their_names_once_they_are_ready_and_removed_with_job() {
    let mut bench = Bench::start().await;
    let mut served = job(&["nc db 5432 </dev/null; nc cache 5432 </dev/null; false"]);
    // Both use the same port, as each service has its own address.
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
    assert!(
        end.failure.is_none() && !log.contains("cache"),
        "services are not visible to the next job: {log}"
    );
    bench.stop().await;
}

#[tokio::test]
async fn failed_service_fails_job_with_its_log() {
    let mut bench = Bench::start().await;
    for (command, health, expected) in [
        ("seq 9000; echo oh no; exit 4", None, "ended with exit code 4"),
        ("echo oh no; sleep 60", Some(Health::Port(5432)), "was not ready within 2 s"),
    ] {
        let mut fails = job(&["echo never"]);
        fails.extras.services = vec![Service { ready_within_s: 2, ..service("db", command, health.clone()) }];
        let (end, log) = bench.run(fails).await;
        let reason = end.failure.unwrap();
        assert_eq!(reason.kind, FailureKind::ServiceFailed, "{log}");
        assert!(reason.message.contains(expected), "{reason:?}");
        assert!(log.contains("oh no") && !log.contains("never"), "{log}");
        let mut warns = job(&["echo all the same"]);
        let optional = Service { ready_within_s: 2, required: false, ..service("db", command, health) };
        warns.extras.services = vec![optional];
        let (end, log) = bench.run(warns).await;
        assert!(end.failure.is_none(), "{end:?}");
        let (warning, script) = log.split_once("oh no\n---\n").unwrap();
        assert!(warning.contains("warning: the service `db`") && warning.contains(expected), "{log}");
        assert!(script.contains("all the same\n"), "{log}");
    }
    bench.stop().await;
}
