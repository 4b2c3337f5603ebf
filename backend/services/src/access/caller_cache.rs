//! Callers whose token or session was verified recently.

use super::caller::Caller;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tidemill_core::time::Timestamp;

/// Maximum number of cached callers.
const MAX_CACHED: usize = 1_000;

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// A cache by the hashes of tokens.
#[derive(Debug, Default)]
pub struct CallerCache(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Changes with every revocation, so that no read from before a revocation is cached after it.
    revocations: u64,
    callers: HashMap<TokenHash, CachedCaller>,
}

#[derive(Debug)]
struct CachedCaller {
    at: Timestamp,
    caller: Caller,
    expires_at: Option<Timestamp>,
}

/// What the cache knows of a token.
pub enum Cached {
    /// Its caller; `None` if it has expired.
    Known(Option<Caller>),
    /// Nothing; with the revocations so far, for [`CallerCache::add`].
    Unknown(u64),
}

impl CallerCache {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the caller of a token that was verified within `ttl_ms`.
    pub fn get(&self, hash: &TokenHash, now: Timestamp, ttl_ms: u64) -> Cached {
        let entries = self.entries();
        match entries.callers.get(hash) {
            Some(known) if now >= known.at && now.since_ms(known.at) < ttl_ms => {
                let is_valid = known.expires_at.is_none_or(|at| now < at);
                Cached::Known(is_valid.then(|| known.caller.clone()))
            }
            _ => Cached::Unknown(entries.revocations),
        }
    }

    /// Adds a caller that was verified at `now`, unless a token was revoked since `revocations` were counted.
    pub fn add(
        &self,
        hash: TokenHash,
        caller: Caller,
        now: Timestamp,
        expires_at: Option<Timestamp>,
        revocations: u64,
    ) {
        let mut entries = self.entries();
        if entries.revocations != revocations {
            return;
        }
        if entries.callers.len() >= MAX_CACHED {
            entries.callers.clear();
        }
        entries.callers.insert(hash, CachedCaller { at: now, caller, expires_at });
    }

    /// Forgets all callers, after a revocation.
    pub fn clear(&self) {
        let mut entries = self.entries();
        entries.revocations += 1;
        entries.callers.clear();
    }
}
