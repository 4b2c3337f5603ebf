//! Requests to the engine that bollard does not offer without its feature `buildkit`: a session, and a build in it.

use crate::{
    client::{HttpClient, HttpError, read_body},
    engine::manager::DockerManager,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, request::Builder};
use reqwest::{Body, Response, Upgraded, Url};
use serde::Deserialize;
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// Maximum size of an error's text in bytes.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// The engine's API, without bollard.
#[derive(Debug)]
pub struct EngineHttp {
    client: HttpClient,
    base: Url,
}

#[derive(Deserialize)]
struct ErrorBody {
    message: String,
}

impl EngineHttp {
    /// Returns a client for the engine of `manager`.
    pub fn new(manager: &DockerManager) -> Result<Self, FailureReason> {
        let (base, socket) = match manager.address.strip_prefix("unix://") {
            Some(path) => ("http://localhost".to_owned(), Some(path.into())),
            None => (manager.address.replacen("tcp://", "http://", 1), None),
        };
        let version = manager.docker.client_version();
        let (major, minor) = (version.major_version, version.minor_version);
        let base = Url::parse(&format!("{}/v{major}.{minor}", base.trim_end_matches('/')))
            .map_err(|error| FailureReason::new(FailureKind::EngineFailed, error.to_string()))?;
        Ok(Self { client: HttpClient::new(None).with_socket(socket), base })
    }

    /// Sends a request that changes the protocol of its connection; `None` if the engine does not change it.
    pub async fn upgrade(
        &self,
        path: &str,
        request: Builder,
        body: Body,
    ) -> Result<Option<Upgraded>, FailureReason> {
        let reply = self.send(path, &[], request, body).await?;
        if reply.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(None);
        }
        reply.upgrade().await.map(Some).map_err(|error| failure(&error.to_string()))
    }

    /// Posts `body`, and returns the reply, whatever its status.
    pub async fn post(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: Body,
    ) -> Result<Response, FailureReason> {
        let request = Request::builder().method(Method::POST).header("Content-Type", "application/x-tar");
        self.send(path, query, request, body).await
    }

    async fn send(
        &self,
        path: &str,
        query: &[(&str, String)],
        request: Builder,
        body: Body,
    ) -> Result<Response, FailureReason> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = request.uri(url.as_str()).body(body).map_err(|error| failure(&error.to_string()))?;
        self.client.send(request).await.map_err(|error: HttpError| failure(&error.to_string()))
    }
}

/// Returns the message of an unsuccessful reply.
pub async fn error_text(reply: Response) -> String {
    let status = reply.status();
    let body: Bytes = read_body(reply, MAX_ERROR_BYTES).await.unwrap_or_default();
    serde_json::from_slice::<ErrorBody>(&body)
        .map_or_else(|_| format!("status {status}"), |error| error.message)
}

/// Returns the failure of a request that got no reply.
pub fn failure(why: &str) -> FailureReason {
    FailureReason::new(FailureKind::EngineFailed, format!("the container engine does not answer: {why}"))
}
