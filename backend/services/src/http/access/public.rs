//! Access without a token: anyone may read the executions of public repositories, their logs, summaries and test results.

use crate::{
    access::caller::Caller,
    error::Error,
    http::{
        client::ClientAddress,
        problem::ApiError,
        route::{Route, Within},
        state::ApiState,
    },
    ports::ExecutionRecord,
};
use axum::{
    extract::{Query, RawPathParams},
    http::Uri,
};
use serde::Deserialize;
use std::{net::IpAddr, sync::Arc, time::Instant};
use tidemill_core::{
    api::{ExecutionKind, path},
    repository::canonical_name,
};

/// What anyone may read of a public repository: what its jobs print and report about themselves. Artifacts, pipeline files with the
/// values of variables, environments, costs and streams of events need a token.
pub const PUBLIC_PATHS: &[&str] = &[
    path::EXECUTIONS,
    path::STATUS,
    path::JOB_LOGS,
    path::JOB_LOG_TIMES,
    path::SUMMARIES,
    path::SUMMARY_TEXT,
    path::TESTS,
];

#[derive(Deserialize)]
struct RepositoryParam {
    repo: Option<String>,
}

/// Whether the operation shows what is public.
pub fn is_public_path(route: &Route) -> bool {
    route.method == "GET" && PUBLIC_PATHS.contains(&route.path)
}

/// Returns the caller without credentials of a request that reads something public; `None`: it needs credentials. Whether an item
/// is not public or does not exist makes no difference.
pub async fn anonymous_caller(
    api: &ApiState,
    route: &Route,
    uri: &Uri,
    from: Option<IpAddr>,
    params: &RawPathParams,
) -> Result<Option<Caller>, ApiError> {
    if let Some(from) = from {
        let limits = &api.token_verifier.limits;
        limits
            .count_anonymous(ClientAddress(from).network(), Instant::now())
            .map_err(ApiError::too_many_requests)?;
    }
    let Some(repo) = repository(api, route, uri, params).await? else { return Ok(None) };
    Ok(is_public(api, &repo).await?.then(|| Caller::anonymous(&repo, from)))
}

/// Returns the caller without credentials if a person may not read what the request names, but anyone may: nobody sees less because
/// they are signed in.
pub async fn caller_like_anyone(
    api: &ApiState,
    route: &Route,
    uri: &Uri,
    person: &Caller,
    params: &RawPathParams,
) -> Result<Option<Caller>, ApiError> {
    let Some(repo) = repository(api, route, uri, params).await? else { return Ok(None) };
    if person.can_read(&repo) || !is_public(api, &repo).await? {
        return Ok(None);
    }
    Ok(Some(Caller::anonymous(&repo, person.from)))
}

async fn is_public(api: &ApiState, repo: &str) -> Result<bool, Error> {
    let repository = api.services.repositories.find(&canonical_name(repo)).await?;
    Ok(repository.is_some_and(|repository| repository.public))
}

/// Returns the repository that a request to a public path names.
async fn repository(
    api: &ApiState,
    route: &Route,
    uri: &Uri,
    params: &RawPathParams,
) -> Result<Option<String>, Error> {
    match route.within {
        Within::Path => repository_of_path(api, params).await,
        _ => Ok(Query::<RepositoryParam>::try_from_uri(uri).ok().and_then(|Query(query)| query.repo)),
    }
}

/// Returns the repository of the execution or job that the path names, if it runs a pipeline.
async fn repository_of_path(api: &ApiState, params: &RawPathParams) -> Result<Option<String>, Error> {
    let Some((name, value)) = params.into_iter().next() else { return Ok(None) };
    let execution = match execution_of(api, name, value).await {
        Ok(Some(execution)) => execution,
        Ok(None) | Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    // A discovery tells about files and settings of the repository.
    let is_shown = execution.spec.task.kind() == ExecutionKind::RunPipeline;
    Ok(is_shown.then(|| execution.spec.repo.clone()))
}

async fn execution_of(
    api: &ApiState,
    name: &str,
    value: &str,
) -> Result<Option<Arc<ExecutionRecord>>, Error> {
    let context = api.services.pipelines.context();
    let id = match name {
        "executionId" => value.parse().ok(),
        "jobId" => match value.parse() {
            Ok(job) => Some(context.job(job).await?.key.execution),
            Err(_) => None,
        },
        _ => None,
    };
    match id {
        Some(id) => context.cached_execution(id).await.map(Some),
        None => Ok(None),
    }
}
