//! Extractors whose rejection is a problem document.

use super::{problem::ApiError, state::ApiState};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::request::Parts,
};
use serde::de::{DeserializeOwned, IgnoredAny};
use std::str::FromStr;

/// Larger bodies, in bytes, are parsed on the compute pool instead of the threads that serve requests.
const MAX_INLINE_PARSE: usize = 64 << 10;

/// A JSON body, which is an object.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, api: &ApiState) -> Result<Self, ApiError> {
        // Checks the headers first: a body of another content type is not read.
        let mut probe = Request::new(Body::from("null"));
        *probe.headers_mut() = request.headers().clone();
        let Json(IgnoredAny) = Json::from_request(probe, api).await?;
        // Reads the whole body before parsing: a slow sender does not occupy a compute thread.
        let bytes = Bytes::from_request(request, api).await.map_err(JsonRejection::from)?;
        // serde reads a list as the fields of a struct in their order, which no document of the API says.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(ApiError::invalid("the body is a JSON array, and an object is expected"));
        }
        let is_small = bytes.len() <= MAX_INLINE_PARSE;
        let parse = move || Json::<T>::from_bytes(&bytes);
        let parsed =
            if is_small { parse() } else { api.services.compute("parsing a request", parse).await? };
        let Json(value) = parsed?;
        Ok(Self(value))
    }
}

/// The id in the path of the request.
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

/// The query string, parsed into `T`.
pub struct QueryParams<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|rejection| ApiError::invalid(rejection.body_text()))
    }
}
