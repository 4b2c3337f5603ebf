//! The worker's side of the HTTP API.

mod backoff;
mod plain_http;
mod transport;

pub use backoff::BackOff;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, IF_NONE_MATCH,
        LOCATION, RETRY_AFTER,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tidemill_core::api::{
    ArtifactUploadReply, ArtifactUploadRequest, CacheLookupReply, CacheLookupRequest, JobExecuteReply,
    JobExecuteRequest, JobReport, JobReportReply, path,
};
use tidemill_core::discovery::{DiscoveryReply, DiscoveryReport};
use tidemill_core::test_report::{TestsReply, TestsRequest};
use transport::{Body, Transport};

/// What people are shown instead of an address of the server's store, whose host and path tell of accounts and buckets.
const STORE: &str = "the server's object store";
/// The longest that a reply may take which is read whole; servers hold replies for at most 20 s.
const LONGEST_REPLY: Duration = Duration::from_secs(90);
/// The largest reply that is read whole, once decoded.
const LARGEST_REPLY: u64 = 256 << 20;
/// Tries of a call that may happen twice.
const MOST_TRIES: u32 = 5;
const MOST_REDIRECTS: u32 = 4;
/// The longest that a server's wish to be left alone is heeded at a time.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why a call did not give what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer: the server is away, or the connection broke.
    #[error("no answer from {url}: {message}")]
    Unreachable {
        /// What was called.
        url: String,
        /// How it failed.
        message: String,
    },
    /// The server refused.
    #[error("{url} answered {status}: {message}")]
    Refused {
        /// What was called.
        url: String,
        /// HTTP status.
        status: u16,
        /// The problem's words.
        message: String,
    },
    /// The address is not one that can be called.
    #[error("`{0}` cannot be called: give an address that begins with http:// or https://")]
    Address(String),
    /// The token would go over the network as everybody on the way can read it.
    #[error(
        "{0} is on another machine and not on https, so that everybody on the way could read the token: it is not sent; use https, or \
         say --insecure-http (TIDEMILL_INSECURE_HTTP=true) where the network itself is private"
    )]
    InsecureHttp(String),
}

impl ApiError {
    /// Whether the lease is no longer this worker's.
    #[must_use]
    pub const fn is_lease_lost(&self) -> bool {
        matches!(self, Self::Refused { status: 404 | 409 | 410, .. })
    }

    /// Whether the same call may do better later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            Self::Address(_) | Self::InsecureHttp(_) => false,
        }
    }
}

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

/// What is asked of a request beside its method, address and body.
#[derive(Debug, Default)]
struct Extra<'a> {
    /// The tag of the reply that is known.
    known: Option<&'a str>,
    /// The media type of the body.
    content: Option<&'a str>,
    /// The body's length, when it is known.
    length: Option<u64>,
    /// Whether the reply may come compressed.
    packed: bool,
    headers: &'a [(&'a str, String)],
}

/// Calls the API with a bearer token; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiClient {
    transport: Transport,
    /// Until when the server wants to hear nothing of this client.
    quiet_until: Arc<Mutex<Option<Instant>>>,
    announces_sums: Arc<AtomicBool>,
    server: String,
    token: String,
    /// Whether the token may be sent to another machine without TLS.
    insecure_http: bool,
    /// Whether `localhost` is this machine, once that was looked up.
    localhost: Arc<OnceLock<bool>>,
}

impl ApiClient {
    /// A client of the API at `server`: `http://host:port`, or with `https://`, and with a path where the API is
    /// below one.
    #[must_use]
    pub fn new(server: &str, token: &str) -> Self {
        Self {
            transport: Transport::new(None),
            quiet_until: Arc::default(),
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
        Self { transport: Transport::new(authorities), ..self }
    }

    /// The API's address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// A job to run, or that there is none; held by the server up to the request's `wait_ms`.
    pub async fn execute(&self, request: &JobExecuteRequest) -> Result<JobExecuteReply, ApiError> {
        self.post(
            path::JOB_EXECUTE,
            request,
            Duration::from_millis(request.wait_ms) + Duration::from_secs(10),
        )
        .await
    }

    /// What the server says to a report.
    pub async fn report(&self, report: &JobReport) -> Result<JobReportReply, ApiError> {
        self.post(path::JOB_STATUS, report, Duration::from_secs(15)).await
    }

    /// Tells what a commit holds.
    pub async fn discovered(&self, report: &DiscoveryReport) -> Result<DiscoveryReply, ApiError> {
        let mut tries = Tries::new();
        loop {
            match self.post(path::DISCOVERED, report, Duration::from_secs(60)).await {
                Err(error) if tries.again(&error).await => {}
                done => return done,
            }
        }
    }

    /// The cache that is kept under one of some keys.
    pub async fn look_up_cache(&self, request: &CacheLookupRequest) -> Result<CacheLookupReply, ApiError> {
        self.post(path::CACHE_LOOKUP, request, Duration::from_secs(30)).await
    }

    /// Tells what an attempt's tests came to.
    pub async fn keep_tests(&self, request: &TestsRequest) -> Result<TestsReply, ApiError> {
        let mut tries = Tries::new();
        loop {
            match self.post(path::JOB_TESTS, request, Duration::from_secs(60)).await {
                Err(error) if tries.again(&error).await => {}
                done => return done,
            }
        }
    }

    /// Where to put an artifact, or that it is recorded.
    pub async fn upload(&self, request: &ArtifactUploadRequest) -> Result<ArtifactUploadReply, ApiError> {
        let limit = Duration::from_secs(60);
        let mut tries = Tries::new();
        loop {
            match self.post::<_, ArtifactUploadReply>(path::ARTIFACT_UPLOAD, request, limit).await {
                Err(error) if tries.again(&error).await => {}
                Ok(reply) => {
                    if reply.url.is_none() && request.complete.is_none() {
                        self.announces_sums.store(true, Ordering::Relaxed);
                    }
                    return Ok(reply);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts `bytes` at `path`, which is one of the API.
    pub async fn put<S>(&self, path: &str, bytes: S) -> Result<(), ApiError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    {
        let extra = Extra { content: Some("application/x-tar"), ..Extra::default() };
        self.send(Method::PUT, path, extra, transport::streamed(bytes)).await.map(drop)
    }

    /// Puts what `file` holds at `url`: a path of the API, or an absolute address that needs no token, and these headers.
    pub async fn put_file(
        &self,
        url: &str,
        headers: &BTreeMap<String, String>,
        file: &File,
    ) -> Result<(), ApiError> {
        let unreadable = |error: io::Error| {
            unreachable(&self.shown(&self.address(url)), format!("what is sent cannot be read: {error}"))
        };
        let length = file.metadata().map_err(unreadable)?.len();
        let headers: Vec<(&str, String)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let mut tries = Tries::new();
        loop {
            let content = Some("application/octet-stream");
            let extra = Extra { content, length: Some(length), headers: &headers, ..Extra::default() };
            let body = transport::from_file(file).map_err(unreadable)?;
            match self.send(Method::PUT, url, extra, body).await {
                Err(error) if tries.again(&error).await => {}
                done => return done.map(drop),
            }
        }
    }

    /// Whether the server's store has to know what bytes come to before it takes them, as far as this client saw.
    #[must_use]
    pub fn announces_sums(&self) -> bool {
        self.announces_sums.load(Ordering::Relaxed)
    }

    /// The bytes at `url`: a path of the API, or an absolute address that needs no token.
    pub async fn get(
        &self,
        url: &str,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, ApiError> {
        let mut url = url.to_owned();
        let mut tries = Tries::new();
        let mut redirects = 0;
        while redirects < MOST_REDIRECTS {
            let reply = match self.send(Method::GET, &url, Extra::default(), transport::empty()).await {
                Err(error) if tries.again(&error).await => continue,
                reply => reply?,
            };
            if !reply.status().is_redirection() {
                return Ok(reply.into_body().into_data_stream().map_err(io::Error::other));
            }
            redirects += 1;
            let next = reply.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            url = next.ok_or_else(|| ApiError::Address(self.shown(&self.address(&url))))?.to_owned();
        }
        Err(ApiError::Address(self.shown(&self.address(&url))))
    }

    /// What a GET of `path` answers; with `known`, the tag of an earlier reply, `None` when nothing changed.
    pub async fn fetch(&self, path: &str, known: Option<&str>) -> Result<Option<Fetched>, ApiError> {
        let extra = Extra { known, packed: true, ..Extra::default() };
        let call = async {
            let reply = self.send(Method::GET, path, extra, transport::empty()).await?;
            if reply.status() == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            let headers = reply.headers().clone();
            let body = self.whole(path, reply).await?;
            Ok(Some(Fetched { headers, body }))
        };
        self.within(path, LONGEST_REPLY, call).await
    }

    /// The reply to a DELETE of `path`.
    pub async fn delete<R: DeserializeOwned>(&self, path: &str) -> Result<R, ApiError> {
        let call = async {
            let reply = self.send(Method::DELETE, path, Extra::default(), transport::empty()).await?;
            let body = self.whole(path, reply).await?;
            serde_json::from_slice(&body)
                .map_err(|error| unreachable(&self.address(path), format!("unreadable reply: {error}")))
        };
        self.within(path, LONGEST_REPLY, call).await
    }

    /// The reply to a PUT of `request` to `path`.
    pub async fn put_json<Q: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> Result<R, ApiError> {
        let bytes = serde_json::to_vec(request).map_err(|error| unreachable(path, error.to_string()))?;
        let extra = Extra { content: Some("application/json"), ..Extra::default() };
        let call = async {
            let reply = self.send(Method::PUT, path, extra, transport::full(bytes.into())).await?;
            let body = self.whole(path, reply).await?;
            serde_json::from_slice(&body)
                .map_err(|error| unreachable(&self.address(path), format!("unreadable reply: {error}")))
        };
        self.within(path, LONGEST_REPLY, call).await
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
        let bytes = serde_json::to_vec(request).map_err(|error| unreachable(path, error.to_string()))?;
        let content = Some("application/json");
        let call = async {
            let extra = Extra { content, packed: true, headers, ..Extra::default() };
            let reply = self.send(Method::POST, path, extra, transport::full(bytes.into())).await?;
            let body = self.whole(path, reply).await?;
            serde_json::from_slice(&body)
                .map_err(|error| unreachable(&self.address(path), format!("unreadable reply: {error}")))
        };
        self.within(path, limit, call).await
    }

    /// An address as people are shown it: of the server without its query, of a store of the server's without where that is.
    fn shown(&self, address: &str) -> String {
        let rest = address.strip_prefix(&self.server);
        let is_servers = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        if is_servers { without_query(address) } else { STORE.to_owned() }
    }

    fn address(&self, url: &str) -> String {
        if url.starts_with('/') { format!("{}{url}", self.server) } else { url.to_owned() }
    }

    async fn within<T>(
        &self,
        url: &str,
        limit: Duration,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let late = |_| unreachable(&self.address(url), format!("no reply within {} s", limit.as_secs()));
        tokio::time::timeout(limit, call).await.map_err(late)?
    }

    /// The body of `reply`, read to its end and unpacked.
    async fn whole(&self, url: &str, reply: Response<Incoming>) -> Result<Bytes, ApiError> {
        let failed = |message: String| unreachable(&self.address(url), message);
        let is_packed =
            reply.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() == b"zstd");
        let body = reply.into_body().collect().await.map_err(|error| failed(causes(&error)))?.to_bytes();
        if is_packed {
            unpack(&body).map_err(|error| failed(format!("unreadable reply: {error}")))
        } else {
            Ok(body)
        }
    }

    /// Notes for how long a server that is asked too often wants to be left alone.
    fn heed(&self, status: StatusCode, headers: &HeaderMap) {
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if let Some(pause) = after.filter(|_| busy) {
            let quiet_until = Instant::now() + Duration::from_secs(pause).min(LONGEST_PAUSE);
            *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(quiet_until);
        }
    }

    /// The reply to a request. Only a path is one of the API's own, and only there the token is sent: an absolute
    /// address may well be on the server's host, and yet be somebody else's.
    async fn send(
        &self,
        method: Method,
        url: &str,
        extra: Extra<'_>,
        body: Body,
    ) -> Result<Response<Incoming>, ApiError> {
        let address = self.address(url);
        let mut request = Request::builder().method(method).uri(&address);
        if url.starts_with('/') && !self.token.is_empty() {
            self.check_transport().await?;
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if extra.packed {
            request = request.header(ACCEPT_ENCODING, "zstd");
        }
        if let Some(known) = extra.known {
            request = request.header(IF_NONE_MATCH, known);
        }
        if let Some(content) = extra.content {
            request = request.header(CONTENT_TYPE, content);
        }
        if let Some(length) = extra.length {
            request = request.header(CONTENT_LENGTH, length);
        }
        for (name, value) in extra.headers {
            request = request.header(*name, value);
        }
        let request = request.body(body).map_err(|_| ApiError::Address(self.shown(&address)))?;
        let quiet_until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(quiet_until) = quiet_until.filter(|_| url.starts_with('/')) {
            tokio::time::sleep_until(quiet_until.into()).await;
        }
        let sent = self.transport.send(request).await;
        let reply = sent.map_err(|error| match error {
            ApiError::Unreachable { message, .. } => {
                ApiError::Unreachable { url: self.shown(&address), message }
            }
            ApiError::Address(_) => ApiError::Address(self.shown(&address)),
            other @ (ApiError::Refused { .. } | ApiError::InsecureHttp(_)) => other,
        })?;
        let status = reply.status();
        if status.is_client_error() || status.is_server_error() {
            self.heed(status, reply.headers());
            let text = self.whole(url, reply).await.unwrap_or_default();
            return Err(ApiError::Refused {
                url: self.shown(&address),
                status: status.as_u16(),
                message: problem(&text, status),
            });
        }
        Ok(reply)
    }
}

/// Tries of one call that may happen twice: a server that is out of reach for a moment, or busy, is called again.
struct Tries {
    made: u32,
    pauses: BackOff,
}

impl Tries {
    const fn new() -> Self {
        Self { made: 1, pauses: BackOff::new(Duration::from_millis(200), Duration::from_secs(5)) }
    }

    /// Whether to call again after `error`; then the pause before it is over.
    async fn again(&mut self, error: &ApiError) -> bool {
        if !error.is_passing() || self.made >= MOST_TRIES {
            return false;
        }
        tracing::debug!(%error, made = self.made, "the server is called again");
        self.made += 1;
        tokio::time::sleep(self.pauses.pause()).await;
        true
    }
}

fn unreachable(url: &str, message: String) -> ApiError {
    ApiError::Unreachable { url: without_query(url), message }
}

/// An address for people: what stands behind `?` may be a signature that lets whoever has it in.
fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

fn unpack(packed: &[u8]) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    zstd::Decoder::new(packed)?.take(LARGEST_REPLY + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_REPLY {
        return Err(io::Error::other(format!("it has more than {LARGEST_REPLY} bytes")));
    }
    Ok(bytes.into())
}

/// The words of a problem document, or the status's own.
fn problem(body: &[u8], status: StatusCode) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let word = |key: &str| document.as_ref()?.get(key)?.as_str().map(str::to_owned);
    word("detail").or_else(|| word("title")).unwrap_or_else(|| status.to_string())
}

/// An error with its causes, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
