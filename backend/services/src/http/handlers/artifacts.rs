//! Operations on artifacts and caches.

pub mod files;

use crate::{
    access::caller::Caller,
    error::Error,
    executions::request_texts::check_artifact,
    http::{
        extractors::{Id, JsonBody, QueryParams},
        reply::{Reply, download_reply, json_reply},
        state::ApiState,
    },
    storage::download::Download,
};
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG},
    },
    response::{IntoResponse, Redirect, Response},
};
use futures_util::TryStreamExt;
use serde::Deserialize;
use std::io;
use tidemill_core::{
    api::{ArtifactAddress, ArtifactEncoding, ArtifactUploadRequest, CacheLookupRequest},
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken},
};

pub async fn upload(
    State(api): State<ApiState>,
    JsonBody(request): JsonBody<ArtifactUploadRequest>,
) -> Reply {
    check_artifact(&request)?;
    Ok(json_reply(api.services.artifacts.upload(request).await?))
}

#[derive(Deserialize)]
pub struct UploadQuery {
    job: JobId,
    lease: LeaseToken,
    cache: Option<String>,
}

pub async fn put_content(
    State(api): State<ApiState>,
    Id(id): Id<ArtifactId>,
    QueryParams(query): QueryParams<UploadQuery>,
    body: Body,
) -> Reply {
    let bytes = Box::pin(body.into_data_stream().map_err(io::Error::other));
    api.services.artifacts.put(id, (query.job, query.lease), query.cache.as_deref(), bytes).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn look_up_cache(
    State(api): State<ApiState>,
    JsonBody(request): JsonBody<CacheLookupRequest>,
) -> Reply {
    Ok(json_reply(api.services.caches.lookup(request).await?))
}

#[derive(Deserialize)]
pub struct CacheQuery {
    lease: LeaseToken,
    object: ArtifactId,
    key: String,
}

pub async fn download_cache(
    State(api): State<ApiState>,
    Id(id): Id<JobId>,
    QueryParams(query): QueryParams<CacheQuery>,
) -> Reply {
    Ok(download_reply(api.services.caches.download(id, query.lease, (&query.key, query.object)).await?))
}

pub async fn list(State(api): State<ApiState>, Id(id): Id<ExecutionId>) -> Reply {
    Ok(json_reply(api.services.artifacts.list(id).await?))
}

/// How an artifact is requested: a worker needs the lease of a job.
#[derive(Deserialize)]
pub struct DownloadQuery {
    job: Option<JobId>,
    lease: Option<LeaseToken>,
    /// False: the reply is the address of bytes that are elsewhere, as a page may navigate to it but not fetch it.
    redirect: Option<bool>,
}

pub async fn download(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ArtifactId>,
    QueryParams(query): QueryParams<DownloadQuery>,
) -> Reply {
    if caller.is_only_worker() {
        let (Some(job), Some(lease)) = (query.job, query.lease) else {
            let message = "a worker needs the lease of a job to download artifacts; send `job` and `lease`";
            return Err(Error::Forbidden(message.into()).into());
        };
        api.services.artifacts.check_lease(id, job, lease).await?;
    }
    let (view, bytes) = match api.services.artifacts.download(id).await? {
        Download::Redirect(address) => return Ok(address_reply(address, query.redirect.unwrap_or(true))),
        Download::Stream(view, bytes) => (view, bytes),
    };
    let mut reply = Body::from_stream(bytes).into_response();
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(view.encoding)));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(view.size));
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", view.sha256)) {
        headers.insert(ETAG, etag);
    }
    Ok(reply)
}

fn address_reply(address: String, redirects: bool) -> Response {
    if redirects {
        Redirect::temporary(&address).into_response()
    } else {
        json_reply(ArtifactAddress { url: address })
    }
}

const fn content_type(encoding: ArtifactEncoding) -> &'static str {
    match encoding {
        ArtifactEncoding::Identity => "application/x-tar",
        ArtifactEncoding::Zstd => "application/zstd",
        ArtifactEncoding::Unknown => "application/octet-stream",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::address_reply;
    use axum::{
        body::to_bytes,
        http::{StatusCode, header::LOCATION},
    };
    use serde_json::{Value, json};

    const ADDRESS: &str = "https://objects.example.org/a?signature=1";

    #[tokio::test]
    async fn address_is_a_redirect_or_a_document() {
        let reply = address_reply(ADDRESS.into(), true);
        assert_eq!(reply.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(reply.headers()[LOCATION], ADDRESS);
        let reply = address_reply(ADDRESS.into(), false);
        assert_eq!(reply.status(), StatusCode::OK);
        let bytes = to_bytes(reply.into_body(), 1000).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), json!({ "url": ADDRESS }));
    }
}
