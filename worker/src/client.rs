//! The worker's side of the HTTP API.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, body::Frame, body::Incoming};
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use serde::{Serialize, de::DeserializeOwned};
use std::{io, net::IpAddr, time::Duration};
use tidemill_core::api::{
    ArtifactUploadReply, ArtifactUploadRequest, JobExecuteReply, JobExecuteRequest, JobReport,
    JobReportReply, path,
};

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
    #[error("`{0}` cannot be called: a worker speaks http://")]
    Address(String),
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
            Self::Address(_) => false,
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

type Body = BoxBody<Bytes, io::Error>;

/// Calls the API with a bearer token; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiClient {
    http: Client<HttpConnector, Body>,
    server: String,
    token: String,
}

impl ApiClient {
    /// A client of the API at `server` (`http://host:port`).
    #[must_use]
    pub fn new(server: &str, token: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
            server: server.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        }
    }

    /// Whether the server's address is one of this machine's own.
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        let uri: Option<hyper::Uri> = self.server.parse().ok();
        let host = uri.as_ref().and_then(hyper::Uri::host).unwrap_or_default();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host == "localhost" || address.is_some_and(|address| address.is_loopback())
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

    /// Where to put an artifact, or that it is recorded.
    pub async fn upload(&self, request: &ArtifactUploadRequest) -> Result<ArtifactUploadReply, ApiError> {
        self.post(path::ARTIFACT_UPLOAD, request, Duration::from_secs(60)).await
    }

    /// Puts `bytes` at `url`, which may be a path on the API's own server.
    pub async fn put<S>(&self, url: &str, bytes: S) -> Result<(), ApiError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    {
        let body = BodyExt::boxed(StreamBody::new(bytes.map_ok(Frame::data)));
        self.send(Method::PUT, url, None, Some("application/x-tar"), body).await.map(drop)
    }

    /// The bytes at `url`, which may be a path on the API's own server.
    pub async fn get(
        &self,
        url: &str,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, ApiError> {
        let mut url = url.to_owned();
        for _ in 0..4 {
            let reply = self.send(Method::GET, &url, None, None, empty()).await?;
            if !reply.status().is_redirection() {
                return Ok(reply.into_body().into_data_stream().map_err(io::Error::other));
            }
            let next = reply.headers().get("location").and_then(|value| value.to_str().ok());
            url = next.ok_or_else(|| ApiError::Address(url.clone()))?.to_owned();
        }
        Err(ApiError::Address(url))
    }

    /// What a GET of `path` answers; with `known`, the tag of an earlier reply, `None` when nothing changed.
    pub async fn fetch(&self, path: &str, known: Option<&str>) -> Result<Option<Fetched>, ApiError> {
        let reply = self.send(Method::GET, path, known, None, empty()).await?;
        if reply.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let headers = reply.headers().clone();
        let body = reply.into_body().collect().await.map_err(|error| ApiError::Unreachable {
            url: format!("{}{path}", self.server),
            message: causes(&error),
        })?;
        Ok(Some(Fetched { headers, body: body.to_bytes() }))
    }

    /// The reply to a POST of `request` to `path`, within `limit`.
    pub async fn post<Q: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        limit: Duration,
    ) -> Result<R, ApiError> {
        let url = format!("{}{path}", self.server);
        let unreachable = |message: String| ApiError::Unreachable { url: url.clone(), message };
        let bytes = serde_json::to_vec(request).map_err(|error| unreachable(error.to_string()))?;
        let call = async {
            let reply =
                self.send(Method::POST, path, None, Some("application/json"), full(bytes.into())).await?;
            let body = reply.into_body().collect().await.map_err(|error| unreachable(error.to_string()))?;
            serde_json::from_slice(&body.to_bytes())
                .map_err(|error| unreachable(format!("unreadable reply: {error}")))
        };
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result,
            Err(_) => Err(unreachable(format!("no reply within {} s", limit.as_secs()))),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        known: Option<&str>,
        content: Option<&str>,
        body: Body,
    ) -> Result<Response<Incoming>, ApiError> {
        let own = url.starts_with('/');
        let url = if own { format!("{}{url}", self.server) } else { url.to_owned() };
        if !url.starts_with("http://") {
            return Err(ApiError::Address(url));
        }
        let mut request = Request::builder().method(method).uri(&url);
        if own || url.starts_with(&format!("{}/", self.server)) {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if let Some(known) = known {
            request = request.header("if-none-match", known);
        }
        if let Some(content) = content {
            request = request.header("content-type", content);
        }
        let request = request.body(body).map_err(|_| ApiError::Address(url.clone()))?;
        let reply = self
            .http
            .request(request)
            .await
            .map_err(|error| ApiError::Unreachable { url: url.clone(), message: causes(&error) })?;
        if reply.status().is_client_error() || reply.status().is_server_error() {
            let status = reply.status();
            let text = reply
                .into_body()
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            return Err(ApiError::Refused { url, status: status.as_u16(), message: problem(&text, status) });
        }
        Ok(reply)
    }
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
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
