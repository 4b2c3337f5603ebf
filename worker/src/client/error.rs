//! Errors of API calls.

use super::trust::TlsFailure;

/// The reason why an API call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No response: the server is unreachable, or the connection failed.
    #[error("no response from {url}: {message}")]
    Unreachable {
        /// The URL of the call.
        url: String,
        /// The cause.
        message: String,
    },
    /// The TLS connection failed, before anything was sent.
    #[error("no secure connection to {url}: {failure}")]
    Tls {
        /// The URL of the call.
        url: String,
        /// The cause.
        failure: TlsFailure,
    },
    /// The server returned an error status.
    #[error("{url} returned {status}: {message}")]
    Rejected {
        /// The URL of the call.
        url: String,
        /// HTTP status.
        status: u16,
        /// The detail of the problem document.
        message: String,
    },
    /// The request cannot be sent with these settings: the token or the certificate authorities are invalid.
    #[error("{0}")]
    Settings(String),
    /// The server redirects, which its API never does.
    #[error(
        "{url} redirects to {location}, which is not followed, as the token would go there; if that is the right server, use its \
         address"
    )]
    Redirected {
        /// The URL of the call.
        url: String,
        /// Where the server redirects to.
        location: String,
    },
    /// The address is invalid.
    #[error("`{0}` is not a valid address; use one that starts with http:// or https://")]
    Address(String),
    /// The reply says that it is compressed, but it is not, and would not be at another attempt.
    #[error(
        "the reply from {0} is marked as zstd, but it is not: something on the way changed it, as an API gateway without binary media \
         types or a proxy does; let binary replies pass there, or use the server's own address"
    )]
    Encoding(String),
    /// The token would be sent unencrypted.
    #[error(
        "the token is not sent to {0}, as it would cross the network unencrypted; use https, or use \
         --insecure-http (TIDEMILL_INSECURE_HTTP=true) if the network is private"
    )]
    InsecureHttp(String),
}

impl ApiError {
    /// Creates an error for a call without a response. Omits the query of the URL, which may contain a signature.
    pub(super) fn unreachable(url: &str, message: impl Into<String>) -> Self {
        Self::Unreachable { url: without_query(url), message: message.into() }
    }

    /// Returns whether the worker has lost the lease.
    #[must_use]
    pub const fn is_lease_lost(&self) -> bool {
        matches!(self, Self::Rejected { status: 404 | 409 | 410, .. })
    }

    /// Returns whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            // Certificates are renewed while workers run.
            Self::Unreachable { .. } | Self::Tls { .. } => true,
            Self::Rejected { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            Self::Settings(_)
            | Self::Redirected { .. }
            | Self::Address(_)
            | Self::Encoding(_)
            | Self::InsecureHttp(_) => false,
        }
    }
}

/// Returns `url` without its query.
pub(super) fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
