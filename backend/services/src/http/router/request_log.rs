//! Gives each request an id, which its log events and its reply have, and measures it.

use crate::http::state::ApiState;
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use std::time::Instant;
use tracing::{Instrument, Span, field};
use uuid::Uuid;

/// The header with the id of a request. A caller may choose it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of an id that a caller chose, in bytes.
const MAX_ID_LEN: usize = 64;
/// The name of the span of a request. On Lambda, the function has created it.
const SPAN: &str = "request";
/// The route of requests to other paths.
const OTHER: &str = "other";

/// Passes a request on within its span.
pub async fn observe(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers().get(REQUEST_ID));
    let method = method_name(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(OTHER, MatchedPath::as_str);
    let has_span = Span::current().metadata().is_some_and(|metadata| metadata.name() == SPAN);
    // Its level is error, so that no filter removes the fields from errors.
    let span = if has_span {
        Span::current()
    } else {
        tracing::error_span!(
            "request",
            request = %id,
            method,
            route,
            execution = field::Empty,
            job = field::Empty
        )
    };
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), started.elapsed());
    span.in_scope(|| tracing::debug!(status, ms = took.as_millis(), "answered a request"));
    api.services.pipelines.context().metrics.request(method, route, status, took);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Returns the id that the caller chose, if it is valid, or a new one.
fn request_id(chosen: Option<&HeaderValue>) -> String {
    let is_valid = |id: &&str| {
        (1..=MAX_ID_LEN).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let chosen = chosen.and_then(|value| value.to_str().ok()).filter(is_valid);
    chosen.map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned)
}

/// Returns the name of a method: a caller may send any text as one.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => OTHER,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::request_id;
    use axum::http::HeaderValue;

    #[test]
    fn caller_may_choose_an_id_that_cannot_change_the_log() {
        let chosen = |id: &str| request_id(Some(&HeaderValue::from_str(id).unwrap()));
        assert_eq!(chosen("deploy-17_a.B"), "deploy-17_a.B");
        let long = "a".repeat(65);
        for invalid in ["", " ", "a b", "a\"b", "a,b", long.as_str()] {
            let id = chosen(invalid);
            assert_eq!((id.len(), id.bytes().all(|byte| byte.is_ascii_hexdigit())), (32, true), "{invalid}");
        }
        assert_ne!(request_id(None), request_id(None));
    }
}
