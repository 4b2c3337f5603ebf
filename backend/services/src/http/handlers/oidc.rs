//! How others verify ID tokens of jobs: public documents, which may be cached.

use crate::http::{
    reply::{Reply, json_reply},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderValue, header::CACHE_CONTROL},
    response::Response,
};

/// Verifiers and proxies may keep the documents for five minutes: keys are published two days before they sign.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

fn cacheable(mut reply: Response) -> Response {
    reply.headers_mut().insert(CACHE_CONTROL, CACHEABLE);
    reply
}

pub async fn configuration(State(api): State<ApiState>) -> Reply {
    Ok(cacheable(json_reply(api.services.id_tokens.configuration()?)))
}

pub async fn keys(State(api): State<ApiState>) -> Reply {
    Ok(cacheable(json_reply(api.services.id_tokens.keys().await?)))
}
