//! An HTTP(S) client without redirects and proxies, and with limits on the connection time and the size of replies.

use super::{
    causes::format_causes,
    trust::{self, CertificateAuthorities, TlsFailure, TrustError},
};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::Request;
use reqwest::{Body, Client, Response, redirect::Policy};
use rustls::ClientConfig;
use std::{
    error::Error as _,
    fs::File,
    io::{self, Seek},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio_util::io::ReaderStream;

/// Connection timeout.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(5);
/// Chunk size for reading files in bytes.
const CHUNK_SIZE: usize = 64 << 10;

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is not an HTTP URL.
    #[error("not an HTTP address")]
    Address,
    /// The client cannot be set up, as its certificate authorities or its proxy are invalid.
    #[error(transparent)]
    Settings(#[from] ClientError),
    /// The TLS connection failed.
    #[error("{0}")]
    Tls(TlsFailure),
    /// The connection failed; the text names the causes.
    #[error("{0}")]
    Connection(String),
    /// The reply exceeds this number of bytes.
    #[error("the reply has more than {0} bytes")]
    TooLarge(u64),
}

/// The reason why the client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The proxy, or the library; the text names the causes.
    #[error("{0}")]
    Library(String),
}

/// Sends requests; cheap to clone. Trusted certificates are read when the first request goes to https.
#[derive(Debug, Clone)]
pub struct HttpClient {
    plain: Arc<OnceLock<Client>>,
    secure: Arc<OnceLock<Client>>,
    /// Certificate authorities that are trusted in addition to the system's.
    authorities: Option<Arc<CertificateAuthorities>>,
    connect_time: Duration,
    /// The proxy that all requests go through.
    proxy: Option<String>,
    /// The Unix socket that all requests go to.
    socket: Option<PathBuf>,
}

impl HttpClient {
    /// Creates a client that also trusts these certificate authorities.
    pub fn new(authorities: Option<CertificateAuthorities>) -> Self {
        let (plain, secure) = Default::default();
        let authorities = authorities.map(Arc::new);
        Self { plain, secure, authorities, connect_time: MAX_CONNECT_TIME, proxy: None, socket: None }
    }

    /// Sets the connection timeout.
    pub fn with_connect_time(self, connect_time: Duration) -> Self {
        Self { connect_time, ..self }
    }

    /// Sends all requests through the proxy at this address.
    pub fn with_proxy(self, proxy: Option<String>) -> Self {
        Self { proxy, ..self }
    }

    /// Sends all requests to the Unix socket at this path.
    pub fn with_socket(self, socket: Option<PathBuf>) -> Self {
        Self { socket, ..self }
    }

    /// Sends `request`, whose URL must be absolute, and returns the reply.
    pub async fn send(&self, request: Request<Body>) -> Result<Response, HttpError> {
        let client = match request.uri().scheme_str() {
            Some("http") => self.client(&self.plain, trust::without_trust),
            Some("https") => self.client(&self.secure, || trust::with_trust(self.authorities.as_deref())),
            _ => return Err(HttpError::Address),
        }?;
        let request = reqwest::Request::try_from(request).map_err(|_| HttpError::Address)?;
        client.execute(request).await.map_err(connection_error)
    }

    fn client<'a>(
        &self,
        cell: &'a OnceLock<Client>,
        tls: impl FnOnce() -> Result<ClientConfig, TrustError>,
    ) -> Result<&'a Client, ClientError> {
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let proxy = self.proxy.as_deref().map(reqwest::Proxy::all).transpose();
        let proxy = proxy.map_err(|error| ClientError::Library(format_causes(&error)))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .http1_only()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(self.connect_time);
        let client = match (proxy, &self.socket) {
            (_, Some(socket)) => client.unix_socket(socket.clone()),
            (Some(proxy), None) => client.proxy(proxy),
            (None, None) => client,
        };
        let client = client.build().map_err(|error| ClientError::Library(format_causes(&error)))?;
        Ok(cell.get_or_init(|| client))
    }
}

/// Sends a request to a server that is not Tidemill's, and returns the status of the reply and its body, of at most `max` bytes.
///
/// # Errors
///
/// Returns why there is no reply.
pub async fn send_elsewhere(request: Request<String>, max: u64) -> Result<(u16, Bytes), HttpError> {
    let reply = HttpClient::new(None).send(request.map(Body::from)).await?;
    let status = reply.status().as_u16();
    Ok((status, read_body(reply, max).await?))
}

/// Reads the body of `reply`, of at most `max` bytes.
pub async fn read_body(mut reply: Response, max: u64) -> Result<Bytes, HttpError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = reply.chunk().await.map_err(connection_error)? {
        if (body.len() + chunk.len()) as u64 > max {
            return Err(HttpError::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Converts `error` without its URL, whose query may contain a signature.
fn connection_error(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if let Some(failure) = TlsFailure::find(&error) {
        return HttpError::Tls(failure);
    }
    // The first cause of a request's failure is the name of a step inside of the client.
    let cause = error.source();
    let cause = cause.and_then(std::error::Error::source).filter(|_| error.is_request()).or(cause);
    HttpError::Connection(cause.map_or_else(|| error.to_string(), format_causes))
}

/// Creates a body of unknown length.
pub fn streamed<S>(bytes: S) -> Body
where
    S: Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
{
    Body::wrap_stream(bytes)
}

/// Creates a body with the content of `file`.
pub fn from_file(file: &File) -> io::Result<Body> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    Ok(streamed(ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK_SIZE)))
}
