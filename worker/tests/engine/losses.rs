//! The loss of a container or a cache is an infrastructure failure, not a failure of the job.

use super::{Bench, HELD, job, kind};
use tidemill_core::execution::{
    assignment::{ArtifactSource, Artifacts, ArtifactsWhen},
    failure::FailureKind,
};
use tidemill_core::{api::ArtifactEncoding, ids::ArtifactId, pipeline::Reports};
use tidemill_worker::source::snapshot;

fn is_infrastructure(kind: Option<FailureKind>) -> bool {
    kind.is_some_and(FailureKind::is_infrastructure)
}

#[tokio::test(flavor = "multi_thread")]
async fn container_lost_during_unpack_is_infrastructure_failure() {
    let mut bench = Bench::start().await;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(6);
    header.set_mode(0o644);
    tar.append_data(&mut header, "needed", &b"needed"[..]).unwrap();
    let bytes = tar.into_inner().unwrap();
    let sha256 = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    let mut consumer = job(&["cat needed"]);
    consumer.needs_artifacts = vec![ArtifactSource {
        artifact_id: ArtifactId(uuid::Uuid::nil()),
        from_job: "before".into(),
        url: "/bytes".into(),
        sha256,
        size: bytes.len() as u64,
        encoding: ArtifactEncoding::Identity,
        unpacked_size: 0,
        image: None,
    }];
    *bench.server.artifact.lock().unwrap() = bytes;
    *bench.server.removes.lock().unwrap() = Some(bench.label());
    let (end, log) = bench.run(consumer.clone()).await;
    assert!(is_infrastructure(kind(&end)), "{end:?} {log}");
    let (end, log) = bench.run(consumer).await;
    assert_eq!(kind(&end), None, "the next attempt succeeds: {log}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn container_lost_before_collection_loses_no_artifact_silently() {
    let mut bench = Bench::start().await;
    for untracked in [false, true] {
        let mut producer = job(&[
            "mkdir out; echo x > out/a",
            "echo '<testsuite><testcase name=\"a\"/></testsuite>' > r.xml",
        ]);
        let paths = if untracked { Vec::new() } else { vec!["out".into()] };
        producer.artifacts = Some(Artifacts {
            paths,
            untracked,
            when: ArtifactsWhen::OnSuccess,
            reports: Reports { junit: vec!["r.xml".into()], ..Reports::default() },
            ..Artifacts::default()
        });
        bench.server.artifact.lock().unwrap().clear();
        *bench.server.removes.lock().unwrap() = Some(bench.label());
        let (end, log) = bench.run(producer).await;
        // An overlay that the worker has open outlives its container; otherwise the files are lost with it.
        if kind(&end).is_none() {
            let tar = bench.server.artifact.lock().unwrap().clone();
            let name = b"out/a";
            assert!(tar.windows(name.len()).any(|bytes| bytes == name), "the artifact is empty: {log}");
        } else {
            assert_eq!(kind(&end), Some(FailureKind::EngineFailed), "{end:?} {log}");
            assert!(!log.contains("warning: artifacts: no file"), "{log}");
        }
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_worker_cache_is_infrastructure_failure() {
    let mut bench = Bench::start().await;
    let sources = tempfile::tempdir().unwrap();
    std::fs::write(sources.path().join("a.txt"), "from the sources\n").unwrap();
    let cache = bench.data.path().join("cache");
    let snapshot = snapshot(sources.path(), &cache).unwrap();
    let mut reads = job(&[&HELD[..], &["cat a.txt; exit 3"]].concat());
    reads.preparation.source = snapshot.source;
    let container = bench.hold(reads).await;
    std::fs::remove_dir_all(&cache).unwrap();
    let end = bench.release(&container).await;
    assert_eq!(kind(&end), Some(FailureKind::WorkerFailed), "{end:?}");
    bench.stop().await;
}
