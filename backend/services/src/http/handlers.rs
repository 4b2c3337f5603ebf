//! One function for each operation of the API: from HTTP to a service, and back.

use super::{ApiState, ClientAddress, json_body::JsonBody, problem::ApiError};
use crate::{
    error::Error,
    ports::{ObjectInfo, repository_key},
    services::{Caller, CallerKey, Download, check_artifact},
};
use axum::{
    Extension, Json,
    body::Body,
    extract::{FromRequestParts, Path, Query, State, rejection::JsonRejection},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
        request::Parts,
    },
    response::{IntoResponse, Redirect, Response},
};
use futures_util::TryStreamExt;
use serde::{Deserialize, de::DeserializeOwned};
use std::{io, str::FromStr};
use tidemill_core::execution::{assignment::Source, test_report::TestsRequest};
use tidemill_core::{
    api::{
        ArtifactUploadRequest, CacheLookupRequest, DeadLetterQuery, ExecuteReply, ExecuteRequest,
        ExpectedQuery, HealthStatus, IDEMPOTENCY_KEY, JobExecuteRequest, JobReport, LOG_END, LOG_NEXT,
        ListQuery, RemoveSecretRequest, RetryRequest, SecretQuery, SetSecretRequest, SourceUploadRequest,
        TRACEPARENT,
    },
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken},
};

pub type Reply = Result<Response, ApiError>;

/// The id in the path.
pub struct Id<T>(pub T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::invalid(rejection.body_text()))?;
        text.parse().map(Self).map_err(|_| ApiError::invalid(format!("`{text}` is not an id (a UUID)")))
    }
}

/// The query string, read into `T`.
pub struct QueryParams<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|rejection| ApiError::invalid(rejection.body_text()))
    }
}

pub fn json<T: serde::Serialize>(value: T) -> Response {
    Json(value).into_response()
}

fn made(reply: ExecuteReply) -> Response {
    let status = if reply.attached { StatusCode::OK } else { StatusCode::CREATED };
    (status, Json(reply)).into_response()
}

fn key(caller: &Caller, headers: &HeaderMap) -> Result<Option<CallerKey>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text =
        value.to_str().map_err(|_| ApiError::invalid("the idempotency key is not plain ASCII text"))?;
    Ok(Some(CallerKey::new(caller, text)?))
}

/// Whether `text` has the form of a `traceparent` (W3C Trace Context, 3.2); another one is no trace, and no mistake.
fn is_trace(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    matches!(parts.as_slice(), [version, trace, parent, flags]
        if hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2))
}

pub async fn execute(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    JsonBody(mut request): JsonBody<ExecuteRequest>,
) -> Reply {
    request.requested_by = caller.requester(request.requested_by);
    let trace = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).filter(|text| is_trace(text));
    caller.must_be_of(&request.repo)?;
    // Else its sources could be those of any repository that workers can reach.
    if let Source::Git { url, .. } | Source::Uploaded { url: Some(url), .. } = &request.source {
        caller.must_be_of(url)?;
    }
    let repo = request.repo.clone();
    let reply =
        api.services.pipelines.execute(request, key(&caller, &headers)?, trace.map(str::to_owned)).await?;
    if !reply.attached {
        let audit = &api.services.audit;
        audit.note(&caller, "execution.start", reply.execution_id, Some(&repo), "done").await;
    }
    Ok(made(reply))
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
        // No body at all asks for the usual retry.
        Err(JsonRejection::MissingJsonContentType(_)) => RetryRequest::default(),
        Err(rejection) => return Err(rejection.into()),
    };
    api.services.expect_execution(&expected, id).await?;
    request.requested_by = caller.requester(request.requested_by);
    let reply = api.services.pipelines.retry(id, request, key(&caller, &headers)?).await?;
    if !reply.attached {
        if let Err(error) = api.services.outbox.announce_retry(reply.execution_id).await {
            tracing::warn!(execution = %reply.execution_id, %error, "nobody outside is told of it");
        }
        let repo = api.services.pipelines.repo(id).await.ok();
        let outcome = format!("retried as {}", reply.execution_id);
        api.services.audit.note(&caller, "execution.retry", id, repo.as_deref(), &outcome).await;
    }
    Ok(made(reply))
}

#[derive(Deserialize)]
pub struct WaitQuery {
    #[serde(default)]
    wait_ms: u64,
}

pub async fn status(
    State(api): State<ApiState>,
    Id(id): Id<ExecutionId>,
    QueryParams(wait): QueryParams<WaitQuery>,
    headers: HeaderMap,
) -> Reply {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known = known.and_then(|text| text.trim_start_matches("W/").trim_matches('"').parse().ok());
    let seen = api.services.pipelines.view(id, known, wait.wait_ms).await?;
    let etag = [(ETAG, format!("\"{}\"", seen.revision))];
    Ok(match seen.view {
        Some(view) => (etag, Json(view)).into_response(),
        None => (StatusCode::NOT_MODIFIED, etag).into_response(),
    })
}

pub async fn executions(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(mut query): QueryParams<ListQuery>,
) -> Reply {
    if let Some(only) = &caller.repo {
        if let Some(asked) = &query.repo {
            caller.must_be_of(asked)?;
        }
        query.repo = Some(only.to_string());
    }
    Ok(json(api.services.pipelines.list(query).await?))
}

pub async fn usage(State(api): State<ApiState>, Id(id): Id<ExecutionId>) -> Reply {
    Ok(json(api.services.pipelines.usage(id).await?))
}

pub async fn cancel_execution(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
) -> Reply {
    api.services.expect_execution(&expected, id).await?;
    let reply = api.services.pipelines.cancel(id).await?;
    if reply.canceled {
        let repo = api.services.pipelines.repo(id).await.ok();
        api.services.audit.note(&caller, "execution.cancel", id, repo.as_deref(), "done").await;
    }
    Ok(json(reply))
}

pub async fn job_execute(
    State(api): State<ApiState>,
    JsonBody(request): JsonBody<JobExecuteRequest>,
) -> Reply {
    Ok(json(api.services.jobs.execute(request).await?))
}

pub async fn job_status(State(api): State<ApiState>, JsonBody(report): JsonBody<JobReport>) -> Reply {
    Ok(json(api.services.jobs.report(report).await?))
}

pub async fn job_tests(State(api): State<ApiState>, JsonBody(request): JsonBody<TestsRequest>) -> Reply {
    Ok(json(api.services.test_reports.keep(request).await?))
}

pub async fn tests(State(api): State<ApiState>, Id(id): Id<ExecutionId>) -> Reply {
    Ok(json(api.services.test_reports.of_execution(id).await?))
}

pub async fn cancel_job(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<JobId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
) -> Reply {
    api.services.expect_job(&expected, id).await?;
    let reply = api.services.jobs.cancel(id).await?;
    if reply.canceled {
        let repo = api.services.jobs.repo(id).await.ok();
        api.services.audit.note(&caller, "job.cancel", id, repo.as_deref(), "done").await;
    }
    Ok(json(reply))
}

pub async fn secrets(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<SecretQuery>,
) -> Reply {
    caller.must_be_of(&query.repo)?;
    Ok(json(api.services.secrets.list(&query.repo).await?))
}

pub async fn set_secret(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<SetSecretRequest>,
) -> Reply {
    caller.must_be_of(&request.repo)?;
    let set = api.services.secrets.set(request, &caller.name).await?;
    let target = secret_target(set.environment.as_deref(), &set.name);
    api.services.audit.note(&caller, "secret.set", target, Some(&set.repo), "done").await;
    Ok(json(set))
}

pub async fn remove_secret(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RemoveSecretRequest>,
) -> Reply {
    caller.must_be_of(&request.repo)?;
    let (target, repo) = (secret_target(request.environment.as_deref(), &request.name), request.repo.clone());
    let reply = api.services.secrets.remove(request).await?;
    if reply.removed {
        api.services.audit.note(&caller, "secret.remove", target, Some(&repo), "done").await;
    }
    Ok(json(reply))
}

/// How the audit record names a secret.
fn secret_target(environment: Option<&str>, name: &str) -> String {
    environment.map_or_else(|| name.to_owned(), |environment| format!("{name} ({environment})"))
}

pub async fn rekey_secrets(State(api): State<ApiState>, Extension(caller): Extension<Caller>) -> Reply {
    let mut reply = api.services.secrets.rekey().await?;
    if !reply.more {
        let of_repositories = api.services.repositories.rekey().await?;
        reply.renewed += of_repositories.renewed;
        reply.more = of_repositories.more;
        reply.unreadable.extend(of_repositories.unreadable);
    }
    if reply.renewed > 0 {
        let target = format!("{} secrets", reply.renewed);
        api.services.audit.note(&caller, "secret.rekey", target, None, "done").await;
    }
    Ok(json(reply))
}

pub async fn approve_execution(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
) -> Reply {
    api.services.expect_execution(&expected, id).await?;
    let reply = api.services.approvals.approve_execution(id).await?;
    if reply.approved {
        let repo = api.services.pipelines.repo(id).await.ok();
        api.services.audit.note(&caller, "execution.approve", id, repo.as_deref(), "done").await;
    }
    Ok(json(reply))
}

pub async fn approve_job(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<JobId>,
    QueryParams(expected): QueryParams<ExpectedQuery>,
) -> Reply {
    api.services.expect_job(&expected, id).await?;
    let reply = api.services.approvals.approve_job(id).await?;
    if reply.approved {
        let repo = api.services.jobs.repo(id).await.ok();
        api.services.audit.note(&caller, "job.approve", id, repo.as_deref(), "done").await;
    }
    Ok(json(reply))
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
        caller.may_see(repo) && only.as_ref().is_none_or(|only| *only == repository_key(repo))
    });
    Ok(json(page))
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
        let repo = api.services.jobs.repo(id).await.ok();
        api.services.audit.note(&caller, "dead-letter.dismiss", id, repo.as_deref(), "done").await;
    }
    Ok(json(reply))
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

pub async fn job_logs(
    State(api): State<ApiState>,
    Id(id): Id<JobId>,
    QueryParams(query): QueryParams<LogQuery>,
) -> Reply {
    let part = api.services.jobs.logs(id, query.attempt, query.offset, query.limit, query.wait_ms).await?;
    let headers = [
        (CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        (LOG_NEXT, part.next.to_string()),
        (LOG_END, part.end.to_string()),
    ];
    Ok((headers, part.bytes).into_response())
}

pub async fn artifact_upload(
    State(api): State<ApiState>,
    JsonBody(request): JsonBody<ArtifactUploadRequest>,
) -> Reply {
    check_artifact(&request)?;
    Ok(json(api.services.artifacts.upload(request).await?))
}

#[derive(Deserialize)]
pub struct Put {
    job: JobId,
    lease: LeaseToken,
    cache: Option<String>,
}

pub async fn artifact_content(
    State(api): State<ApiState>,
    Id(id): Id<ArtifactId>,
    QueryParams(of): QueryParams<Put>,
    body: Body,
) -> Reply {
    let bytes = Box::pin(body.into_data_stream().map_err(io::Error::other));
    api.services.artifacts.put(id, (of.job, of.lease), of.cache.as_deref(), bytes).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn cache_lookup(
    State(api): State<ApiState>,
    JsonBody(request): JsonBody<CacheLookupRequest>,
) -> Reply {
    Ok(json(api.services.caches.lookup(request).await?))
}

#[derive(Deserialize)]
pub struct ArtifactDownloadQuery {
    lease: LeaseToken,
    object: ArtifactId,
    key: String,
}

pub async fn cache_content(
    State(api): State<ApiState>,
    Id(id): Id<JobId>,
    QueryParams(of): QueryParams<ArtifactDownloadQuery>,
) -> Reply {
    Ok(downloaded(api.services.caches.download(id, of.lease, (&of.key, of.object)).await?))
}

pub async fn artifacts(State(api): State<ApiState>, Id(id): Id<ExecutionId>) -> Reply {
    Ok(json(api.services.artifacts.list(id).await?))
}

/// The lease by which a worker asks for something.
#[derive(Deserialize)]
pub struct Held {
    job: Option<JobId>,
    lease: Option<LeaseToken>,
}

pub async fn artifact_download(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ArtifactId>,
    QueryParams(held): QueryParams<Held>,
) -> Reply {
    if caller.is_only_worker() {
        let (Some(job), Some(lease)) = (held.job, held.lease) else {
            let words =
                "a worker gets artifacts with the lease of a job that needs them: give `job` and `lease`";
            return Err(Error::Forbidden(words.into()).into());
        };
        api.services.artifacts.must_be_for(id, job, lease).await?;
    }
    let (view, bytes) = match api.services.artifacts.download(id).await? {
        Download::Elsewhere(address) => return Ok(Redirect::temporary(&address).into_response()),
        Download::Here(view, bytes) => (view, bytes),
    };
    let mut reply = Body::from_stream(bytes).into_response();
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(view.size));
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", view.sha256)) {
        headers.insert(ETAG, etag);
    }
    Ok(reply)
}

pub async fn source_upload(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<SourceUploadRequest>,
) -> Reply {
    caller.must_be_of_upload(&request.upload)?;
    Ok(json(api.services.sources.upload(request).await?))
}

pub async fn source_content(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(upload): Path<String>,
    body: Body,
) -> Reply {
    caller.must_be_of_upload(&upload)?;
    let bytes = Box::pin(body.into_data_stream().map_err(io::Error::other));
    api.services.sources.put(&upload, bytes).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn source_download(State(api): State<ApiState>, Path(upload): Path<String>) -> Reply {
    Ok(downloaded(api.services.sources.download(&upload).await?))
}

pub async fn worker_program(State(api): State<ApiState>, Path(sha256): Path<String>) -> Reply {
    Ok(downloaded(api.services.sources.program(&sha256).await?))
}

fn downloaded(found: Download<ObjectInfo>) -> Response {
    let (info, bytes) = match found {
        Download::Elsewhere(address) => return Redirect::temporary(&address).into_response(),
        Download::Here(info, bytes) => (info, bytes),
    };
    let mut reply = Body::from_stream(bytes).into_response();
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(info.size));
    reply
}

/// Anyone may ask how the server is; who brings a token hears more.
pub async fn health(
    State(api): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
) -> Reply {
    let mut health = api.services.health.look().await;
    if headers.contains_key(AUTHORIZATION) {
        let from = client.map(|Extension(ClientAddress(address))| address);
        api.caller(&headers, from).await?;
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
    json(super::openapi::document())
}
