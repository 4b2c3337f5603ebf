//! Operations on environments.

use crate::{
    access::caller::Caller,
    environments::stop_outcome,
    http::{
        extractors::{JsonBody, QueryParams},
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State};
use tidemill_core::access::protection::{
    ProtectEnvironmentRequest, ProtectionQuery, UnprotectEnvironmentReply, UnprotectEnvironmentRequest,
};
use tidemill_core::api::{EnvironmentQuery, StopEnvironmentRequest};

pub async fn list(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<EnvironmentQuery>,
) -> Reply {
    caller.check_repository(&query.repo)?;
    Ok(json_reply(api.services.environments.list(query).await?))
}

pub async fn stop(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(mut request): JsonBody<StopEnvironmentRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    request.requested_by = caller.requester(request.requested_by);
    let (repo, name) = (request.repo.clone(), request.name.clone());
    let reply = api.services.environments.stop(request).await?;
    if reply.changed {
        let audit = &api.services.audit;
        audit.record(&caller, "environment.stop", name, Some(&repo), &stop_outcome(&reply)).await;
    }
    Ok(json_reply(reply))
}

pub async fn protections(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<ProtectionQuery>,
) -> Reply {
    caller.check_repository(&query.repo)?;
    Ok(json_reply(api.services.protections.list(&query.repo).await?))
}

pub async fn protect(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<ProtectEnvironmentRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let rule = api.services.protections.set(request, &caller).await?;
    let starter = if rule.exclude_starter { ", not by who started it" } else { "" };
    let outcome = format!("{} by {}{starter}", rule.approvals, rule.by.join(", "));
    let (name, repo) = (&rule.environment, Some(rule.repo.as_str()));
    api.services.audit.record(&caller, "environment.protect", name, repo, &outcome).await;
    Ok(json_reply(rule))
}

pub async fn unprotect(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<UnprotectEnvironmentRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let removed = api.services.protections.remove(&request).await?;
    if removed {
        let (name, repo) = (&request.environment, Some(request.repo.as_str()));
        api.services.audit.record(&caller, "environment.unprotect", name, repo, "done").await;
    }
    Ok(json_reply(UnprotectEnvironmentReply { removed }))
}
