//! Errors as RFC 9457 problem documents.

use super::routes::Need;
use crate::{
    error::{Error, ErrorReport},
    services::Caller,
};
use axum::{
    extract::rejection::JsonRejection,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use std::time::Duration;
use tidemill_core::{access::Scope, api::Problem};

/// A refused request.
#[derive(Debug)]
pub struct ApiError {
    problem: Box<Problem>,
    /// Seconds to wait with another try.
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
        let detail = "nothing is at this path; /api/openapi.json lists what there is";
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    pub fn method_not_allowed() -> Self {
        let detail = "this path does not take this method; /api/openapi.json lists what it takes";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    pub fn unauthorized() -> Self {
        let detail = "send the server's token as `Authorization: Bearer ...`; a local server keeps it in the file \
                      `token` of its data directory";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid token", detail)
    }

    pub fn forbidden(caller: &Caller, need: Need) -> Self {
        let words = |scopes: &mut dyn Iterator<Item = &Scope>| {
            scopes.map(|scope| scope.word()).collect::<Vec<_>>().join(", ")
        };
        let (has, need) = (words(&mut caller.scopes.iter()), words(&mut need.iter()));
        let mut detail = format!("this token is for {has}; this takes one that is for any of {need}");
        if caller.is_only_worker() {
            detail = format!(
                "this is a worker's token: it may take jobs, report on them and move artifacts, and no more; this takes \
                 one that is for any of {need}"
            );
        }
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    pub fn only_of(repo: &str) -> Self {
        let detail = format!("this token is for {repo} only, and this is about the whole deployment");
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    pub fn too_many(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let detail = format!("too many requests; try again in {seconds} s");
        let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests", detail);
        Self { retry_after: Some(seconds), ..refused }
    }

    pub fn too_large(most: usize) -> Self {
        let detail = format!("the body has more than {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Request too large", detail)
    }

    /// A webhook whose address does not name its repository.
    pub fn unnamed_too_large(most: usize) -> Self {
        let detail = format!(
            "the body has more than {most} bytes; add `?repo=` and the repository's address (percent-encoded) to the \
             webhook's address at the provider, and up to 25 MiB are taken"
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Request too large", detail)
    }

    /// Others have all memory that there is for such bodies.
    pub fn busy(wait: Duration) -> Self {
        let detail = "the server takes as many webhooks as it can; try again later";
        let refused = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail);
        Self { retry_after: Some(wait.as_secs()), ..refused }
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", "Invalid request", detail)
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let ErrorReport { words, log_id } = error.report();
        let mut refused = Self::of_kind(error, words);
        refused.problem.instance = log_id.map(|id| id.urn().to_string());
        refused
    }
}

impl ApiError {
    fn of_kind(error: Error, words: String) -> Self {
        match error {
            Error::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", words),
            Error::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", words),
            Error::Unproven { .. } => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid signature", words)
            }
            Error::LeaseLost(_) => Self::new(StatusCode::CONFLICT, "lease-lost", "Lease lost", words),
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", "Conflict", words),
            Error::Invalid(_) => Self::invalid(words),
            Error::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Request too large", words)
            }
            Error::Unprocessable(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-text", "Invalid text", words)
            }
            Error::NoSecret(_) | Error::Sealed(_) => {
                Self::new(StatusCode::CONFLICT, "no-secret", "No such secret", words)
            }
            Error::OverBudget(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "over-budget", "Too much to store", words)
            }
            Error::KeyReused(_) => {
                Self::new(StatusCode::CONFLICT, "key-reused", "Idempotency key reused", words)
            }
            Error::InvalidPipeline(diagnostics) => {
                let title = "Invalid pipeline";
                let mut refused =
                    Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-pipeline", title, words);
                refused.problem.diagnostics = diagnostics;
                refused
            }
            Error::DiskFull(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "No space left", words)
            }
            Error::Storage { .. } | Error::Damaged(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "storage", "The store failed", words)
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

    /// What stores say of themselves.
    const INTERNAL_DETAILS: [&str; 5] = [
        "arn:aws:iam::123456789012:role/tidemill-api is not authorized to perform: s3:PutObject",
        "/srv/tidemill/data/records.db",
        "tidemill-123456789012-bucket",
        "SELECT state FROM nodes WHERE node = ?1",
        "ServiceError(ServiceError { source: Unhandled",
    ];

    fn sample(of: usize) -> Option<Error> {
        let words = "words".to_owned();
        let inside = INTERNAL_DETAILS.join("; ");
        let error = match of {
            0 => Error::NotFound(words),
            1 => Error::Forbidden(words),
            2 => Error::Unproven { repository: inside.clone(), reason: inside },
            3 => Error::LeaseLost(words),
            4 => Error::Conflict(words),
            5 => Error::Invalid(words),
            6 => Error::KeyReused(words),
            7 => Error::NoSecret(words),
            8 => Error::Sealed(words),
            9 => Error::InvalidPipeline(Vec::new()),
            10 => Error::DiskFull(inside),
            11 => Error::storage(inside.clone(), inside),
            12 => Error::Damaged(inside),
            13 => Error::TooLarge(words),
            14 => Error::Unprocessable(words),
            15 => Error::OverBudget(words),
            _ => return None,
        };
        // Another kind has to be added above.
        match error {
            Error::NotFound(_)
            | Error::Forbidden(_)
            | Error::Unproven { .. }
            | Error::LeaseLost(_)
            | Error::Conflict(_)
            | Error::Invalid(_)
            | Error::KeyReused(_)
            | Error::NoSecret(_)
            | Error::Sealed(_)
            | Error::InvalidPipeline(_)
            | Error::DiskFull(_)
            | Error::Damaged(_)
            | Error::TooLarge(_)
            | Error::Unprocessable(_)
            | Error::OverBudget(_)
            | Error::Storage { .. } => Some(error),
        }
    }

    /// Keeps what is logged.
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
            let refused = tracing::subscriber::with_default(log.clone(), || ApiError::from(error));
            let reply = refused.into_response();
            let status = reply.status();
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            for inside in INTERNAL_DETAILS {
                assert!(!text.contains(inside), "{name}: {text}");
            }
            assert!(problem.kind.starts_with("tidemill:") && problem.kind != "tidemill:", "{text}");
            assert_eq!(problem.status, status.as_u16());
            assert_eq!(problem.instance.is_some(), status.is_server_error(), "{name}: {text}");
            if let Some(instance) = problem.instance {
                let id = instance.strip_prefix("urn:uuid:").unwrap();
                let logged = log.0.lock().unwrap().clone();
                assert!(problem.detail.contains(id) && logged.contains(id), "{text}: {logged}");
                assert!(INTERNAL_DETAILS.iter().all(|inside| logged.contains(inside)), "{logged}");
            }
        }
    }

    #[test]
    fn reused_key_is_conflict() {
        let refused = ApiError::from(Error::KeyReused("words".into()));
        assert_eq!(refused.into_response().status(), StatusCode::CONFLICT);
    }
}
