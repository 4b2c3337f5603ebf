//! Operations on workers.

pub mod shells;

use crate::{
    access::caller::Caller,
    error::Error,
    http::{
        extractors::JsonBody,
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State, http::HeaderMap};
use tidemill_core::api::{
    DrainWorkersRequest, MIN_WORKER_PROTOCOL, RemoveWorkersRequest, WORKER_PROTOCOL_HEADER, WorkerReport,
};

pub async fn list(State(api): State<ApiState>) -> Reply {
    Ok(json_reply(api.services.workers.list().await?))
}

pub async fn report(
    State(api): State<ApiState>,
    headers: HeaderMap,
    JsonBody(report): JsonBody<WorkerReport>,
) -> Reply {
    check_protocol(&headers, &report.worker.name)?;
    Ok(json_reply(api.services.workers.report(report).await?))
}

pub async fn drain(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<DrainWorkersRequest>,
) -> Reply {
    let reply = api.services.workers.drain(&request).await?;
    let outcome = format!("{} drain", reply.workers.len());
    api.services.audit.record(&caller, "worker.drain", &request.worker, None, &outcome).await;
    Ok(json_reply(reply))
}

pub async fn remove(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RemoveWorkersRequest>,
) -> Reply {
    let reply = api.services.workers.remove(&request).await?;
    let outcome = format!("{} removed", reply.workers.len());
    api.services.audit.record(&caller, "worker.remove", &request.worker, None, &outcome).await;
    Ok(json_reply(reply))
}

/// Returns an error if the worker of a request is too old for this server. One that names no version speaks the current protocol.
pub fn check_protocol(headers: &HeaderMap, worker: &str) -> Result<(), Error> {
    let version =
        headers.get(WORKER_PROTOCOL_HEADER).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    match version.filter(|version| *version < MIN_WORKER_PROTOCOL) {
        None => Ok(()),
        Some(version) => Err(Error::Forbidden(format!(
            "the worker `{worker}` is too old for this server: it speaks version {version} of the protocol, and the server \
             accepts {MIN_WORKER_PROTOCOL} and newer; upgrade Tidemill on the worker's machine"
        ))),
    }
}
