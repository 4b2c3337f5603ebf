//! Operations on workers.

pub mod shells;

use crate::{
    access::caller::Caller,
    http::{
        extractors::JsonBody,
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State};
use tidemill_core::api::{DrainWorkersRequest, WorkerReport};

pub async fn list(State(api): State<ApiState>) -> Reply {
    Ok(json_reply(api.services.workers.list().await?))
}

pub async fn report(State(api): State<ApiState>, JsonBody(report): JsonBody<WorkerReport>) -> Reply {
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
