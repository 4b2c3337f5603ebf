//! Operations on jobs and dead letters.

use super::workers::check_protocol;
use crate::{
    access::caller::Caller,
    http::{
        extractors::{Id, JsonBody, QueryParams},
        reply::{Reply, json_reply},
        state::ApiState,
    },
    ports::repository_key,
};
use axum::{
    Extension,
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::IntoResponse,
};
use serde::Deserialize;
use tidemill_core::{
    api::{
        DeadLetterQuery, ExpectedQuery, JobExecuteRequest, JobReport, LOG_COMPLETE, LOG_END, LOG_NEXT,
        LOG_POLL, LOG_SIZE,
    },
    execution::{discovery::ChildReport, test_report::TestsRequest},
    ids::JobId,
    summary::view::SummaryRequest,
};

pub async fn execute(
    State(api): State<ApiState>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<JobExecuteRequest>,
) -> Reply {
    check_protocol(&headers, &request.worker.name)?;
    Ok(json_reply(api.services.jobs.execute(request).await?))
}

pub async fn report(State(api): State<ApiState>, JsonBody(report): JsonBody<JobReport>) -> Reply {
    Ok(json_reply(api.services.jobs.report(report).await?))
}

pub async fn start_child(State(api): State<ApiState>, JsonBody(report): JsonBody<ChildReport>) -> Reply {
    Ok(json_reply(api.services.pipelines.start_child(report).await?))
}

pub async fn report_tests(State(api): State<ApiState>, JsonBody(request): JsonBody<TestsRequest>) -> Reply {
    Ok(json_reply(api.services.test_reports.store(request).await?))
}

pub async fn report_summary(
    State(api): State<ApiState>,
    JsonBody(request): JsonBody<SummaryRequest>,
) -> Reply {
    Ok(json_reply(api.services.summaries.store(request).await?))
}

#[derive(Deserialize)]
pub struct SummaryQuery {
    attempt: Option<u32>,
}

/// Replies with Markdown as it is: HTML in it is text for a browser that opens the address.
pub async fn summary(
    State(api): State<ApiState>,
    Id(id): Id<JobId>,
    QueryParams(query): QueryParams<SummaryQuery>,
) -> Reply {
    let text = api.services.summaries.text(id, query.attempt).await?;
    let headers = [
        (CONTENT_TYPE, "text/markdown; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox; frame-ancestors 'none'"),
    ];
    Ok((headers, text).into_response())
}

pub async fn cancel(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<JobId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
) -> Reply {
    api.services.expect_job(&expected, id).await?;
    let reply = api.services.jobs.cancel(id).await?;
    if reply.canceled {
        api.services.audit_job(&caller, "job.cancel", id, "done").await;
    }
    Ok(json_reply(reply))
}

pub async fn approve(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<JobId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
) -> Reply {
    api.services.expect_job(&expected, id).await?;
    let reply = api.services.approvals.approve_job_as(id, &caller).await?;
    if reply.approved {
        let outcome = match reply.missing {
            0 => "done".to_owned(),
            missing => format!("{missing} more needed"),
        };
        api.services.audit_job(&caller, "job.approve", id, &outcome).await;
    }
    Ok(json_reply(reply))
}

pub async fn dead_letters(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<DeadLetterQuery>,
) -> Reply {
    let only = query.repo.as_deref().map(repository_key);
    let mut page = api.services.dead_letters.list(query).await?;
    page.dead_letters.retain(|letter| {
        let repo = &letter.execution.repo;
        caller.can_read(repo) && only.as_ref().is_none_or(|only| *only == repository_key(repo))
    });
    Ok(json_reply(page))
}

pub async fn dismiss_dead_letter(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<JobId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
) -> Reply {
    api.services.expect_job(&expected, id).await?;
    let reply = api.services.dead_letters.dismiss(id).await?;
    if reply.dismissed {
        api.services.audit_job(&caller, "dead-letter.dismiss", id, "done").await;
    }
    Ok(json_reply(reply))
}

#[derive(Deserialize)]
pub struct LogQuery {
    #[serde(default)]
    offset: u64,
    attempt: Option<u32>,
    #[serde(default = "one_mib")]
    limit: usize,
    #[serde(default)]
    wait_ms: u64,
}

fn one_mib() -> usize {
    1 << 20
}

pub async fn logs(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<JobId>,
    QueryParams(query): QueryParams<LogQuery>,
) -> Reply {
    // Anyone could hold any number of replies.
    let wait_ms = if caller.is_anonymous() { 0 } else { query.wait_ms };
    let part = api.services.jobs.logs(id, query.attempt, query.offset, query.limit, wait_ms).await?;
    let headers = [
        (CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        (LOG_NEXT, part.next.to_string()),
        (LOG_END, part.end.to_string()),
        (LOG_SIZE, part.size.to_string()),
        (LOG_COMPLETE, part.complete.to_string()),
    ];
    let mut response = (headers, part.bytes).into_response();
    if let Some(poll_ms) = part.poll_ms {
        response.headers_mut().insert(HeaderName::from_static(LOG_POLL), HeaderValue::from(poll_ms));
    }
    Ok(response)
}

#[derive(Deserialize)]
pub struct AttemptQuery {
    attempt: Option<u32>,
}

pub async fn log_times(
    State(api): State<ApiState>,
    Id(id): Id<JobId>,
    QueryParams(query): QueryParams<AttemptQuery>,
) -> Reply {
    Ok(json_reply(api.services.jobs.log_times(id, query.attempt).await?))
}
