//! Replies of handlers.

use super::problem::ApiError;
use crate::{ports::ObjectInfo, storage::download::Download};
use axum::{
    Json,
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse, Redirect, Response},
};
use tidemill_core::api::ExecuteReply;

/// Result of a handler.
pub type Reply = Result<Response, ApiError>;

/// Replies with JSON.
pub fn json_reply<T: serde::Serialize>(value: T) -> Response {
    Json(value).into_response()
}

/// Replies with an execution: 201 if the request started it, 200 if it existed.
pub fn execution_reply(reply: ExecuteReply) -> Response {
    let status = if reply.attached { StatusCode::OK } else { StatusCode::CREATED };
    (status, Json(reply)).into_response()
}

/// Replies with the bytes of an object, or redirects to them.
pub fn download_reply(download: Download<ObjectInfo>) -> Response {
    let (info, bytes) = match download {
        Download::Redirect(address) => return Redirect::temporary(&address).into_response(),
        Download::Stream(info, bytes) => (info, bytes),
    };
    let mut reply = Body::from_stream(bytes).into_response();
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(info.size));
    reply
}
