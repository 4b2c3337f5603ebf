//! The router of the whole API.

mod request_log;

use super::{handlers::pages, problem::ApiError, routes, state::ApiState, token_verifier::TokenVerifier};
use crate::services::Services;
use axum::{Router, middleware};
use std::sync::Arc;

/// Creates the router of the API over `services`. It accepts the tokens of `access` and those in the store.
pub fn router(services: Services, access: TokenVerifier) -> Router {
    let api = ApiState {
        services,
        token_verifier: Arc::new(access),
        body_reader: Arc::default(),
        streams: Arc::default(),
    };
    routes::all(&api)
        .merge(pages::router())
        .fallback(async || ApiError::no_such_path())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(middleware::from_fn_with_state(api.clone(), request_log::observe))
        .with_state(api)
}
