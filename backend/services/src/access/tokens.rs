//! Creates, verifies and revokes tokens. Only hashes of them are stored.
//!
//! A token is `tm_`, 32 random bytes in base64url (43 characters), and a checksum of 6 hex digits (the start of the SHA-256 of the text
//! before it). Secret scanners match it by `tm_[A-Za-z0-9_-]{43}[0-9a-f]{6}`, and a mistyped token is rejected without a read of the
//! store.

use super::caller::Caller;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, NewDocument},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use subtle::ConstantTimeEq;
use tidemill_core::repository::RepositoryName;
use tidemill_core::{
    access::{Scope, TokenList, TokenReply, TokenRequest, TokenView},
    text::is_control,
    time::Timestamp,
};
use uuid::Uuid;

/// Kind of the documents of tokens.
const DOCUMENT_KIND: &str = "token";
const PREFIX: &str = "tm_";
const CHECKSUM_LEN: usize = 6;
const TOKEN_LEN: usize = PREFIX.len() + 43 + CHECKSUM_LEN;
/// Minimum time between two writes of `last_used_at`.
const TOUCH_INTERVAL_MS: u64 = 3_600_000;
/// How long an expired token is listed.
const LISTED_AFTER_EXPIRY_MS: i64 = 30 * 24 * 3_600_000;
/// Maximum number of cached tokens.
const MAX_CACHED_TOKENS: usize = 1_000;
/// Maximum lifetime: a hundred years.
const MAX_TTL_S: u64 = 3_153_600_000;
const MAX_NAME_LEN: usize = 100;

type Hash = [u8; 32];

/// The stored record of a token, named by its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TokenRecord {
    token: TokenView,
}

/// Tokens that were verified recently.
#[derive(Debug, Default)]
struct TokenCache {
    /// Changes with every revocation, so that no read from before a revocation is cached after it.
    revocations: u64,
    tokens: HashMap<Hash, (Timestamp, Caller, Option<Timestamp>)>,
}

/// Service for tokens.
#[derive(Debug, Clone)]
pub struct TokenService {
    context: Arc<Context>,
    cache: Arc<Mutex<TokenCache>>,
}

impl TokenService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, cache: Arc::default() }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, TokenCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a token.
    pub async fn create(&self, request: TokenRequest, by: &Caller) -> Result<TokenReply> {
        check(&request)?;
        let now = self.context.now();
        let expires_at = request
            .expire_in_s
            .map(|s| now.plus_ms(i64::try_from(s.saturating_mul(1000)).unwrap_or(i64::MAX)));
        let token = new_token()?;
        let view = TokenView {
            id: Uuid::now_v7(),
            name: request.name,
            scopes: request.scopes,
            repo: request.repo,
            created_at: now,
            created_by: by.name.to_string(),
            expires_at,
            last_used_at: None,
        };
        let name = HEXLOWER.encode(&Sha256::digest(token.as_bytes()));
        if !self.write(name, &view, None).await? {
            return Err(Error::Conflict("a token with this hash exists already; try again".into()));
        }
        Ok(TokenReply { token, view })
    }

    async fn write(&self, name: String, view: &TokenView, if_version: Option<u64>) -> Result<bool> {
        let value = serde_json::to_string(&TokenRecord { token: view.clone() })
            .map_err(|error| Error::storage("writing a token", error))?;
        let document = NewDocument {
            key: DocumentKey::new(DOCUMENT_KIND, name),
            value,
            due_at: None,
            expires_at: view.expires_at.map(|at| at.plus_ms(LISTED_AFTER_EXPIRY_MS)),
        };
        self.context.stores.documents.put(document, if_version).await
    }

    async fn all(&self) -> Result<Vec<(DocumentKey, TokenView)>> {
        let all = self.context.stores.documents.all(DOCUMENT_KIND, "").await?;
        all.into_iter().map(|document| Ok((document.key.clone(), read(&document)?))).collect()
    }

    /// Returns all tokens in order of creation.
    pub async fn list(&self) -> Result<TokenList> {
        let mut tokens: Vec<TokenView> = self.all().await?.into_iter().map(|(_, view)| view).collect();
        tokens.sort_by_key(|view| (view.created_at, view.id));
        Ok(TokenList { tokens })
    }

    /// Revokes a token: at once in this process, and in others when their cache expires, some seconds later.
    pub async fn revoke(&self, id: Uuid) -> Result<TokenView> {
        let found = self.all().await?.into_iter().find(|(_, view)| view.id == id);
        let gone = || Error::NotFound(format!("there is no token {id}; see `tidemill token list`"));
        let (key, view) = found.ok_or_else(gone)?;
        let was_there = self.context.stores.documents.delete(&key, None).await;
        {
            let mut cache = self.cache();
            cache.revocations += 1;
            cache.tokens.clear();
        }
        if was_there? { Ok(view) } else { Err(gone()) }
    }

    /// Returns the caller of a token; `None` if the token is not valid.
    pub async fn caller(&self, token: &[u8]) -> Result<Option<Caller>> {
        if !is_well_formed(token) {
            return Ok(None);
        }
        let hash: Hash = Sha256::digest(token).into();
        let now = self.context.now();
        let revocations = {
            let cache = self.cache();
            if let Some((at, caller, expires_at)) = cache.tokens.get(&hash)
                && now >= *at
                && now.since_ms(*at) < self.context.settings.token_cache_ttl_ms
            {
                return Ok(Some(caller.clone()).filter(|_| expires_at.is_none_or(|at| now < at)));
            }
            cache.revocations
        };
        let key = DocumentKey::new(DOCUMENT_KIND, HEXLOWER.encode(&hash));
        let Some(document) = self.context.stores.documents.get(&key).await? else { return Ok(None) };
        // The store looked it up by hash already; this check guards against a store that returns another document.
        if !bool::from(document.key.name.as_bytes().ct_eq(key.name.as_bytes())) {
            return Ok(None);
        }
        let view = read(&document)?;
        if view.expires_at.is_some_and(|at| now >= at) {
            return Ok(None);
        }
        let caller = Caller {
            id: view.id.to_string().into(),
            name: view.name.as_str().into(),
            scopes: Arc::new(view.scopes.clone()),
            repo: view.repo.as_deref().map(Into::into),
            from: None,
        };
        let expires_at = view.expires_at;
        self.note_use(document, view, now).await;
        let mut cache = self.cache();
        if cache.revocations == revocations {
            if cache.tokens.len() >= MAX_CACHED_TOKENS {
                cache.tokens.clear();
            }
            cache.tokens.insert(hash, (now, caller.clone(), expires_at));
        }
        Ok(Some(caller))
    }

    /// Records the use of a token, unless one was recorded recently. The write is conditional, so a concurrent revocation wins.
    async fn note_use(&self, document: Document, mut view: TokenView, now: Timestamp) {
        if view.last_used_at.is_some_and(|at| now.since_ms(at) < TOUCH_INTERVAL_MS) {
            return;
        }
        view.last_used_at = Some(now);
        let id = view.id;
        if let Err(error) = self.write(document.key.name, &view, Some(document.version)).await {
            tracing::warn!(%error, token = %id, "cannot record the last use of a token");
        }
    }
}

fn read(document: &Document) -> Result<TokenView> {
    let stored: Result<TokenRecord, _> = serde_json::from_str(&document.value);
    stored.map(|stored| stored.token).map_err(|error| Error::storage("reading a token's record", error))
}

fn check(request: &TokenRequest) -> Result<()> {
    let invalid = |message: String| Err(Error::Invalid(message));
    if !(1..=MAX_NAME_LEN).contains(&request.name.chars().count()) || request.name.contains(is_control) {
        return invalid(format!(
            "a token's name has 1 to {MAX_NAME_LEN} characters, none of them control characters"
        ));
    }
    if request.scopes.is_empty() {
        return invalid("a token needs at least one scope: read, run, worker or admin".into());
    }
    if let Some(Err(error)) = request.repo.as_deref().map(RepositoryName::parse) {
        return invalid(error.to_string());
    }
    if request.repo.is_some() && request.scopes.contains(&Scope::Worker) {
        return invalid("a worker runs jobs of every repository; its token cannot be limited to one".into());
    }
    if request.expire_in_s.is_some_and(|s| !(1..=MAX_TTL_S).contains(&s)) {
        return invalid(format!("a token expires after 1 to {MAX_TTL_S} seconds, or never"));
    }
    Ok(())
}

fn new_token() -> Result<String> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|error| Error::storage("creating a token", error))?;
    let body = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let checksum = checksum_of(body.as_bytes());
    Ok(body + &checksum)
}

fn checksum_of(body: &[u8]) -> String {
    let mut text = HEXLOWER.encode(&Sha256::digest(body));
    text.truncate(CHECKSUM_LEN);
    text
}

/// Whether the text has the form and the checksum of a token.
fn is_well_formed(token: &[u8]) -> bool {
    token.len() == TOKEN_LEN
        && token.starts_with(PREFIX.as_bytes())
        && bool::from(
            token[TOKEN_LEN - CHECKSUM_LEN..]
                .ct_eq(checksum_of(&token[..TOKEN_LEN - CHECKSUM_LEN]).as_bytes()),
        )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{TOKEN_LEN, is_well_formed, new_token};

    #[test]
    fn mistyped_token_fails_checksum() {
        let token = new_token().unwrap();
        assert!(token.starts_with("tm_") && token.len() == TOKEN_LEN, "{} characters", token.len());
        assert!(is_well_formed(token.as_bytes()));
        assert_ne!(token, new_token().unwrap());
        for position in 0..TOKEN_LEN {
            let mut wrong = token.clone().into_bytes();
            wrong[position] = if wrong[position] == b'a' { b'b' } else { b'a' };
            assert!(!is_well_formed(&wrong), "{position}");
        }
        assert!(!is_well_formed(&token.as_bytes()[1..]) && !is_well_formed(b""));
    }
}
