//! Errors as RFC 9457 problem documents.

use crate::error::Error;
use axum::{
    extract::rejection::JsonRejection,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use tidemill_core::api::Problem;

/// A refused request.
#[derive(Debug)]
pub struct Refused(Problem);

impl Refused {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self(Problem {
            kind: format!("tidemill:{kind}"),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            diagnostics: Vec::new(),
        })
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

    pub fn forbidden() -> Self {
        let detail =
            "this is a worker's token: it may take jobs, report on them and move artifacts, and no more";
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
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
            Error::LeaseLost(_) => Self::new(StatusCode::CONFLICT, "lease-lost", "Lease lost", words),
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", "Conflict", words),
            Error::Invalid(_) => Self::invalid(words),
            Error::NoSecret(_) => Self::new(StatusCode::CONFLICT, "no-secret", "No such secret", words),
            Error::KeyReused(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "Idempotency key reused", words)
            }
            Error::InvalidPipeline(diagnostics) => {
                let title = "Invalid pipeline";
                let mut refused =
                    Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-pipeline", title, words);
                refused.0.diagnostics = diagnostics;
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
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
