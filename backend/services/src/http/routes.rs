//! The table of all operations: path, handler, accepted scopes, and the limit to one repository. The router is built from this table. A
//! test compares it with docs/security.md, and calls each operation with tokens that it must reject.

use super::{
    access,
    body_limits::max_body,
    handlers::{
        artifacts::{self, files},
        environments,
        executions::{self, events},
        insights::{self, badges},
        jobs, oidc, registries,
        repositories::{self, deliveries, schedules},
        secrets,
        server::{self, retention},
        sources,
        tokens::{self, roles, sessions},
        workers::{self, shells},
    },
    route::{ADMIN_SCOPES, DOWNLOAD_SCOPES, NO_TOKEN, READ_SCOPES, RUN_SCOPES, Route, WORKER_SCOPES, Within},
    state::ApiState,
};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post, put},
};
use tidemill_core::api::path;

macro_rules! routes {
    ($($method:ident $path:path => $handler:expr, $need:ident, $within:ident;)*) => {
        /// Every operation of the API.
        pub const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            need: $need,
            within: Within::$within,
        }),*];

        /// Builds a router of all operations, each behind its access check.
        pub fn all(api: &ApiState) -> Router<ApiState> {
            let mut position = 0;
            Router::new()$(.route($path, {
                let route = &ROUTES[position];
                let check = access::Check { api: api.clone(), route };
                position += 1;
                let _ = position;
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

// To add an operation, add a line here, one in openapi.rs, and one in the table of docs/security.md.
routes! {
    POST path::EXECUTE => executions::execute, RUN_SCOPES, Itself;
    POST path::INPUTS => executions::inputs, RUN_SCOPES, None;
    GET path::STATUS => executions::status, READ_SCOPES, Path;
    GET path::EVENTS => events::events, READ_SCOPES, Path;
    GET path::LIST_EVENTS => events::list_events, READ_SCOPES, Forbidden;
    GET path::EXECUTIONS => executions::list, READ_SCOPES, Itself;
    GET path::USAGE => executions::usage, READ_SCOPES, Path;
    GET path::TESTS => executions::tests, READ_SCOPES, Path;
    GET path::SUMMARIES => executions::summaries, READ_SCOPES, Path;
    POST path::CANCEL_EXECUTION => executions::cancel, RUN_SCOPES, Path;
    POST path::RETRY => executions::retry, RUN_SCOPES, Path;
    POST path::APPROVE_EXECUTION => executions::approve, RUN_SCOPES, Path;
    POST path::APPROVE_JOB => jobs::approve, RUN_SCOPES, Path;
    POST path::JOB_EXECUTE => jobs::execute, WORKER_SCOPES, Forbidden;
    POST path::JOB_STATUS => jobs::report, WORKER_SCOPES, Forbidden;
    POST path::CHILD_REPORT => jobs::start_child, WORKER_SCOPES, Forbidden;
    POST path::JOB_TESTS => jobs::report_tests, WORKER_SCOPES, Forbidden;
    POST path::JOB_SUMMARY => jobs::report_summary, WORKER_SCOPES, Forbidden;
    GET path::SUMMARY_TEXT => jobs::summary, READ_SCOPES, Path;
    POST path::CANCEL_JOB => jobs::cancel, RUN_SCOPES, Path;
    GET path::JOB_LOGS => jobs::logs, READ_SCOPES, Path;
    GET path::JOB_SHELL => shells::open, ADMIN_SCOPES, Path;
    GET path::SHELL_SESSION => shells::connect, WORKER_SCOPES, Forbidden;
    GET path::JOB_LOG_TIMES => jobs::log_times, READ_SCOPES, Path;
    GET path::DEAD_LETTERS => jobs::dead_letters, READ_SCOPES, Itself;
    POST path::DISMISS => jobs::dismiss_dead_letter, RUN_SCOPES, Path;
    POST path::ARTIFACT_UPLOAD => artifacts::upload, WORKER_SCOPES, Forbidden;
    POST path::CACHE_LOOKUP => artifacts::look_up_cache, WORKER_SCOPES, Forbidden;
    GET path::CACHE_CONTENT => artifacts::download_cache, WORKER_SCOPES, Forbidden;
    PUT path::ARTIFACT_CONTENT => artifacts::put_content, WORKER_SCOPES, Forbidden;
    GET path::ARTIFACTS => artifacts::list, READ_SCOPES, Path;
    GET path::ARTIFACT_DOWNLOAD => artifacts::download, DOWNLOAD_SCOPES, Path;
    GET path::ARTIFACT_FILE => files::file, READ_SCOPES, Path;
    POST path::ARTIFACT_LINK => files::link, READ_SCOPES, Path;
    GET path::ARTIFACT_ARCHIVE => files::archive, READ_SCOPES, Path;
    POST path::SOURCE_UPLOAD => sources::upload, RUN_SCOPES, Itself;
    PUT path::SOURCE_CONTENT => sources::put_content, RUN_SCOPES, Itself;
    GET path::SOURCE_DOWNLOAD => sources::download, WORKER_SCOPES, Forbidden;
    GET path::WORKER_PROGRAM => sources::worker_program, WORKER_SCOPES, Forbidden;
    GET path::ENVIRONMENTS => environments::list, READ_SCOPES, Itself;
    POST path::STOP_ENVIRONMENT => environments::stop, RUN_SCOPES, Itself;
    GET path::PROTECTIONS => environments::protections, READ_SCOPES, Itself;
    POST path::PROTECTIONS => environments::protect, ADMIN_SCOPES, Itself;
    POST path::UNPROTECT_ENVIRONMENT => environments::unprotect, ADMIN_SCOPES, Itself;
    GET path::VARIABLES => secrets::variables, RUN_SCOPES, Itself;
    GET path::SECRETS => secrets::list, ADMIN_SCOPES, Itself;
    POST path::SECRETS => secrets::set, ADMIN_SCOPES, Itself;
    POST path::REMOVE_SECRET => secrets::remove, ADMIN_SCOPES, Itself;
    POST path::REKEY_SECRETS => secrets::rekey, ADMIN_SCOPES, Forbidden;
    GET path::REGISTRIES => registries::list, ADMIN_SCOPES, Itself;
    POST path::REGISTRIES => registries::set, ADMIN_SCOPES, Itself;
    POST path::REMOVE_REGISTRY => registries::remove, ADMIN_SCOPES, Itself;
    POST path::WEBHOOK => repositories::webhook, NO_TOKEN, None;
    POST path::DISCOVERY_REPORT => repositories::discovered, WORKER_SCOPES, Forbidden;
    PUT path::REPOSITORIES => repositories::put, ADMIN_SCOPES, Itself;
    GET path::REPOSITORIES => repositories::list, ADMIN_SCOPES, Itself;
    DELETE path::REPOSITORIES => repositories::remove, ADMIN_SCOPES, Itself;
    POST path::SYNC => repositories::sync, ADMIN_SCOPES, Itself;
    POST path::REDELIVER => repositories::redeliver, ADMIN_SCOPES, Itself;
    POST path::TOKENS => tokens::create, ADMIN_SCOPES, Forbidden;
    GET path::TOKENS => tokens::list, ADMIN_SCOPES, Forbidden;
    DELETE path::TOKEN => tokens::revoke, ADMIN_SCOPES, Forbidden;
    GET path::SESSION => sessions::show, NO_TOKEN, None;
    DELETE path::SESSION => sessions::end, NO_TOKEN, None;
    GET path::SIGN_IN => sessions::begin, NO_TOKEN, None;
    GET path::SIGN_IN_REPLY => sessions::finish, NO_TOKEN, None;
    GET path::SESSIONS => sessions::list, NO_TOKEN, None;
    DELETE path::OWN_SESSION => sessions::end_one, NO_TOKEN, None;
    POST path::SESSION_CODE => sessions::create_code, NO_TOKEN, None;
    POST path::SESSION_TOKEN => sessions::exchange, NO_TOKEN, None;
    GET path::ROLES => roles::list, ADMIN_SCOPES, Forbidden;
    POST path::ROLES => roles::set, ADMIN_SCOPES, Forbidden;
    POST path::REMOVE_ROLE => roles::remove, ADMIN_SCOPES, Forbidden;
    GET path::AUDIT => tokens::audit, ADMIN_SCOPES, Forbidden;
    GET path::EXPORT => insights::export, ADMIN_SCOPES, Itself;
    GET path::OVERVIEW => insights::overview, READ_SCOPES, Itself;
    GET path::INSIGHTS => insights::insights, READ_SCOPES, Itself;
    POST path::BADGES => badges::publish, ADMIN_SCOPES, Itself;
    POST path::REVOKE_BADGE => badges::revoke, ADMIN_SCOPES, Itself;
    GET path::BADGE => badges::image, NO_TOKEN, None;
    GET path::WORKERS => workers::list, READ_SCOPES, Forbidden;
    POST path::WORKER_REPORT => workers::report, WORKER_SCOPES, Forbidden;
    POST path::WORKER_DRAIN => workers::drain, ADMIN_SCOPES, Forbidden;
    POST path::WORKER_REMOVE => workers::remove, ADMIN_SCOPES, Forbidden;
    GET path::RETENTION => retention::settings, READ_SCOPES, Itself;
    POST path::RETENTION => retention::set, ADMIN_SCOPES, Itself;
    POST path::GC => retention::run, ADMIN_SCOPES, Forbidden;
    GET path::DISK_USAGE => retention::disk_usage, ADMIN_SCOPES, Forbidden;
    POST path::PIN => retention::pin, RUN_SCOPES, Path;
    GET path::HEALTH => server::health, NO_TOKEN, None;
    GET path::OPENAPI => server::openapi, NO_TOKEN, None;
    GET path::OIDC_CONFIGURATION => oidc::configuration, NO_TOKEN, None;
    GET path::OIDC_KEYS => oidc::keys, NO_TOKEN, None;
    GET path::PIPELINE_FILE => executions::pipeline_file, READ_SCOPES, Path;
    GET path::EXCLUDED_JOBS => executions::excluded_jobs, READ_SCOPES, Path;
    GET path::DELIVERIES => deliveries::list, ADMIN_SCOPES, Itself;
    POST path::REDELIVER_DELIVERY => deliveries::redeliver, ADMIN_SCOPES, Itself;
    GET path::SCHEDULES => schedules::list, READ_SCOPES, Itself;
    POST path::RUN_SCHEDULE => schedules::run, RUN_SCOPES, Itself;
    POST path::RUN_PIPELINE => schedules::run_pipeline, RUN_SCOPES, Itself;
}

#[cfg(test)]
mod tests {
    use super::ROUTES;
    use crate::http::body_limits::{MAX_PUBLIC_BODY, MAX_SMALL_BODY, max_body};

    #[test]
    fn body_limits_follow_route_and_token() {
        for route in ROUTES {
            let max = max_body(route);
            assert_eq!(route.need.is_empty(), max <= MAX_PUBLIC_BODY, "{}", route.path);
            if route.method == "GET" || route.method == "DELETE" {
                assert!(max <= MAX_SMALL_BODY || route.path == "/api/secret", "{}", route.path);
            }
        }
    }
}
