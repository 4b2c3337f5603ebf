//! TokenService: tokens that people make, of which only hashes are stored.
//!
//! A token is `tm_`, 32 random bytes in base64url (43 characters) and a check of 6 hex digits (the first of the SHA-256 of what is
//! before them): scanners for secrets know it by `tm_[A-Za-z0-9_-]{43}[0-9a-f]{6}`, and a mistyped one is refused without a look
//! at the store.

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

/// The kind of its documents.
const DOCUMENT_KIND: &str = "token";
const PREFIX: &str = "tm_";
const CHECKSUM_LEN: usize = 6;
const TOKEN_LEN: usize = PREFIX.len() + 43 + CHECKSUM_LEN;
/// Uses are noted at most so often.
const TOUCH_INTERVAL_MS: u64 = 3_600_000;
/// How long a token that is over is still listed.
const LISTED_AFTER_EXPIRY_MS: i64 = 30 * 24 * 3_600_000;
/// Tokens that are kept at hand.
const MAX_CACHED_TOKENS: usize = 1_000;
/// A hundred years.
const MAX_TTL_S: u64 = 3_153_600_000;
const MAX_NAME_LEN: usize = 100;
const MAX_REPO_LEN: usize = 1_000;

type Hash = [u8; 32];

/// What is stored of a token, under its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TokenRecord {
    token: TokenView,
}

/// Tokens that were looked up lately.
#[derive(Debug, Default)]
struct TokenCache {
    /// Changes with every revocation, so that what was read before one is not kept after it.
    revocations: u64,
    tokens: HashMap<Hash, (Timestamp, Caller, Option<Timestamp>)>,
}

/// Tokens.
#[derive(Debug, Clone)]
pub struct TokenService {
    context: Arc<Context>,
    kept: Arc<Mutex<TokenCache>>,
}

impl TokenService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, kept: Arc::default() }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, TokenCache> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new token.
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
            return Err(Error::Conflict("a token of this hash is there already; try again".into()));
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

    /// All tokens, in the order of their making.
    pub async fn list(&self) -> Result<TokenList> {
        let mut tokens: Vec<TokenView> = self.all().await?.into_iter().map(|(_, view)| view).collect();
        tokens.sort_by_key(|view| (view.created_at, view.id));
        Ok(TokenList { tokens })
    }

    /// Makes a token invalid: here at once, in other processes once they look it up again, some seconds later.
    pub async fn revoke(&self, id: Uuid) -> Result<TokenView> {
        let found = self.all().await?.into_iter().find(|(_, view)| view.id == id);
        let gone = || Error::NotFound(format!("there is no token {id}; `tidemill token list` shows them"));
        let (key, view) = found.ok_or_else(gone)?;
        let was_there = self.context.stores.documents.delete(&key, None).await;
        {
            let mut kept = self.kept();
            kept.revocations += 1;
            kept.tokens.clear();
        }
        if was_there? { Ok(view) } else { Err(gone()) }
    }

    /// Who calls with `token`; `None`: it is no valid token (any more).
    pub async fn caller(&self, token: &[u8]) -> Result<Option<Caller>> {
        if !is_well_formed(token) {
            return Ok(None);
        }
        let hash: Hash = Sha256::digest(token).into();
        let now = self.context.now();
        let revocations = {
            let kept = self.kept();
            if let Some((at, caller, expires_at)) = kept.tokens.get(&hash)
                && now >= *at
                && now.since_ms(*at) < self.context.settings.token_kept_ms
            {
                return Ok(Some(caller.clone()).filter(|_| expires_at.is_none_or(|at| now < at)));
            }
            kept.revocations
        };
        let key = DocumentKey::new(DOCUMENT_KIND, HEXLOWER.encode(&hash));
        let Some(document) = self.context.stores.documents.get(&key).await? else { return Ok(None) };
        // The store found it by its hash already; who could make it answer with another would gain nothing.
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
        let mut kept = self.kept();
        if kept.revocations == revocations {
            if kept.tokens.len() >= MAX_CACHED_TOKENS {
                kept.tokens.clear();
            }
            kept.tokens.insert(hash, (now, caller.clone(), expires_at));
        }
        Ok(Some(caller))
    }

    /// Notes a use, unless one was noted lately. A revocation meanwhile wins: the write is conditional.
    async fn note_use(&self, document: Document, mut view: TokenView, now: Timestamp) {
        if view.last_used_at.is_some_and(|at| now.since_ms(at) < TOUCH_INTERVAL_MS) {
            return;
        }
        view.last_used_at = Some(now);
        let id = view.id;
        if let Err(error) = self.write(document.key.name, &view, Some(document.version)).await {
            tracing::warn!(%error, token = %id, "its last use is not noted");
        }
    }
}

fn read(document: &Document) -> Result<TokenView> {
    let stored: Result<TokenRecord, _> = serde_json::from_str(&document.value);
    stored.map(|stored| stored.token).map_err(|error| Error::storage("reading a token's record", error))
}

fn check(request: &TokenRequest) -> Result<()> {
    let wrong = |words: String| Err(Error::Invalid(words));
    if !(1..=MAX_NAME_LEN).contains(&request.name.chars().count()) || request.name.contains(is_control) {
        return wrong(format!(
            "a token's name has 1 to {MAX_NAME_LEN} characters, none of them control characters"
        ));
    }
    if request.scopes.is_empty() {
        return wrong("a token needs a scope: read, run, worker or admin".into());
    }
    let is_odd =
        |repo: &String| !(1..=MAX_REPO_LEN).contains(&repo.chars().count()) || repo.contains(is_control);
    if request.repo.as_ref().is_some_and(is_odd) {
        return wrong(format!(
            "a repository has 1 to {MAX_REPO_LEN} characters, none of them control characters"
        ));
    }
    if let Some(Err(error)) = request.repo.as_deref().map(RepositoryName::parse) {
        return wrong(error.to_string());
    }
    if request.repo.is_some() && request.scopes.contains(&Scope::Worker) {
        return wrong("a worker takes jobs of every repository: its token cannot be for one only".into());
    }
    if request.expire_in_s.is_some_and(|s| !(1..=MAX_TTL_S).contains(&s)) {
        return wrong(format!("a token expires after 1 to {MAX_TTL_S} seconds, or never"));
    }
    Ok(())
}

fn new_token() -> Result<String> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|error| Error::storage("making a token", error))?;
    let body = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let check = check_of(body.as_bytes());
    Ok(body + &check)
}

fn check_of(body: &[u8]) -> String {
    let mut text = HEXLOWER.encode(&Sha256::digest(body));
    text.truncate(CHECKSUM_LEN);
    text
}

/// Whether it may be a token that was made here.
fn is_well_formed(token: &[u8]) -> bool {
    token.len() == TOKEN_LEN
        && token.starts_with(PREFIX.as_bytes())
        && bool::from(
            token[TOKEN_LEN - CHECKSUM_LEN..].ct_eq(check_of(&token[..TOKEN_LEN - CHECKSUM_LEN]).as_bytes()),
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
        for place in 0..TOKEN_LEN {
            let mut wrong = token.clone().into_bytes();
            wrong[place] = if wrong[place] == b'a' { b'b' } else { b'a' };
            assert!(!is_well_formed(&wrong), "{place}");
        }
        assert!(!is_well_formed(&token.as_bytes()[1..]) && !is_well_formed(b""));
    }
}
