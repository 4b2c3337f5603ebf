//! Connections, with and without TLS, and the bodies that go over them.

use super::{ApiError, causes};
use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, body::Frame, body::Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    fs::File,
    io::{self, Seek},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio_util::io::ReaderStream;

/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// What a request carries.
pub type Body = BoxBody<Bytes, io::Error>;

/// Sends requests; cheap to clone. What TLS needs is read only once something is on https.
#[derive(Debug, Clone)]
pub struct Transport {
    plain: Client<HttpConnector, Body>,
    secure: Arc<OnceLock<Client<HttpsConnector<HttpConnector>, Body>>>,
    /// A PEM file of certificate authorities that are trusted beside the system's.
    authorities: Option<Arc<Path>>,
}

impl Transport {
    /// A transport without connections, which also trusts the certificate authorities in this PEM file.
    pub fn new(authorities: Option<PathBuf>) -> Self {
        let plain = Client::builder(TokioExecutor::new()).build(connector(true));
        Self { plain, secure: Arc::default(), authorities: authorities.map(Into::into) }
    }

    /// The reply to `request`, whose address is absolute.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, ApiError> {
        let url = super::without_query(&request.uri().to_string());
        let unreachable = |message: String| ApiError::Unreachable { url: url.clone(), message };
        let sent = match request.uri().scheme_str() {
            Some("http") => self.plain.request(request).await,
            Some("https") => {
                self.secure().map_err(|error| unreachable(error.to_string()))?.request(request).await
            }
            _ => return Err(ApiError::Address(url)),
        };
        sent.map_err(|error| unreachable(causes(&error)))
    }

    fn secure(&self) -> io::Result<&Client<HttpsConnector<HttpConnector>, Body>> {
        if let Some(client) = self.secure.get() {
            return Ok(client);
        }
        let tls = HttpsConnectorBuilder::new().with_tls_config(self.trust()?);
        let connector = tls.https_only().enable_http1().wrap_connector(connector(false));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(self.secure.get_or_init(|| client))
    }
}

impl Transport {
    /// Trust in the system's authorities, or those that SSL_CERT_FILE and SSL_CERT_DIR name, and in those of the file.
    fn trust(&self) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        if let Some(path) = &self.authorities {
            let wrong = |error: String| {
                let words = "certificate authorities cannot be read from";
                io::Error::other(format!(
                    "{words} {}: {error}; give a PEM file with --ca-cert",
                    path.display()
                ))
            };
            let own = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| wrong(error.to_string()))?;
            if own.is_empty() {
                return Err(wrong("there is none in it".into()));
            }
            for certificate in own {
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
        if roots.is_empty() {
            let causes = system.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(io::Error::other(format!("no trusted certificates can be read: {causes}")));
        }
        Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

fn connector(only_http: bool) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(only_http);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector
}

/// A body without bytes.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body of these bytes.
pub fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A body whose length is not known.
pub fn streamed<S>(bytes: S) -> Body
where
    S: futures_util::Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
{
    BodyExt::boxed(StreamBody::new(bytes.map_ok(Frame::data)))
}

/// A body of all that `file` holds.
pub fn from_file(file: &File) -> io::Result<Body> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    Ok(streamed(ReaderStream::with_capacity(tokio::fs::File::from_std(file), 64 << 10)))
}
