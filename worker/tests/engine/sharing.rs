//! Images that one job builds and others run in, on a worker whose engine does not have them.

use super::{
    harness::{Bench, docker, job, kind},
    images::stored,
};
use tidemill_core::{
    execution::{
        assignment::{ArtifactSource, Assignment, ImageBuild},
        failure::FailureKind,
    },
    ids::JobId,
};
use tidemill_worker::source::snapshot;

#[tokio::test(flavor = "multi_thread")]
async fn built_image_is_loaded_where_it_is_missing_once_its_hash_was_checked() {
    let mut bench = Bench::start().await;
    let (sources, unique) = (tempfile::tempdir().unwrap(), uuid::Uuid::now_v7());
    let mut pack = job(&[]);
    let dockerfile = format!("FROM {}\nRUN echo {unique} > /made.txt\n", pack.preparation.image);
    std::fs::write(sources.path().join("Dockerfile"), dockerfile).unwrap();
    pack.preparation.source = snapshot(sources.path(), &bench.data.path().join("cache")).unwrap().source;
    let build = ImageBuild { context: ".".into(), dockerfile: "Dockerfile".into(), ..ImageBuild::default() };
    pack.extras.build = Some(build);
    pack.extras.shares_image = true;
    let (end, log) = bench.run(pack).await;
    let id = end.outputs.get("IMAGE_ID").unwrap_or_else(|| panic!("{log}")).clone();
    assert!(log.contains(&format!("Stored {id} for other workers (")), "{log}");
    let upload = bench.server.uploads.lock().unwrap().last().cloned().unwrap();
    assert_eq!((upload.image.as_ref(), upload.expire_in_s), (Some(&id), Some(7 * 24 * 60 * 60)));
    let complete = upload.complete.unwrap();
    let artifact = ArtifactSource {
        encoding: complete.encoding,
        unpacked_size: complete.unpacked_size,
        image: Some(id.clone()),
        ..stored(&bench)
    };
    assert!(complete.size < complete.unpacked_size, "it is compressed");
    docker(&["rmi", "--force", &id]);

    let run = |artifacts: Vec<ArtifactSource>| {
        let mut consumer: Assignment = job(&["cat /made.txt; ls -A"]);
        consumer.preparation.job_id = JobId(uuid::Uuid::now_v7());
        consumer.preparation.image.clone_from(&id);
        consumer.needs_artifacts = artifacts;
        consumer
    };
    let (end, log) = bench.run(run(Vec::new())).await;
    assert_eq!(kind(&end), Some(FailureKind::ImageUnavailable), "{log}");
    assert!(log.contains("no registry can be asked for an id") && !log.contains("Pulling"), "{log}");
    let damaged = ArtifactSource { sha256: "00".into(), ..artifact.clone() };
    let (end, log) = bench.run(run(vec![damaged])).await;
    assert_eq!(kind(&end), Some(FailureKind::ArtifactFailed), "{log}");
    let other = ArtifactSource { image: Some(format!("sha256:{}", "0".repeat(64))), ..artifact.clone() };
    let (end, log) = bench.run(run(vec![other])).await;
    assert_eq!(kind(&end), Some(FailureKind::ImageUnavailable), "an image that the job does not name: {log}");

    for is_missing in [true, false] {
        let (end, log) = bench.run(run(vec![artifact.clone()])).await;
        assert!(kind(&end).is_none() && log.ends_with(&format!("{unique}\n")), "{log}");
        assert_eq!(log.contains(&format!("Loading {id}, which `earlier` built (")), is_missing, "{log}");
    }
    let names = docker(&["inspect", "--format", "{{join .RepoTags \" \"}}", &id]);
    assert!(names[0].starts_with("tidemill/build:") && !names[0].contains(' '), "{names:?}");
    bench.until_none_exists().await;
    docker(&["rmi", &names[0]]);
    bench.stop().await;
}
