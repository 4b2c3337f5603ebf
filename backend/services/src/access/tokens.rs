//! Creates, verifies and revokes tokens. Only hashes of them are stored.
//!
//! A token is `tm_`, 32 random bytes in base64url (43 characters), and a checksum of 6 hex digits (the start of the SHA-256 of the text
//! before it). Secret scanners match it by `tm_[A-Za-z0-9_-]{43}[0-9a-f]{6}`, and a mistyped token is rejected without a read of the
//! store.

use super::{
    caller::Caller,
    caller_cache::{Cached, CallerCache, TokenHash},
};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, Documents, NewDocument},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, sync::Arc};
use subtle::ConstantTimeEq;
use tidemill_core::repository::RepositoryName;
use tidemill_core::{
    access::{
        Scope, TokenList, TokenReply, TokenRequest, TokenView, roles::Person, sessions::PERSONAL_TOKEN_MS,
    },
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
/// Maximum lifetime: a hundred years.
const MAX_TTL_S: u64 = 3_153_600_000;
const MAX_NAME_LEN: usize = 100;

/// The stored record of a token, named by its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TokenRecord {
    token: TokenView,
    /// The person whose roles it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<Person>,
}

/// Service for tokens.
#[derive(Debug, Clone)]
pub struct TokenService {
    context: Arc<Context>,
    cache: Arc<CallerCache>,
}

impl TokenService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, cache: Arc::default() }
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
            person: None,
        };
        self.add(token, TokenRecord { token: view, person: None }).await
    }

    /// Creates a token that may do what the roles of a person allow, for the command line on one machine.
    pub async fn create_personal(&self, person: Person, machine: &str) -> Result<TokenReply> {
        let now = self.context.now();
        let view = TokenView {
            id: Uuid::now_v7(),
            name: format!("{} on {machine}", person.name).chars().take(MAX_NAME_LEN).collect(),
            scopes: BTreeSet::new(),
            repo: None,
            created_at: now,
            created_by: person.name.clone(),
            expires_at: Some(now.plus_ms(PERSONAL_TOKEN_MS)),
            last_used_at: None,
            person: Some(person.id.clone()),
        };
        self.add(new_token()?, TokenRecord { token: view, person: Some(person) }).await
    }

    async fn add(&self, token: String, record: TokenRecord) -> Result<TokenReply> {
        let name = HEXLOWER.encode(&Sha256::digest(token.as_bytes()));
        if !self.write(name, &record, None).await? {
            return Err(Error::Conflict("a token with this hash exists already; try again".into()));
        }
        Ok(TokenReply { token, view: record.token })
    }

    async fn write(&self, name: String, record: &TokenRecord, if_version: Option<u64>) -> Result<bool> {
        let view = &record.token;
        let value =
            serde_json::to_string(record).map_err(|error| Error::storage("writing a token", error))?;
        let document = NewDocument {
            key: DocumentKey::new(DOCUMENT_KIND, name),
            value,
            due_at: None,
            expires_at: view.expires_at.map(|at| at.plus_ms(LISTED_AFTER_EXPIRY_MS)),
        };
        self.context.stores.documents.put(document, if_version).await
    }

    async fn all(&self) -> Result<Vec<(DocumentKey, TokenView)>> {
        with_keys(self.context.stores.documents.as_ref()).await
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
        if self.remove(&key).await? { Ok(view) } else { Err(gone()) }
    }

    /// Revokes the token itself, for its holder. Returns whether it was valid.
    pub async fn revoke_presented(&self, token: &[u8]) -> Result<bool> {
        self.remove(&DocumentKey::new(DOCUMENT_KIND, HEXLOWER.encode(&Sha256::digest(token)))).await
    }

    async fn remove(&self, key: &DocumentKey) -> Result<bool> {
        let was_there = self.context.stores.documents.delete(key, None).await;
        self.cache.clear();
        was_there
    }

    /// Returns the caller of a token; `None` if the token is not valid.
    pub async fn caller(&self, token: &[u8]) -> Result<Option<Caller>> {
        if !is_well_formed(token) {
            return Ok(None);
        }
        let hash: TokenHash = Sha256::digest(token).into();
        let now = self.context.now();
        let revocations = match self.cache.get(&hash, now, self.context.settings.token_cache_ttl_ms) {
            Cached::Known(caller) => return Ok(caller),
            Cached::Unknown(revocations) => revocations,
        };
        let key = DocumentKey::new(DOCUMENT_KIND, HEXLOWER.encode(&hash));
        let Some(document) = self.context.stores.documents.get(&key).await? else { return Ok(None) };
        // The store looked it up by hash already; this check guards against a store that returns another document.
        if !bool::from(document.key.name.as_bytes().ct_eq(key.name.as_bytes())) {
            return Ok(None);
        }
        let record = read(&document)?;
        let view = &record.token;
        if view.expires_at.is_some_and(|at| now >= at) {
            return Ok(None);
        }
        let caller = match record.person.clone() {
            Some(person) => Caller::person(person),
            None => Caller {
                id: view.id.to_string().into(),
                scopes: Arc::new(view.scopes.clone()),
                repo: view.repo.as_deref().map(Into::into),
                ..Caller::internal(&view.name)
            },
        };
        let expires_at = view.expires_at;
        self.note_use(document, record, now).await;
        self.cache.add(hash, caller.clone(), now, expires_at, revocations);
        Ok(Some(caller))
    }

    /// Records the use of a token, unless one was recorded recently. The write is conditional, so a concurrent revocation wins.
    async fn note_use(&self, document: Document, mut record: TokenRecord, now: Timestamp) {
        let view = &mut record.token;
        if view.last_used_at.is_some_and(|at| now.since_ms(at) < TOUCH_INTERVAL_MS) {
            return;
        }
        view.last_used_at = Some(now);
        let id = view.id;
        if let Err(error) = self.write(document.key.name, &record, Some(document.version)).await {
            tracing::warn!(%error, token = %id, "cannot record the last use of a token");
        }
    }
}

/// Returns the tokens among documents, without their hashes, for a check of stores that no services use.
pub async fn stored_tokens(documents: &dyn Documents) -> Result<Vec<TokenView>> {
    Ok(with_keys(documents).await?.into_iter().map(|(_, view)| view).collect())
}

async fn with_keys(documents: &dyn Documents) -> Result<Vec<(DocumentKey, TokenView)>> {
    let all = documents.all(DOCUMENT_KIND, "").await?;
    all.into_iter().map(|document| Ok((document.key.clone(), read(&document)?.token))).collect()
}

fn read(document: &Document) -> Result<TokenRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a token's record", error))
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

/// Creates a random token.
pub(super) fn new_token() -> Result<String> {
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
pub(super) fn is_well_formed(token: &[u8]) -> bool {
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
