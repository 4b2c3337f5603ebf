//! Operations on repositories, webhooks and discovery reports.

use crate::{
    access::caller::Caller,
    error::Error,
    http::{
        client::{AuthenticatedFlag, ClientAddress, address_of},
        extractors::{JsonBody, QueryParams},
        reply::{Reply, json},
        state::ApiState,
    },
};
use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use serde::Deserialize;
use tidemill_core::execution::discovery::DiscoveryReport;
use tidemill_core::repository::{
    registration::{RemoveRepositoryReply, RepositoryQuery, RepositoryRequest},
    webhook::Provider,
};

#[derive(Deserialize)]
pub struct WebhookQuery {
    repo: Option<String>,
}

pub async fn webhook(
    State(api): State<ApiState>,
    Path(provider): Path<String>,
    QueryParams(hint): QueryParams<WebhookQuery>,
    client: Option<Extension<ClientAddress>>,
    proof: Option<Extension<AuthenticatedFlag>>,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    let provider: Provider = provider.parse().map_err(Error::NotFound)?;
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let from = address_of(client);
    let hint = hint.repo.as_deref();
    let result = match api.services.webhooks.expected(provider, hint, &get).await {
        Ok(expected) => {
            // Dropping the body releases its memory.
            let body = api.intake.read(body, expected, from).await?;
            api.services.webhooks.take(provider, hint, &get, &body).await
        }
        Err(error) => Err(error),
    };
    if let Err(Error::Unproven { repository, reason }) = &result {
        // Counted only after the check: a signed webhook passes, however many invalid ones come from its address or name its repository.
        api.access.wrong_signature(from, repository)?;
        tracing::warn!(%provider, repository = ?repository, reason, "rejected a webhook");
    }
    let reply = result?;
    if let Some(Extension(proof)) = proof {
        proof.give();
    }
    let status = if reply.executions.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(reply)).into_response())
}

pub async fn redeliver(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(of): JsonBody<RepositoryQuery>,
) -> Reply {
    caller.must_be_of(&of.repo)?;
    let reply = api.services.repositories.allow_redeliveries(&of.repo).await?;
    let name = &reply.repository;
    api.services.audit.note(&caller, "repository.redeliver", name, Some(name), "done").await;
    Ok(json(reply))
}

pub async fn discovered(State(api): State<ApiState>, JsonBody(report): JsonBody<DiscoveryReport>) -> Reply {
    Ok(json(api.services.discoveries.discovered(report).await?))
}

pub async fn put(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RepositoryRequest>,
) -> Reply {
    caller.must_be_of(&request.url)?;
    let reply = api.services.repositories.put(request).await?;
    let name = &reply.repository.name;
    api.services.audit.note(&caller, "repository.set", name, Some(name), "done").await;
    Ok(json(reply))
}

pub async fn list(State(api): State<ApiState>, Extension(caller): Extension<Caller>) -> Reply {
    let mut list = api.services.repositories.list().await?;
    list.repositories.retain(|repository| caller.may_see(&repository.url));
    Ok(json(list))
}

pub async fn remove(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(of): QueryParams<RepositoryQuery>,
) -> Reply {
    caller.must_be_of(&of.repo)?;
    let removed = api.services.remove_repository(&of.repo).await?;
    if removed {
        api.services.audit.note(&caller, "repository.remove", &of.repo, Some(&of.repo), "done").await;
    }
    Ok(json(RemoveRepositoryReply { removed }))
}

pub async fn sync(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(of): JsonBody<RepositoryQuery>,
) -> Reply {
    caller.must_be_of(&of.repo)?;
    let reply = api.services.discoveries.sync(&of.repo, Some(caller.name.to_string())).await?;
    let audit = &api.services.audit;
    audit.note(&caller, "repository.sync", reply.execution_id, Some(&of.repo), "done").await;
    Ok((StatusCode::CREATED, Json(reply)).into_response())
}
