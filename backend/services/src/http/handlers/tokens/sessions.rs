//! Signing in and out, and the sessions of the caller. These operations need no role: a person without one can sign out.

use crate::{
    access::{
        caller::Caller,
        sign_in::{SignInError, service::ProviderAnswer},
    },
    http::{
        access::cookies,
        client::{ClientAddress, client_address},
        extractors::{Id, JsonBody, QueryParams},
        problem::ApiError,
        reply::{Reply, json_reply},
        state::ApiState,
        token_verifier::bearer,
    },
};
use axum::{
    Extension, Json,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, LOCATION, SET_COOKIE, USER_AGENT},
    },
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::{net::IpAddr, time::Instant};
use tidemill_core::access::{
    provider::ProviderKind,
    sessions::{
        CallerView, CodeExchange, CodeReply, CodeRequest, EndSessionReply, SessionInfo, SessionQuery,
    },
    sign_in::SignInFailure,
};
use tidemill_core::api::page;
use uuid::Uuid;

/// Query of the address at which a sign-in begins.
#[derive(Debug, Deserialize)]
pub struct SignInQuery {
    provider: ProviderKind,
    return_to: Option<String>,
}

/// Redirects a browser, and sets cookies. Nothing on the way may keep the reply.
fn redirect(address: &str, cookies: impl IntoIterator<Item = Option<HeaderValue>>) -> Reply {
    let location = HeaderValue::from_str(address)
        .map_err(|_| ApiError::invalid("the address to go to has characters that no address has"))?;
    let headers = [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let mut reply = (StatusCode::SEE_OTHER, headers).into_response();
    for cookie in cookies.into_iter().flatten() {
        reply.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(reply)
}

/// Redirects a browser to the page that explains why nobody is signed in.
fn explain(base: &str, failure: SignInFailure, detail: &str) -> Reply {
    tracing::warn!(detail, reason = failure.code(), "a sign-in failed");
    let address = format!("{base}/{}?error={}", page::SIGN_IN, failure.code());
    redirect(&address, [cookies::sign_in(base, "")])
}

pub async fn begin(State(api): State<ApiState>, QueryParams(query): QueryParams<SignInQuery>) -> Reply {
    let sign_in = &api.services.sign_in;
    let base = sign_in.public_url()?;
    match sign_in.begin(query.provider, query.return_to.as_deref()).await {
        Ok(begun) => redirect(&begun.address, [cookies::sign_in(base, &begun.cookie)]),
        Err(SignInError::Failed(failure, detail)) => explain(base, failure, &detail),
        Err(SignInError::Service(error)) => Err(error.into()),
    }
}

pub async fn finish(
    State(api): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
    QueryParams(answer): QueryParams<ProviderAnswer>,
) -> Reply {
    let services = &api.services;
    let base = services.sign_in.public_url()?;
    let from = client_address(client);
    // Before the provider gets any request.
    if let Some(from) = from {
        let limits = &api.token_verifier.limits;
        let network = ClientAddress(from).network();
        limits.count_sign_in(network, Instant::now()).map_err(ApiError::too_many_requests)?;
    }
    let cookie = cookies::value(&headers, &cookies::sign_in_name(base));
    let (person, return_to) = match Box::pin(services.sign_in.finish(cookie, &answer)).await {
        Ok(signed_in) => signed_in,
        Err(SignInError::Failed(failure, detail)) => {
            count_invalid(&api, from)?;
            return explain(base, failure, &detail);
        }
        Err(SignInError::Service(error)) => return Err(error.into()),
    };
    let browser = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let caller = Caller { from, ..Caller::person(person.clone()) };
    let (id, cookie) = services.sessions.create(person, browser, from).await?;
    services.audit.record(&caller, "session.create", id, None, "done").await;
    let address = format!("{base}{return_to}");
    redirect(&address, [cookies::sign_in(base, ""), cookies::session(base, &cookie)])
}

/// Counts a failed sign-in or exchange like an invalid token.
fn count_invalid(api: &ApiState, from: Option<IpAddr>) -> Result<(), ApiError> {
    let Some(from) = from else { return Ok(()) };
    let limits = &api.token_verifier.limits;
    limits.count_invalid(ClientAddress(from).network(), Instant::now()).map_err(ApiError::too_many_requests)
}

/// Replies to a browser whose session has ended: it drops the cookie.
fn without_session(api: &ApiState, mut reply: Response) -> Response {
    let cookie = api.services.sign_in.public_url().ok().and_then(|base| cookies::session(base, ""));
    if let Some(cookie) = cookie {
        reply.headers_mut().append(SET_COOKIE, cookie);
    }
    reply
}

pub async fn show(
    State(api): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
) -> Reply {
    let providers = api.services.sign_in.providers();
    let session = api.services.sign_in.public_url().ok();
    let session = session.and_then(|base| cookies::value(&headers, &cookies::session_name(base)));
    if bearer(&headers).is_none() && session.is_none() {
        return Ok(json_reply(SessionInfo { providers, caller: None }));
    }
    match api.caller(&headers, false, client_address(client)).await {
        Ok(caller) => Ok(json_reply(SessionInfo { providers, caller: Some(view(&caller)) })),
        Err(error) if error.is_unauthorized() => {
            Ok(without_session(&api, json_reply(SessionInfo { providers, caller: None })))
        }
        Err(error) => Err(error),
    }
}

fn view(caller: &Caller) -> CallerView {
    let person = caller.person.as_deref();
    CallerView {
        name: caller.name.to_string(),
        person: person.map(|person| person.id.clone()),
        names: person.map(|person| person.names.iter().cloned().collect()).unwrap_or_default(),
        groups: person.map(|person| person.groups.iter().cloned().collect()).unwrap_or_default(),
        roles: caller.grants.listed(),
        scopes: match person {
            Some(_) => {
                caller.grants.highest().map(tidemill_core::access::roles::Role::scope).into_iter().collect()
            }
            None => (*caller.scopes).clone(),
        },
        repo: caller.repo.as_deref().map(str::to_owned),
        session: caller.session,
    }
}

/// Signs out: ends the session, or revokes the personal token, with which the request comes.
pub async fn end(
    State(api): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
) -> Reply {
    let caller = api.caller(&headers, true, client_address(client)).await?;
    if caller.person.is_none() {
        let detail =
            "a token of a machine ends when an administrator revokes it with `tidemill token revoke`";
        return Err(crate::error::Error::Conflict(detail.into()).into());
    }
    let services = &api.services;
    let (ended, action) = match (caller.session, bearer(&headers)) {
        (Some(id), _) => (services.sessions.end(&caller, id, None).await?, "session.end"),
        (None, Some(token)) => (services.tokens.revoke_presented(token).await?, "token.revoke"),
        (None, None) => (false, "session.end"),
    };
    if ended {
        let target = caller.session.map_or_else(|| caller.id.to_string(), |id| id.to_string());
        services.audit.record(&caller, action, target, None, "done").await;
    }
    Ok(without_session(&api, json_reply(EndSessionReply { ended })))
}

pub async fn list(
    State(api): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<SessionQuery>,
) -> Reply {
    let caller = api.caller(&headers, false, client_address(client)).await?;
    Ok(json_reply(api.services.sessions.list(&caller, &query).await?))
}

/// Query of the end of a session.
#[derive(Debug, Deserialize)]
pub struct EndQuery {
    person: Option<String>,
}

pub async fn end_one(
    State(api): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
    Id(id): Id<Uuid>,
    QueryParams(query): QueryParams<EndQuery>,
) -> Reply {
    let caller = api.caller(&headers, true, client_address(client)).await?;
    let ended = api.services.sessions.end(&caller, id, query.person.as_deref()).await?;
    if ended {
        let outcome = query.person.map_or_else(|| "done".to_owned(), |person| format!("of {person}"));
        api.services.audit.record(&caller, "session.end", id, None, &outcome).await;
    }
    Ok(json_reply(EndSessionReply { ended }))
}

pub async fn create_code(
    State(api): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<CodeRequest>,
) -> Reply {
    let caller = api.caller(&headers, true, client_address(client)).await?;
    let code = api.services.sessions.create_code(&caller, &request.challenge).await?;
    Ok((StatusCode::CREATED, Json(CodeReply { code })).into_response())
}

pub async fn exchange(
    State(api): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    JsonBody(request): JsonBody<CodeExchange>,
) -> Reply {
    let from = client_address(client);
    let Some((person, created)) = api.services.sessions.exchange(&request).await? else {
        count_invalid(&api, from)?;
        return Err(ApiError::invalid_code());
    };
    let caller = Caller { from, ..Caller::person(person) };
    api.services.audit.record(&caller, "token.create", created.view.id, None, "done").await;
    Ok((StatusCode::CREATED, Json(created)).into_response())
}
