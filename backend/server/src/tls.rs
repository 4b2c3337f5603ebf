//! TLS of the embedded server, with a certificate and key from files that are reloaded when they change.

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tidemill_services::error::{Error, Result};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Interval at which the files are checked for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// A certificate and its key, loaded from files.
#[derive(Debug)]
pub struct CertificateReloader {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// Contents of the certificate file and the key file.
type CertificateFiles = (Vec<u8>, Vec<u8>);

impl CertificateReloader {
    /// Loads a certificate chain (PEM) and its key (PEM) from files.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>> {
        let files = read(&certificate, &key)?;
        let current = RwLock::new(Arc::new(parse_pair(&certificate, &key, &files)?));
        Ok(Arc::new(Self { certificate, key, current }))
    }

    /// Reloads the files whenever they change, until `stopping` is canceled. If they do not match, for example while they are
    /// being replaced, the current certificate stays in use.
    pub(super) async fn reload_on_change(self: Arc<Self>, stopping: CancellationToken) {
        let mut loaded: Option<CertificateFiles> = None;
        loop {
            tokio::select! {
                () = sleep(RELOAD_INTERVAL) => {}
                () = stopping.cancelled() => return,
            }
            let this = self.clone();
            let files = tokio::task::spawn_blocking(move || read(&this.certificate, &this.key)).await;
            let files = match files {
                Ok(Ok(files)) => files,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot reload the certificate; the current one stays in use");
                    continue;
                }
                Err(_) => return,
            };
            if loaded.as_ref() == Some(&files) {
                continue;
            }
            match parse_pair(&self.certificate, &self.key, &files) {
                Ok(pair) => {
                    let is_first = loaded.is_none();
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    if !is_first || current.cert != pair.cert {
                        tracing::info!("loaded a new certificate");
                    }
                    *current = Arc::new(pair);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot reload the certificate; the current one stays in use");
                }
            }
            loaded = Some(files);
        }
    }
}

fn read(certificate: &PathBuf, key: &PathBuf) -> Result<CertificateFiles> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|error| Error::io(format!("reading {} for TLS", path.display()), error))
    };
    Ok((read(certificate)?, read(key)?))
}

fn parse_pair(
    certificate: &std::path::Path,
    key: &std::path::Path,
    files: &CertificateFiles,
) -> Result<CertifiedKey> {
    let invalid = |path: &std::path::Path, what: String| {
        Error::Invalid(format!("{} cannot be used for TLS: {what}", path.display()))
    };
    let chain = CertificateDer::pem_slice_iter(&files.0)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(invalid(certificate, "it contains no PEM certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&files.1)
        .map_err(|_| invalid(key, "it contains no PEM private key".into()))?;
    let provider = ring::default_provider();
    // This also checks that the key matches the certificate.
    CertifiedKey::from_der(chain, private, &provider)
        .map_err(|error| invalid(key, format!("{error}; is it the key of {}?", certificate.display())))
}

impl CertificateReloader {
    /// Returns a TLS acceptor that always uses the current certificate.
    pub(super) fn acceptor(self: Arc<Self>) -> Result<TlsAcceptor> {
        let failed = |error| Error::storage("setting up TLS", error);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for CertificateReloader {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
