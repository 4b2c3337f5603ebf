//! Tests of the API client against a server that records its requests.

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures_util::{TryStreamExt, stream};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tidemill_core::{
    api::{
        ArtifactComplete, ArtifactEncoding, ArtifactUploadReply, ArtifactUploadRequest, Health, HealthStatus,
    },
    ids::{ArtifactId, JobId, LeaseToken},
};
use tidemill_worker::client::{ApiClient, ApiError};
use tokio::net::TcpListener;
use uuid::Uuid;

/// A recorded request.
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

async fn respond(State(requests): State<RequestLog>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let host = parts.headers[header::HOST].to_str().unwrap().to_owned();
    let accepts_zstd = parts.headers.get(header::ACCEPT_ENCODING).is_some_and(|value| value == "zstd");
    let body = to_bytes(body, usize::MAX).await.unwrap();
    requests.0.lock().unwrap().push(RecordedRequest { path: path.clone(), headers: parts.headers, body });
    let earlier = requests.all().iter().filter(|request| request.path == path).count();
    match path.as_str() {
        "/stage/$default/api/health" => {
            let json = serde_json::to_vec(&Health {
                status: HealthStatus::Ok,
                version: "1".repeat(5000),
                problems: Vec::new(),
                details: None,
            })
            .unwrap();
            let compressed = zstd::bulk::compress(&json, 1).unwrap();
            ([(header::CONTENT_ENCODING, "zstd")], compressed).into_response()
        }
        "/stage/$default/api/broken" => {
            let compressed = zstd::bulk::compress(br#"{"detail":"invalid value"}"#, 1).unwrap();
            (StatusCode::BAD_REQUEST, [(header::CONTENT_ENCODING, "zstd")], compressed).into_response()
        }
        // As an API gateway that takes every body for text.
        "/stage/$default/api/recoded" | "/stage/$default/api/always-recoded" => {
            let compressed = zstd::bulk::compress(b"\"the reply\"", 1).unwrap();
            let recoded = ([(header::CONTENT_ENCODING, "zstd")], BASE64.encode(&compressed)).into_response();
            if accepts_zstd || path.ends_with("always-recoded") {
                recoded
            } else {
                "\"the reply\"".into_response()
            }
        }
        "/stage/$default/api/elsewhere" => {
            let target = format!("http://{host}/bucket/key?signature=secret");
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response()
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

/// Starts a server with an API below a path; returns a client, the server's URL, and the recorded requests.
async fn api() -> (ApiClient, String, RequestLog) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let requests = RequestLog::default();
    let router = Router::new().fallback(respond).with_state(requests.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (ApiClient::new(&format!("{host}/stage/$default/"), "secret"), host, requests)
}

/// Creates a file with the content `one two`.
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
    let (api, _, requests) = api().await;
    let reply = api.fetch("/api/health", None).await.unwrap().unwrap();
    let health: Health = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(health.version.len(), 5000);
    assert_eq!(requests.all()[0].header("authorization"), Some("Bearer secret"));
    assert_eq!(requests.all()[0].header("accept-encoding"), Some("zstd"));
    let error = api.fetch("/api/broken", None).await.unwrap_err();
    assert!(
        matches!(&error, ApiError::Rejected { status: 400, message, .. } if message == "invalid value"),
        "{error}"
    );
}

#[tokio::test]
async fn reply_that_arrives_in_another_encoding_is_fetched_again_without_compression() {
    let (api, _, requests) = api().await;
    for _ in 0..2 {
        let reply = api.fetch("/api/recoded", None).await.unwrap().unwrap();
        assert_eq!(reply.body, b"\"the reply\""[..]);
    }
    let requests = requests.all();
    let encodings: Vec<_> = requests.iter().map(|request| request.header("accept-encoding")).collect();
    assert_eq!(encodings, [Some("zstd"), None, None], "once it is known, compression is not requested again");
}

#[tokio::test]
async fn reply_that_is_never_in_the_encoding_it_names_is_one_permanent_error() {
    let (api, host, requests) = api().await;
    let error = api.fetch("/api/always-recoded", None).await.unwrap_err();
    assert!(!error.is_transient());
    let url = format!("{host}/stage/$default/api/always-recoded");
    assert!(matches!(&error, ApiError::Encoding(at) if *at == url), "{error}");
    assert_eq!(requests.all().len(), 2);

    let (api, ..) = self::api().await;
    let posted: Result<String, _> =
        api.post("/api/always-recoded", &"request", Duration::from_secs(10)).await;
    assert!(matches!(posted, Err(ApiError::Encoding(_))), "{posted:?}");
}

#[tokio::test]
async fn token_is_sent_to_api_paths_only() {
    let (api, host, requests) = api().await;
    let received: Vec<Bytes> = api.get("/api/elsewhere").await.unwrap().try_collect().await.unwrap();
    assert_eq!(received.concat(), b"the object");
    api.put_file(&format!("{host}/bucket/new"), &BTreeMap::new(), &file()).await.unwrap();
    api.put("/api/content", chunks()).await.unwrap();
    let tokens: Vec<(String, bool)> = requests
        .all()
        .into_iter()
        .map(|request| (request.path.clone(), request.header("authorization").is_some()))
        .collect();
    let expected = [
        ("/stage/$default/api/elsewhere", true),
        ("/bucket/key", false),
        ("/bucket/new", false),
        ("/stage/$default/api/content", true),
    ];
    assert_eq!(tokens, expected.map(|(path, token)| (path.to_owned(), token)));
    // Downloads are not compressed.
    assert_eq!(requests.all()[1].header("accept-encoding"), None);
}

#[tokio::test]
async fn token_is_not_sent_to_another_machine_without_tls_unless_allowed() {
    // Not a loopback address, but one on which this machine listens.
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let requests = RequestLog::default();
    let router = Router::new().fallback(respond).with_state(requests.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let api = ApiClient::new(&server, "secret");
    let results = [
        api.fetch("/api/health", None).await.map(drop),
        api.get("/api/elsewhere").await.map(drop),
        api.put("/api/content", chunks()).await,
    ];
    for result in results {
        assert!(matches!(result, Err(ApiError::InsecureHttp(_))), "{result:?}");
    }
    assert!(requests.all().is_empty(), "nothing was sent");
    api.with_insecure_http(true).put("/api/content", chunks()).await.unwrap();
    assert_eq!(requests.all()[0].header("authorization"), Some("Bearer secret"));
}

#[tokio::test]
async fn upload_to_a_busy_store_has_a_length_and_is_retried() {
    let (api, host, requests) = api().await;
    let headers = BTreeMap::from([("x-amz-checksum-sha256".to_owned(), "c3Vt".to_owned())]);
    api.put_file(&format!("{host}/bucket/busy"), &headers, &file()).await.unwrap();
    let sent = requests.all();
    assert_eq!(sent.len(), 3);
    for request in &sent {
        assert_eq!(request.header("x-amz-checksum-sha256"), Some("c3Vt"), "headers from the server are sent");
        assert_eq!(request.header("content-length"), Some("7"));
        assert_eq!(request.header("transfer-encoding"), None);
        assert_eq!(&request.body[..], b"one two");
    }
    let url = format!("{host}/bucket/refused?signature=abc");
    let error = api.put_file(&url, &headers, &file()).await.unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
    assert_eq!(requests.all().len(), 4, "a rejected upload is not retried");
}

#[tokio::test]
async fn error_does_not_show_the_object_stores_address() {
    let (api, host, _) = api().await;
    let none = BTreeMap::new();
    let rejected = format!("{host}/bucket/refused?signature=abc");
    let unreachable = "http://tidemill-123456789012.invalid/bucket/key?signature=abc";
    let invalid = format!("{host}/bucket/\n?signature=abc");
    let errors = [
        api.put_file(&rejected, &none, &file()).await.err(),
        api.get(&rejected).await.map(drop).err(),
        api.put_file(&invalid, &none, &file()).await.err(),
        ApiClient::new(&host, "secret").put_file(unreachable, &none, &file()).await.err(),
    ];
    for error in errors {
        let message = error.expect("the call fails").to_string();
        assert!(message.contains("the server's object store"), "{message}");
        for hidden in ["bucket", "abc", "123456789012"] {
            assert!(!message.contains(hidden), "{message}");
        }
    }
}

#[tokio::test]
async fn requirement_of_checksums_is_remembered() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let reply =
        ArtifactUploadReply { artifact_id: ArtifactId(Uuid::nil()), url: None, headers: BTreeMap::new() };
    let router = Router::new().fallback(async move || Json(reply));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let api = ApiClient::new(&host, "secret");
    let mut request = ArtifactUploadRequest {
        job_id: JobId(Uuid::nil()),
        lease: LeaseToken(Uuid::nil()),
        file_path: "out".into(),
        name: None,
        expose_as: None,
        files: Vec::new(),
        expire_in_s: None,
        cache_key: None,
        image: None,
        sum: None,
        complete: Some(ArtifactComplete {
            artifact_id: ArtifactId(Uuid::nil()),
            size: 0,
            sha256: String::new(),
            encoding: ArtifactEncoding::Identity,
            unpacked_size: 0,
        }),
    };
    api.upload(&request).await.unwrap();
    assert!(!api.requires_checksums(), "no upload URL is requested");
    request.complete = None;
    api.upload(&request).await.unwrap();
    assert!(api.requires_checksums() && api.clone().requires_checksums());
}

#[tokio::test]
async fn invalid_address_is_an_error() {
    let api = ApiClient::new("ftp://host", "secret");
    let error = api.fetch("/api/health", None).await.unwrap_err();
    assert!(matches!(error, ApiError::Address(_)), "{error}");
    assert!(error.to_string().contains("https://"), "{error}");
}

#[tokio::test]
async fn retry_after_of_a_busy_server_is_respected() {
    let (api, _, requests) = api().await;
    let started = Instant::now();
    let received: Vec<Bytes> = api.get("/api/often").await.unwrap().try_collect().await.unwrap();
    assert_eq!((received.concat().len(), requests.all().len()), (0, 2));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}
