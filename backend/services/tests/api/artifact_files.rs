//! Files inside of artifacts.

use super::server::Server;
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use data_encoding::HEXLOWER;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io::Read, time::Duration};
use tidemill_core::access::{Scope, TokenRequest};
use tidemill_services::http::{ClientAddress, TokenVerifier, router};
use tidemill_services::{Caller, Settings};
use tokio::time::timeout;
use tower::ServiceExt;

const PIPELINE: &str =
    "name: one\njobs:\n  \"unit/../tests\": { image: i, script: [a], artifacts: { paths: [out] } }\n";
const PAGE: &str = "<h1>Report</h1>";

/// A tar with a page, a binary file and a link out of the archive.
fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let big = vec![7_u8; 300_000];
    for (path, bytes) in [("out/index.html", PAGE.as_bytes()), ("./out/data.bin", &big)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes).unwrap();
    }
    for (kind, path, target) in [
        (tar::EntryType::Symlink, "out/link", "/etc/passwd"),
        (tar::EntryType::Link, "out/same", "out/data.bin"),
        (tar::EntryType::Link, "out/above", "../../other"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        tar.append_link(&mut header, path, target).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Runs a job that uploads the archive; returns the ids of the execution and of the artifact.
async fn upload(server: &Server, encoding: &str) -> (String, String) {
    let execution = server.execute(PIPELINE).await.1["execution_id"].as_str().unwrap().to_owned();
    let job = server.claim().await.unwrap();
    let tar = tar();
    let stored = if encoding == "zstd" { zstd::bulk::compress(&tar, 1).unwrap() } else { tar.clone() };
    let files = json!([
        { "path": "out/index.html", "size": PAGE.len() }, { "path": "out/data.bin", "size": 300_000 },
        { "path": "out/link", "size": 0 },
    ]);
    let mut request = json!({
        "job_id": job["preparation"]["job_id"], "lease": job["lease"]["token"], "file_path": "out", "files": files,
    });
    let (_, upload) = server.post("/api/artifact/upload", request.clone()).await;
    let put = server.raw(Method::PUT, upload["url"].as_str().unwrap(), Some(stored.clone())).await;
    assert_eq!(put.0, StatusCode::NO_CONTENT);
    request["complete"] = json!({
        "artifact_id": upload["artifact_id"], "size": stored.len(), "encoding": encoding,
        "sha256": HEXLOWER.encode(&Sha256::digest(&stored)), "unpacked_size": tar.len(),
    });
    let (status, reply) = server.post("/api/artifact/upload", request).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    server.finish(&job, 0).await;
    (execution, upload["artifact_id"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn file_of_an_archive_is_served_in_a_sandbox() {
    let server = Server::start(30_000);
    for encoding in ["identity", "zstd"] {
        let (_, artifact) = upload(&server, encoding).await;
        let file = |query: &str| format!("/api/artifact/file/{artifact}?path={query}");
        let reply = server.reply(&file("out/index.html")).await;
        let headers = reply.headers().clone();
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), PAGE);
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(headers["content-disposition"], "inline; filename=\"index.html\"");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("sandbox allow-scripts;") && !policy.contains("same-origin"), "{policy}");

        let saved = server.reply(&file("out/index.html&download=true")).await;
        assert_eq!(saved.headers()["content-disposition"], "attachment; filename=\"index.html\"");
        let binary = server.reply(&file("out/data.bin")).await;
        assert_eq!(binary.headers()["content-type"], "application/octet-stream");
        assert_eq!(binary.headers()["content-disposition"], "attachment; filename=\"data.bin\"");
        assert_eq!(binary.headers()["content-length"], "300000");
        assert_eq!(binary.into_body().collect().await.unwrap().to_bytes(), vec![7_u8; 300_000]);

        for (query, status) in [
            ("out/none.html", StatusCode::NOT_FOUND),
            ("out", StatusCode::NOT_FOUND),
            ("out/link", StatusCode::NOT_FOUND),
            ("out/../out/index.html", StatusCode::BAD_REQUEST),
            ("/etc/passwd", StatusCode::BAD_REQUEST),
            ("", StatusCode::BAD_REQUEST),
        ] {
            let (actual, reply) = server.call(Method::GET, &file(query), None).await;
            assert_eq!(actual, status, "{query}: {reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_over_the_limit_of_a_reply_is_an_error_with_the_remedy() {
    let server = Server::start_with(Settings { max_file_reply_bytes: 299_999, ..Settings::default() });
    let (_, artifact) = upload(&server, "zstd").await;
    let path = format!("/api/artifact/file/{artifact}?path=out/data.bin");
    let (status, problem) = server.call(Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(problem["detail"].as_str().unwrap().contains("download the whole artifact"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_block_nobody_else() {
    let server = Server::start(30_000);
    let (_, artifact) = upload(&server, "zstd").await;
    let path = format!("/api/artifact/file/{artifact}?path=out/data.bin");
    let mut unread = Vec::new();
    // More than there ever were readers.
    for _ in 0..7 {
        let request =
            TokenRequest { name: "t".into(), scopes: [Scope::Read].into(), repo: None, expire_in_s: None };
        let token = server.services.tokens.create(request, &Caller::bootstrap(Scope::Admin)).await.unwrap();
        for _ in 0..3 {
            let reply = timeout(Duration::from_secs(60), server.reply_with(&path, &token.token)).await;
            let reply = reply.expect("a reply although others do not read theirs");
            assert_eq!(reply.status(), StatusCode::OK);
            unread.push(reply);
        }
    }
    assert_eq!(server.call(Method::GET, &path, None).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_no_scripts_of_the_servers_own_pages() {
    let server = Server::start(30_000);
    let (_, artifact) = upload(&server, "zstd").await;
    let link = server.post(&format!("/api/artifact/link/{artifact}"), json!({})).await.1;
    let linked = format!("{}out/index.html", link["path"].as_str().unwrap());
    let direct = format!("/api/artifact/file/{artifact}?path=out/index.html");
    for (site, destination, is_shown) in [
        ("same-origin", "iframe", true),
        ("same-origin", "empty", true),
        ("same-origin", "image", true),
        ("same-origin", "script", false),
        ("same-origin", "style", false),
        ("same-origin", "worker", false),
        ("same-site", "serviceworker", false),
        // A report in its sandbox.
        ("cross-site", "script", true),
        ("none", "document", true),
    ] {
        for path in [&linked, &direct] {
            let request = Request::get(path)
                .header("authorization", "Bearer secret")
                .header("sec-fetch-site", site)
                .header("sec-fetch-dest", destination);
            let reply = server.api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let expected = if is_shown { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(reply.status(), expected, "{site} {destination} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_links_are_limited() {
    let server = Server::start(30_000);
    let (_, artifact) = upload(&server, "zstd").await;
    let link = server.post(&format!("/api/artifact/link/{artifact}"), json!({})).await.1;
    let verifier = TokenVerifier::from_token("secret").with_rate_limit(1);
    let api = router(server.services.clone(), verifier);
    let call = async |path: String| {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(ClientAddress([192, 0, 2, 1].into()));
        api.clone().oneshot(request).await.unwrap().status()
    };
    let limited = async |path: &str| {
        for _ in 0..1_000 {
            match call(path.to_owned()).await {
                StatusCode::TOO_MANY_REQUESTS => return true,
                status => assert_eq!(status, StatusCode::NOT_FOUND),
            }
        }
        false
    };
    // The path is not one of a file, so that nothing is searched.
    assert!(limited(&format!("{}none", link["path"].as_str().unwrap())).await, "with a valid link");
    assert!(limited("/artifact-files/invalid/none").await, "with an invalid link");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_archive_is_an_error() {
    let server = Server::start(30_000);
    let (_, artifact) = upload(&server, "unheard-of").await;
    let path = format!("/api/artifact/file/{artifact}?path=out/index.html");
    let (status, problem) = server.call(Method::GET, &path, None).await;
    assert_eq!((status, &problem["type"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("tidemill:storage")));
}

#[tokio::test(flavor = "multi_thread")]
async fn link_serves_the_files_of_its_artifact_without_a_token() {
    let server = Server::start(30_000);
    let (_, artifact) = upload(&server, "zstd").await;
    let link = server.post(&format!("/api/artifact/link/{artifact}"), json!({})).await.1;
    let base = link["path"].as_str().unwrap();
    let get = async |path: String| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let reply = server.api.clone().oneshot(request).await.unwrap();
        (reply.status(), reply.into_body().collect().await.unwrap().to_bytes())
    };
    assert_eq!(get(format!("{base}out/index.html")).await, (StatusCode::OK, PAGE.into()));
    assert_eq!(get(format!("{base}out/other.html")).await.0, StatusCode::NOT_FOUND);
    let ticket = base.trim_end_matches('/').rsplit('/').next().unwrap();
    let changed = base.replace(ticket, &format!("{}A{}", &ticket[..40], &ticket[41..]));
    for other in [changed, base.replace(ticket, "x"), base.replace(ticket, &"x".repeat(5_000))] {
        assert_eq!(get(format!("{other}out/index.html")).await.0, StatusCode::NOT_FOUND, "{other}");
    }
    let missing = "/api/artifact/link/01900000-0000-8000-8000-000000000000";
    assert_eq!(server.post(missing, json!({})).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_artifacts_of_an_execution_are_one_tar_with_a_directory_for_each() {
    let server = Server::start(30_000);
    let (execution, _) = upload(&server, "zstd").await;
    let reply = server.reply(&format!("/api/artifact/archive/{execution}")).await;
    assert_eq!(reply.headers()["content-type"], "application/x-tar");
    let bytes = reply.into_body().collect().await.unwrap().to_bytes();
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(entry.path().unwrap().display().to_string(), content.len());
    }
    // The name of a job is no path.
    let directory = "unit_.._tests";
    let expected =
        [("out/data.bin", 300_000), ("out/index.html", PAGE.len()), ("out/link", 0), ("out/same", 0)];
    assert_eq!(files, expected.map(|(path, size)| (format!("{directory}/{path}"), size)).into());

    let limited = Server::start_with(Settings { max_wait_ms: 0, ..Settings::default() });
    let (execution, _) = upload(&limited, "zstd").await;
    let (status, problem): (_, Value) =
        limited.call(Method::GET, &format!("/api/artifact/archive/{execution}"), None).await;
    assert_eq!((status, &problem["type"]), (StatusCode::NOT_IMPLEMENTED, &json!("tidemill:no-archive")));
}
