//! Access check of each operation: token or session, scope and repository.

pub mod cookies;

pub mod public;

use super::{
    client::{AuthenticatedFlag, ClientAddress, client_address},
    problem::ApiError,
    route::{Route, Within},
    state::ApiState,
    token_verifier::{bearer, has_credential},
};
use crate::{access::caller::Caller, error::Error, services::Services};
use axum::{
    extract::{Extension, RawPathParams, Request, State},
    http::{HeaderMap, Uri},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_core::{
    access::Scope,
    api::path,
    ids::{JobId, job_token::JobToken},
};
use tokio::time::sleep;

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
    match Box::pin(check.caller(request.headers(), request.uri(), from, &params)).await {
        Ok(caller) => {
            if !caller.is_anonymous()
                && let Some(proof) = request.extensions().get::<AuthenticatedFlag>()
            {
                proof.set();
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

impl ApiState {
    /// Returns the caller that the bearer token of the request identifies, or else its cookie. Each call counts against the rate
    /// limits. A cookie counts for a request that changes something only if the web UI sent it.
    pub(in crate::http) async fn caller(
        &self,
        headers: &HeaderMap,
        changes: bool,
        from: Option<IpAddr>,
    ) -> Result<Caller, ApiError> {
        let (access, services) = (&self.token_verifier, &self.services);
        let identified = match bearer(headers) {
            None => self.session_caller(headers, changes).await?,
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
        let mut caller = Caller { from, ..caller };
        if let Some(person) = &caller.person {
            caller.grants = Arc::new(services.roles.grants(person).await?);
        }
        let is_worker = caller.has_scope(Scope::Worker);
        access
            .limits
            .count_valid(&format!("{} {}", caller.id, caller.name), is_worker, Instant::now())
            .map_err(ApiError::too_many_requests)?;
        Ok(caller)
    }

    /// Returns the address of this server, and the value of the cookie of its sessions. Other cookies count for nothing.
    fn session_cookie<'a>(&'a self, headers: &'a HeaderMap) -> Option<(&'a str, &'a str)> {
        let public_url = self.services.sign_in.public_url().ok()?;
        Some((public_url, cookies::value(headers, &cookies::session_name(public_url))?))
    }

    /// Returns the caller of the session whose cookie the request has.
    async fn session_caller(&self, headers: &HeaderMap, changes: bool) -> Result<Option<Caller>, ApiError> {
        let services = &self.services;
        let Some((public_url, cookie)) = self.session_cookie(headers) else { return Ok(None) };
        let caller = services.sessions.caller(cookie).await?;
        if changes && caller.is_some() && !cookies::request_origin(headers).is_own(public_url) {
            return Err(ApiError::foreign_request());
        }
        Ok(caller)
    }
}

impl Check {
    /// Returns the caller, if they may call the operation.
    async fn caller(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        from: Option<IpAddr>,
        params: &RawPathParams,
    ) -> Result<Caller, ApiError> {
        let (api, route) = (&self.api, self.route);
        let is_public_path = public::is_public_path(route);
        let has_token = has_credential(headers);
        let has_session = api.session_cookie(headers).is_some();
        if is_public_path
            && !has_token
            && !has_session
            && let Some(anyone) = public::anonymous_caller(api, route, uri, from, params).await?
        {
            return Ok(anyone);
        }
        // A page of another site can open a WebSocket with the cookie of a visitor.
        let changes = route.method != "GET" || route.path == path::JOB_SHELL;
        let identified = api.caller(headers, changes, from).await;
        match identified {
            // A session that has ended hides nothing that anyone sees.
            Err(error) if is_public_path && !has_token && has_session && error.is_unauthorized() => {
                public::anonymous_caller(api, route, uri, from, params).await?.ok_or(error)
            }
            Err(error) => Err(error),
            Ok(caller) => {
                if is_public_path
                    && caller.person.is_some()
                    && let Some(anyone) = public::caller_like_anyone(api, route, uri, &caller, params).await?
                {
                    return Ok(anyone);
                }
                self.authorize(caller, params).await
            }
        }
    }

    async fn authorize(&self, caller: Caller, params: &RawPathParams) -> Result<Caller, ApiError> {
        let services = &self.api.services;
        let accepted = self.route.need;
        let caller = Caller { accepted, ..caller };
        if !caller.may_call(accepted) {
            return Err(ApiError::forbidden(&caller, accepted));
        }
        if caller.sees_all() && caller.person.is_none() {
            return Ok(caller);
        }
        match self.route.within {
            Within::Forbidden if !caller.may_call_for_deployment(accepted) => {
                return Err(ApiError::deployment_forbidden(&caller));
            }
            Within::None | Within::Itself | Within::Forbidden => {}
            Within::Path => {
                for (name, value) in params {
                    services.check_repository(name, value, &caller).await?;
                }
            }
        }
        Ok(caller)
    }
}

/// Time between two checks of the access of an open connection.
const ACCESS_INTERVAL: Duration = Duration::from_secs(10);

/// Checks the access of a connection that stays open.
pub(in crate::http) struct OpenAccess {
    api: ApiState,
    headers: HeaderMap,
    from: Option<IpAddr>,
    accepted: &'static [Scope],
    job: JobId,
}

impl OpenAccess {
    /// Creates the checks of a connection that `caller` opened to a job with these headers.
    pub fn new(api: ApiState, headers: HeaderMap, caller: &Caller, job: JobId) -> Self {
        Self { api, headers, from: caller.from, accepted: caller.accepted, job }
    }

    /// Returns a message once the caller may not have opened the connection any more: the token was revoked or has expired, the session
    /// has ended, or the role was removed. A store that does not answer ends nothing.
    pub async fn lost(&self) -> String {
        loop {
            sleep(ACCESS_INTERVAL).await;
            if let Err(error) = self.check().await
                && error.is_denial()
            {
                return "access was withdrawn: the token or session is not valid any more, or has lost its scope or role".to_owned();
            }
        }
    }

    async fn check(&self) -> Result<(), ApiError> {
        let caller = self.api.caller(&self.headers, true, self.from).await?;
        let caller = Caller { accepted: self.accepted, ..caller };
        if !caller.may_call(self.accepted) {
            return Err(ApiError::forbidden(&caller, self.accepted));
        }
        if caller.sees_all() && caller.person.is_none() {
            return Ok(());
        }
        Ok(self.api.services.check_repository("jobId", &self.job.to_string(), &caller).await?)
    }
}

impl Services {
    /// Returns a not-found error if a path parameter names an item of a repository that the caller cannot see.
    async fn check_repository(&self, name: &str, value: &str, caller: &Caller) -> Result<(), Error> {
        let not_an_id = |_| Error::Invalid(format!("`{value}` is not an id (a UUID)"));
        let (kind, repo) = match name {
            "executionId" => ("execution", self.pipelines.repo(value.parse().map_err(not_an_id)?).await),
            "jobId" => ("job", self.jobs.repo(value.parse().map_err(not_an_id)?).await),
            "artifactId" => ("artifact", self.artifacts.repo(value.parse().map_err(not_an_id)?).await),
            other => {
                return Err(Error::Forbidden(format!("a token for one repository cannot access `{other}`")));
            }
        };
        // The same message for both: a caller cannot learn that the item exists.
        let not_found = || Error::NotFound(format!("there is no {kind} {value}"));
        match repo {
            Ok(repo) => caller.check_item(&repo, not_found),
            Err(Error::NotFound(_)) => Err(not_found()),
            Err(error) => Err(error),
        }
    }
}
