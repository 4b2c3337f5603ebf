//! A proxy in front of an emulator that makes indexes stale, as real ones can be and the emulator's are not: while frozen, it
//! answers a query of an index with its first reply.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use axum::{Router, body::Body, extract::State, http::Request, response::Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

#[derive(Clone)]
struct Proxy {
    upstream: String,
    http: Client<HttpConnector, Full<Bytes>>,
    index: Index,
}

/// The recorded replies of the indexes.
#[derive(Clone, Default)]
pub struct Index(Arc<Mutex<RecordedReplies>>);

#[derive(Default)]
struct RecordedReplies {
    frozen: bool,
    replies: HashMap<String, Bytes>,
    repeated: usize,
}

impl Index {
    /// Answers repeated queries of indexes with their earlier replies from now on.
    pub fn freeze(&self) {
        self.0.lock().unwrap().frozen = true;
    }

    /// Forwards all queries from now on.
    pub fn thaw(&self) {
        *self.0.lock().unwrap() = RecordedReplies::default();
    }

    /// Returns the number of replies that were repeated.
    pub fn repeated(&self) -> usize {
        self.0.lock().unwrap().repeated
    }
}

/// Starts the proxy, and returns its address.
pub async fn start(upstream: &str) -> (String, Index) {
    let index = Index::default();
    let http = Client::builder(TokioExecutor::new()).build_http();
    let proxy = Proxy { upstream: upstream.to_owned(), http, index: index.clone() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(forward).with_state(proxy);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, index)
}

async fn forward(State(proxy): State<Proxy>, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_index_query = target.ends_with(".Query") && body.windows(11).any(|part| part == b"\"IndexName\"");
    // The SDK writes the values of an expression in any order.
    let query = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default().to_string();
    if is_index_query {
        let mut recorded = proxy.index.0.lock().unwrap();
        if recorded.frozen
            && let Some(reply) = recorded.replies.get(&query).cloned()
        {
            recorded.repeated += 1;
            return Response::builder()
                .header("content-type", "application/x-amz-json-1.0")
                .body(Body::from(reply))
                .unwrap();
        }
    }
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    parts.uri = format!("{}{path}", proxy.upstream).parse().unwrap();
    let request = Request::from_parts(parts, Full::new(body.clone()));
    let (parts, reply) = proxy.http.request(request).await.unwrap().into_parts();
    let reply = reply.collect().await.unwrap().to_bytes();
    if is_index_query && parts.status.is_success() {
        proxy.index.0.lock().unwrap().replies.insert(query, reply.clone());
    }
    let mut response = Response::new(Body::from(reply));
    *response.status_mut() = parts.status;
    // The body may be framed differently from the upstream reply.
    for (name, value) in parts.headers {
        if let Some(name) = name
            && !["transfer-encoding", "content-length", "x-amz-crc32"].contains(&name.as_str())
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
