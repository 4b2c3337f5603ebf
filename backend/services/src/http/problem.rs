//! Errors of the API as RFC 9457 problem documents.

use super::route::AcceptedScopes;
use crate::{
    access::caller::Caller,
    error::{Error, ErrorReport},
};
use axum::{
    extract::rejection::JsonRejection,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use std::time::Duration;
use tidemill_core::{access::Scope, api::Problem};

/// After how many seconds a caller tries again what was too much at the same time.
const BUSY_RETRY_AFTER_S: u64 = 5;

/// How a caller authenticates, which each reply with status 401 says.
const CHALLENGE: &str = r#"Bearer realm="tidemill""#;

/// An error reply.
#[derive(Debug)]
pub struct ApiError {
    problem: Box<Problem>,
    /// Value of the `Retry-After` header, in seconds.
    retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: format!("tidemill:{kind}"),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            instance: None,
            diagnostics: Vec::new(),
        };
        Self { problem: Box::new(problem), retry_after: None }
    }

    pub fn no_such_path() -> Self {
        let detail = "there is no such path; /api/openapi.json lists all paths";
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    pub fn method_not_allowed() -> Self {
        let detail = "this path does not support this method; /api/openapi.json lists those that it supports";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    pub fn unauthorized() -> Self {
        let detail = "sign in, or send the server's token as `Authorization: Bearer ...`; a local server keeps it in the \
                      file `token` of its data directory";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid token", detail)
    }

    /// The code of the command line is not valid.
    pub fn invalid_code() -> Self {
        let detail = "the code is not valid, was used before, or is older than two minutes; run `tidemill login` again";
        Self::new(StatusCode::UNAUTHORIZED, "invalid-code", "No valid code", detail)
    }

    /// Whether the request had no valid token or session.
    pub fn is_unauthorized(&self) -> bool {
        self.problem.status == StatusCode::UNAUTHORIZED.as_u16()
    }

    /// Whether it denies the caller what they ask for.
    pub fn is_denial(&self) -> bool {
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND]
            .iter()
            .any(|status| self.problem.status == status.as_u16())
    }

    /// A cookie came with a request that is not of the web UI.
    pub fn foreign_request() -> Self {
        let detail = "requests that change something and are authenticated by a cookie must come from the server's own pages, \
                      with the header `x-tidemill-request`; use a token instead";
        Self::new(StatusCode::FORBIDDEN, "foreign-request", "Not a request of this server's pages", detail)
    }

    pub fn forbidden(caller: &Caller, need: AcceptedScopes) -> Self {
        if caller.person.is_some() {
            let detail = caller.lacking(caller.grants.highest(), "here");
            return Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail);
        }
        let names = |scopes: &mut dyn Iterator<Item = &Scope>| {
            scopes.map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (has, need) = (names(&mut caller.scopes.iter()), names(&mut need.iter()));
        let mut detail = format!("this token has the scopes {has}; the operation requires one of {need}");
        if caller.is_only_worker() {
            detail = format!(
                "this is a worker's token, which may only take jobs, report on them and transfer artifacts; the operation \
                 requires one of the scopes {need}"
            );
        }
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// The operation concerns the whole deployment, and the caller's rights are limited to repositories.
    pub fn deployment_forbidden(caller: &Caller) -> Self {
        let detail = match caller.repo.as_deref() {
            Some(repo) => {
                format!("this token is for {repo} only, and the operation concerns the whole deployment")
            }
            None => caller.lacking(caller.grants.everywhere(), "in all repositories together"),
        };
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    pub fn too_many_requests(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let detail = format!("too many requests; try again in {seconds} s");
        let reply = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests", detail);
        Self { retry_after: Some(seconds), ..reply }
    }

    pub fn too_large(max: usize) -> Self {
        let detail = format!("the body has more than {max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Request too large", detail)
    }

    /// A webhook without a repository in its address has a body above the limit.
    pub fn webhook_too_large(max: usize) -> Self {
        let detail = format!(
            "the body has more than {max} bytes; to allow up to 25 MiB, add `?repo=` and the repository's address \
             (percent-encoded) to the webhook's address at the provider"
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Request too large", detail)
    }

    /// Other requests use all memory for bodies of webhooks.
    pub fn busy(wait: Duration) -> Self {
        let detail = "the server is receiving too many webhooks; try again later";
        let reply = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail);
        Self { retry_after: Some(wait.as_secs()), ..reply }
    }

    /// The caller, or all callers, have too many open streams.
    pub fn too_many_streams(max: usize) -> Self {
        let detail = format!(
            "{max} streams of events are open, the limit; request `/api/pipeline/status` repeatedly instead"
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests", detail)
    }

    pub fn no_event_stream() -> Self {
        let detail = "this deployment sends no events; request `/api/pipeline/status` repeatedly instead";
        Self::new(StatusCode::NOT_IMPLEMENTED, "no-event-stream", "No event stream", detail)
    }

    /// A shell was requested without a WebSocket, or something before this server passes none on.
    pub fn no_web_socket() -> Self {
        let detail = "a shell in a job needs a WebSocket, and this request is none: this deployment, or a proxy before it, does not \
                      pass WebSockets on; deployments on AWS have no shells; run the pipeline on your machine with \
                      `tidemill run --debug` instead";
        Self::new(StatusCode::NOT_IMPLEMENTED, "no-web-socket", "No WebSocket", detail)
    }

    pub fn no_archive() -> Self {
        let detail = "this deployment cannot send all artifacts at once; download each one, or use `tidemill artifacts`";
        Self::new(StatusCode::NOT_IMPLEMENTED, "no-archive", "No archive", detail)
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", "Invalid request", detail)
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let ErrorReport { message: detail, log_id } = error.report();
        let mut error_reply = Self::of_error(error, detail);
        error_reply.problem.instance = log_id.map(|id| id.urn().to_string());
        error_reply
    }
}

impl ApiError {
    fn of_error(error: Error, detail: String) -> Self {
        match error {
            Error::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail),
            Error::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail),
            Error::InvalidSignature { .. } => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid signature", detail)
            }
            Error::LeaseLost(_) => Self::new(StatusCode::CONFLICT, "lease-lost", "Lease lost", detail),
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail),
            Error::Invalid(_) => Self::invalid(detail),
            Error::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Request too large", detail)
            }
            Error::Unprocessable(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-text", "Invalid text", detail)
            }
            Error::SecretUnavailable(_) | Error::CannotOpen(_) => {
                Self::new(StatusCode::CONFLICT, "no-secret", "No such secret", detail)
            }
            Error::NotApproved(_) => Self::new(StatusCode::CONFLICT, "not-approved", "Not approved", detail),
            Error::OverBudget(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "over-budget", "Too much to store", detail)
            }
            Error::KeyReused(_) => {
                Self::new(StatusCode::CONFLICT, "key-reused", "Idempotency key reused", detail)
            }
            Error::InvalidPipeline(diagnostics) => {
                let title = "Invalid pipeline";
                let mut error_reply =
                    Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-pipeline", title, detail);
                error_reply.problem.diagnostics = diagnostics;
                error_reply
            }
            Error::DiskFull(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "No space left", detail)
            }
            Error::Busy(_) => {
                let reply = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests", detail);
                Self { retry_after: Some(BUSY_RETRY_AFTER_S), ..reply }
            }
            Error::Storage { .. } | Error::Damaged(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "storage", "The store failed", detail)
            }
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::new(status, "too-large", "Request too large", rejection.body_text());
        }
        Self::invalid(rejection.body_text())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut reply = (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after {
            reply.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        reply
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ApiError, Problem};
    use crate::error::Error;
    use axum::{http::StatusCode, response::IntoResponse};
    use http_body_util::BodyExt;
    use std::{
        fmt::Write as _,
        sync::{Arc, Mutex},
    };
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span::{Attributes, Id, Record},
    };

    /// Internal details in errors of stores.
    const INTERNAL_DETAILS: [&str; 5] = [
        "arn:aws:iam::123456789012:role/tidemill-api is not authorized to perform: s3:PutObject",
        "/srv/tidemill/data/records.db",
        "tidemill-123456789012-bucket",
        "SELECT state FROM nodes WHERE node = ?1",
        "ServiceError(ServiceError { source: Unhandled",
    ];

    fn sample(of: usize) -> Option<Error> {
        let detail = "detail".to_owned();
        let internal = INTERNAL_DETAILS.join("; ");
        let error = match of {
            0 => Error::NotFound(detail),
            1 => Error::Forbidden(detail),
            2 => Error::InvalidSignature {
                repository: internal.clone(),
                registered: Some(internal.clone()),
                reason: internal,
            },
            3 => Error::LeaseLost(detail),
            4 => Error::Conflict(detail),
            5 => Error::Invalid(detail),
            6 => Error::KeyReused(detail),
            7 => Error::SecretUnavailable(detail),
            8 => Error::CannotOpen(detail),
            9 => Error::InvalidPipeline(Vec::new()),
            10 => Error::DiskFull(internal),
            11 => Error::storage(internal.clone(), internal),
            12 => Error::Damaged(internal),
            13 => Error::TooLarge(detail),
            14 => Error::Unprocessable(detail),
            15 => Error::OverBudget(detail),
            16 => Error::Busy(detail),
            17 => Error::NotApproved(detail),
            _ => return None,
        };
        // A new kind of error must be added above.
        match error {
            Error::NotFound(_)
            | Error::Forbidden(_)
            | Error::InvalidSignature { .. }
            | Error::LeaseLost(_)
            | Error::Conflict(_)
            | Error::Invalid(_)
            | Error::KeyReused(_)
            | Error::SecretUnavailable(_)
            | Error::NotApproved(_)
            | Error::CannotOpen(_)
            | Error::InvalidPipeline(_)
            | Error::DiskFull(_)
            | Error::Damaged(_)
            | Error::TooLarge(_)
            | Error::Unprocessable(_)
            | Error::OverBudget(_)
            | Error::Busy(_)
            | Error::Storage { .. } => Some(error),
        }
    }

    /// Records all log events.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    impl Visit for Log {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let _ = write!(self.0.lock().unwrap(), "{field}={value:?} ");
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[tokio::test]
    async fn internal_errors_are_hidden_and_logged_by_id() {
        for error in (0..).map_while(sample) {
            let name = format!("{error:?}");
            let log = Log::default();
            let error = tracing::subscriber::with_default(log.clone(), || ApiError::from(error));
            let reply = error.into_response();
            let status = reply.status();
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            for internal in INTERNAL_DETAILS {
                assert!(!text.contains(internal), "{name}: {text}");
            }
            assert!(problem.kind.starts_with("tidemill:") && problem.kind != "tidemill:", "{text}");
            assert_eq!(problem.status, status.as_u16());
            assert_eq!(problem.instance.is_some(), status.is_server_error(), "{name}: {text}");
            if let Some(instance) = problem.instance {
                let id = instance.strip_prefix("urn:uuid:").unwrap();
                let logged = log.0.lock().unwrap().clone();
                assert!(problem.detail.contains(id) && logged.contains(id), "{text}: {logged}");
                assert!(INTERNAL_DETAILS.iter().all(|internal| logged.contains(internal)), "{logged}");
            }
        }
    }

    #[test]
    fn reused_key_is_conflict() {
        let error = ApiError::from(Error::KeyReused("detail".into()));
        assert_eq!(error.into_response().status(), StatusCode::CONFLICT);
    }
}
