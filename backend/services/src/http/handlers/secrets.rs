//! Operations on secrets.

use crate::{
    access::caller::Caller,
    http::{
        extractors::{JsonBody, QueryParams},
        reply::{Reply, json_reply},
        state::ApiState,
    },
};
use axum::{Extension, extract::State};
use tidemill_core::api::{RemoveSecretRequest, SecretQuery, SetSecretRequest, VariableQuery};
use tidemill_core::execution::facts::Facts;

pub async fn list(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<SecretQuery>,
) -> Reply {
    caller.check_repository(&query.repo)?;
    Ok(json_reply(api.services.secrets.list(&query.repo).await?))
}

pub async fn variables(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    QueryParams(query): QueryParams<VariableQuery>,
) -> Reply {
    caller.check_repository(&query.repo)?;
    let branch = query.protected.then(|| "protected".to_owned());
    let facts =
        Facts { repo: query.repo, branch: branch.clone(), default_branch: branch, ..Facts::default() };
    Ok(json_reply(api.services.variables.of_execution(&facts).await?))
}

pub async fn set(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<SetSecretRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let set = api.services.secrets.set(request, &caller.name).await?;
    let target = secret_target(set.environment.as_deref(), &set.name);
    let action = if set.variable.is_some() { "variable.set" } else { "secret.set" };
    api.services.audit.record(&caller, action, target, Some(&set.repo), "done").await;
    Ok(json_reply(set))
}

pub async fn remove(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RemoveSecretRequest>,
) -> Reply {
    caller.check_repository(&request.repo)?;
    let (target, repo) = (secret_target(request.environment.as_deref(), &request.name), request.repo.clone());
    let action = if request.is_variable { "variable.remove" } else { "secret.remove" };
    let reply = api.services.secrets.remove(request).await?;
    if reply.removed {
        api.services.audit.record(&caller, action, target, Some(&repo), "done").await;
    }
    Ok(json_reply(reply))
}

/// Returns the name of a secret in the audit log.
fn secret_target(environment: Option<&str>, name: &str) -> String {
    environment.map_or_else(|| name.to_owned(), |environment| format!("{name} ({environment})"))
}

pub async fn rekey(State(api): State<ApiState>, Extension(caller): Extension<Caller>) -> Reply {
    let mut reply = api.services.secrets.rekey().await?;
    if !reply.more {
        let others = [
            api.services.repositories.rekey().await?,
            api.services.registries.rekey().await?,
            api.services.id_tokens.rekey().await?,
            api.services.webhooks.rekey().await?,
        ];
        for other in others {
            reply.renewed += other.renewed;
            reply.more |= other.more;
            reply.unreadable.extend(other.unreadable);
        }
    }
    if reply.renewed > 0 {
        let target = format!("{} secrets", reply.renewed);
        api.services.audit.record(&caller, "secret.rekey", target, None, "done").await;
    }
    Ok(json_reply(reply))
}
