//! The HTTP API: the same router serves the embedded server, Lambda and the tests.

mod access;
mod body_limits;
mod expected;
mod handlers;
mod intake;
mod json_body;
mod limits;
mod openapi;
mod page;
mod problem;
mod repository_handlers;
mod routes;
mod token_handlers;

pub use access::{AuthenticatedFlag, ClientAddress, DEFAULT_RATE, InvalidTokenHash, TokenVerifier};
pub use openapi::document as openapi_document;
pub use routes::{ROUTES, Route, Within};

use crate::services::Services;
use axum::Router;
use intake::BodyReader;
use problem::ApiError;
use std::sync::Arc;

#[derive(Debug, Clone)]
struct ApiState {
    services: Services,
    access: Arc<TokenVerifier>,
    /// Memory for bodies that come without a token.
    intake: Arc<BodyReader>,
}

/// The API over `services`, for callers to whom `access` or a token in the store is given.
pub fn router(services: Services, access: TokenVerifier) -> Router {
    let api = ApiState { services, access: Arc::new(access), intake: Arc::default() };
    routes::all(&api)
        .fallback(async || ApiError::no_such_path())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .with_state(api)
}
