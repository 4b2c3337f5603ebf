//! Operations on tokens, sessions and roles, and on the audit log.

pub mod roles;
pub mod sessions;

use crate::{
    access::caller::Caller,
    http::{
        extractors::{Id, JsonBody, QueryParams},
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, Json, extract::State, http::StatusCode, response::IntoResponse};
use tidemill_core::access::{AuditQuery, RevokeReply, TokenRequest};
use uuid::Uuid;

pub async fn create(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Reply {
    let created = api.services.tokens.create(request, &caller).await?;
    api.services
        .audit
        .record(&caller, "token.create", created.view.id, created.view.repo.as_deref(), "done")
        .await;
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

pub async fn list(State(api): State<ApiState>) -> Reply {
    Ok(json_reply(api.services.tokens.list().await?))
}

pub async fn revoke(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<Uuid>,
) -> Reply {
    let revoked = api.services.tokens.revoke(id).await?;
    api.services.audit.record(&caller, "token.revoke", id, revoked.repo.as_deref(), "done").await;
    Ok(json_reply(RevokeReply { revoked }))
}

pub async fn audit(State(api): State<ApiState>, QueryParams(query): QueryParams<AuditQuery>) -> Reply {
    Ok(json_reply(api.services.audit.list(query).await?))
}
