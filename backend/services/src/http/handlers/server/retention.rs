//! Operations on retention.

use crate::{
    access::caller::Caller,
    error::{Error, Result},
    http::{
        extractors::{Id, JsonBody, QueryParams},
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State};
use tidemill_core::{
    api::ExpectedQuery,
    ids::ExecutionId,
    retention::api::{GcRequest, PinRequest, RetentionQuery, RetentionRequest},
};

/// Returns an error unless the caller may act on the settings of this repository, or of the server.
fn check(caller: &Caller, repo: Option<&str>) -> Result<()> {
    match repo {
        Some(repo) => caller.check_repository(repo),
        None if caller.may_call_for_deployment(caller.accepted) => Ok(()),
        None => {
            Err(Error::Forbidden("the settings of the server are not for callers of one repository".into()))
        }
    }
}

pub async fn settings(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<RetentionQuery>,
) -> Reply {
    check(&caller, query.repo.as_deref())?;
    Ok(json_reply(api.services.retention.settings(query.repo.as_deref()).await?))
}

pub async fn set(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RetentionRequest>,
) -> Reply {
    let repo = request.repo.as_deref();
    check(&caller, repo)?;
    let view = api.services.retention.set(&request).await?;
    api.services.audit.record(&caller, "retention.set", repo.unwrap_or("server"), repo, "done").await;
    Ok(json_reply(view))
}

pub async fn run(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<GcRequest>,
) -> Reply {
    let report = api.services.retention.collect(request).await?;
    if !report.dry_run {
        let outcome = format!(
            "{} executions, {} logs and {} artifacts removed",
            report.executions, report.logs, report.artifacts
        );
        api.services.audit.record(&caller, "retention.run", "server", None, &outcome).await;
    }
    Ok(json_reply(report))
}

pub async fn disk_usage(State(api): State<ApiState>) -> Reply {
    Ok(json_reply(api.services.retention.disk_usage().await?))
}

pub async fn pin(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
    JsonBody(request): JsonBody<PinRequest>,
) -> Reply {
    api.services.expect_execution(&expected, id).await?;
    let action = if request.pinned { "execution.pin" } else { "execution.unpin" };
    let reply = api.services.retention.pin(id, request, &caller.name).await?;
    if reply.changed {
        api.services.audit_execution(&caller, action, id, "done").await;
    }
    Ok(json_reply(reply))
}
