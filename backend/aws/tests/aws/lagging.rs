//! A proxy before an emulator that makes indexes late, as real ones are and the emulator's never: while it is frozen, a
//! query of an index is answered as it was answered first.
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
    to: String,
    http: Client<HttpConnector, Full<Bytes>>,
    index: Index,
}

/// The answers of the indexes.
#[derive(Clone, Default)]
pub struct Index(Arc<Mutex<RecordedReplies>>);

#[derive(Default)]
struct RecordedReplies {
    frozen: bool,
    known: HashMap<String, Bytes>,
    repeated: usize,
}

impl Index {
    /// From now on queries of indexes are answered as they were before, if they were asked before.
    pub fn freeze(&self) {
        self.0.lock().unwrap().frozen = true;
    }

    /// From now on they are answered as things are.
    pub fn thaw(&self) {
        *self.0.lock().unwrap() = RecordedReplies::default();
    }

    /// How many answers were old.
    pub fn repeated(&self) -> usize {
        self.0.lock().unwrap().repeated
    }
}

/// Starts the proxy; its address.
pub async fn start(to: &str) -> (String, Index) {
    let index = Index::default();
    let http = Client::builder(TokioExecutor::new()).build_http();
    let proxy = Proxy { to: to.to_owned(), http, index: index.clone() };
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
    let of_index = target.ends_with(".Query") && body.windows(11).any(|part| part == b"\"IndexName\"");
    // Values of an expression come in any order.
    let asked = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default().to_string();
    if of_index {
        let mut answers = proxy.index.0.lock().unwrap();
        if answers.frozen
            && let Some(known) = answers.known.get(&asked).cloned()
        {
            answers.repeated += 1;
            return Response::builder()
                .header("content-type", "application/x-amz-json-1.0")
                .body(Body::from(known))
                .unwrap();
        }
    }
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    parts.uri = format!("{}{path}", proxy.to).parse().unwrap();
    let request = Request::from_parts(parts, Full::new(body.clone()));
    let (parts, reply) = proxy.http.request(request).await.unwrap().into_parts();
    let reply = reply.collect().await.unwrap().to_bytes();
    if of_index && parts.status.is_success() {
        proxy.index.0.lock().unwrap().known.insert(asked, reply.clone());
    }
    let mut response = Response::new(Body::from(reply));
    *response.status_mut() = parts.status;
    // The body may be framed otherwise than it came.
    for (name, value) in parts.headers {
        if let Some(name) = name
            && !["transfer-encoding", "content-length", "x-amz-crc32"].contains(&name.as_str())
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
