//! Why a sign-in ended without a session.

use crate::{error::Error, ports::RequestError};
use tidemill_core::access::sign_in::SignInFailure;

/// Why a provider could not be asked, or what is wrong in its reply. A reply may have tokens, and is in no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// There is no reply.
    #[error("{url}: {error}")]
    Request {
        /// The address.
        url: String,
        /// The reason.
        error: RequestError,
    },
    /// The reply has a status that is not 200.
    #[error("{url} replied with {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The reply is not JSON, or lacks a field.
    #[error("the provider's reply is not what it should be (line {line}, column {column})")]
    Reply {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The configuration is that of another issuer.
    #[error("{url} is of the issuer `{issuer}`; write --oidc-issuer like that")]
    Issuer {
        /// The address of the configuration.
        url: String,
        /// The issuer in it.
        issuer: String,
    },
    /// The configuration names an address to which no code or token may be sent.
    #[error("the provider names the address `{0}`, which does not use TLS")]
    NoTls(String),
    /// The configuration names an address that is none.
    #[error("`{0}` is no address")]
    Address(String),
    /// The published keys are not a key set.
    #[error("the keys of the provider are not readable: {0}")]
    Keys(String),
}

/// A sign-in failed.
#[derive(Debug)]
pub enum SignInError {
    /// The provider, the person or the browser did not do what was expected: the page explains it, and the server's log has the detail.
    Failed(SignInFailure, String),
    /// The server itself failed.
    Service(Error),
}

impl SignInError {
    pub fn rejected(detail: impl Into<String>) -> Self {
        Self::Failed(SignInFailure::Rejected, detail.into())
    }
}

impl From<ProviderError> for SignInError {
    fn from(error: ProviderError) -> Self {
        Self::Failed(SignInFailure::Provider, error.to_string())
    }
}
