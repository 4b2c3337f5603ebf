//! Every operation of the API: its path, who may call it, what of a repository it touches, and what carries it out. The router is made of
//! this table; docs/security.md shows it, and a test compares the two and tries each line with tokens that do not fit.

use super::{ApiState, access, body_limits::max_body, handlers, page, repository_handlers, token_handlers};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post, put},
};
use tidemill_core::{
    access::Scope::{self, Admin, Read, Run, Worker},
    api::path,
};

/// Which tokens an operation takes: those that have one of the scopes.
pub type Need = &'static [Scope];

/// Without a token. Whoever adds one of these checks callers by other means, or gives nothing away.
pub const NOBODY: Need = &[];
/// To look.
pub const LOOK: Need = &[Read, Run, Admin];
/// To change what runs.
pub const RUN_SCOPES: Need = &[Run, Admin];
/// To work on jobs.
pub const WORKER_SCOPES: Need = &[Worker, Admin];
/// What both those who look and those who work need.
pub const DOWNLOAD_SCOPES: Need = &[Read, Run, Worker, Admin];
/// To change the deployment.
pub const ADMIN_SCOPES: Need = &[Admin];

/// How a token that is for one repository only is kept to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// The path names an execution, a job or an artifact: of another repository it is as if it were not there (404).
    Path,
    /// The operation itself looks: it refuses (403), or leaves out what is of other repositories.
    Itself,
    /// It is about no repository: such a token may call it as any other.
    None,
    /// It is about the whole deployment: such a token may not call it (403).
    Forbidden,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// HTTP method, in capitals.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// Which tokens it takes.
    pub need: Need,
    /// How a token of one repository is kept to it.
    pub within: Within,
}

macro_rules! routes {
    ($($method:ident $path:path => $handler:expr, $need:ident, $within:ident;)*) => {
        /// Every operation of the API.
        pub const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            need: $need,
            within: Within::$within,
        }),*];

        /// A router of all of them, each behind its own check.
        pub fn all(api: &ApiState) -> Router<ApiState> {
            let mut place = 0;
            Router::new()$(.route($path, {
                let route = &ROUTES[place];
                let check = access::Check { api: api.clone(), route };
                place += 1;
                let _ = place;
                routes!(@ $method)($handler)
                    .route_layer(DefaultBodyLimit::max(max_body(route)))
                    .route_layer(middleware::from_fn_with_state(check, access::check))
            }))*
        }
    };
    (@ GET) => { get };
    (@ POST) => { post };
    (@ PUT) => { put };
    (@ DELETE) => { delete };
}

// To add an operation: a line here, one in openapi.rs, one in the table of docs/security.md.
routes! {
    POST path::EXECUTE => handlers::execute, RUN_SCOPES, Itself;
    GET path::STATUS => handlers::status, LOOK, Path;
    GET path::EXECUTIONS => handlers::executions, LOOK, Itself;
    GET path::USAGE => handlers::usage, LOOK, Path;
    GET path::TESTS => handlers::tests, LOOK, Path;
    POST path::CANCEL_EXECUTION => handlers::cancel_execution, RUN_SCOPES, Path;
    POST path::RETRY => handlers::retry, RUN_SCOPES, Path;
    POST path::APPROVE_EXECUTION => handlers::approve_execution, RUN_SCOPES, Path;
    POST path::APPROVE_JOB => handlers::approve_job, RUN_SCOPES, Path;
    POST path::JOB_EXECUTE => handlers::job_execute, WORKER_SCOPES, Forbidden;
    POST path::JOB_STATUS => handlers::job_status, WORKER_SCOPES, Forbidden;
    POST path::JOB_TESTS => handlers::job_tests, WORKER_SCOPES, Forbidden;
    POST path::CANCEL_JOB => handlers::cancel_job, RUN_SCOPES, Path;
    GET path::JOB_LOGS => handlers::job_logs, LOOK, Path;
    GET path::DEAD_LETTERS => handlers::dead_letters, LOOK, Itself;
    POST path::DISMISS => handlers::dismiss_dead_letter, RUN_SCOPES, Path;
    POST path::ARTIFACT_UPLOAD => handlers::artifact_upload, WORKER_SCOPES, Forbidden;
    POST path::CACHE_LOOKUP => handlers::cache_lookup, WORKER_SCOPES, Forbidden;
    GET path::CACHE_CONTENT => handlers::cache_content, WORKER_SCOPES, Forbidden;
    PUT path::ARTIFACT_CONTENT => handlers::artifact_content, WORKER_SCOPES, Forbidden;
    GET path::ARTIFACTS => handlers::artifacts, LOOK, Path;
    GET path::ARTIFACT_DOWNLOAD => handlers::artifact_download, DOWNLOAD_SCOPES, Path;
    POST path::SOURCE_UPLOAD => handlers::source_upload, RUN_SCOPES, Itself;
    PUT path::SOURCE_CONTENT => handlers::source_content, RUN_SCOPES, Itself;
    GET path::SOURCE_DOWNLOAD => handlers::source_download, WORKER_SCOPES, Forbidden;
    GET path::WORKER_PROGRAM => handlers::worker_program, WORKER_SCOPES, Forbidden;
    GET path::SECRETS => handlers::secrets, ADMIN_SCOPES, Itself;
    POST path::SECRETS => handlers::set_secret, ADMIN_SCOPES, Itself;
    POST path::REMOVE_SECRET => handlers::remove_secret, ADMIN_SCOPES, Itself;
    POST path::REKEY_SECRETS => handlers::rekey_secrets, ADMIN_SCOPES, Forbidden;
    POST path::WEBHOOK => repository_handlers::webhook, NOBODY, None;
    POST path::DISCOVERED => repository_handlers::discovered, WORKER_SCOPES, Forbidden;
    PUT path::REPOSITORIES => repository_handlers::put, ADMIN_SCOPES, Itself;
    GET path::REPOSITORIES => repository_handlers::list, ADMIN_SCOPES, Itself;
    DELETE path::REPOSITORIES => repository_handlers::remove, ADMIN_SCOPES, Itself;
    POST path::SYNC => repository_handlers::sync, ADMIN_SCOPES, Itself;
    POST path::REDELIVER => repository_handlers::redeliver, ADMIN_SCOPES, Itself;
    POST path::TOKENS => token_handlers::create, ADMIN_SCOPES, Forbidden;
    GET path::TOKENS => token_handlers::list, ADMIN_SCOPES, Forbidden;
    DELETE path::TOKEN => token_handlers::revoke, ADMIN_SCOPES, Forbidden;
    GET path::AUDIT => token_handlers::audit, ADMIN_SCOPES, Forbidden;
    GET path::VIEW => page::one, NOBODY, None;
    GET path::VIEWS => page::newest, NOBODY, None;
    GET path::HEALTH => handlers::health, NOBODY, None;
    GET path::OPENAPI => handlers::openapi, NOBODY, None;
}
