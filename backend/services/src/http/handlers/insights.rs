//! Operations on many executions at once: the overview, the statistics and badges.

pub mod badges;

use crate::{
    access::caller::Caller,
    http::{
        extractors::QueryParams,
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State};
use tidemill_core::api::InsightQuery;

pub async fn overview(State(api): State<ApiState>, Extension(caller): Extension<Caller>) -> Reply {
    let mut overview = api.services.pipelines.overview(caller.repo.as_deref(), Some(&caller)).await?;
    overview.repositories.retain(|activity| caller.can_read(&activity.repo));
    overview.running.retain(|execution| caller.can_read(&execution.repo));
    overview.pending.retain(|execution| caller.can_read(&execution.repo));
    overview.failed_discoveries.retain(|execution| caller.can_read(&execution.repo));
    overview.approvals.retain(|awaited| caller.can_read(&awaited.execution.repo));
    Ok(json_reply(overview))
}

pub async fn insights(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<InsightQuery>,
) -> Reply {
    caller.check_repository(&query.repo)?;
    Ok(json_reply(api.services.insights.insights(query).await?))
}
