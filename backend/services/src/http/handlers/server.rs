//! Health of the server, and the description of its API.

pub mod retention;

use crate::http::{
    client::ClientAddress,
    openapi,
    reply::{Reply, json_reply},
    state::ApiState,
    token_verifier::has_credential,
};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use tidemill_core::api::HealthStatus;

/// Returns the health of the server to anyone; details require a token.
pub async fn health(
    State(api): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
) -> Reply {
    let mut health = api.services.health.check().await;
    if has_credential(&headers) {
        let from = client.map(|Extension(ClientAddress(address))| address);
        api.caller(&headers, false, from).await?;
    } else {
        health.details = None;
    }
    let status = match health.status {
        HealthStatus::Ok | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Failing => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, Json(health)).into_response())
}

pub async fn openapi() -> Response {
    json_reply(openapi::document())
}
