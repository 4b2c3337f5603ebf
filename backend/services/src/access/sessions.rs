//! Sessions of browsers, and codes with which the command line gets a token. Only hashes of both are stored.
//!
//! The cookie of a session is the hash of the person's id, a dot, and a token. The document has the hash of the token in its name, after
//! the one of the person, so the sessions of a person are listed without reading those of others.

use super::{
    caller::Caller,
    caller_cache::{Cached, CallerCache, TokenHash},
    tokens::{TokenService, is_well_formed, new_token},
};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, NewDocument},
};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::Arc};
use subtle::ConstantTimeEq;
use tidemill_core::{
    access::{
        TokenReply,
        roles::Person,
        sessions::{
            CODE_MS, CodeExchange, EXTENSION_INTERVAL_MS, SessionList, SessionQuery, SessionView,
            challenge_of, is_challenge, session_end,
        },
    },
    text::{check_line, printable},
    time::Timestamp,
};
use uuid::Uuid;

/// Kind of the documents of sessions, and of codes.
const SESSION_KIND: &str = "session";
const CODE_KIND: &str = "sign-in-code";
/// Length of the hash of a person's id in names, in hex digits.
const PERSON_HASH_LEN: usize = 32;
/// Maximum number of sessions of a person; a further one ends the oldest.
const MAX_SESSIONS: usize = 20;
/// Number of sessions read at once, and about the maximum number in one list.
const BATCH_LEN: usize = 200;
const MAX_LISTED: usize = 1_000;
/// Maximum length of a browser's description, in characters.
const MAX_BROWSER_LEN: usize = 200;
/// Maximum length of the name of a machine, in bytes.
const MAX_MACHINE_LEN: usize = 60;

/// The stored record of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SessionRecord {
    id: Uuid,
    person: Person,
    created_at: Timestamp,
    used_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    browser: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

/// The stored record of a code.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CodeRecord {
    person: Person,
    challenge: String,
    expires_at: Timestamp,
}

/// Service for sessions.
#[derive(Debug, Clone)]
pub struct SessionService {
    context: Arc<Context>,
    cache: Arc<CallerCache>,
    tokens: TokenService,
}

fn hash(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

/// Returns the start of the names of a person's sessions.
fn prefix_of(person: &str) -> String {
    format!("{}-", &hash(person)[..PERSON_HASH_LEN])
}

/// Returns the key of the session of a cookie; `None` if it has not the form of one.
fn session_key(cookie: &str) -> Option<DocumentKey> {
    let (person, token) = cookie.split_once('.')?;
    let is_hash = person.len() == PERSON_HASH_LEN && person.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_valid = is_hash && is_well_formed(token.as_bytes());
    is_valid.then(|| DocumentKey::new(SESSION_KIND, format!("{person}-{}", hash(token))))
}

fn read(document: &Document) -> Result<SessionRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a session", error))
}

fn check_administrator(caller: &Caller) -> Result<()> {
    if caller.administers_deployment() {
        return Ok(());
    }
    Err(Error::Forbidden(
        "only an administrator of the deployment sees and ends the sessions of others".into(),
    ))
}

impl SessionService {
    pub(crate) fn new(context: Arc<Context>, tokens: TokenService) -> Self {
        Self { context, cache: Arc::default(), tokens }
    }

    /// Creates a session, and returns its id and the value of its cookie.
    pub async fn create(
        &self,
        person: Person,
        browser: Option<&str>,
        from: Option<IpAddr>,
    ) -> Result<(Uuid, String)> {
        self.limit(&person.id).await?;
        let now = self.context.now();
        let prefix = prefix_of(&person.id);
        let token = new_token()?;
        let browser = browser.map(|text| printable(&text.chars().take(MAX_BROWSER_LEN).collect::<String>()));
        let from = from.map(|address| address.to_string());
        let record =
            SessionRecord { id: Uuid::now_v7(), person, created_at: now, used_at: now, browser, from };
        self.write(format!("{prefix}{}", hash(&token)), &record, None).await?;
        Ok((record.id, format!("{}.{token}", prefix.trim_end_matches('-'))))
    }

    /// Ends the oldest sessions of a person who has too many.
    async fn limit(&self, person: &str) -> Result<()> {
        let mut all = self.of_person(person).await?;
        while all.len() >= MAX_SESSIONS {
            let Some((key, _)) = all.pop() else { break };
            self.remove(&key).await?;
        }
        Ok(())
    }

    async fn write(&self, name: String, record: &SessionRecord, if_version: Option<u64>) -> Result<bool> {
        let value =
            serde_json::to_string(record).map_err(|error| Error::storage("writing a session", error))?;
        let document = NewDocument {
            key: DocumentKey::new(SESSION_KIND, name),
            value,
            due_at: None,
            expires_at: Some(session_end(record.created_at, record.used_at)),
        };
        self.context.stores.documents.put(document, if_version).await
    }

    /// Returns the valid sessions of a person, the newest first.
    async fn of_person(&self, person: &str) -> Result<Vec<(DocumentKey, SessionRecord)>> {
        let now = self.context.now();
        let documents = self.context.stores.documents.all(SESSION_KIND, &prefix_of(person)).await?;
        let mut sessions = Vec::new();
        for document in documents {
            let record = read(&document)?;
            if record.person.id == person && now < session_end(record.created_at, record.used_at) {
                sessions.push((document.key, record));
            }
        }
        sessions.sort_by_key(|(_, record)| std::cmp::Reverse((record.created_at, record.id)));
        Ok(sessions)
    }

    /// Returns the caller of a session's cookie; `None` if the session is not valid.
    pub async fn caller(&self, cookie: &str) -> Result<Option<Caller>> {
        let Some(key) = session_key(cookie) else { return Ok(None) };
        let hash: TokenHash = Sha256::digest(cookie.as_bytes()).into();
        let now = self.context.now();
        let revocations = match self.cache.get(&hash, now, self.context.settings.token_cache_ttl_ms) {
            Cached::Known(caller) => return Ok(caller),
            Cached::Unknown(revocations) => revocations,
        };
        let Some(document) = self.context.stores.documents.get(&key).await? else { return Ok(None) };
        let mut record = read(&document)?;
        let end = session_end(record.created_at, record.used_at);
        let is_own = bool::from(document.key.name.as_bytes().ct_eq(key.name.as_bytes()));
        if now >= end || !is_own {
            return Ok(None);
        }
        let caller = Caller { session: Some(record.id), ..Caller::person(record.person.clone()) };
        if now.since_ms(record.used_at) >= EXTENSION_INTERVAL_MS {
            record.used_at = now;
            // Conditional, so that the end of the session wins.
            if let Err(error) = self.write(document.key.name, &record, Some(document.version)).await {
                tracing::warn!(%error, session = %record.id, "cannot extend a session");
            }
        }
        self.cache.add(hash, caller.clone(), now, Some(end), revocations);
        Ok(Some(caller))
    }

    /// Returns the caller's sessions, or those that an administrator asks for.
    pub async fn list(&self, caller: &Caller, query: &SessionQuery) -> Result<SessionList> {
        let own = caller.person.as_ref().map(|person| person.id.as_str());
        let is_own = !query.all && (query.person.is_none() || query.person.as_deref() == own);
        if !is_own {
            check_administrator(caller)?;
        }
        let (records, truncated) = match query.person.as_deref().or(own) {
            _ if query.all => self.of_everyone().await?,
            Some(person) => {
                let records = self.of_person(person).await?;
                (records.into_iter().map(|(_, record)| record).collect(), false)
            }
            None => (Vec::new(), false),
        };
        let view = |record: SessionRecord| SessionView {
            id: record.id,
            created_at: record.created_at,
            used_at: record.used_at,
            expires_at: session_end(record.created_at, record.used_at),
            browser: record.browser,
            from: record.from,
            current: caller.session == Some(record.id),
            person: (!is_own).then_some(record.person.id),
            name: (!is_own).then_some(record.person.name),
        };
        Ok(SessionList { sessions: records.into_iter().map(view).collect(), truncated })
    }

    /// Returns the valid sessions of all people, the newest first, and whether there are more.
    async fn of_everyone(&self) -> Result<(Vec<SessionRecord>, bool)> {
        let (mut records, mut after, now) = (Vec::new(), None::<String>, self.context.now());
        loop {
            let documents = &self.context.stores.documents;
            let (page, more) = documents.list(SESSION_KIND, "", after.as_deref(), BATCH_LEN).await?;
            after = page.last().map(|last| last.key.name.clone());
            for document in &page {
                let record = read(document)?;
                if now < session_end(record.created_at, record.used_at) {
                    records.push(record);
                }
            }
            if !more || records.len() >= MAX_LISTED {
                records.sort_by_key(|record| std::cmp::Reverse((record.created_at, record.id)));
                return Ok((records, more));
            }
        }
    }

    /// Ends a session of the caller, or of the person that an administrator names. Returns false if there is none with this id.
    pub async fn end(&self, caller: &Caller, id: Uuid, of: Option<&str>) -> Result<bool> {
        let own = caller.person.as_ref().map(|person| person.id.as_str());
        if of.is_some() && of != own {
            check_administrator(caller)?;
        }
        let Some(person) = of.or(own) else { return Ok(false) };
        let found = self.of_person(person).await?.into_iter().find(|(_, record)| record.id == id);
        match found {
            Some((key, _)) => self.remove(&key).await,
            None => Ok(false),
        }
    }

    async fn remove(&self, key: &DocumentKey) -> Result<bool> {
        let was_there = self.context.stores.documents.delete(key, None).await;
        self.cache.clear();
        was_there
    }

    /// Creates a code for the person of a session. Only who knows the text behind `challenge` can use it.
    pub async fn create_code(&self, caller: &Caller, challenge: &str) -> Result<String> {
        if !is_challenge(challenge) {
            return Err(Error::Invalid(
                "`challenge` is not a SHA-256 in base64url; run `tidemill login` again".into(),
            ));
        }
        let (Some(person), Some(_)) = (&caller.person, caller.session) else {
            return Err(Error::Forbidden(
                "only a person who is signed in with a browser can sign in the command line".into(),
            ));
        };
        let expires_at = self.context.now().plus_ms(CODE_MS);
        let record = CodeRecord { person: (**person).clone(), challenge: challenge.to_owned(), expires_at };
        let code = new_token()?;
        let document = NewDocument {
            key: DocumentKey::new(CODE_KIND, hash(&code)),
            value: serde_json::to_string(&record).map_err(|error| Error::storage("writing a code", error))?,
            due_at: None,
            expires_at: Some(expires_at),
        };
        self.context.stores.documents.put(document, None).await?;
        Ok(code)
    }

    /// Exchanges a code for a personal token. Whatever the result, the code is void. `None`: the code is not valid.
    pub async fn exchange(&self, exchange: &CodeExchange) -> Result<Option<(Person, TokenReply)>> {
        check_line("machine", &exchange.machine, MAX_MACHINE_LEN)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        if exchange.machine.is_empty() {
            return Err(Error::Invalid("`machine` is empty".into()));
        }
        if !is_well_formed(exchange.code.as_bytes()) {
            return Ok(None);
        }
        let key = DocumentKey::new(CODE_KIND, hash(&exchange.code));
        let documents = &self.context.stores.documents;
        let Some(document) = documents.get(&key).await? else { return Ok(None) };
        // Of several concurrent exchanges one removes the code.
        if !documents.delete(&key, Some(document.version)).await? {
            return Ok(None);
        }
        let record: CodeRecord =
            serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a code", error))?;
        let is_proven = challenge_of(&exchange.verifier).as_bytes().ct_eq(record.challenge.as_bytes());
        if self.context.now() >= record.expires_at || !bool::from(is_proven) {
            return Ok(None);
        }
        let token = self.tokens.create_personal(record.person.clone(), &exchange.machine).await?;
        Ok(Some((record.person, token)))
    }
}
