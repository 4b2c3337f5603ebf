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
