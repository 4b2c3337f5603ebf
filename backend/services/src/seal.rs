//! Encryption of secrets: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under one of the deployment's keys.
//!
//! Sealed text is `1:KEY:BODY`: format version, key id, and base64 of nonce and ciphertext. The place a value is sealed for is
//! authenticated with it, so the value opens only there.

use crate::{
    error::{Error, Result},
    ports::{KeyStore, Keys},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

const NONCE_LEN: usize = 24;
const FORMAT_VERSION: &str = "1";
/// How long the keys are cached.
const KEY_CACHE_TTL: Duration = Duration::from_secs(300);

/// Keys, with the time they were read.
type CachedKeys = (Instant, Arc<Keys>);

/// Seals and opens secrets; cheap to clone.
#[derive(Clone)]
pub struct SecretSealer {
    store: Arc<dyn KeyStore>,
    cached: Arc<Mutex<Option<CachedKeys>>>,
}

impl fmt::Debug for SecretSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSealer")
    }
}

impl SecretSealer {
    /// Seals under the keys of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn KeyStore>) -> Self {
        Self { store, cached: Arc::default() }
    }

    /// Returns the keys, at most [`KEY_CACHE_TTL`] old.
    async fn keys(&self) -> Result<Arc<Keys>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match cached {
            Some((read_at, keys)) if read_at.elapsed() < KEY_CACHE_TTL => Ok(keys),
            _ => self.newest().await,
        }
    }

    /// Reads the current keys.
    async fn newest(&self) -> Result<Arc<Keys>> {
        let keys = Arc::new(self.store.keys().await?);
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), keys.clone()));
        Ok(keys)
    }

    /// Encrypts `plain`. Only [`Self::open`] with the same `place` decrypts it.
    pub async fn seal(&self, place: &str, plain: &[u8]) -> Result<String> {
        let doing = "sealing a secret";
        let keys = self.keys().await?;
        let mut nonce = [0_u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| Error::storage(doing, error))?;
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let cipher = XChaCha20Poly1305::new(&keys.sealing_key().0.into());
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|error| Error::storage(doing, error.to_string()))?;
        let body = STANDARD.encode([&nonce[..], &sealed].concat());
        Ok(format!("{FORMAT_VERSION}:{}:{body}", keys.sealing_key().id()))
    }

    /// Decrypts what was sealed for `place`. [`Error::Sealed`] means that no retry can decrypt it.
    pub async fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>> {
        let damaged =
            || Error::CannotOpen("it is damaged, or was sealed for another place; set it again".into());
        let (id, body) = split_sealed(sealed).ok_or_else(damaged)?;
        let mut keys = self.keys().await?;
        if keys.find(id).is_none() {
            // Another process may have sealed it under a newer key.
            keys = self.newest().await?;
        }
        let key = keys.find(id).ok_or_else(|| {
            Error::CannotOpen(format!(
                "this deployment has no key {id}; restore the key, or set the value again"
            ))
        })?;
        let bytes = STANDARD.decode(body).map_err(|_| damaged())?;
        let (nonce, body) = bytes.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| damaged())?;
        let payload = Payload { msg: body, aad: place.as_bytes() };
        let cipher = XChaCha20Poly1305::new(&key.0.into());
        cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| damaged())
    }

    /// Seals the value again under the newest key. Returns `None` if it is sealed under that key already.
    pub async fn resealed(&self, place: &str, sealed: &str) -> Result<Option<String>> {
        let newest = self.newest().await?.sealing_key().id();
        if split_sealed(sealed).is_some_and(|(id, _)| id == newest) {
            return Ok(None);
        }
        let plain = self.open(place, sealed).await?;
        self.seal(place, &plain).await.map(Some)
    }
}

/// Returns the key id and the body.
fn split_sealed(sealed: &str) -> Option<(&str, &str)> {
    sealed.strip_prefix(FORMAT_VERSION)?.strip_prefix(':')?.split_once(':')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::SecretSealer;
    use crate::{
        error::Result,
        ports::{Key, KeyStore, Keys},
    };
    use async_trait::async_trait;
    use std::sync::{Arc, Mutex};

    /// Keys that a test replaces.
    struct RotatingKeys(Mutex<Keys>);

    impl RotatingKeys {
        fn of(keys: &[u8]) -> Keys {
            let text = keys.iter().map(|key| Keys::from(Key([*key; 32])).to_text()).collect::<String>();
            Keys::parse(&text).unwrap()
        }

        fn new(keys: &[u8]) -> Arc<Self> {
            Arc::new(Self(Mutex::new(Self::of(keys))))
        }

        fn change(&self, keys: &[u8]) {
            *self.0.lock().unwrap() = Self::of(keys);
        }
    }

    #[async_trait]
    impl KeyStore for RotatingKeys {
        async fn keys(&self) -> Result<Keys> {
            Ok(self.0.lock().unwrap().clone())
        }
    }

    #[tokio::test]
    async fn sealed_value_opens_only_in_its_place_with_its_key() {
        let (seal, other) =
            (SecretSealer::new(RotatingKeys::new(&[1])), SecretSealer::new(RotatingKeys::new(&[2])));
        let sealed = seal.seal("place", b"value").await.unwrap();
        assert_eq!(seal.open("place", &sealed).await.unwrap(), b"value");
        assert_ne!(seal.seal("place", b"value").await.unwrap(), sealed, "each has its own nonce");
        assert!(!sealed.contains("value"));
        assert!(seal.open("elsewhere", &sealed).await.is_err());
        assert!(
            other
                .open("place", &sealed)
                .await
                .unwrap_err()
                .to_string()
                .contains("this deployment has no key")
        );
        let (head, body) = sealed.rsplit_once(':').unwrap();
        for damaged in [
            "",
            "1:",
            "1::",
            "1:AAAA",
            &sealed.replacen("1:", "2:", 1),
            &sealed[..sealed.len() - 4],
            &format!("{head}:"),
            &format!("{head}:A{body}"),
            &format!("{head}:AAAA{body}"),
        ] {
            assert!(seal.open("place", damaged).await.is_err(), "{damaged}");
        }
    }

    #[tokio::test]
    async fn newest_key_seals_and_older_keys_open() {
        let store = RotatingKeys::new(&[1]);
        let (seal, late) = (SecretSealer::new(store.clone()), SecretSealer::new(store.clone()));
        let first = seal.seal("place", b"value").await.unwrap();
        assert_eq!(late.open("place", &first).await.unwrap(), b"value");
        assert_eq!(seal.resealed("place", &first).await.unwrap(), None);
        store.change(&[2, 1]);
        let second = seal.resealed("place", &first).await.unwrap().unwrap();
        assert!(second.starts_with(&format!("1:{}:", Key([2; 32]).id())), "{second}");
        assert_eq!(
            late.open("place", &second).await.unwrap(),
            b"value",
            "an unknown key id makes it read the keys again"
        );
        assert_eq!(seal.open("place", &first).await.unwrap(), b"value");
        store.change(&[2]);
        assert_eq!(seal.resealed("place", &second).await.unwrap(), None);
        assert!(seal.open("place", &first).await.is_err());
        assert_eq!(seal.open("place", &second).await.unwrap(), b"value");
    }
}
