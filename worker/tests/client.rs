//! The API's client against a server that notes what it was asked.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{TryStreamExt, stream};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tidemill_core::{
    api::{ArtifactComplete, ArtifactUploadReply, ArtifactUploadRequest, Health, HealthStatus},
    ids::{ArtifactId, JobId, LeaseToken},
};
use tidemill_worker::client::{ApiClient, ApiError};
use tokio::net::TcpListener;
use uuid::Uuid;

/// One request: what it was for, and what came with it.
#[derive(Debug, Clone)]
struct RecordedRequest {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl RecordedRequest {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Debug, Clone, Default)]
struct RequestLog(Arc<Mutex<Vec<RecordedRequest>>>);

impl RequestLog {
    fn all(&self) -> Vec<RecordedRequest> {
        self.0.lock().unwrap().clone()
    }
}

async fn answer(State(notes): State<RequestLog>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let host = parts.headers[header::HOST].to_str().unwrap().to_owned();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    notes.0.lock().unwrap().push(RecordedRequest { path: path.clone(), headers: parts.headers, body });
    let earlier = notes.all().iter().filter(|seen| seen.path == path).count();
    match path.as_str() {
        "/stage/$default/api/health" => {
            let json = serde_json::to_vec(&Health {
                status: HealthStatus::Ok,
                version: "1".repeat(5000),
                problems: Vec::new(),
                details: None,
            })
            .unwrap();
            let packed = zstd::bulk::compress(&json, 1).unwrap();
            ([(header::CONTENT_ENCODING, "zstd")], packed).into_response()
        }
        "/stage/$default/api/broken" => {
            let packed = zstd::bulk::compress(br#"{"detail":"in words"}"#, 1).unwrap();
            (StatusCode::BAD_REQUEST, [(header::CONTENT_ENCODING, "zstd")], packed).into_response()
        }
        "/stage/$default/api/elsewhere" => {
            let to = format!("http://{host}/bucket/key?signature=secret");
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        "/bucket/busy" if earlier < 3 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        "/stage/$default/api/often" if earlier < 2 => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response()
        }
        "/bucket/refused" => StatusCode::FORBIDDEN.into_response(),
        "/bucket/key" => Body::from("the object").into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

/// A client of an API that is below a path of its server; the server's address; and what it is asked.
async fn api() -> (ApiClient, String, RequestLog) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let notes = RequestLog::default();
    let router = Router::new().fallback(answer).with_state(notes.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (ApiClient::new(&format!("{host}/stage/$default/"), "secret"), host, notes)
}

/// A file that says `one two`.
fn file() -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"one two").unwrap();
    file
}

fn chunks() -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + Sync + 'static {
    stream::iter([Ok(Bytes::from_static(b"one ")), Ok(Bytes::from_static(b"two"))])
}

#[tokio::test]
async fn paths_are_below_the_servers_path_and_replies_are_decompressed() {
    let (api, _, notes) = api().await;
    let reply = api.fetch("/api/health", None).await.unwrap().unwrap();
    let health: Health = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(health.version.len(), 5000);
    assert_eq!(notes.all()[0].header("authorization"), Some("Bearer secret"));
    assert_eq!(notes.all()[0].header("accept-encoding"), Some("zstd"));
    let refused = api.fetch("/api/broken", None).await.unwrap_err();
    assert!(
        matches!(&refused, ApiError::Refused { status: 400, message, .. } if message == "in words"),
        "{refused}"
    );
}

#[tokio::test]
async fn token_is_sent_to_api_paths_only() {
    let (api, host, notes) = api().await;
    let got: Vec<Bytes> = api.get("/api/elsewhere").await.unwrap().try_collect().await.unwrap();
    assert_eq!(got.concat(), b"the object");
    api.put_file(&format!("{host}/bucket/new"), &BTreeMap::new(), &file()).await.unwrap();
    api.put("/api/content", chunks()).await.unwrap();
    let tokens: Vec<(String, bool)> = notes
        .all()
        .into_iter()
        .map(|seen| (seen.path.clone(), seen.header("authorization").is_some()))
        .collect();
    let expected = [
        ("/stage/$default/api/elsewhere", true),
        ("/bucket/key", false),
        ("/bucket/new", false),
        ("/stage/$default/api/content", true),
    ];
    assert_eq!(tokens, expected.map(|(path, token)| (path.to_owned(), token)));
    // What is downloaded comes as it is stored.
    assert_eq!(notes.all()[1].header("accept-encoding"), None);
}

#[tokio::test]
async fn token_is_not_sent_to_another_machine_without_tls_unless_allowed() {
    // No loopback address, and yet one that this machine answers on.
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let notes = RequestLog::default();
    let router = Router::new().fallback(answer).with_state(notes.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let api = ApiClient::new(&server, "secret");
    let refused = [
        api.fetch("/api/health", None).await.map(drop),
        api.get("/api/elsewhere").await.map(drop),
        api.put("/api/content", chunks()).await,
    ];
    for one in refused {
        assert!(matches!(one, Err(ApiError::InsecureHttp(_))), "{one:?}");
    }
    assert!(notes.all().is_empty(), "nothing was sent");
    api.with_insecure_http(true).put("/api/content", chunks()).await.unwrap();
    assert_eq!(notes.all()[0].header("authorization"), Some("Bearer secret"));
}

#[tokio::test]
async fn upload_to_a_busy_store_has_a_length_and_is_retried() {
    let (api, host, notes) = api().await;
    let headers = BTreeMap::from([("x-amz-checksum-sha256".to_owned(), "c3Vt".to_owned())]);
    api.put_file(&format!("{host}/bucket/busy"), &headers, &file()).await.unwrap();
    let seen = notes.all();
    assert_eq!(seen.len(), 3);
    for one in &seen {
        assert_eq!(one.header("x-amz-checksum-sha256"), Some("c3Vt"), "what the server says of the request");
        assert_eq!(one.header("content-length"), Some("7"));
        assert_eq!(one.header("transfer-encoding"), None);
        assert_eq!(&one.body[..], b"one two");
    }
    let url = format!("{host}/bucket/refused?signature=abc");
    let refused = api.put_file(&url, &headers, &file()).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    assert_eq!(notes.all().len(), 4, "what is refused is not tried again");
}

#[tokio::test]
async fn error_does_not_show_the_object_stores_address() {
    let (api, host, _) = api().await;
    let none = BTreeMap::new();
    let refused = format!("{host}/bucket/refused?signature=abc");
    let away = "http://tidemill-123456789012.invalid/bucket/key?signature=abc";
    let odd = format!("{host}/bucket/\n?signature=abc");
    let errors = [
        api.put_file(&refused, &none, &file()).await.err(),
        api.get(&refused).await.map(drop).err(),
        api.put_file(&odd, &none, &file()).await.err(),
        ApiClient::new(&host, "secret").put_file(away, &none, &file()).await.err(),
    ];
    for error in errors {
        let words = error.expect("it is refused").to_string();
        assert!(words.contains("the server's object store"), "{words}");
        for hidden in ["bucket", "abc", "123456789012"] {
            assert!(!words.contains(hidden), "{words}");
        }
    }
}

#[tokio::test]
async fn announced_sums_are_remembered() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let reply = ArtifactUploadReply {
        artifact_id: ArtifactId(Uuid::nil()),
        url: None,
        headers: BTreeMap::new(),
        encoding: "identity".into(),
    };
    let router = Router::new().fallback(async move || Json(reply));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let api = ApiClient::new(&host, "secret");
    let mut request = ArtifactUploadRequest {
        job_id: JobId(Uuid::nil()),
        lease: LeaseToken(Uuid::nil()),
        file_path: "out".into(),
        files: Vec::new(),
        expire_in_s: None,
        cache_key: None,
        sum: None,
        complete: Some(ArtifactComplete {
            artifact_id: ArtifactId(Uuid::nil()),
            size: 0,
            sha256: String::new(),
        }),
    };
    api.upload(&request).await.unwrap();
    assert!(!api.announces_sums(), "a place is not asked for");
    request.complete = None;
    api.upload(&request).await.unwrap();
    assert!(api.announces_sums() && api.clone().announces_sums());
}

#[tokio::test]
async fn invalid_address_is_an_error() {
    let api = ApiClient::new("ftp://host", "secret");
    let refused = api.fetch("/api/health", None).await.unwrap_err();
    assert!(matches!(refused, ApiError::Address(_)), "{refused}");
    assert!(refused.to_string().contains("https://"), "{refused}");
}

#[tokio::test]
async fn retry_after_of_a_busy_server_is_respected() {
    let (api, _, notes) = api().await;
    let begun = Instant::now();
    let got: Vec<Bytes> = api.get("/api/often").await.unwrap().try_collect().await.unwrap();
    assert_eq!((got.concat().len(), notes.all().len()), (0, 2));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}
