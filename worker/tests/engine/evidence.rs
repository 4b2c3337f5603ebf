//! The `after_script`, and the artifacts, caches and test reports of a job that fails, is stopped or is killed.

use super::{Bench, docker, job, kind};
use tidemill_core::execution::{
    assignment::{Artifacts, ArtifactsWhen, Assignment},
    failure::FailureKind,
};
use tidemill_core::pipeline::Reports;

const MAKE_EVIDENCE: &str =
    "mkdir r; echo evidence > r/x; echo '<testsuite><testcase name=\"a\"/></testsuite>' > t.xml";
const AFTER: &str = "echo \"after: $TIDEMILL_JOB_STATUS $CI_JOB_STATUS\"; echo after > r/y";
/// Prints "gone" once no process of the script is left: the kernel ends those that were killed a moment later.
const GONE: &str =
    "for i in 1 2 3 4 5 6 7 8 9; do ps | grep -q '[s]leep' || { echo gone; break; }; sleep 1; done";

/// A job that leaves evidence and then runs `script`.
fn witness(script: &[&str], after_script: &[&str]) -> Assignment {
    let mut witness = job(&[&[MAKE_EVIDENCE], script].concat());
    witness.extras.after_script = after_script.iter().map(|line| (*line).to_owned()).collect();
    witness.artifacts = Some(Artifacts {
        paths: vec!["r".into()],
        when: ArtifactsWhen::Always,
        reports: Reports { junit: vec!["t.xml".into()], ..Reports::default() },
        ..Artifacts::default()
    });
    witness
}

/// Takes the names in the last artifact, and requires the test report.
fn stored(bench: &Bench) -> Vec<String> {
    assert!(bench.server.tests.lock().unwrap().take().is_some(), "no test report");
    let bytes = std::mem::take(&mut *bench.server.artifact.lock().unwrap());
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut names: Vec<String> = Vec::new();
    for entry in archive.entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn case_gitlab_02_after_script_knows_the_outcome() {
    let mut bench = Bench::start().await;
    for (script, code, status) in [("X=1; exit 3", 3, "failed"), ("X=1", 0, "success")] {
        let mut with_after_script = job(&[script]);
        with_after_script.extras.after_script =
            vec!["echo \"after: $TIDEMILL_JOB_STATUS $GREETING x=${X-none} $PWD\"".into(), "exit 9".into()];
        let (end, log) = bench.run(with_after_script).await;
        assert_eq!(end.exit_code, Some(code), "{log}");
        assert!(log.contains(&format!("after: {status} it's here x=none /workspace\n")), "{log}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_everyday_16_timed_out_job_runs_after_script_and_keeps_evidence() {
    let mut bench = Bench::start().await;
    // The second script and a process in the background ignore the signal.
    for script in ["sleep 600", "trap '' TERM; (while :; do sleep 1; done) & while :; do sleep 1; done"] {
        let mut hangs = witness(&[script], &[AFTER, GONE]);
        hangs.timeout_s = 2;
        let (end, log) = bench.run(hangs).await;
        assert_eq!(kind(&end), Some(FailureKind::TimedOut), "{log}");
        assert!(log.contains("after: failed failed\n"), "{log}");
        assert!(log.lines().last().is_some_and(|line| line.contains("timeout of 2 s")), "{log}");
        assert!(log.contains("\ngone\n"), "no process of the script runs any more: {log}");
        assert_eq!(stored(&bench), ["r", "r/x", "r/y"]);
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn summary_that_takes_longer_to_read_than_the_job_may_does_not_change_its_result() {
    let mut bench = Bench::start().await;
    // Shells read a line byte by byte.
    let mut long = job(&["head -c 40000000 /dev/zero | tr '\\0' a >/dev/shm/tidemill-summary.md", "exit 3"]);
    long.timeout_s = 10;
    let (end, log) = bench.run(long).await;
    assert_eq!((end.exit_code, kind(&end)), (Some(3), Some(FailureKind::ScriptFailed)), "{log}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_real_12_slow_after_script_does_not_count_towards_the_timeout() {
    let mut bench = Bench::start().await;
    for (script, code) in [("true", 0), ("exit 3", 3)] {
        let mut slow = witness(&[script], &["sleep 4; echo done"]);
        slow.timeout_s = 2;
        let (end, log) = bench.run(slow).await;
        assert_eq!(end.exit_code, Some(code), "{log}");
        assert_ne!(kind(&end), Some(FailureKind::TimedOut), "{log}");
        assert!(log.contains("\ndone\n"), "{log}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canceled_job_runs_after_script_and_keeps_evidence() {
    let mut bench = Bench::start().await;
    for script in ["sleep 600", "trap '' TERM; while :; do sleep 1; done"] {
        *bench.server.cancel.lock().unwrap() = false;
        let canceled = witness(&["echo ready", script], &[AFTER, "sleep 2; echo done"]);
        let id = canceled.preparation.job_id;
        bench.enqueue(canceled);
        bench.until_logged(id, "\nready\n").await;
        *bench.server.cancel.lock().unwrap() = true;
        let end = bench.end().await;
        let log = bench.log(id);
        assert_eq!(kind(&end), Some(FailureKind::Canceled), "{log}");
        assert!(log.contains("after: canceled canceled\n") && log.contains("\ndone\n"), "{log}");
        assert_eq!(stored(&bench), ["r", "r/x", "r/y"]);
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_real_12_job_over_its_memory_keeps_evidence() {
    let mut bench = Bench::start().await;
    // Only a child is killed, and the shell goes on to its end.
    let mut greedy = witness(&["tail /dev/zero"], &[AFTER]);
    greedy.preparation.resources.memory_bytes = Some(64 << 20);
    let (end, log) = bench.run(greedy).await;
    assert_eq!((kind(&end), end.exit_code), (Some(FailureKind::OutOfMemory), Some(137)), "{log}");
    assert!(log.contains("after: failed failed\n"), "{log}");
    assert_eq!(stored(&bench), ["r", "r/x", "r/y"]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_whose_container_is_killed_keeps_evidence() {
    let mut bench = Bench::start().await;
    let victim = witness(&["echo net:$(hostname)", "sleep 600"], &[AFTER]);
    let id = victim.preparation.job_id;
    bench.enqueue(victim);
    let log = bench.until_logged(id, "$ sleep 600\n").await;
    docker(&["kill", &super::network(&log).replace("net:", "")]);
    let end = bench.end().await;
    assert_eq!((kind(&end), end.exit_code), (Some(FailureKind::ScriptFailed), Some(137)));
    assert_eq!(stored(&bench), ["r", "r/x"]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_leave_out_excluded_files_and_have_a_name() {
    let mut bench = Bench::start().await;
    let sources = tempfile::tempdir().unwrap();
    std::fs::write(sources.path().join("source.txt"), "from the sources\n").unwrap();
    let snapshot =
        tidemill_worker::source::snapshot(sources.path(), &bench.data.path().join("cache")).unwrap();
    let mut packs = job(&["mkdir dist; echo app > dist/app; echo key > dist/private.key; echo n > new"]);
    packs.preparation.source = snapshot.source;
    packs.artifacts = Some(Artifacts {
        paths: vec!["dist".into()],
        exclude: vec!["dist/*.key".into()],
        untracked: true,
        name: Some("app-${GREETING}${NONE}".into()),
        ..Artifacts::default()
    });
    let (end, log) = bench.run(packs).await;
    assert_eq!(kind(&end), None, "{log}");
    let upload = bench.server.uploads.lock().unwrap().pop().unwrap();
    let mut names: Vec<&str> = upload.files.iter().map(|file| file.path.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["dist/app", "new"], "{log}");
    assert_eq!(upload.name.as_deref(), Some("app-it's here"));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_script_over_its_time_is_killed_and_changes_nothing() {
    let mut bench = Bench::start().await;
    let hangs =
        witness(&["exit 3"], &["echo net:$(hostname)", "trap '' TERM HUP; while :; do sleep 1; done"]);
    let id = hangs.preparation.job_id;
    bench.enqueue(hangs);
    let log = bench.until_logged(id, "while :; do sleep 1; done\n").await;
    // What the worker sends after five minutes; the other signals have no effect by then.
    let container = super::network(&log).replace("net:", "");
    for signal in ["TERM", "USR1", "USR2", "HUP"] {
        docker(&["kill", "--signal", signal, &container]);
    }
    let end = bench.end().await;
    assert_eq!((kind(&end), end.exit_code), (Some(FailureKind::ScriptFailed), Some(3)));
    assert_eq!(stored(&bench), ["r", "r/x"]);
    bench.stop().await;
}
