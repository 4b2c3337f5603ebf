//! Which servers a client trusts, and why it rejects one.

use super::causes::format_causes;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use std::{fmt, fs, io::Read, path::PathBuf, sync::Arc};

/// Maximum size of a file of certificate authorities in bytes: the system's own bundle has about 250 KiB.
const MAX_PEM_SIZE: u64 = 4 << 20;

/// Certificates in PEM format that are trusted in addition to the system's: of authorities, or of a server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateAuthorities {
    /// A file, read when the first request goes to https.
    File(PathBuf),
    /// The text of such a file.
    Pem(String),
}

/// The reason why a TLS connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFailure {
    /// No trusted authority issued the server's certificate.
    UnknownIssuer,
    /// The certificate is for other names.
    WrongName {
        /// The name in the address.
        expected: String,
        /// The names of the certificate.
        presented: Vec<String>,
    },
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The server does not answer in TLS.
    NotTls,
    /// Another failure, as text.
    Other(String),
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => f.write_str(
                "its certificate is not issued by an authority that this machine trusts; if the server is the right one, pass \
                 its certificate, or that of the authority, as a PEM file with --ca-cert (TIDEMILL_CA_CERT)",
            ),
            Self::WrongName { expected, presented } if presented.is_empty() => write!(
                f,
                "its certificate names no host, and so not {expected}; create one with `-addext subjectAltName=DNS:{expected}`"
            ),
            Self::WrongName { expected, presented } => write!(
                f,
                "its certificate is for {}, not for {expected}; use one of these names in the address, or a certificate for \
                 {expected}",
                presented.join(", ")
            ),
            Self::Expired => f.write_str("its certificate has expired; renew it, or check the clock of this machine"),
            Self::NotYetValid => f.write_str("its certificate is not valid yet; check the clock of this machine"),
            Self::NotTls => f.write_str("it does not answer in TLS; if it has no certificate, use http:// in the address"),
            Self::Other(text) => write!(f, "the TLS connection failed: {text}"),
        }
    }
}

impl TlsFailure {
    /// Returns the TLS failure among the causes of `error`, if there is one.
    pub(super) fn find(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(cause) = next {
            // An I/O error hides the error that it wraps from `source`.
            let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            let tls = match wrapped {
                Some(wrapped) => wrapped.downcast_ref::<TlsError>(),
                None => cause.downcast_ref::<TlsError>(),
            };
            if let Some(error) = tls {
                return Some(Self::from(error));
            }
            next = match wrapped {
                Some(wrapped) => Some(wrapped),
                None => cause.source(),
            };
        }
        None
    }
}

impl From<&TlsError> for TlsFailure {
    fn from(error: &TlsError) -> Self {
        let certificate = match error {
            TlsError::InvalidCertificate(certificate) => certificate,
            TlsError::InvalidMessage(_) => return Self::NotTls,
            other => return Self::Other(format_causes(other)),
        };
        match certificate {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            error if is_authority_as_server(error) => Self::UnknownIssuer,
            CertificateError::NotValidForNameContext { expected, presented } => {
                Self::WrongName { expected: expected.to_str().into_owned(), presented: presented.clone() }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Why no TLS connection can be made at all.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The certificate authorities of `--ca-cert`, or of the profile, cannot be read.
    #[error("cannot read certificate authorities from {origin}: {cause}; pass a PEM file with --ca-cert")]
    Authorities {
        /// Where they are.
        origin: String,
        /// The reason.
        cause: AuthoritiesError,
    },
    /// One of them cannot be used.
    #[error("a certificate of --ca-cert is invalid: {0}")]
    Certificate(rustls::Error),
    /// The system has no trusted certificates; the text names the causes.
    #[error("cannot read the system's trusted certificates: {0}")]
    System(String),
    /// The TLS library cannot be set up.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The verifier of certificates cannot be set up.
    #[error(transparent)]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// Why certificate authorities cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// The file cannot be read, or is too large.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The text is not PEM.
    #[error(transparent)]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// There is none in it.
    #[error("it contains no certificate")]
    Empty,
}

impl CertificateAuthorities {
    /// Reads the certificates.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TrustError> {
        let (origin, pem) = match self {
            Self::File(path) => (path.display().to_string(), read_bounded(path)),
            Self::Pem(text) => ("the profile".to_owned(), Ok(text.clone().into_bytes())),
        };
        let read = pem.map_err(AuthoritiesError::from).and_then(|pem| {
            let all = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>()?;
            if all.is_empty() { Err(AuthoritiesError::Empty) } else { Ok(all) }
        });
        read.map_err(|cause| TrustError::Authorities { origin, cause })
    }

    /// Returns the PEM text, to store it.
    pub fn pem(&self) -> std::io::Result<String> {
        match self {
            Self::File(path) => String::from_utf8(read_bounded(path)?).map_err(std::io::Error::other),
            Self::Pem(text) => Ok(text.clone()),
        }
    }
}

fn read_bounded(path: &PathBuf) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_PEM_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_PEM_SIZE {
        return Err(std::io::Error::other(format!("it has more than {MAX_PEM_SIZE} bytes")));
    }
    Ok(bytes)
}

/// Returns a configuration that trusts no server.
pub(super) fn without_trust() -> Result<ClientConfig, TrustError> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Returns a configuration that trusts the certificate authorities of the system, or of SSL_CERT_FILE and SSL_CERT_DIR, and
/// `additional` ones.
pub(super) fn with_trust(additional: Option<&CertificateAuthorities>) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    let additional = additional.map(CertificateAuthorities::certificates).transpose()?.unwrap_or_default();
    for certificate in &additional {
        roots.add(certificate.clone()).map_err(TrustError::Certificate)?;
    }
    if roots.is_empty() {
        let causes = system.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return Err(TrustError::System(causes));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider()).build()?;
    let verifier = Arc::new(ServerVerifier { verifier, pinned: additional });
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Verifies a server like webpki does. In addition, it accepts a server whose own certificate is among `pinned`, even if that is the
/// certificate of an authority, as `openssl req -x509` creates it, or names no host. webpki accepts neither.
#[derive(Debug)]
struct ServerVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let error = match verified {
            Err(TlsError::InvalidCertificate(error)) if self.pinned.contains(end_entity) => error,
            verified => return verified,
        };
        // webpki checks the validity period before it reports this, and names afterwards.
        let error = if is_authority_as_server(&error) {
            match verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name) {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(TlsError::InvalidCertificate(error)) => error,
                Err(error) => return Err(error),
            }
        } else {
            error
        };
        // The certificate itself is trusted: without names there is nothing that could contradict the address.
        match error {
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                Ok(ServerCertVerified::assertion())
            }
            error => Err(TlsError::InvalidCertificate(error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Returns whether a server presented the certificate of an authority as its own.
fn is_authority_as_server(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}
