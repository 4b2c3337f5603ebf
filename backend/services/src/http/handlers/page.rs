//! The web page: one static document, whose script calls the API like any other client. It contains nothing confidential, so it needs
//! no token.

use crate::http::extractors::Id;
use axum::{
    http::{
        HeaderName,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use tidemill_core::ids::ExecutionId;

const PAGE_HTML: &str = include_str!("../view.html");

/// Content security policy: the page may run its own script, use its own style and call its own server.
static PAGE_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |element: &str| {
        let opening = format!("<{element}>");
        let after = PAGE_HTML.split_once(&opening).map_or("", |(_, after)| after);
        let text = after.split_once(&format!("</{element}>")).map_or("", |(text, _)| text);
        format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
});

/// Serves the page of one execution; its script reads the id from the URL. The reply does not reveal whether the execution exists.
pub async fn execution_page(Id(_): Id<ExecutionId>) -> impl IntoResponse {
    list_page().await
}

/// Serves the page of the newest executions.
pub async fn list_page() -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, PAGE_POLICY.as_str()),
        (CACHE_CONTROL, "no-cache"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, PAGE_HTML)
}
