//! Operations on badges.

use crate::{
    access::caller::Caller,
    http::{
        extractors::{JsonBody, QueryParams},
        problem::ApiError,
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{
    Extension,
    extract::{Path, State},
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tidemill_core::api::BadgeRequest;

#[derive(Deserialize)]
pub struct BadgeQuery {
    pipeline: Option<String>,
}

pub async fn publish(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<BadgeRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let reply = api.services.badges.publish(&request).await?;
    api.services.audit.record(&caller, "badge.publish", "badge", Some(&request.repo), "done").await;
    Ok(json_reply(reply))
}

pub async fn revoke(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<BadgeRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let reply = api.services.badges.revoke(&request).await?;
    if reply.revoked {
        api.services.audit.record(&caller, "badge.revoke", "badge", Some(&request.repo), "done").await;
    }
    Ok(json_reply(reply))
}

/// Serves the image of a badge; `.svg` may follow the key.
pub async fn image(
    State(api): State<ApiState>,
    Path(name): Path<String>,
    QueryParams(query): QueryParams<BadgeQuery>,
) -> Result<Response, ApiError> {
    let key = name.strip_suffix(".svg").unwrap_or(&name);
    let svg = api.services.badges.svg(key, query.pipeline.as_deref()).await?;
    let headers = [
        (CONTENT_TYPE, "image/svg+xml"),
        // Proxies of images must ask again, and not more often than this.
        (CACHE_CONTROL, "public, max-age=60"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, svg).into_response())
}
