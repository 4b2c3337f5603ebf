//! Who may call what: bearer tokens, of which only hashes are known here.

use super::{Api, problem::Refused};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

type Hash = [u8; 32];

/// Whom the API answers. A token has at least 128 random bits, so that its hash gives nothing away.
#[derive(Debug, Clone)]
pub struct Access {
    admin: Vec<Hash>,
    worker: Vec<Hash>,
}

/// A text is not the hash of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the SHA-256 of a token: 64 hex digits")]
pub struct HashError(String);

/// What a caller may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Admin,
    Worker,
}

impl Access {
    /// One token that may do everything.
    #[must_use]
    pub fn of_token(token: &str) -> Self {
        Self { admin: vec![Sha256::digest(token.as_bytes()).into()], worker: Vec::new() }
    }

    /// Tokens of users and tokens of workers by their SHA-256 in hex; several of each, so that one can be replaced while
    /// the old one is still in use.
    pub fn of_hashes<'a>(
        admin: impl IntoIterator<Item = &'a str>,
        worker: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, HashError> {
        let all = |hashes: &mut dyn Iterator<Item = &'a str>| hashes.map(hash).collect::<Result<Vec<_>, _>>();
        Ok(Self { admin: all(&mut admin.into_iter())?, worker: all(&mut worker.into_iter())? })
    }

    fn role(&self, headers: &HeaderMap) -> Option<Role> {
        let given = headers.get(AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")?;
        let given: Hash = Sha256::digest(given).into();
        let among = |known: &[Hash]| {
            // All are compared, so that the time tells nothing.
            let found = known.iter().fold(Choice::from(0), |found, one| found | one.ct_eq(&given));
            bool::from(found)
        };
        let (admin, worker) = (among(&self.admin), among(&self.worker));
        admin.then_some(Role::Admin).or(worker.then_some(Role::Worker))
    }
}

fn hash(text: &str) -> Result<Hash, HashError> {
    let wrong = || HashError(text.to_owned());
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

/// Lets users through.
pub async fn users(State(api): State<Api>, headers: HeaderMap, request: Request, next: Next) -> Response {
    match api.access.role(&headers) {
        Some(Role::Admin) => next.run(request).await,
        Some(Role::Worker) => Refused::forbidden().into_response(),
        None => Refused::unauthorized().into_response(),
    }
}

/// Lets users and workers through.
pub async fn workers(State(api): State<Api>, headers: HeaderMap, request: Request, next: Next) -> Response {
    match api.access.role(&headers) {
        Some(Role::Admin | Role::Worker) => next.run(request).await,
        None => Refused::unauthorized().into_response(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Access, Role};
    use axum::http::{HeaderMap, header::AUTHORIZATION};

    const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_has_one_role() {
        let access = Access::of_hashes([], [ONE]).unwrap();
        assert!(access.role(&headers("Bearer one")) == Some(Role::Worker));
        let access = Access::of_hashes([ONE.to_uppercase().as_str()], []).unwrap();
        assert!(access.role(&headers("Bearer one")) == Some(Role::Admin));
        for wrong in ["Bearer two", "Bearer ", "bearer one", "one", ONE] {
            assert!(access.role(&headers(wrong)).is_none(), "{wrong}");
        }
        assert!(access.role(&HeaderMap::new()).is_none());
        for wrong in ["", "one", &ONE[1..], &format!("{}zz", &ONE[2..]), &"ä".repeat(32)] {
            assert!(Access::of_hashes([wrong], []).is_err(), "{wrong}");
        }
    }
}
