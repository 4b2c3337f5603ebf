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
    http::{
        HeaderMap, Uri,
        header::{AUTHORIZATION, COOKIE},
    },
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

/// Returns the caller of a request without credentials that reads something public; `None`: it needs credentials. Whether an item
/// is not public or does not exist makes no difference.
pub async fn anonymous_caller(
    api: &ApiState,
    route: &Route,
    (headers, uri): (&HeaderMap, &Uri),
    from: Option<IpAddr>,
    params: &RawPathParams,
) -> Result<Option<Caller>, ApiError> {
    let has_credentials = headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE);
    if has_credentials || route.method != "GET" || !PUBLIC_PATHS.contains(&route.path) {
        return Ok(None);
    }
    if let Some(from) = from {
        let limits = &api.token_verifier.limits;
        limits
            .count_anonymous(ClientAddress(from).network(), Instant::now())
            .map_err(ApiError::too_many_requests)?;
    }
    let repo = match route.within {
        Within::Path => repository_of_path(api, params).await?,
        _ => Query::<RepositoryParam>::try_from_uri(uri).ok().and_then(|Query(query)| query.repo),
    };
    let Some(repo) = repo else { return Ok(None) };
    let repository = api.services.repositories.find(&canonical_name(&repo)).await?;
    Ok(repository.filter(|repository| repository.public).map(|_| Caller::anonymous(&repo, from)))
}

/// Returns the repository of the execution or job that the path names, if it runs a pipeline.
async fn repository_of_path(api: &ApiState, params: &RawPathParams) -> Result<Option<String>, Error> {
    for (name, value) in params {
        let execution = match execution_of(api, name, value).await {
            Ok(Some(execution)) => execution,
            Ok(None) | Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        // A discovery tells about files and settings of the repository.
        let is_shown = execution.spec.task.kind() == ExecutionKind::RunPipeline;
        return Ok(is_shown.then(|| execution.spec.repo.clone()));
    }
    Ok(None)
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
