//! Errors as RFC 9457 problem documents.

use super::routes::Need;
use crate::{error::Error, services::Caller};
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
pub struct Refused {
    problem: Problem,
    /// Seconds to wait with another try.
    retry_after: Option<u64>,
}

impl Refused {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: format!("tidemill:{kind}"),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            diagnostics: Vec::new(),
        };
        Self { problem, retry_after: None }
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

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", "Invalid request", detail)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let words = error.to_string();
        match error {
            Error::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", words),
            Error::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", words),
            Error::Unproven(_) => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid signature", words)
            }
            Error::LeaseLost(_) => Self::new(StatusCode::CONFLICT, "lease-lost", "Lease lost", words),
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", "Conflict", words),
            Error::Invalid(_) => Self::invalid(words),
            Error::NoSecret(_) | Error::Sealed(_) => {
                Self::new(StatusCode::CONFLICT, "no-secret", "No such secret", words)
            }
            Error::OverBudget(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "over-budget", "Too much to store", words)
            }
            Error::KeyReused(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "Idempotency key reused", words)
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
            Error::Storage { .. } => {
                tracing::error!(error = %words, "the store failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "storage", "The store failed", words)
            }
        }
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::new(status, "too-large", "Request too large", rejection.body_text());
        }
        Self::invalid(rejection.body_text())
    }
}

impl IntoResponse for Refused {
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
