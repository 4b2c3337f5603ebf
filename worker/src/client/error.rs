//! Why a call of the API failed.

/// Why a call did not return what it should.
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
        /// The problem document's detail.
        message: String,
    },
    /// The address is not one that can be called.
    #[error("`{0}` cannot be called: give an address that begins with http:// or https://")]
    Address(String),
    /// The token would be sent unencrypted.
    #[error(
        "{0} is on another machine and not on https, so that everybody on the way could read the token: it is not sent; use https, or \
         say --insecure-http (TIDEMILL_INSECURE_HTTP=true) where the network itself is private"
    )]
    InsecureHttp(String),
}

impl ApiError {
    /// A call of `url` without an answer. The address is shown without its query, which may hold a signature.
    pub(super) fn unreachable(url: &str, message: impl Into<String>) -> Self {
        Self::Unreachable { url: without_query(url), message: message.into() }
    }

    /// Whether the lease is no longer this worker's.
    #[must_use]
    pub const fn is_lease_lost(&self) -> bool {
        matches!(self, Self::Refused { status: 404 | 409 | 410, .. })
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            Self::Address(_) | Self::InsecureHttp(_) => false,
        }
    }
}

/// `url` without its query.
pub(super) fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

/// An error with its causes, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
