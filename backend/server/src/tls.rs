//! TLS of the embedded server: a certificate and its key from files, read again when they change.

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

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// A certificate with its key, as the files have it now.
#[derive(Debug)]
pub struct CertificateReloader {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// What the two files hold.
type CertificateFiles = (Vec<u8>, Vec<u8>);

impl CertificateReloader {
    /// The certificate (with those that it is signed by, PEM) and its key (PEM) in these files.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>> {
        let texts = read(&certificate, &key)?;
        let current = RwLock::new(Arc::new(pair(&certificate, &key, &texts)?));
        Ok(Arc::new(Self { certificate, key, current }))
    }

    /// Reads the files again whenever they change, until `over`. Of files that do not fit together, as while they are being
    /// replaced, nothing is taken: what was good stays.
    pub(super) async fn follow(self: Arc<Self>, over: CancellationToken) {
        let mut seen: Option<CertificateFiles> = None;
        loop {
            tokio::select! {
                () = sleep(RELOAD_INTERVAL) => {}
                () = over.cancelled() => return,
            }
            let of = self.clone();
            let texts = tokio::task::spawn_blocking(move || read(&of.certificate, &of.key)).await;
            let texts = match texts {
                Ok(Ok(texts)) => texts,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the certificate in use stays");
                    continue;
                }
                Err(_) => return,
            };
            if seen.as_ref() == Some(&texts) {
                continue;
            }
            match pair(&self.certificate, &self.key, &texts) {
                Ok(pair) => {
                    let is_first = seen.is_none();
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    if !is_first || current.cert != pair.cert {
                        tracing::info!("a new certificate is in use");
                    }
                    *current = Arc::new(pair);
                }
                Err(error) => tracing::warn!(%error, "the certificate in use stays"),
            }
            seen = Some(texts);
        }
    }
}

fn read(certificate: &PathBuf, key: &PathBuf) -> Result<CertificateFiles> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|error| Error::io(format!("reading {} for TLS", path.display()), error))
    };
    Ok((read(certificate)?, read(key)?))
}

fn pair(
    certificate: &std::path::Path,
    key: &std::path::Path,
    texts: &CertificateFiles,
) -> Result<CertifiedKey> {
    let wrong = |path: &std::path::Path, what: String| {
        Error::Invalid(format!("{} cannot be used for TLS: {what}", path.display()))
    };
    let chain = CertificateDer::pem_slice_iter(&texts.0)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "there is no certificate in it (PEM)".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&texts.1)
        .map_err(|_| wrong(key, "there is no private key in it (PEM)".into()))?;
    let provider = ring::default_provider();
    // It also compares the two.
    CertifiedKey::from_der(chain, private, &provider)
        .map_err(|error| wrong(key, format!("{error}; is it the key of {}?", certificate.display())))
}

impl CertificateReloader {
    /// Agrees on keys with clients, always with the certificate that is current.
    pub(super) fn acceptor(self: Arc<Self>) -> Result<TlsAcceptor> {
        let failed = |error| Error::storage("setting TLS up", error);
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
