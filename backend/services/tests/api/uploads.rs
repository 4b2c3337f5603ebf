//! Logs, artifacts and sources.

use super::server::{DIAMOND, Server, log};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidemill_services::Settings;

/// The content of the artifacts, and its hash.
const CONTENT: &[u8] = b"bytes";
const CONTENT_SHA256: &str = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";

/// Returns the request that announces an artifact of a claimed job, one file.
fn announcement(job: &Value, size: usize) -> Value {
    json!({
        "job_id": job["preparation"]["job_id"], "lease": job["lease"]["token"],
        "file_path": "out", "files": [{ "path": "out", "size": size }],
    })
}

/// Announces an artifact and uploads its content. Returns the request that completes it.
async fn upload_content(server: &Server, announced: Value) -> Value {
    let (_, upload) = server.post("/api/artifact/upload", announced.clone()).await;
    let put = server.raw(Method::PUT, upload["url"].as_str().unwrap(), Some(CONTENT.to_vec())).await;
    assert_eq!(put.0, StatusCode::NO_CONTENT);
    let mut complete = announced;
    let (id, size) = (&upload["artifact_id"], CONTENT.len());
    complete["complete"] = json!({ "artifact_id": id, "size": size, "sha256": CONTENT_SHA256 });
    complete
}

/// Uploads an artifact.
async fn upload_artifact(server: &Server, announced: Value) {
    let complete = upload_content(server, announced).await;
    let (status, reply) = server.post("/api/artifact/upload", complete).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_bytes_are_stored_once_and_survive_restart() {
    let server = Server::start(30_000);
    server.execute(DIAMOND).await;
    let assignment = server.claim().await.unwrap();
    let job = assignment["preparation"]["job_id"].as_str().unwrap().to_owned();
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    assert_eq!(server.report(&assignment, log(0, &bytes)).await.1["log_bytes"], 70_000);
    assert_eq!(server.report(&assignment, log(0, &bytes)).await.1["log_bytes"], 70_000, "a repetition");
    assert_eq!(server.report(&assignment, log(70_001, b"x")).await.0, StatusCode::CONFLICT, "a gap");
    let server = server.restart(30_000);
    let (status, stored) = server.raw(Method::GET, &format!("/api/job/logs/{job}?limit=100000"), None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(stored, bytes);
    let (_, tail) = server.raw(Method::GET, &format!("/api/job/logs/{job}?offset=69999"), None).await;
    assert_eq!(tail, bytes[69_999..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_over_server_limit_ends_attempt() {
    let server = Server::start_with(Settings { max_log_bytes: 100, ..Settings::default() });
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let first = server.claim().await.unwrap();
    assert_eq!(server.report(&first, log(0, &[b'x'; 100])).await.0, StatusCode::OK, "exactly the limit");
    let (status, reply) = server.report(&first, log(100, b"y")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{reply}");
    assert_eq!(server.report(&first, json!({})).await.0, StatusCode::CONFLICT, "its lease has ended");
    let view = server.view(&id).await;
    let reason = &view["jobs"][0]["failure_reason"];
    assert_eq!(reason["kind"], "log_limit", "{view}");
    let job = first["preparation"]["job_id"].as_str().unwrap();
    let (_, stored) = server.raw(Method::GET, &format!("/api/job/logs/{job}?limit=1000"), None).await;
    assert_eq!(stored.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn artifact_reaches_job_that_needs_it() {
    let server = Server::start(30_000);
    server.execute(DIAMOND).await;
    let first = server.claim().await.unwrap();
    let complete = upload_content(&server, announcement(&first, CONTENT.len())).await;
    let mut damaged = complete.clone();
    damaged["complete"]["sha256"] = json!("00");
    assert_eq!(server.post("/api/artifact/upload", damaged).await.0, StatusCode::CONFLICT);
    let (status, reply) = server.post("/api/artifact/upload", complete.clone()).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    server.finish(&first, 0).await;
    assert_eq!(
        server.post("/api/artifact/upload", complete).await.0,
        StatusCode::CONFLICT,
        "the lease has ended"
    );
    let next = server.claim().await.unwrap();
    let needed = &next["needs_artifacts"][0];
    assert_eq!((&needed["from_job"], &needed["sha256"]), (&json!("first"), &json!(CONTENT_SHA256)));
    let url = needed["url"].as_str().unwrap();
    for query in ["", "&redirect=false"] {
        let (_, bytes) = server.raw(Method::GET, &format!("{url}{query}"), None).await;
        assert_eq!(bytes, CONTENT, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn job_gets_artifacts_of_jobs_that_it_names() {
    let server = Server::start(30_000);
    let uploads = "image: i, script: [a], artifacts: { paths: [out] }";
    let downloads = "stage: b, image: i, script: [a]";
    server
        .execute(&format!(
            "name: named\nstages: [a, b]\njobs:\n  one: {{ stage: a, {uploads} }}\n  two: {{ stage: a, {uploads} }}\n  \
             all: {{ {downloads} }}\n  some: {{ {downloads}, dependencies: [two] }}\n  \
             needed: {{ {downloads}, needs: [one, two], dependencies: one }}\n  none: {{ {downloads}, dependencies: [] }}\n"
        ))
        .await;
    for _ in 0..2 {
        let job = server.claim().await.unwrap();
        upload_artifact(&server, announcement(&job, CONTENT.len())).await;
        server.finish(&job, 0).await;
    }
    let mut downloaded = BTreeMap::new();
    for _ in 0..4 {
        let job = server.claim().await.unwrap();
        let from = job["needs_artifacts"].as_array().unwrap().iter();
        let from: Vec<String> =
            from.map(|artifact| artifact["from_job"].as_str().unwrap().to_owned()).collect();
        downloaded.insert(job["job_name"].as_str().unwrap().to_owned(), from.join(" "));
    }
    let expected = [("all", "one two"), ("needed", "one"), ("none", ""), ("some", "two")];
    assert_eq!(downloaded, expected.map(|(job, from)| (job.to_owned(), from.to_owned())).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_a_job_builds_reaches_the_jobs_that_run_in_it_and_is_not_listed() {
    let server = Server::start(30_000);
    let pack = "pack: { stage: a, build: . }";
    let used = format!(
        "name: used\nstages: [a, b]\njobs:\n  {pack}\n  use: {{ stage: b, image: \"${{IMAGE_REFERENCE}}\", script: [x] }}\n"
    );
    let pushed =
        used.replace("name: used", "name: pushed").replace("build: .", "build: { tags: [a/b], push: true }");
    let unused = format!(
        "name: unused\nstages: [a, b]\njobs:\n  {pack}\n  \
         use: {{ stage: b, image: \"${{IMAGE_REFERENCE}}\", script: [x], dependencies: [] }}\n"
    );
    for file in [pushed, unused] {
        server.execute(&file).await;
        let job = server.claim().await.unwrap();
        assert_eq!(job["extras"]["shares_image"], Value::Null, "{file}");
    }

    let id = server.execute(&used).await.1["execution_id"].as_str().unwrap().to_owned();
    let job = server.claim().await.unwrap();
    assert_eq!(job["extras"]["shares_image"], true);
    let image = format!("sha256:{}", "a".repeat(64));
    let mut announce = json!({
        "job_id": job["preparation"]["job_id"], "lease": job["lease"]["token"], "file_path": "image", "files": [],
        "image": "latest",
    });
    assert_eq!(server.post("/api/artifact/upload", announce.clone()).await.0, StatusCode::BAD_REQUEST);
    announce["image"] = json!(image);
    upload_artifact(&server, announce).await;
    let outputs = json!({ "IMAGE_ID": image, "IMAGE_REFERENCE": image });
    server.report(&job, json!({ "end": { "exit_code": 0, "outputs": outputs } })).await;
    let (_, list) = server.call(Method::GET, &format!("/api/artifact/list/{id}"), None).await;
    assert_eq!(list["artifacts"], json!([]));

    let user = server.claim().await.unwrap();
    assert_eq!(user["preparation"]["image"], json!(image));
    assert_eq!(user["needs_artifacts"][0]["image"], json!(image));
    server.finish(&user, 1).await;
    // A retry uses the stored image.
    server.post(&format!("/api/pipeline/retry/{id}"), json!({})).await;
    let again = server.claim().await.unwrap();
    assert_eq!((&again["job_name"], &again["needs_artifacts"][0]["image"]), (&json!("use"), &json!(image)));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_builds_an_image_again_that_was_not_stored() {
    let server = Server::start(30_000);
    let file = "name: built\nstages: [a, b]\njobs:\n  pack: { stage: a, build: . }\n  \
                use: { stage: b, image: \"${IMAGE_ID}\", script: [x] }\n";
    let id = server.execute(file).await.1["execution_id"].as_str().unwrap().to_owned();
    for exit_code in [0, 1] {
        let job = server.claim().await.unwrap();
        server.finish(&job, exit_code).await;
    }
    server.post(&format!("/api/pipeline/retry/{id}"), json!({})).await;
    assert_eq!(server.claim().await.unwrap()["job_name"], "pack");
}

#[tokio::test(flavor = "multi_thread")]
async fn artifact_over_server_limit_is_rejected() {
    let server = Server::start_with(Settings { max_artifact_bytes: 100, ..Settings::default() });
    server.execute(DIAMOND).await;
    let first = server.claim().await.unwrap();
    let announce = announcement(&first, 101);
    let (_, upload) = server.post("/api/artifact/upload", announce.clone()).await;
    let url = upload["url"].as_str().unwrap();
    assert_eq!(server.raw(Method::PUT, url, Some(vec![0; 101])).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let mut complete = announce;
    let sha = "00".repeat(32);
    complete["complete"] = json!({ "artifact_id": upload["artifact_id"], "size": 101, "sha256": sha });
    assert_eq!(
        server.post("/api/artifact/upload", complete).await.0,
        StatusCode::CONFLICT,
        "nothing was stored"
    );
    assert_eq!(server.raw(Method::PUT, url, Some(vec![0; 100])).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploaded_sources_are_immutable() {
    let server = Server::start(30_000);
    // A repository id, and the SHA-256 of `first`.
    let name = format!("{}a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e", "ab".repeat(16));
    let upload_url = async |size: Value| {
        server.post("/api/source/upload", json!({ "upload": name, "size": size })).await.1["url"].clone()
    };
    let missing = server.raw(Method::GET, &format!("/api/source/download/{name}"), None).await.0;
    assert_eq!(missing, StatusCode::NOT_FOUND);
    let url = upload_url(Value::Null).await;
    assert_eq!(url, upload_url(json!(5)).await);
    for (bytes, expected) in [
        ("garbage", StatusCode::BAD_REQUEST),
        ("first", StatusCode::NO_CONTENT),
        ("other", StatusCode::NO_CONTENT),
    ] {
        let put = server.raw(Method::PUT, url.as_str().unwrap(), Some(bytes.into())).await.0;
        assert_eq!(put, expected, "{bytes}");
    }
    assert_eq!(upload_url(Value::Null).await, Value::Null, "it is uploaded already");
    let (_, bytes) = server.raw(Method::GET, &format!("/api/source/download/{name}"), None).await;
    assert_eq!(bytes, b"first");
    for (name, size) in [("../token", 5), ("AB", 5), (name.as_str(), 6 << 30)] {
        let request = json!({ "upload": name, "size": size });
        assert_eq!(server.post("/api/source/upload", request).await.0, StatusCode::BAD_REQUEST, "{name}");
    }
    let name = "ab".repeat(48);
    let empty = server.raw(Method::PUT, &format!("/api/source/content/{name}"), Some(Vec::new())).await.0;
    assert_eq!(empty, StatusCode::BAD_REQUEST, "an empty body is rejected");
    let put = server.raw(Method::PUT, "/api/source/content/token", Some(Vec::new())).await.0;
    assert_eq!(put, StatusCode::BAD_REQUEST);
}
