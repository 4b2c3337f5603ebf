//! Limits of jobs, and protection of their secrets and files.

use super::{Bench, job, kind, secret};
use std::time::Duration;
use tidemill_core::execution::{
    assignment::{Artifacts, ArtifactsWhen, Source},
    failure::FailureKind,
};
use tidemill_core::pipeline::Reports;
use tidemill_worker::{policy::Limits, source::snapshot};

const MIB: u64 = 1 << 20;

async fn bench(limits: Limits) -> Bench {
    Bench::start_with("127.0.0.1", 1, limits, async |_| {}).await
}

fn artifacts(paths: &[&str]) -> Artifacts {
    Artifacts {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        when: ArtifactsWhen::Always,
        reports: Reports::default(),
        ..Artifacts::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_real_15_log_over_limit_is_cut_and_job_keeps_its_result() {
    let mut bench = bench(Limits { log_bytes: 64 << 10, ..Limits::default() }).await;
    let mut talkative = job(&["head -c 3000000 /dev/zero | tr '\\0' x", "echo x > out; exit 4"]);
    talkative.artifacts = Some(artifacts(&["out"]));
    let (end, log) = bench.run(talkative).await;
    assert_eq!((kind(&end), end.exit_code), (Some(FailureKind::ScriptFailed), Some(4)), "{end:?}");
    assert_eq!(bench.server.uploads.lock().unwrap().len(), 2, "the artifact is stored");
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("[tidemill] the log ends here: ") && last.contains("64 KiB"), "{last}");
    assert!(log.len() < (64 << 10) + 1000, "{} bytes", log.len());
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_over_limit_fail_job() {
    let mut bench = bench(Limits { artifact_bytes: MIB, ..Limits::default() }).await;
    let mut large = job(&["head -c 3000000 /dev/zero > large"]);
    large.artifacts = Some(artifacts(&["large"]));
    let (end, log) = bench.run(large).await;
    assert_eq!(kind(&end), Some(FailureKind::ArtifactLimit), "{end:?}");
    assert!(log.contains("1 MiB"), "{log}");
    let mut small = job(&["head -c 1000 /dev/zero > small"]);
    small.artifacts = Some(artifacts(&["small"]));
    assert_eq!(kind(&bench.run(small).await.0), None);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_over_limit_stops_job_wherever_it_writes() {
    let mut bench = bench(Limits { workspace_bytes: 20 * MIB, ..Limits::default() }).await;
    let sources = tempfile::tempdir().unwrap();
    std::fs::write(sources.path().join("a.txt"), "from the sources\n").unwrap();
    let snapshot = snapshot(sources.path(), &bench.data.path().join("cache")).unwrap();
    for (path, source) in [("here", Some(snapshot.source)), ("here", None), ("/tmp/there", None)] {
        let mut writes = job(&[&format!("head -c 60000000 /dev/zero > {path}; sync"), "sleep 600"]);
        writes.timeout_s = 600;
        if let Some(source) = source {
            writes.preparation.source = source;
        }
        bench.enqueue(writes);
        // The disk is measured at least once a minute; a busy machine writes slowly, and other processes may free as
        // much space meanwhile.
        let end = tokio::time::timeout(Duration::from_secs(180), bench.ends.recv()).await.unwrap().unwrap();
        assert_eq!(kind(&end), Some(FailureKind::WorkspaceLimit), "{path}: {end:?}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_without_resources_gets_worker_limit() {
    let limits = Limits {
        memory_bytes: Some(64 * MIB),
        pids: 100,
        open_files: 1000,
        shm_bytes: 8 * MIB,
        ..Limits::default()
    };
    let mut bench = bench(limits).await;
    let shows = ["ulimit -c; ulimit -n", "df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2"];
    let (end, log) = bench.run(job(&shows)).await;
    assert_eq!(kind(&end), None, "{log}");
    assert!(log.contains("\n0\n1000\n") && log.contains("\n8192\n"), "{log}");
    let (end, log) = bench.run(job(&["tail /dev/zero"])).await;
    assert_eq!(kind(&end), Some(FailureKind::OutOfMemory), "{end:?} {log}");
    let forks = "i=0; while [ $i -lt 200 ]; do sleep 20 & i=$((i + 1)); done";
    let (end, _) = bench.run(job(&[forks])).await;
    assert_ne!(kind(&end), None, "at most a hundred processes may run");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workspace_is_mounted_without_set_id_and_devices_and_artifacts_lose_set_id() {
    let mut bench = bench(Limits::default()).await;
    let sources = tempfile::tempdir().unwrap();
    std::fs::write(sources.path().join("a.txt"), "from the sources\n").unwrap();
    let snapshot = snapshot(sources.path(), &bench.data.path().join("cache")).unwrap();
    for source in [snapshot.source, Source::None] {
        let mut producer =
            job(&["grep \" $PWD \" /proc/self/mountinfo", "cp /bin/sh suid; chmod 6755 suid", "ls -l suid"]);
        producer.preparation.source = source.clone();
        producer.artifacts = Some(artifacts(&["suid"]));
        let (end, log) = bench.run(producer).await;
        assert_eq!(kind(&end), None, "{log}");
        let options = log.lines().find(|line| line.contains(" /workspace ") && line.contains(" - "));
        let options = options.unwrap_or_else(|| panic!("{source:?}: no mount in {log}"));
        assert!(options.contains("nosuid") && options.contains("nodev"), "{source:?}: {options}");
        assert!(log.contains("-rwsr-sr-x"), "{log}");
        let stored = bench.server.artifact.lock().unwrap().clone();
        let tar = zstd::decode_all(&stored[..]).expect("a program is stored compressed");
        let mut archive = tar::Archive::new(&tar[..]);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.header().mode().unwrap() & 0o7777, 0o755);
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_whose_secrets_cannot_be_masked_does_not_start() {
    let mut bench = bench(Limits::default()).await;
    let mut leaky = job(&["echo it started"]);
    leaky.extras.secrets = vec![secret("LONG", &"0123456789abcdef".repeat(1 << 20), false)];
    let (end, log) = bench.run(leaky).await;
    assert_eq!(kind(&end), Some(FailureKind::MaskingFailed), "{end:?}");
    assert!(!log.contains("it started") && !log.contains("0123456789"), "{log}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_artifacts_show_no_secret() {
    let mut bench = bench(Limits::default()).await;
    let mut named = job(&["mkdir -p out; echo x > \"out/report-$NAME.txt\""]);
    named.extras.secrets = vec![secret("NAME", "k3yN4m3", false)];
    named.artifacts = Some(artifacts(&["out", "none-k3yN4m3"]));
    let (end, log) = bench.run(named).await;
    assert_eq!(kind(&end), None, "{log}");
    let uploads = serde_json::to_string(&*bench.server.uploads.lock().unwrap()).unwrap();
    assert!(uploads.contains("out/report-[masked].txt") && uploads.contains("none-[masked]"), "{uploads}");
    assert!(!uploads.contains("k3yN4m3") && !log.contains("k3yN4m3"), "{uploads} {log}");
    bench.stop().await;
}
