//! Operations on many executions at once: the overview, the statistics, exports and badges.

pub mod badges;

use crate::{
    access::caller::Caller,
    http::{
        extractors::QueryParams,
        problem::ApiError,
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State};
use tidemill_core::{
    access::Scope,
    api::{ExportQuery, InsightQuery},
};

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

pub async fn export(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(mut query): QueryParams<ExportQuery>,
) -> Reply {
    match (&query.repo, &caller.repo) {
        (Some(repo), _) => caller.check_repository(repo)?,
        (None, Some(only)) => query.repo = Some(only.to_string()),
        (None, None) if !caller.may_call_for_deployment(&[Scope::Admin]) => {
            return Err(ApiError::deployment_forbidden(&caller));
        }
        (None, None) => {}
    }
    // A caller can begin with any cursor, so each page counts.
    let outcome = if query.cursor.is_none() { "begun" } else { "continued" };
    let page = api.services.exports.page(&query).await?;
    let target = query.repo.as_deref().unwrap_or("all repositories");
    api.services.audit.record(&caller, "records.export", target, query.repo.as_deref(), outcome).await;
    Ok(json_reply(page))
}
