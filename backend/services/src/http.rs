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

pub use access::{Access, ClientAddress, HashError, Proof, USUAL_RATE};
pub use openapi::document as openapi_document;
pub use routes::{ROUTES, Route, Within};

use crate::services::Services;
use axum::Router;
use intake::Intake;
use problem::Refused;
use std::sync::Arc;

#[derive(Debug, Clone)]
struct Api {
    services: Services,
    access: Arc<Access>,
    /// Memory for bodies that come without a token.
    intake: Arc<Intake>,
}

/// The API over `services`, for callers to whom `access` or a token in the store is given.
pub fn router(services: Services, access: Access) -> Router {
    let api = Api { services, access: Arc::new(access), intake: Arc::default() };
    routes::all(&api)
        .fallback(async || Refused::no_such_path())
        .method_not_allowed_fallback(async || Refused::method_not_allowed())
        .with_state(api)
}
