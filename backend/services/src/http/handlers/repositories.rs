//! Operations on repositories, webhooks and discovery reports.

pub mod deliveries;
pub mod schedules;

use crate::{
    access::caller::Caller,
    error::Error,
    http::{
        client::{AuthenticatedFlag, ClientAddress, client_address},
        extractors::{JsonBody, QueryParams},
        reply::{Reply, json_reply},
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
    webhook::{Provider, UnknownProvider},
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
    let provider: Provider =
        provider.parse().map_err(|error: UnknownProvider| Error::NotFound(error.to_string()))?;
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let from = client_address(client);
    let hint = hint.repo.as_deref();
    let result = match api.services.webhooks.classify(provider, hint, &get).await {
        Ok(expected) => {
            // Dropping the body releases its memory.
            let body = api.body_reader.read(body, expected, from).await?;
            api.services.webhooks.receive(provider, hint, &get, &body).await
        }
        Err(error) => Err(error),
    };
    if let Err(Error::InvalidSignature { repository, registered, reason }) = &result {
        // Counted only after the check: a signed webhook passes, however many invalid ones come from its address or name its repository.
        api.token_verifier.count_invalid_signature(from, repository)?;
        tracing::warn!(%provider, repository = ?repository, reason, "rejected a webhook");
        api.services.webhooks.count_rejected(registered.as_deref(), reason).await;
    }
    let reply = result?;
    if let Some(Extension(proof)) = proof {
        proof.set();
    }
    let status = if reply.executions.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(reply)).into_response())
}

pub async fn redeliver(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(of): JsonBody<RepositoryQuery>,
) -> Reply {
    caller.check_repository(&of.repo)?;
    let reply = api.services.repositories.allow_redeliveries(&of.repo).await?;
    let name = &reply.repository;
    api.services.audit.record(&caller, "repository.redeliver", name, Some(name), "done").await;
    Ok(json_reply(reply))
}

pub async fn discovered(State(api): State<ApiState>, JsonBody(report): JsonBody<DiscoveryReport>) -> Reply {
    Ok(json_reply(api.services.discoveries.process_report(report).await?))
}

pub async fn put(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RepositoryRequest>,
) -> Reply {
    caller.check_repository(&request.url)?;
    let reply = api.services.repositories.put(request).await?;
    let name = &reply.repository.name;
    api.services.audit.record(&caller, "repository.set", name, Some(name), "done").await;
    Ok(json_reply(reply))
}

pub async fn list(State(api): State<ApiState>, Extension(caller): Extension<Caller>) -> Reply {
    let mut list = api.services.repositories.list().await?;
    // A person may administer one repository and only read another one, whose settings are not for readers.
    list.repositories.retain(|repository| caller.check_repository(&repository.url).is_ok());
    Ok(json_reply(list))
}

pub async fn remove(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(of): QueryParams<RepositoryQuery>,
) -> Reply {
    caller.check_repository(&of.repo)?;
    let removed = api.services.remove_repository(&of.repo).await?;
    if removed {
        api.services.audit.record(&caller, "repository.remove", &of.repo, Some(&of.repo), "done").await;
    }
    Ok(json_reply(RemoveRepositoryReply { removed }))
}

pub async fn sync(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(of): JsonBody<RepositoryQuery>,
) -> Reply {
    caller.check_repository(&of.repo)?;
    let reply = api.services.discoveries.sync(&of.repo, Some(caller.name.to_string())).await?;
    let audit = &api.services.audit;
    audit.record(&caller, "repository.sync", reply.execution_id, Some(&of.repo), "done").await;
    Ok((StatusCode::CREATED, Json(reply)).into_response())
}
