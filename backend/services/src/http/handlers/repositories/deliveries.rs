//! Operations on kept deliveries of webhooks.

use crate::{
    access::caller::Caller,
    error::Error,
    http::{
        extractors::{JsonBody, QueryParams},
        handlers::executions::key,
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use tidemill_core::{api::RedeliverRequest, repository::registration::RepositoryQuery};

pub async fn list(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(of): QueryParams<RepositoryQuery>,
) -> Reply {
    caller.check_repository(&of.repo)?;
    Ok(json_reply(api.services.webhooks.deliveries(&of.repo).await?))
}

pub async fn redeliver(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<RedeliverRequest>,
) -> Reply {
    let RedeliverRequest { repo, id } = request;
    caller.check_repository(&repo)?;
    let key = key(&caller, &headers)?;
    let result = api.services.webhooks.redeliver(&repo, &id, key.as_ref()).await;
    let outcome = match &result {
        Ok(reply) => Some(format!("started {}", reply.executions.len())),
        // There is no such delivery.
        Err(Error::NotFound(_)) => None,
        Err(_) => Some("failed".to_owned()),
    };
    if let Some(outcome) = outcome {
        api.services.audit.record(&caller, "webhook.redeliver", &id, Some(&repo), &outcome).await;
    }
    let reply = result?;
    let status = if reply.executions.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(reply)).into_response())
}
