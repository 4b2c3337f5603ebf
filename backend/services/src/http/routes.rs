//! Every operation of the API: its path, who may call it, what of a repository it touches, and what carries it out. The router is made of
//! this table; docs/security.md shows it, and a test compares the two and tries each line with tokens that do not fit.

use super::{Api, access, body_limits::max_body, handlers, page, repository_handlers, token_handlers};
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
pub const CHANGE: Need = &[Run, Admin];
/// To work on jobs.
pub const WORK: Need = &[Worker, Admin];
/// What both those who look and those who work need.
pub const FETCH: Need = &[Read, Run, Worker, Admin];
/// To change the deployment.
pub const MANAGE: Need = &[Admin];

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
    Refused,
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
        pub fn all(api: &Api) -> Router<Api> {
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
    POST path::EXECUTE => handlers::execute, CHANGE, Itself;
    GET path::STATUS => handlers::status, LOOK, Path;
    GET path::EXECUTIONS => handlers::executions, LOOK, Itself;
    GET path::USAGE => handlers::usage, LOOK, Path;
    GET path::TESTS => handlers::tests, LOOK, Path;
    POST path::CANCEL_EXECUTION => handlers::cancel_execution, CHANGE, Path;
    POST path::RETRY => handlers::retry, CHANGE, Path;
    POST path::APPROVE_EXECUTION => handlers::approve_execution, CHANGE, Path;
    POST path::APPROVE_JOB => handlers::approve_job, CHANGE, Path;
    POST path::JOB_EXECUTE => handlers::job_execute, WORK, Refused;
    POST path::JOB_STATUS => handlers::job_status, WORK, Refused;
    POST path::JOB_TESTS => handlers::job_tests, WORK, Refused;
    POST path::CANCEL_JOB => handlers::cancel_job, CHANGE, Path;
    GET path::JOB_LOGS => handlers::job_logs, LOOK, Path;
    GET path::DEAD_LETTERS => handlers::dead_letters, LOOK, Itself;
    POST path::DISMISS => handlers::dismiss_dead_letter, CHANGE, Path;
    POST path::ARTIFACT_UPLOAD => handlers::artifact_upload, WORK, Refused;
    POST path::CACHE_LOOKUP => handlers::cache_lookup, WORK, Refused;
    GET path::CACHE_CONTENT => handlers::cache_content, WORK, Refused;
    PUT path::ARTIFACT_CONTENT => handlers::artifact_content, WORK, Refused;
    GET path::ARTIFACTS => handlers::artifacts, LOOK, Path;
    GET path::ARTIFACT_DOWNLOAD => handlers::artifact_download, FETCH, Path;
    POST path::SOURCE_UPLOAD => handlers::source_upload, CHANGE, Itself;
    PUT path::SOURCE_CONTENT => handlers::source_content, CHANGE, Itself;
    GET path::SOURCE_DOWNLOAD => handlers::source_download, WORK, Refused;
    GET path::WORKER_PROGRAM => handlers::worker_program, WORK, Refused;
    GET path::SECRETS => handlers::secrets, MANAGE, Itself;
    POST path::SECRETS => handlers::set_secret, MANAGE, Itself;
    POST path::REMOVE_SECRET => handlers::remove_secret, MANAGE, Itself;
    POST path::REKEY_SECRETS => handlers::rekey_secrets, MANAGE, Refused;
    POST path::WEBHOOK => repository_handlers::webhook, NOBODY, None;
    POST path::DISCOVERED => repository_handlers::discovered, WORK, Refused;
    PUT path::REPOSITORIES => repository_handlers::put, MANAGE, Itself;
    GET path::REPOSITORIES => repository_handlers::list, MANAGE, Itself;
    DELETE path::REPOSITORIES => repository_handlers::remove, MANAGE, Itself;
    POST path::SYNC => repository_handlers::sync, MANAGE, Itself;
    POST path::REDELIVER => repository_handlers::redeliver, MANAGE, Itself;
    POST path::TOKENS => token_handlers::create, MANAGE, Refused;
    GET path::TOKENS => token_handlers::list, MANAGE, Refused;
    DELETE path::TOKEN => token_handlers::revoke, MANAGE, Refused;
    GET path::AUDIT => token_handlers::audit, MANAGE, Refused;
    GET path::VIEW => page::one, NOBODY, None;
    GET path::VIEWS => page::newest, NOBODY, None;
    GET path::HEALTH => handlers::health, NOBODY, None;
    GET path::OPENAPI => handlers::openapi, NOBODY, None;
}
