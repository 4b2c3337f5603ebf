//! State that all handlers share.

use super::{intake::BodyReader, limits::streams::OpenStreams, token_verifier::TokenVerifier};
use crate::services::Services;
use std::sync::Arc;

/// State of the API; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    pub services: Services,
    pub token_verifier: Arc<TokenVerifier>,
    /// Memory for bodies of requests without a token.
    pub body_reader: Arc<BodyReader>,
    /// Open streams of events.
    pub streams: Arc<OpenStreams>,
}
