//! Access check of each operation: token, scope and repository.

pub mod public;

use super::{
    client::{AuthenticatedFlag, ClientAddress, client_address},
    problem::ApiError,
    route::{Route, Within},
    state::ApiState,
    token_verifier::bearer,
};
use crate::{access::caller::Caller, error::Error, services::Services};
use axum::{
    extract::{Extension, RawPathParams, Request, State},
    http::HeaderMap,
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{net::IpAddr, time::Instant};
use tidemill_core::access::Scope;
use tidemill_core::ids::job_token::JobToken;

/// State of the access check of one operation.
#[derive(Debug, Clone)]
pub struct Check {
    pub api: ApiState,
    pub route: &'static Route,
}

/// Passes requests whose token fits the operation. Handlers find the [`Caller`] in the request's extensions.
pub async fn check(
    State(check): State<Check>,
    client: Option<Extension<ClientAddress>>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    if check.route.need.is_empty() {
        return next.run(request).await;
    }
    let from = client_address(client);
    let sent = (request.headers(), request.uri());
    match public::anonymous_caller(&check.api, check.route, sent, from, &params).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            return next.run(request).await;
        }
        Ok(None) => {}
        Err(error) => return error.into_response(),
    }
    match check.authorize(request.headers(), from, &params).await {
        Ok(caller) => {
            if let Some(proof) = request.extensions().get::<AuthenticatedFlag>() {
                proof.set();
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

impl ApiState {
    /// Returns the caller that the bearer token of the request identifies. Each call counts against the rate limits.
    pub(in crate::http) async fn caller(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
    ) -> Result<Caller, ApiError> {
        let (access, services) = (&self.token_verifier, &self.services);
        let identified = match bearer(headers) {
            None => None,
            Some(token) => match access.own_token_scope(token) {
                Some(scope) => Some(Caller::bootstrap(scope)),
                None => match JobToken::parse(token) {
                    Some(token) => services.jobs.token_caller(&token).await?,
                    None => services.tokens.caller(token).await?,
                },
            },
        };
        let Some(caller) = identified else {
            if let Some(from) = from {
                access
                    .limits
                    .count_invalid(ClientAddress(from).network(), Instant::now())
                    .map_err(ApiError::too_many_requests)?;
            }
            return Err(ApiError::unauthorized());
        };
        let caller = Caller { from, ..caller };
        let is_worker = caller.has_scope(Scope::Worker);
        access
            .limits
            .count_valid(&format!("{} {}", caller.id, caller.name), is_worker, Instant::now())
            .map_err(ApiError::too_many_requests)?;
        Ok(caller)
    }
}

impl Check {
    async fn authorize(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
        params: &RawPathParams,
    ) -> Result<Caller, ApiError> {
        let services = &self.api.services;
        let caller = self.api.caller(headers, from).await?;
        if !self.route.need.iter().any(|scope| caller.scopes.contains(scope)) {
            return Err(ApiError::forbidden(&caller, self.route.need));
        }
        let Some(only) = caller.repo.as_deref() else { return Ok(caller) };
        match self.route.within {
            Within::None | Within::Itself => {}
            Within::Forbidden => return Err(ApiError::deployment_forbidden(only)),
            Within::Path => {
                for (name, value) in params {
                    services.check_repository(name, value, only).await?;
                }
            }
        }
        Ok(caller)
    }
}

impl Services {
    /// Returns a not-found error if a path parameter names an item of another repository than `only`.
    async fn check_repository(&self, name: &str, value: &str, only: &str) -> Result<(), Error> {
        let not_an_id = |_| Error::Invalid(format!("`{value}` is not an id (a UUID)"));
        let (kind, repo) = match name {
            "executionId" => ("execution", self.pipelines.repo(value.parse().map_err(not_an_id)?).await),
            "jobId" => ("job", self.jobs.repo(value.parse().map_err(not_an_id)?).await),
            "artifactId" => ("artifact", self.artifacts.repo(value.parse().map_err(not_an_id)?).await),
            other => {
                return Err(Error::Forbidden(format!("a token for one repository cannot access `{other}`")));
            }
        };
        match repo {
            Ok(repo)
                if tidemill_core::repository::canonical_name(&repo)
                    == tidemill_core::repository::canonical_name(only) =>
            {
                Ok(())
            }
            // The same message for both: a caller cannot learn that the item exists.
            Ok(_) | Err(Error::NotFound(_)) => Err(Error::NotFound(format!("there is no {kind} {value}"))),
            Err(error) => Err(error),
        }
    }
}
