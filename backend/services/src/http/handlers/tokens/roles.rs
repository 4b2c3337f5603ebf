//! Operations on the rules of roles.

use crate::{
    access::caller::Caller,
    http::{
        extractors::JsonBody,
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State};
use tidemill_core::access::roles::{RemoveRoleReply, RoleRequest, RoleTarget};

/// Describes for whom a rule is, for the audit log.
fn holder(target: &RoleTarget) -> &str {
    target.user.as_deref().or(target.group.as_deref()).unwrap_or("everyone")
}

pub async fn list(State(api): State<ApiState>) -> Reply {
    Ok(json_reply(api.services.roles.list().await?))
}

pub async fn set(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RoleRequest>,
) -> Reply {
    let rule = api.services.roles.set(request, &caller).await?;
    let (target, repo) = (holder(&rule.target), rule.target.repo.as_deref());
    api.services.audit.record(&caller, "role.set", target, repo, rule.role.as_str()).await;
    Ok(json_reply(rule))
}

pub async fn remove(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(target): JsonBody<RoleTarget>,
) -> Reply {
    let removed = api.services.roles.remove(target.clone()).await?;
    if removed {
        api.services
            .audit
            .record(&caller, "role.remove", holder(&target), target.repo.as_deref(), "done")
            .await;
    }
    Ok(json_reply(RemoveRoleReply { removed }))
}
