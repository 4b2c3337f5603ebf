//! Operations on uploaded sources and the worker's program.

use crate::{
    access::caller::Caller,
    http::{
        extractors::JsonBody,
        reply::{Reply, download_reply, json_reply},
        state::ApiState,
    },
};
use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use futures_util::TryStreamExt;
use std::io;
use tidemill_core::api::SourceUploadRequest;

pub async fn upload(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<SourceUploadRequest>,
) -> Reply {
    caller.check_upload(&request.upload)?;
    Ok(json_reply(api.services.sources.upload(request).await?))
}

pub async fn put_content(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(upload): Path<String>,
    body: Body,
) -> Reply {
    caller.check_upload(&upload)?;
    let bytes = Box::pin(body.into_data_stream().map_err(io::Error::other));
    api.services.sources.put(&upload, bytes).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn download(State(api): State<ApiState>, Path(upload): Path<String>) -> Reply {
    Ok(download_reply(api.services.sources.download(&upload).await?))
}

pub async fn worker_program(State(api): State<ApiState>, Path(sha256): Path<String>) -> Reply {
    Ok(download_reply(api.services.sources.program(&sha256).await?))
}
