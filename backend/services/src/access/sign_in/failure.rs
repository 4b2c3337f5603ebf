//! Why a sign-in ended without a session.

use crate::error::Error;
use tidemill_core::access::sign_in::SignInFailure;

/// A sign-in failed.
#[derive(Debug)]
pub enum SignInError {
    /// The provider, the person or the browser did not do what was expected: the page explains it, and the server's log has the detail.
    Failed(SignInFailure, String),
    /// The server itself failed.
    Service(Error),
}

impl SignInError {
    pub fn provider(detail: impl Into<String>) -> Self {
        Self::Failed(SignInFailure::Provider, detail.into())
    }

    pub fn rejected(detail: impl Into<String>) -> Self {
        Self::Failed(SignInFailure::Rejected, detail.into())
    }
}
