//! Operations on executions.

pub mod events;

use crate::{
    access::caller::Caller,
    error::Error,
    executions::idempotency_keys::CallerKey,
    http::{
        extractors::{Id, JsonBody, QueryParams},
        problem::ApiError,
        reply::{Reply, execution_reply, json_reply},
        state::ApiState,
    },
};
use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH},
    },
    response::IntoResponse,
};
use serde::Deserialize;
use tidemill_core::{
    api::{
        ExecuteRequest, ExpectedQuery, IDEMPOTENCY_KEY, InputsRequest, ListQuery, MAX_JOBS_PER_REPLY,
        RetryRequest, TRACEPARENT,
    },
    execution::assignment::Source,
    ids::ExecutionId,
    trace::context::TraceContext,
};

/// Returns the idempotency key of a request.
pub fn key(caller: &Caller, headers: &HeaderMap) -> Result<Option<CallerKey>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().map_err(|_| ApiError::invalid("the idempotency key must be ASCII text"))?;
    Ok(Some(CallerKey::new(caller, text)?))
}

pub async fn execute(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    JsonBody(mut request): JsonBody<ExecuteRequest>,
) -> Reply {
    request.requested_by = caller.requester(request.requested_by);
    request.started_by = caller.starter_id();
    let trace = headers.get(TRACEPARENT).and_then(|value| TraceContext::parse(value.to_str().ok()?));
    caller.check_repository(&request.repo)?;
    // Otherwise the sources could be those of any repository that workers can reach.
    if let Source::Git { url, .. } | Source::Uploaded { url: Some(url), .. } = &request.source {
        caller.check_repository(url)?;
    }
    let repo = request.repo.clone();
    let reply = api
        .services
        .pipelines
        .execute(request, key(&caller, &headers)?, trace.map(|trace| trace.to_string()))
        .await?;
    if !reply.attached {
        let audit = &api.services.audit;
        audit.record(&caller, "execution.start", reply.execution_id, Some(&repo), "done").await;
    }
    Ok(execution_reply(reply))
}

pub async fn inputs(State(api): State<ApiState>, JsonBody(request): JsonBody<InputsRequest>) -> Reply {
    Ok(json_reply(api.services.pipelines.inputs(request).await?))
}

pub async fn retry(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
    headers: HeaderMap,
    body: Result<Json<RetryRequest>, JsonRejection>,
) -> Reply {
    let mut request = match body {
        Ok(Json(request)) => request,
        // A retry needs no body.
        Err(JsonRejection::MissingJsonContentType(_)) => RetryRequest::default(),
        Err(rejection) => return Err(rejection.into()),
    };
    api.services.expect_execution(&expected, id).await?;
    request.requested_by = caller.requester(request.requested_by);
    request.started_by = caller.starter_id();
    let reply = api.services.pipelines.retry(id, request, key(&caller, &headers)?).await?;
    // A repeated request does it again, in case that the first one was cut off.
    if let Err(error) = api.services.follow_ups.follow_retry(reply.execution_id, id).await {
        tracing::warn!(execution = %reply.execution_id, %error, "no pipeline follows the retry");
    }
    if !reply.attached {
        if let Err(error) = api.services.outbox.announce_retry(reply.execution_id).await {
            tracing::warn!(execution = %reply.execution_id, %error, "cannot announce the retry to the git provider");
        }
        let outcome = format!("retried as {}", reply.execution_id);
        api.services.audit_execution(&caller, "execution.retry", id, &outcome).await;
    }
    Ok(execution_reply(reply))
}

#[derive(Deserialize)]
pub struct StatusQuery {
    #[serde(default)]
    wait_ms: u64,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub async fn status(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
    QueryParams(query): QueryParams<StatusQuery>,
    headers: HeaderMap,
) -> Reply {
    let known_revision = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known_revision =
        known_revision.and_then(|text| text.trim_start_matches("W/").trim_matches('"').parse().ok());
    let is_anonymous = caller.is_anonymous();
    // Anyone could hold any number of replies.
    let wait_ms = if is_anonymous { 0 } else { query.wait_ms };
    let from = match &query.cursor {
        Some(cursor) => cursor.parse().map_err(|_| Error::invalid_cursor(cursor))?,
        None => 0,
    };
    let limit = query.limit.unwrap_or(MAX_JOBS_PER_REPLY);
    if !(1..=MAX_JOBS_PER_REPLY).contains(&limit) {
        let detail = format!("`limit` is {limit}; it must be 1 to {MAX_JOBS_PER_REPLY}");
        return Err(ApiError::invalid(&detail));
    }
    let snapshot = api.services.pipelines.view_for(Some(&caller), id, known_revision, wait_ms).await?;
    // The view depends on the caller, so that the cache of a browser must not give it to the next person.
    let etag =
        [(ETAG, format!("\"{}\"", snapshot.revision)), (CACHE_CONTROL, "private, no-store".to_owned())];
    Ok(match snapshot.view.map(|view| view.page(from, limit)) {
        Some(view) if is_anonymous => (etag, Json(view.for_anyone())).into_response(),
        Some(view) => (etag, Json(view)).into_response(),
        None => (StatusCode::NOT_MODIFIED, etag).into_response(),
    })
}

pub async fn list(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(mut query): QueryParams<ListQuery>,
) -> Reply {
    if !caller.sees_all()
        && let Some(requested) = &query.repo
    {
        caller.check_repository(requested)?;
    }
    if let Some(only) = &caller.repo {
        query.repo = Some(only.to_string());
    }
    if !caller.is_anonymous() {
        let mut page = api.services.pipelines.list(query).await?;
        page.executions.retain(|execution| caller.can_read(&execution.repo));
        return Ok(json_reply(page));
    }
    Ok(json_reply(api.services.pipelines.list_for_anyone(query).await?))
}

pub async fn usage(State(api): State<ApiState>, Id(id): Id<ExecutionId>) -> Reply {
    Ok(json_reply(api.services.pipelines.usage(id).await?))
}

pub async fn cancel(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
) -> Reply {
    api.services.expect_execution(&expected, id).await?;
    let reply = api.services.pipelines.cancel(id).await?;
    if reply.canceled {
        api.services.audit_execution(&caller, "execution.cancel", id, "done").await;
    }
    Ok(json_reply(reply))
}

pub async fn tests(State(api): State<ApiState>, Id(id): Id<ExecutionId>) -> Reply {
    Ok(json_reply(api.services.test_reports.for_execution(id).await?))
}

pub async fn pipeline_file(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
) -> Reply {
    Ok(json_reply(api.services.pipelines.pipeline_file(id, &caller).await?))
}

pub async fn excluded_jobs(State(api): State<ApiState>, Id(id): Id<ExecutionId>) -> Reply {
    Ok(json_reply(api.services.pipelines.excluded_jobs(id).await?))
}

pub async fn summaries(State(api): State<ApiState>, Id(id): Id<ExecutionId>) -> Reply {
    Ok(json_reply(api.services.summaries.list(id).await?))
}

pub async fn approve(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
) -> Reply {
    api.services.expect_execution(&expected, id).await?;
    let reply = api.services.approvals.approve_execution(id).await?;
    if reply.approved {
        api.services.audit_execution(&caller, "execution.approve", id, "done").await;
    }
    Ok(json_reply(reply))
}
