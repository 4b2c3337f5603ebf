//! JSON bodies of requests.

use super::{ApiState, problem::ApiError};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequest, Request, rejection::JsonRejection},
};
use serde::de::{DeserializeOwned, IgnoredAny};

/// Bodies of more bytes than this are read away from the threads that answer requests.
const MAX_READ_HERE: usize = 64 << 10;

/// A JSON body whose refusal is a problem document.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, api: &ApiState) -> Result<Self, ApiError> {
        // Only its headers are looked at: what says that it is no JSON is not read.
        let mut like_it = Request::new(Body::from("null"));
        *like_it.headers_mut() = request.headers().clone();
        let Json(IgnoredAny) = Json::from_request(like_it, api).await?;
        // All of it first: who sends slowly takes no thread from others.
        let bytes = Bytes::from_request(request, api).await.map_err(JsonRejection::from)?;
        let is_small = bytes.len() <= MAX_READ_HERE;
        let read = move || Json::<T>::from_bytes(&bytes);
        let read = if is_small { read() } else { api.services.compute("reading a request", read).await? };
        let Json(value) = read?;
        Ok(Self(value))
    }
}
