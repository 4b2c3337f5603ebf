//! Operations on schedules, and starting a pipeline of a branch.

use crate::{
    access::caller::Caller,
    http::{
        extractors::{JsonBody, QueryParams},
        handlers::executions::key,
        reply::{Reply, execution_reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State, http::HeaderMap};
use tidemill_core::api::{RunPipelineRequest, RunScheduleRequest, ScheduleQuery};

pub async fn list(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<ScheduleQuery>,
) -> Reply {
    if let Some(requested) = &query.repo {
        caller.check_repository(requested)?;
    }
    let repo = query.repo.as_deref().or(caller.repo.as_deref());
    let mut list = api.services.schedules.list(repo).await?;
    list.schedules.retain(|schedule| caller.can_read(&schedule.repo));
    Ok(json_reply(list))
}

pub async fn run(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<RunScheduleRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let key = key(&caller, &headers)?;
    let reply = Box::pin(api.services.schedules.run_now(&request, &caller.name, key.as_ref())).await?;
    if !reply.attached {
        let audit = &api.services.audit;
        audit.record(&caller, "schedule.run", reply.execution_id, Some(&request.repo), "done").await;
    }
    Ok(execution_reply(reply))
}

pub async fn run_pipeline(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<RunPipelineRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let repo = request.repo.clone();
    let key = key(&caller, &headers)?;
    let reply = Box::pin(api.services.discoveries.run_pipeline(request, &caller, key)).await?;
    if !reply.attached {
        let audit = &api.services.audit;
        audit.record(&caller, "pipeline.run", reply.execution_id, Some(&repo), "done").await;
    }
    Ok(execution_reply(reply))
}
