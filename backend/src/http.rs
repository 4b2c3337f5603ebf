//! The HTTP API: the same router serves the embedded server, Lambda and the tests.

mod access;
mod expected;
mod handlers;
mod limits;
mod openapi;
mod page;
mod problem;
mod repository_handlers;
mod routes;
mod token_handlers;

pub use access::{Access, ClientAddress, HashError, USUAL_RATE};
pub use openapi::document as openapi_document;
pub use routes::{ROUTES, Route, Within};

use crate::services::Services;
use axum::{Router, extract::DefaultBodyLimit};
use problem::Refused;
use std::sync::Arc;

/// The largest JSON body: a report carries up to 4 MiB of log, packed and in base64.
const MOST_BODY: usize = 16 << 20;

#[derive(Debug, Clone)]
struct Api {
    services: Services,
    access: Arc<Access>,
}

/// The API over `services`, for callers to whom `access` or a token in the store is given.
pub fn router(services: Services, access: Access) -> Router {
    let api = Api { services, access: Arc::new(access) };
    // Bodies that are not read whole have limits of their own.
    routes::all(&api)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .fallback(async || Refused::no_such_path())
        .method_not_allowed_fallback(async || Refused::method_not_allowed())
        .with_state(api)
}
