//! The HTTP API: the same router serves the embedded server, Lambda and the tests.

mod access;
mod handlers;
mod openapi;
mod problem;

pub use access::{Access, HashError};
pub use openapi::document as openapi_document;

use crate::services::Services;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post, put},
};
use problem::Refused;
use std::sync::Arc;
use tidemill_core::api::path;

/// The largest JSON body: a report carries up to 4 MiB of log, packed and in base64.
const MOST_BODY: usize = 16 << 20;

#[derive(Debug, Clone)]
struct Api {
    services: Services,
    access: Arc<Access>,
}

/// The API over `services`, for callers to whom `access` is given.
pub fn router(services: Services, access: Access) -> Router {
    let api = Api { services, access: Arc::new(access) };
    let users = Router::new()
        .route(path::EXECUTE, post(handlers::execute))
        .route(path::STATUS, get(handlers::status))
        .route(path::USAGE, get(handlers::usage))
        .route(path::EXECUTIONS, get(handlers::executions))
        .route(path::CANCEL_EXECUTION, post(handlers::cancel_execution))
        .route(path::RETRY, post(handlers::retry))
        .route(path::APPROVE_EXECUTION, post(handlers::approve_execution))
        .route(path::APPROVE_JOB, post(handlers::approve_job))
        .route(path::CANCEL_JOB, post(handlers::cancel_job))
        .route(path::DEAD_LETTERS, get(handlers::dead_letters))
        .route(path::DISMISS, post(handlers::dismiss_dead_letter))
        .route(path::JOB_LOGS, get(handlers::job_logs))
        .route(path::ARTIFACTS, get(handlers::artifacts))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .route_layer(middleware::from_fn_with_state(api.clone(), access::users));
    let workers = Router::new()
        .route(path::JOB_EXECUTE, post(handlers::job_execute))
        .route(path::JOB_STATUS, post(handlers::job_status))
        .route(path::ARTIFACT_UPLOAD, post(handlers::artifact_upload))
        .route(path::ARTIFACT_DOWNLOAD, get(handlers::artifact_download))
        .route(path::SOURCE_UPLOAD, post(handlers::source_upload))
        .route(path::SOURCE_DOWNLOAD, get(handlers::source_download))
        .route(path::WORKER_PROGRAM, get(handlers::worker_program))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .route(path::ARTIFACT_CONTENT, put(handlers::artifact_content).layer(DefaultBodyLimit::disable()))
        .route(path::SOURCE_CONTENT, put(handlers::source_content).layer(DefaultBodyLimit::disable()))
        .route_layer(middleware::from_fn_with_state(api.clone(), access::workers));
    Router::new()
        .merge(users)
        .merge(workers)
        .route(path::HEALTH, get(handlers::health))
        .route(path::OPENAPI, get(handlers::openapi))
        .fallback(async || Refused::no_such_path())
        .method_not_allowed_fallback(async || Refused::method_not_allowed())
        .with_state(api)
}
