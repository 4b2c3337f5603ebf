//! Requests of the API: their addresses and headers, the token, and the reading of replies.

use super::{
    error::{ApiError, without_query},
    http::{HttpClient, HttpError, read_body},
};
use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, StatusCode,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, IF_NONE_MATCH,
        RETRY_AFTER,
    },
};
use reqwest::{Body, Response};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// Shown instead of an address of the server's object store, whose host and path would reveal accounts and buckets.
const OBJECT_STORE: &str = "the server's object store";
/// The longest that a reply may take which is read whole; servers hold replies for at most 20 s.
const MAX_REPLY_TIME: Duration = Duration::from_secs(90);
/// Bytes of a reply that is read whole, before and after it is decoded.
const MAX_REPLY_SIZE: u64 = 256 << 20;
/// The longest pause that a server's `Retry-After` may impose at a time.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// A reply that was read whole.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Fetched {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Optional parts of a request.
#[derive(Debug, Default)]
pub(super) struct RequestOptions<'a> {
    /// The tag of the reply that is known.
    pub known: Option<&'a str>,
    /// The media type of the body.
    pub content: Option<&'a str>,
    /// The body's length, when it is known.
    pub length: Option<u64>,
    /// Whether the reply may come compressed.
    pub compressed: bool,
    /// Further headers.
    pub headers: &'a [(&'a str, String)],
}

/// Calls the API with a bearer token; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiClient {
    http: HttpClient,
    /// Until when the server must not be called, as it asked.
    retry_at: Arc<Mutex<Option<Instant>>>,
    pub(super) announces_sums: Arc<AtomicBool>,
    pub(super) server: String,
    token: String,
    /// Whether the token may be sent to another machine without TLS.
    pub(super) insecure_http: bool,
    /// Whether `localhost` is this machine, once that was looked up.
    pub(super) localhost: Arc<OnceLock<bool>>,
}

impl ApiClient {
    /// A client of the API at `server`: `http://host:port`, or with `https://`, and with a path where the API is
    /// below one.
    #[must_use]
    pub fn new(server: &str, token: &str) -> Self {
        Self {
            http: HttpClient::new(None),
            retry_at: Arc::default(),
            announces_sums: Arc::default(),
            server: server.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
            insecure_http: false,
            localhost: Arc::default(),
        }
    }

    /// The same, that also trusts the certificate authorities in this PEM file.
    #[must_use]
    pub fn trusting(self, authorities: Option<PathBuf>) -> Self {
        Self { http: HttpClient::new(authorities), ..self }
    }

    /// The same, that also sends its token to other machines without TLS, if `allowed`.
    #[must_use]
    pub fn with_insecure_http(self, allowed: bool) -> Self {
        Self { insecure_http: allowed, ..self }
    }

    /// The API's address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The reply to a GET of `path`; with `known`, the tag of an earlier reply, `None` when nothing changed.
    pub async fn fetch(&self, path: &str, known: Option<&str>) -> Result<Option<Fetched>, ApiError> {
        let options = RequestOptions { known, compressed: true, ..RequestOptions::default() };
        let call = async {
            let reply = self.send(Method::GET, path, options, Body::default()).await?;
            if reply.status() == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            let headers = reply.headers().clone();
            let body = self.read(path, reply).await?;
            Ok(Some(Fetched { headers, body }))
        };
        self.within(path, MAX_REPLY_TIME, call).await
    }

    /// The reply to a DELETE of `path`.
    pub async fn delete<R: DeserializeOwned>(&self, path: &str) -> Result<R, ApiError> {
        let options = RequestOptions::default();
        self.within(path, MAX_REPLY_TIME, self.json(Method::DELETE, path, options, Body::default())).await
    }

    /// The reply to a PUT of `request` to `path`.
    pub async fn put_json<Q: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> Result<R, ApiError> {
        let options = RequestOptions { content: Some("application/json"), ..RequestOptions::default() };
        let body = to_json(path, request)?;
        self.within(path, MAX_REPLY_TIME, self.json(Method::PUT, path, options, body)).await
    }

    /// The reply to a POST of `request` to `path`, within `limit`.
    pub async fn post<Q: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        limit: Duration,
    ) -> Result<R, ApiError> {
        self.post_with(path, request, limit, &[]).await
    }

    /// The same with more headers.
    pub async fn post_with<Q: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        limit: Duration,
        headers: &[(&'static str, String)],
    ) -> Result<R, ApiError> {
        let content = Some("application/json");
        let options = RequestOptions { content, compressed: true, headers, ..RequestOptions::default() };
        let body = to_json(path, request)?;
        self.within(path, limit, self.json(Method::POST, path, options, body)).await
    }

    /// An address for people: one of the server without its query, any other as [`OBJECT_STORE`].
    pub(super) fn shown(&self, address: &str) -> String {
        let rest = address.strip_prefix(&self.server);
        let is_servers = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        if is_servers { without_query(address) } else { OBJECT_STORE.to_owned() }
    }

    pub(super) fn address(&self, url: &str) -> String {
        if url.starts_with('/') { format!("{}{url}", self.server) } else { url.to_owned() }
    }

    async fn json<R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        options: RequestOptions<'_>,
        body: Body,
    ) -> Result<R, ApiError> {
        let reply = self.send(method, path, options, body).await?;
        let body = self.read(path, reply).await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(path, &error))
    }

    async fn within<T>(
        &self,
        url: &str,
        limit: Duration,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            let message = format!("no reply within {} s", limit.as_secs());
            Err(ApiError::unreachable(&self.address(url), message))
        })
    }

    fn unreadable(&self, url: &str, error: &dyn std::error::Error) -> ApiError {
        ApiError::unreachable(&self.address(url), format!("unreadable reply: {error}"))
    }

    /// The body of `reply`, read to its end and decoded.
    async fn read(&self, url: &str, reply: Response) -> Result<Bytes, ApiError> {
        let is_compressed =
            reply.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() == b"zstd");
        let body = read_body(reply, MAX_REPLY_SIZE).await;
        let body = body.map_err(|error| ApiError::unreachable(&self.address(url), error.to_string()))?;
        if is_compressed { decompress(&body).map_err(|error| self.unreadable(url, &error)) } else { Ok(body) }
    }

    /// Remembers until when a busy server must not be called.
    fn remember_retry_after(&self, status: StatusCode, headers: &HeaderMap) {
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if let Some(pause) = after.filter(|_| is_busy) {
            let retry_at = Instant::now() + Duration::from_secs(pause).min(MAX_RETRY_AFTER);
            *self.retry_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(retry_at);
        }
    }

    /// The reply to a request. The token is sent only to paths of the API: an absolute address may be on the server's host and
    /// yet belong to somebody else.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        options: RequestOptions<'_>,
        body: Body,
    ) -> Result<Response, ApiError> {
        let address = self.address(url);
        let is_api = url.starts_with('/');
        let mut request = Request::builder().method(method).uri(&address);
        if is_api && !self.token.is_empty() {
            self.check_transport().await?;
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if options.compressed {
            request = request.header(ACCEPT_ENCODING, "zstd");
        }
        if let Some(known) = options.known {
            request = request.header(IF_NONE_MATCH, known);
        }
        if let Some(content) = options.content {
            request = request.header(CONTENT_TYPE, content);
        }
        if let Some(length) = options.length {
            request = request.header(CONTENT_LENGTH, length);
        }
        for (name, value) in options.headers {
            request = request.header(*name, value);
        }
        let request = request.body(body).map_err(|_| ApiError::Address(self.shown(&address)))?;
        let retry_at = *self.retry_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(retry_at) = retry_at.filter(|_| is_api) {
            tokio::time::sleep_until(retry_at.into()).await;
        }
        let reply = self.http.send(request).await.map_err(|error| match error {
            HttpError::Address => ApiError::Address(self.shown(&address)),
            error => ApiError::unreachable(&self.shown(&address), error.to_string()),
        })?;
        let status = reply.status();
        if status.is_client_error() || status.is_server_error() {
            self.remember_retry_after(status, reply.headers());
            let body = self.read(url, reply).await.unwrap_or_default();
            let (url, message) = (self.shown(&address), problem(&body, status));
            return Err(ApiError::Refused { url, status: status.as_u16(), message });
        }
        Ok(reply)
    }
}

fn to_json(path: &str, request: &impl Serialize) -> Result<Body, ApiError> {
    let bytes = serde_json::to_vec(request);
    bytes.map(Body::from).map_err(|error| ApiError::unreachable(path, error.to_string()))
}

fn decompress(compressed: &[u8]) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    zstd::Decoder::new(compressed)?.take(MAX_REPLY_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_REPLY_SIZE {
        return Err(io::Error::other(format!("it has more than {MAX_REPLY_SIZE} bytes")));
    }
    Ok(bytes.into())
}

/// The detail of a problem document, or the status's own text.
fn problem(body: &[u8], status: StatusCode) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let word = |key: &str| document.as_ref()?.get(key)?.as_str().map(str::to_owned);
    word("detail").or_else(|| word("title")).unwrap_or_else(|| status.to_string())
}
