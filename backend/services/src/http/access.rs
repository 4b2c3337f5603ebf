//! Who may call what: bearer tokens, of which only hashes are known here.

use super::{
    ApiState,
    limits::Limits,
    problem::ApiError,
    routes::{Route, Within},
};
use crate::{error::Error, services::Caller};
use axum::{
    extract::{Extension, RawPathParams, Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use subtle::{Choice, ConstantTimeEq};
use tidemill_core::access::Scope;

type Hash = [u8; 32];

/// Calls a second that a user's token may make, unless told.
pub const DEFAULT_RATE: u32 = 50;

/// Whom the API answers by tokens of the deployment itself; the tokens that people make are in the store. A token has at least 128
/// random bits, so that its hash gives nothing away.
#[derive(Debug)]
pub struct TokenVerifier {
    admin: Vec<Hash>,
    worker: Vec<Hash>,
    limits: Limits,
}

/// A text is not the hash of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the SHA-256 of a token: 64 hex digits")]
pub struct InvalidTokenHash(String);

/// The address of the client: an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, all addresses of which one client may have.
    #[must_use]
    pub fn group(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// Whether a connection's client has shown a valid token or signature: an extension of its requests, set when one of them does.
#[derive(Debug, Clone, Default)]
pub struct AuthenticatedFlag(Arc<AtomicBool>);

impl AuthenticatedFlag {
    /// It has.
    pub fn give(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl TokenVerifier {
    /// One token that may do everything.
    #[must_use]
    pub fn of_token(token: &str) -> Self {
        Self::of(vec![Sha256::digest(token.as_bytes()).into()], Vec::new())
    }

    /// Tokens of admins and tokens of workers by their SHA-256 in hex; several of each, so that one can be replaced while
    /// the old one is still in use.
    pub fn of_hashes<'a>(
        admin: impl IntoIterator<Item = &'a str>,
        worker: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidTokenHash> {
        let all = |hashes: &mut dyn Iterator<Item = &'a str>| hashes.map(hash).collect::<Result<Vec<_>, _>>();
        Ok(Self::of(all(&mut admin.into_iter())?, all(&mut worker.into_iter())?))
    }

    fn of(admin: Vec<Hash>, worker: Vec<Hash>) -> Self {
        Self { admin, worker, limits: Limits::new(DEFAULT_RATE) }
    }

    /// The same, where a user's token may make so many calls a second; 0: as many as anyone likes.
    #[must_use]
    pub fn at_most(self, each_second: u32) -> Self {
        Self { limits: Limits::new(each_second), ..self }
    }

    /// Counts a webhook whose signature does not prove that it is of the repository that it names; or refuses it with how long to
    /// wait.
    pub fn wrong_signature(&self, from: Option<IpAddr>, repository: &str) -> Result<(), ApiError> {
        let now = Instant::now();
        if let Some(from) = from {
            self.limits.wrong(from, now).map_err(ApiError::too_many)?;
        }
        self.limits.wrong_for(repository, now).map_err(ApiError::too_many)
    }

    /// The scope of a token of the deployment itself.
    fn own(&self, given: &[u8]) -> Option<Scope> {
        let given: Hash = Sha256::digest(given).into();
        let among = |known: &[Hash]| {
            // All are compared, so that the time tells nothing.
            let found = known.iter().fold(Choice::from(0), |found, one| found | one.ct_eq(&given));
            bool::from(found)
        };
        let (admin, worker) = (among(&self.admin), among(&self.worker));
        admin.then_some(Scope::Admin).or(worker.then_some(Scope::Worker))
    }
}

/// Where a request comes from, if that is known.
pub fn address_of(client: Option<Extension<ClientAddress>>) -> Option<IpAddr> {
    client.map(|Extension(ClientAddress(address))| address)
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")
}

fn hash(text: &str) -> Result<Hash, InvalidTokenHash> {
    let wrong = || InvalidTokenHash(text.to_owned());
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

/// What one operation's check knows.
#[derive(Debug, Clone)]
pub struct Check {
    pub api: ApiState,
    pub route: &'static Route,
}

/// Lets those through whose token fits the operation, and says who they are: handlers find a [`Caller`] among the
/// request's extensions.
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
    let from = address_of(client);
    match check.passes(request.headers(), from, &params).await {
        Ok(caller) => {
            if let Some(proof) = request.extensions().get::<AuthenticatedFlag>() {
                proof.give();
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

impl ApiState {
    /// Who calls, by the token that comes with it; each call counts against the limits.
    pub(super) async fn caller(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Caller, ApiError> {
        let (access, services) = (&self.access, &self.services);
        let known = match bearer(headers) {
            None => None,
            Some(given) => match access.own(given) {
                Some(scope) => Some(Caller::bootstrap(scope)),
                None => services.tokens.caller(given).await?,
            },
        };
        let Some(caller) = known else {
            if let Some(from) = from {
                access
                    .limits
                    .wrong(ClientAddress(from).group(), Instant::now())
                    .map_err(ApiError::too_many)?;
            }
            return Err(ApiError::unauthorized());
        };
        let caller = Caller { from, ..caller };
        let for_many = caller.has(Scope::Worker);
        access
            .limits
            .used(&format!("{} {}", caller.id, caller.name), for_many, Instant::now())
            .map_err(ApiError::too_many)?;
        Ok(caller)
    }
}

impl Check {
    async fn passes(
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
            Within::Forbidden => return Err(ApiError::only_of(only)),
            Within::Path => {
                for (name, value) in params {
                    services.must_be_of(name, value, only).await?;
                }
            }
        }
        Ok(caller)
    }
}

impl crate::services::Services {
    /// Refuses a parameter of a path that names something of another repository than `only`, as if it were not there.
    async fn must_be_of(&self, name: &str, value: &str, only: &str) -> Result<(), Error> {
        let not_an_id = |_| Error::Invalid(format!("`{value}` is not an id (a UUID)"));
        let (kind, repo) = match name {
            "executionId" => ("execution", self.pipelines.repo(value.parse().map_err(not_an_id)?).await),
            "jobId" => ("job", self.jobs.repo(value.parse().map_err(not_an_id)?).await),
            "artifactId" => ("artifact", self.artifacts.repo(value.parse().map_err(not_an_id)?).await),
            other => {
                return Err(Error::Forbidden(format!("a token of one repository cannot name `{other}`")));
            }
        };
        match repo {
            Ok(repo)
                if tidemill_core::repository::canonical(&repo)
                    == tidemill_core::repository::canonical(only) =>
            {
                Ok(())
            }
            // The same words for both.
            Ok(_) | Err(Error::NotFound(_)) => Err(Error::NotFound(format!("there is no {kind} {value}"))),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ClientAddress, TokenVerifier, bearer};
    use axum::http::{HeaderMap, header::AUTHORIZATION};
    use tidemill_core::access::Scope;

    const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

    fn scope(access: &TokenVerifier, value: &str) -> Option<Scope> {
        access.own(bearer(&HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]))?)
    }

    #[test]
    fn ipv6_prefix_counts_as_one_client() {
        let of = |text: &str| ClientAddress(text.parse().unwrap()).group();
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn token_is_found_by_hash() {
        let access = TokenVerifier::of_hashes([], [ONE]).unwrap();
        assert_eq!(scope(&access, "Bearer one"), Some(Scope::Worker));
        let access = TokenVerifier::of_hashes([ONE.to_uppercase().as_str()], []).unwrap();
        assert_eq!(scope(&access, "Bearer one"), Some(Scope::Admin));
        for wrong in ["Bearer two", "Bearer ", "bearer one", "one", ONE] {
            assert!(scope(&access, wrong).is_none(), "{wrong}");
        }
        assert!(bearer(&HeaderMap::new()).is_none());
        for wrong in ["", "one", &ONE[1..], &format!("{}zz", &ONE[2..]), &"ä".repeat(32)] {
            assert!(TokenVerifier::of_hashes([wrong], []).is_err(), "{wrong}");
        }
    }
}
