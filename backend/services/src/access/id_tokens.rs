//! Signs ID tokens of jobs, and publishes the keys that verify them.
//!
//! Each period of the calendar has one key, which is created when it is first needed and stored sealed. A token is only in the
//! assignment of its job.

use super::resealing::{SealedRecord, reseal};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument},
    seal::SecretSealer,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_core::{
    access::oidc::{
        ALGORITHM, Claims, ISSUER_PATH, KeyPeriods, OpenIdConfiguration, PublicKey, PublicKeySet,
        TokenSubject,
    },
    api::{RekeyReply, path},
    execution::assignment::SecretValue,
    ids::JobId,
    plan::PlannedJob,
    time::Timestamp,
};
use tokio::time::Instant;
use uuid::Uuid;

/// How long the published keys are cached: anyone may request them.
const PUBLISHED_TTL: Duration = Duration::from_secs(60);
/// Length of a coordinate of a point of the curve, in bytes.
const COORDINATE_LEN: usize = 32;
/// Length of a key's id in bytes.
const KEY_ID_LEN: usize = 16;
/// What marks a point with both coordinates.
const UNCOMPRESSED: u8 = 4;
const MAX_ATTEMPTS: u32 = 5;
/// Maximum number of replaced keys of a period.
const MAX_RETIRED: usize = 10;
/// How long replaced keys are still published, in milliseconds: longer than a token is valid.
const RETIRED_MS: u64 = 2 * 86_400_000;

/// The stored record of a signing key.
#[derive(Debug, Serialize, Deserialize)]
struct KeyRecord {
    public: PublicKey,
    created_at: Timestamp,
    /// The private key in PKCS #8 and base64, sealed for the name of the document.
    sealed: String,
    /// The keys that this one replaced, newest first: tokens that they signed may be valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<PublicKey>,
}

impl SealedRecord for KeyRecord {
    const KIND: &'static str = "id-token-key";

    fn sealed(&mut self) -> &mut String {
        &mut self.sealed
    }

    fn description(&self) -> String {
        format!("signing key {} of ID tokens", self.public.kid)
    }

    fn expires_at(name: &str) -> Option<Timestamp> {
        name.parse::<i64>().ok().map(KeyPeriods::obsolete_at)
    }
}

impl KeyRecord {
    /// Returns the public keys of tokens that may be valid at `now`, newest first.
    fn into_public(mut self, now: Timestamp) -> impl Iterator<Item = PublicKey> {
        if now.since_ms(self.created_at) >= RETIRED_MS {
            self.retired.clear();
        }
        std::iter::once(self.public).chain(self.retired)
    }
}

/// A key that can sign.
struct Signer {
    pair: EcdsaKeyPair,
    kid: String,
}

/// Published keys, with the time they were read.
type CachedKeySet = (Instant, PublicKeySet);

/// Service for ID tokens.
#[derive(Clone)]
pub struct IdTokenService {
    context: Arc<Context>,
    seal: SecretSealer,
    published: Arc<Mutex<Option<CachedKeySet>>>,
}

impl fmt::Debug for IdTokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdTokenService")
    }
}

fn key(period: i64) -> DocumentKey {
    DocumentKey::new(KeyRecord::KIND, format!("{period:010}"))
}

fn read(document: &Document) -> Result<KeyRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a signing key", error))
}

fn failed(error: impl fmt::Display) -> Error {
    Error::storage("signing an ID token", error.to_string())
}

impl IdTokenService {
    pub(crate) fn new(context: Arc<Context>, seal: SecretSealer) -> Self {
        Self { context, seal, published: Arc::default() }
    }

    /// Returns the issuer; `None`: this server issues no ID tokens, because nobody could verify them.
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        self.context.issuer_url().map(|url| format!("{url}{ISSUER_PATH}"))
    }

    /// Returns how verifiers check tokens.
    pub fn configuration(&self) -> Result<OpenIdConfiguration> {
        let (issuer, url) = self.issuer().zip(self.context.issuer_url()).ok_or_else(no_issuer)?;
        Ok(OpenIdConfiguration::new(&issuer, format!("{url}{}", path::OIDC_KEYS)))
    }

    /// Returns the keys that verify tokens.
    pub async fn keys(&self) -> Result<PublicKeySet> {
        if self.issuer().is_none() {
            return Err(no_issuer());
        }
        let cached = self.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_at, keys)) = cached
            && read_at.elapsed() < PUBLISHED_TTL
        {
            return Ok(keys);
        }
        let now = self.context.now();
        let KeyPeriods { current, first, last } = KeyPeriods::at(now);
        let mut keys = Vec::new();
        for period in first..=last {
            let stored = match self.context.stores.documents.get(&key(period)).await? {
                Some(document) => Some(read(&document)?),
                // Verifiers know the next key before it signs. Nobody needs one that was never created.
                None if period >= current => Some(self.create(period, None).await?),
                None => None,
            };
            keys.extend(stored.into_iter().flat_map(|stored| stored.into_public(now)));
        }
        let keys = PublicKeySet { keys };
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), keys.clone()));
        Ok(keys)
    }

    /// Creates the key of a period, unless another process did, and returns the stored one. `unusable`: a key that cannot be
    /// opened, with its version, which is replaced.
    async fn create(&self, period: i64, unusable: Option<(KeyRecord, u64)>) -> Result<KeyRecord> {
        let key = key(period);
        let random = SystemRandom::new();
        let private =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref(), &random)
            .map_err(failed)?;
        let sealed = self.seal.seal(&key.name, STANDARD.encode(private.as_ref()).as_bytes()).await?;
        let version = unusable.as_ref().map(|(_, version)| *version);
        let created_at = self.context.now();
        let replaced = unusable.into_iter().flat_map(|(record, _)| record.into_public(created_at));
        let retired = replaced.take(MAX_RETIRED).collect();
        let record = KeyRecord { public: public_key(&pair)?, created_at, sealed, retired };
        let value =
            serde_json::to_string(&record).map_err(|error| Error::storage("writing a signing key", error))?;
        let expires_at = Some(KeyPeriods::obsolete_at(period));
        let new = NewDocument { key: key.clone(), value, due_at: None, expires_at };
        if self.context.stores.documents.put(new, version).await? {
            *self.published.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Ok(record);
        }
        let stored = self.context.stores.documents.get(&key).await?;
        read(
            &stored
                .ok_or_else(|| Error::Conflict("the signing key was removed meanwhile; try again".into()))?,
        )
    }

    /// Returns the key that signs now.
    async fn signer(&self) -> Result<Signer> {
        let period = KeyPeriods::at(self.context.now()).current;
        let key = key(period);
        for _ in 0..MAX_ATTEMPTS {
            let document = self.context.stores.documents.get(&key).await?;
            let (record, version) = match &document {
                Some(document) => (read(document)?, Some(document.version)),
                None => (self.create(period, None).await?, None),
            };
            let opened = self.seal.open(&key.name, &record.sealed).await;
            match opened {
                Ok(private) => return signer(&private, record.public.kid),
                // The deployment lost the key that sealed it. Verifiers read the key set again when they see an unknown key.
                Err(Error::CannotOpen(reason)) => {
                    tracing::warn!(kid = record.public.kid, reason, "replacing the signing key of ID tokens");
                    self.create(period, version.map(|version| (record, version))).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict("other processes replace the signing key at the same time; try again".into()))
    }

    /// Returns the tokens that a job of `execution` asks for. Only the assignment to a worker may contain them.
    pub(crate) async fn for_job(
        &self,
        execution: &ExecutionRecord,
        planned: &PlannedJob,
        job: JobId,
    ) -> Result<Vec<SecretValue>> {
        let options = &planned.surroundings;
        if options.id_tokens.is_empty() {
            return Ok(Vec::new());
        }
        let (of, name) = (&execution.spec, &planned.name);
        if of.facts.is_from_fork() {
            return Err(Error::SecretUnavailable(format!(
                "job `{name}` asks for an ID token, and its commit comes from a fork, which gets none; leave the job out of such \
                 executions with `if: \"!fork\"`"
            )));
        }
        let Some(issuer) = self.issuer() else {
            return Err(Error::SecretUnavailable(format!(
                "job `{name}` asks for an ID token (`id_tokens`), which only a server signs; run it on a deployment, with \
                 `tidemill run --profile NAME`"
            )));
        };
        let signer = self.signer().await?;
        let mut tokens = Vec::with_capacity(options.id_tokens.len());
        for request in &options.id_tokens {
            let subject = TokenSubject {
                repo: &of.repo,
                facts: &of.facts,
                pipeline: &of.pipeline_name,
                execution: of.id,
                job,
                name,
                environment: options.environment.as_ref().map(|environment| environment.name.as_str()),
                timeout_s: planned.timeout_s,
            };
            let id = Uuid::new_v4().to_string();
            let claims = Claims::new(&issuer, subject, request.aud.clone(), id, self.context.now());
            let (variable, value) = (request.variable.clone(), signer.sign(&claims)?);
            tokens.push(SecretValue { variable, value, file: false, unmasked: false });
        }
        Ok(tokens)
    }

    /// Re-encrypts the signing keys under the newest key of the deployment.
    pub async fn rekey(&self) -> Result<RekeyReply> {
        reseal::<KeyRecord>(&self.context, &self.seal).await
    }
}

fn no_issuer() -> Error {
    Error::NotFound("this server issues no ID tokens: it has no public address".into())
}

fn public_key(pair: &EcdsaKeyPair) -> Result<PublicKey> {
    let point = pair.public_key().as_ref();
    let coordinates = point.strip_prefix(&[UNCOMPRESSED]).filter(|rest| rest.len() == 2 * COORDINATE_LEN);
    let (x, y) = coordinates
        .and_then(|rest| rest.split_at_checked(COORDINATE_LEN))
        .ok_or_else(|| failed("the public key has an unknown form"))?;
    let kid = URL_SAFE_NO_PAD.encode(&Sha256::digest(point)[..KEY_ID_LEN]);
    Ok(PublicKey::new(kid, URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y)))
}

fn signer(private: &[u8], kid: String) -> Result<Signer> {
    let private = STANDARD.decode(private).map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &SystemRandom::new())
        .map_err(failed)?;
    Ok(Signer { pair, kid })
}

impl Signer {
    /// Returns a signed token (JWS compact serialization, RFC 7515).
    fn sign(&self, claims: &Claims) -> Result<String> {
        let header = serde_json::json!({ "alg": ALGORITHM, "kid": self.kid, "typ": "JWT" });
        let claims = serde_json::to_vec(claims).map_err(failed)?;
        let [header, claims] =
            [header.to_string().into_bytes(), claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(failed)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}
