//! Failure kinds that the worker derives from the errors of a real engine.

use super::{Bench, docker, job, kind};
use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tidemill_core::execution::{assignment::PullPolicy, failure::FailureKind};
use tidemill_worker::{
    engine::{DockerManager, engine_failure},
    store::WorkerDirs,
};

/// Responds like a registry, depending on the name of the repository.
async fn manifest(Path((name, _)): Path<(String, String)>) -> Response {
    let error = |status: u16, code: &str| {
        let body =
            format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"message\",\"detail\":null}}]}}");
        let status = StatusCode::from_u16(status).unwrap();
        (status, [(CONTENT_TYPE, "application/json")], body).into_response()
    };
    match name.as_str() {
        "unknown" => error(404, "MANIFEST_UNKNOWN"),
        "no-name" => error(404, "NAME_UNKNOWN"),
        "unauthorized" => error(401, "UNAUTHORIZED"),
        "denied" => error(403, "DENIED"),
        "too-many" => error(429, "TOOMANYREQUESTS"),
        "down" => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => {
            let kind = "application/vnd.docker.distribution.manifest.list.v2+json";
            let manifest_kind = "application/vnd.docker.distribution.manifest.v2+json";
            let digest = format!("sha256:{}", "0".repeat(64));
            let list = format!(
                "{{\"schemaVersion\":2,\"mediaType\":\"{kind}\",\"manifests\":[{{\"mediaType\":\"{manifest_kind}\",\"size\":3,\
                 \"digest\":\"{digest}\",\"platform\":{{\"architecture\":\"s390x\",\"os\":\"zos\"}}}}]}}"
            );
            ([(CONTENT_TYPE, kind)], list).into_response()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_of_registries_decide_whether_a_pull_is_retried() {
    // An engine uses plain HTTP for registries on its own machine.
    let routes = Router::new()
        .route("/v2/", get(|| async { "{}" }))
        .route("/v2/{name}/manifests/{reference}", get(manifest));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut bench = Bench::start().await;
    for (image, expected) in [
        ("unknown:1", FailureKind::ImageUnavailable),
        ("no-name:1", FailureKind::ImageUnavailable),
        ("unauthorized:1", FailureKind::RegistryAccessDenied),
        ("denied:1", FailureKind::RegistryAccessDenied),
        ("other-machines:1", FailureKind::ImageUnavailable),
        ("NOT-A-NAME:1", FailureKind::ImageUnavailable),
        ("too-many:1", FailureKind::ImagePullFailed),
        ("down:1", FailureKind::ImagePullFailed),
    ] {
        let mut pulls = job(&["true"]);
        pulls.preparation.image = format!("127.0.0.1:{port}/{image}");
        pulls.preparation.pull_policy = Some(PullPolicy::Always);
        let (end, log) = bench.run(pulls).await;
        assert_eq!(kind(&end), Some(expected), "{image}: {log}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_of_the_engine_is_a_disk_full_failure() {
    let data = tempfile::tempdir().unwrap();
    let (store, _lock) = WorkerDirs::open(data.path(), "one").unwrap();
    let engine = DockerManager::connect(None, store, "one".into()).await.unwrap();
    let image = std::env::var("TIDEMILL_TEST_IMAGE").unwrap_or_else(|_| "tidemill-demo:1".into());
    let options = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=64k"];
    let small = docker(&[&["volume", "create"], &options[..]].concat()).remove(0);
    let container = docker(&["create", "--volume", &format!("{small}:/workspace"), &image, "true"]).remove(0);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(300_000);
    header.set_mode(0o644);
    tar.append_data(&mut header, "large", &vec![7; 300_000][..]).unwrap();
    let bytes = bytes::Bytes::from(tar.into_inner().unwrap());
    let uploaded = engine.upload(&container, futures_util::stream::iter([Ok(bytes)])).await;
    docker(&["rm", &container]);
    docker(&["volume", "rm", &small]);
    let reason = engine_failure("upload", &uploaded.unwrap_err());
    assert_eq!(reason.kind, FailureKind::DiskFull, "{reason:?}");
}
