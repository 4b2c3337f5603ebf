//! Operations on logins at registries of images.

use crate::{
    access::caller::Caller,
    http::{
        extractors::{JsonBody, QueryParams},
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State};
use tidemill_core::api::{RegistryQuery, RemoveRegistryRequest, SetRegistryRequest};

pub async fn list(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<RegistryQuery>,
) -> Reply {
    caller.check_repository(&query.repo)?;
    Ok(json_reply(api.services.registries.list(&query.repo).await?))
}

pub async fn set(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<SetRegistryRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let set = api.services.registries.set(request, &caller.name).await?;
    api.services.audit.record(&caller, "registry.set", set.registry.clone(), Some(&set.repo), "done").await;
    Ok(json_reply(set))
}

pub async fn remove(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RemoveRegistryRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let (registry, repo) = (request.registry.clone(), request.repo.clone());
    let reply = api.services.registries.remove(request).await?;
    if reply.removed {
        api.services.audit.record(&caller, "registry.remove", registry, Some(&repo), "done").await;
    }
    Ok(json_reply(reply))
}
