//! Verification of the deployment's own tokens, and the rate limits of callers.

use super::{limits::RateLimits, problem::ApiError};
use axum::http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use std::{net::IpAddr, time::Instant};
use subtle::{Choice, ConstantTimeEq};
use tidemill_core::access::{Scope, sessions::COOKIE_CREDENTIAL};

type Hash = [u8; 32];

/// Default limit of calls per second for a user's token.
pub const DEFAULT_RATE: u32 = 50;

/// Verifies the deployment's own tokens, of which it holds only hashes; tokens that users create are in the store. A token has at
/// least 128 random bits, so its hash does not reveal it.
#[derive(Debug)]
pub struct TokenVerifier {
    admin: Vec<Hash>,
    worker: Vec<Hash>,
    pub(super) limits: RateLimits,
}

/// The text is not the hash of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the SHA-256 of a token; give 64 hex digits")]
pub struct InvalidTokenHash(String);

impl TokenVerifier {
    /// Accepts one token, with the scope `admin`.
    #[must_use]
    pub fn from_token(token: &str) -> Self {
        Self::of(vec![Sha256::digest(token.as_bytes()).into()], Vec::new())
    }

    /// Accepts tokens of admins and workers by their SHA-256 in hex. Several of each are allowed, so that a token can be replaced
    /// while the old one is still in use.
    pub fn from_hashes<'a>(
        admin: impl IntoIterator<Item = &'a str>,
        worker: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidTokenHash> {
        let all = |hashes: &mut dyn Iterator<Item = &'a str>| hashes.map(hash).collect::<Result<Vec<_>, _>>();
        Ok(Self::of(all(&mut admin.into_iter())?, all(&mut worker.into_iter())?))
    }

    fn of(admin: Vec<Hash>, worker: Vec<Hash>) -> Self {
        Self { admin, worker, limits: RateLimits::new(DEFAULT_RATE) }
    }

    /// Limits the calls per second of a user's token; 0 means no limit.
    #[must_use]
    pub fn with_rate_limit(self, per_second: u32) -> Self {
        Self { limits: RateLimits::new(per_second), ..self }
    }

    /// Counts a webhook whose signature does not match the repository that it names. Returns a rate-limit error with the time to wait
    /// if there were too many.
    pub fn count_invalid_signature(&self, from: Option<IpAddr>, repository: &str) -> Result<(), ApiError> {
        let now = Instant::now();
        if let Some(from) = from {
            self.limits.count_invalid(from, now).map_err(ApiError::too_many_requests)?;
        }
        self.limits.count_invalid_signature(repository, now).map_err(ApiError::too_many_requests)
    }

    /// Returns the scope of one of the deployment's own tokens.
    pub(super) fn own_token_scope(&self, token: &[u8]) -> Option<Scope> {
        let hash: Hash = Sha256::digest(token).into();
        let is_among = |known: &[Hash]| {
            // Compares with every hash in constant time, so that timing reveals nothing.
            let found = known.iter().fold(Choice::from(0), |found, one| found | one.ct_eq(&hash));
            bool::from(found)
        };
        let (admin, worker) = (is_among(&self.admin), is_among(&self.worker));
        admin.then_some(Scope::Admin).or(worker.then_some(Scope::Worker))
    }
}

/// Returns the bearer token of a request.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")
}

/// Whether the header of a request has a credential, valid or not.
pub fn has_credential(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|value| value != COOKIE_CREDENTIAL)
}

fn hash(text: &str) -> Result<Hash, InvalidTokenHash> {
    let invalid = || InvalidTokenHash(text.to_owned());
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(invalid());
    }
    for (byte, start) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[start..start + 2], 16).map_err(|_| invalid())?;
    }
    Ok(hash)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{TokenVerifier, bearer};
    use axum::http::{HeaderMap, header::AUTHORIZATION};
    use tidemill_core::access::Scope;

    const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

    fn scope(access: &TokenVerifier, value: &str) -> Option<Scope> {
        access.own_token_scope(bearer(&HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]))?)
    }

    #[test]
    fn token_is_found_by_hash() {
        let access = TokenVerifier::from_hashes([], [ONE]).unwrap();
        assert_eq!(scope(&access, "Bearer one"), Some(Scope::Worker));
        let access = TokenVerifier::from_hashes([ONE.to_uppercase().as_str()], []).unwrap();
        assert_eq!(scope(&access, "Bearer one"), Some(Scope::Admin));
        for wrong in ["Bearer two", "Bearer ", "bearer one", "one", ONE] {
            assert!(scope(&access, wrong).is_none(), "{wrong}");
        }
        assert!(bearer(&HeaderMap::new()).is_none());
        for wrong in ["", "one", &ONE[1..], &format!("{}zz", &ONE[2..]), &"ä".repeat(32)] {
            assert!(TokenVerifier::from_hashes([wrong], []).is_err(), "{wrong}");
        }
    }
}
