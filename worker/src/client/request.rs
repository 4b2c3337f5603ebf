//! API requests: URLs, headers, the token, and the reading of replies.

use super::{
    error::{ApiError, without_query},
    http::{HttpClient, HttpError, read_body},
    trust::CertificateAuthorities,
};
use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, StatusCode,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue,
        IF_NONE_MATCH, LOCATION, RETRY_AFTER,
    },
};
use reqwest::{Body, Response};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tidemill_core::access::sessions::COOKIE_CREDENTIAL;
use tidemill_core::api::{WORKER_PROTOCOL, WORKER_PROTOCOL_HEADER};

/// Replaces URLs of the server's object store in messages, as they reveal accounts and buckets.
const OBJECT_STORE: &str = "the server's object store";
/// Timeout for a complete reply; servers hold replies for at most 20 s.
const MAX_REPLY_TIME: Duration = Duration::from_secs(90);
/// Maximum size of a complete reply in bytes, before and after decompression.
const MAX_REPLY_SIZE: u64 = 256 << 20;
/// Maximum length in characters of a server's text in an error.
const MAX_DETAIL_LEN: usize = 4_000;
/// The first bytes of everything that is compressed with zstd.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Maximum pause for a server's `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// A completely read reply.
#[derive(Debug, Clone)]
pub struct ApiReply {
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl ApiReply {
    /// Returns the text of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Optional parts of a request.
#[derive(Debug, Default)]
pub(super) struct RequestOptions<'a> {
    /// The ETag of an earlier reply.
    pub known: Option<&'a str>,
    /// The media type of the body.
    pub content: Option<&'a str>,
    /// The body's length, if known.
    pub length: Option<u64>,
    /// Whether the reply may be compressed.
    pub compressed: bool,
    /// Additional headers.
    pub headers: &'a [(&'a str, String)],
}

/// Calls the API with a bearer token; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiClient {
    http: HttpClient,
    /// The time until which the server must not be called, from `Retry-After`.
    retry_at: Arc<Mutex<Option<Instant>>>,
    pub(super) requires_checksums: Arc<AtomicBool>,
    /// Whether compressed replies do not arrive as they were sent, so that none is requested.
    requests_plain: Arc<AtomicBool>,
    pub(super) server: String,
    token: String,
    /// Whether the token may be sent to other machines without TLS.
    pub(super) insecure_http: bool,
    /// Whether `localhost` is this machine, once resolved.
    pub(super) localhost: Arc<OnceLock<bool>>,
}

impl ApiClient {
    /// Creates a client of the API at `server`, an `http://` or `https://` URL, with a path if the API has a path prefix.
    #[must_use]
    pub fn new(server: &str, token: &str) -> Self {
        Self {
            http: HttpClient::new(None),
            retry_at: Arc::default(),
            requires_checksums: Arc::default(),
            requests_plain: Arc::default(),
            server: server.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
            insecure_http: false,
            localhost: Arc::default(),
        }
    }

    /// Also trusts these certificate authorities.
    #[must_use]
    pub fn with_certificate_authorities(self, authorities: Option<CertificateAuthorities>) -> Self {
        Self { http: HttpClient::new(authorities), ..self }
    }

    /// Sets whether the token may be sent to other machines without TLS.
    #[must_use]
    pub fn with_insecure_http(self, allowed: bool) -> Self {
        Self { insecure_http: allowed, ..self }
    }

    /// Returns the API's URL.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sends a GET of `path`. With `known`, the ETag of an earlier reply, returns `None` if nothing changed.
    pub async fn fetch(&self, path: &str, known: Option<&str>) -> Result<Option<ApiReply>, ApiError> {
        match self.fetch_once(path, known).await {
            // From now on without compression.
            Err(ApiError::Encoding(_)) => self.fetch_once(path, known).await,
            fetched => fetched,
        }
    }

    async fn fetch_once(&self, path: &str, known: Option<&str>) -> Result<Option<ApiReply>, ApiError> {
        let options = RequestOptions { known, compressed: true, ..RequestOptions::default() };
        let call = async {
            let reply = self.send(Method::GET, path, options, Body::default()).await?;
            if reply.status() == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            self.check_not_redirected(path, &reply)?;
            let headers = reply.headers().clone();
            let body = self.read(path, reply).await?;
            Ok(Some(ApiReply { headers, body }))
        };
        self.within(path, MAX_REPLY_TIME, call).await
    }

    /// Sends a DELETE of `path`.
    pub async fn delete<R: DeserializeOwned>(&self, path: &str) -> Result<R, ApiError> {
        let options = RequestOptions::default();
        self.within(path, MAX_REPLY_TIME, self.json(Method::DELETE, path, options, Body::default())).await
    }

    /// Sends a PUT of `request` to `path`.
    pub async fn put_json<Q: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> Result<R, ApiError> {
        let options = RequestOptions { content: Some("application/json"), ..RequestOptions::default() };
        let body = to_json(path, request)?;
        self.within(path, MAX_REPLY_TIME, self.json(Method::PUT, path, options, body)).await
    }

    /// Sends a POST of `request` to `path`, with a timeout of `limit`.
    pub async fn post<Q: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        limit: Duration,
    ) -> Result<R, ApiError> {
        self.post_with(path, request, limit, &[]).await
    }

    /// Like [`Self::post`], with additional headers.
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

    /// Formats a URL for messages: a URL of the server without its query, any other as [`OBJECT_STORE`].
    pub(super) fn display_url(&self, address: &str) -> String {
        let rest = address.strip_prefix(&self.server);
        let is_server_url = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        if is_server_url { without_query(address) } else { OBJECT_STORE.to_owned() }
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
        self.check_not_redirected(path, &reply)?;
        let body = self.read(path, reply).await?;
        serde_json::from_slice(&body).map_err(|error| self.invalid_reply(path, &error))
    }

    pub(super) async fn within<T>(
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

    fn invalid_reply(&self, url: &str, error: &dyn std::error::Error) -> ApiError {
        ApiError::unreachable(&self.address(url), format!("invalid reply: {error}"))
    }

    fn check_not_redirected(&self, url: &str, reply: &Response) -> Result<(), ApiError> {
        if !reply.status().is_redirection() {
            return Ok(());
        }
        let location =
            reply.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("nowhere");
        let url = without_query(&self.address(url));
        Err(ApiError::Redirected { url, location: location.chars().take(MAX_DETAIL_LEN).collect() })
    }

    /// Reads and decompresses the body of `reply`.
    async fn read(&self, url: &str, reply: Response) -> Result<Bytes, ApiError> {
        let is_compressed =
            reply.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() == b"zstd");
        let body = read_body(reply, MAX_REPLY_SIZE).await;
        let body = body.map_err(|error| ApiError::unreachable(&self.address(url), error.to_string()))?;
        if !is_compressed {
            return Ok(body);
        }
        if !body.starts_with(&ZSTD_MAGIC) {
            self.requests_plain.store(true, Ordering::Relaxed);
            return Err(ApiError::Encoding(without_query(&self.address(url))));
        }
        decompress(&body).map_err(|error| self.invalid_reply(url, &error))
    }

    /// Records the time until which a busy server must not be called.
    fn record_retry_after(&self, status: StatusCode, headers: &HeaderMap) {
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if let Some(pause) = after.filter(|_| is_busy) {
            let retry_at = Instant::now() + Duration::from_secs(pause).min(MAX_RETRY_AFTER);
            *self.retry_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(retry_at);
        }
    }

    /// Sends a request. The token is sent only to paths of the API: an absolute URL may be on the server's host but belong to
    /// another service.
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
            let value = HeaderValue::try_from(format!("Bearer {}", self.token));
            let value = value.map_err(|_| {
                ApiError::Settings(
                    "the token has characters that no token has, such as a line break; copy it again"
                        .to_owned(),
                )
            })?;
            request = request.header(AUTHORIZATION, value);
        }
        if is_api {
            request = request.header(WORKER_PROTOCOL_HEADER, WORKER_PROTOCOL);
        }
        if is_api && self.token.is_empty() {
            // A gateway may reject requests without the header.
            request = request.header(AUTHORIZATION, COOKIE_CREDENTIAL);
        }
        if options.compressed && !self.requests_plain.load(Ordering::Relaxed) {
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
        let request = request.body(body).map_err(|_| ApiError::Address(self.display_url(&address)))?;
        let retry_at = *self.retry_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(retry_at) = retry_at.filter(|_| is_api) {
            tokio::time::sleep_until(retry_at.into()).await;
        }
        let reply = self.http.send(request).await.map_err(|error| match error {
            HttpError::Address => ApiError::Address(self.display_url(&address)),
            HttpError::Settings(error) => ApiError::Settings(error.to_string()),
            HttpError::Tls(failure) => ApiError::Tls { url: self.display_url(&address), failure },
            error => ApiError::unreachable(&self.display_url(&address), error.to_string()),
        })?;
        let status = reply.status();
        if status.is_client_error() || status.is_server_error() {
            self.record_retry_after(status, reply.headers());
            let body = self.read(url, reply).await.unwrap_or_default();
            let (url, message) =
                (self.display_url(&address), problem(&body, status, is_api.then_some(&self.server)));
            return Err(ApiError::Rejected { url, status: status.as_u16(), message });
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
        return Err(io::Error::other(format!("the reply has more than {MAX_REPLY_SIZE} bytes")));
    }
    Ok(bytes.into())
}

/// Returns the detail of a problem document, or the text of the status.
///
/// `server`: the server of the API, unless another one replied.
fn problem(body: &[u8], status: StatusCode, server: Option<&String>) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let field = |key: &str| document.as_ref()?.get(key)?.as_str();
    match (field("detail").or_else(|| field("title")), server) {
        (Some(detail), _) => detail.chars().take(MAX_DETAIL_LEN).collect(),
        (None, Some(server)) if status.is_client_error() => {
            format!("{status}, and no reason as servers of Tidemill give one: check the address {server}")
        }
        _ => status.to_string(),
    }
}
