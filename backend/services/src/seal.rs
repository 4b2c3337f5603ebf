//! Bytes that only this deployment can read: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under one of its keys.
//!
//! Sealed text is `1:KEY:BODY`: the form's version, the key's id, and base64 of nonce and ciphertext. What it was sealed for is
//! authenticated with it, so that it opens nowhere else.

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
/// How long keys that were read are believed to be the newest.
const KEY_CACHE_TTL: Duration = Duration::from_secs(300);

/// Keys, and when they were read.
type CachedKeys = (Instant, Arc<Keys>);

/// Seals and opens; cheap to clone.
#[derive(Clone)]
pub struct SecretSealer {
    store: Arc<dyn KeyStore>,
    known: Arc<Mutex<Option<CachedKeys>>>,
}

impl fmt::Debug for SecretSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl SecretSealer {
    /// Under the keys of this store.
    #[must_use]
    pub fn new(store: Arc<dyn KeyStore>) -> Self {
        Self { store, known: Arc::default() }
    }

    /// The keys, as they were at most [`KEY_CACHE_TTL`] ago.
    async fn keys(&self) -> Result<Arc<Keys>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some((read_at, keys)) if read_at.elapsed() < KEY_CACHE_TTL => Ok(keys),
            _ => self.newest().await,
        }
    }

    /// The keys as they are now.
    async fn newest(&self) -> Result<Arc<Keys>> {
        let keys = Arc::new(self.store.keys().await?);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), keys.clone()));
        Ok(keys)
    }

    /// `plain` as text that only [`Self::open`] with the same `place` reads.
    pub async fn seal(&self, place: &str, plain: &[u8]) -> Result<String> {
        let doing = "sealing a secret";
        let keys = self.keys().await?;
        let mut nonce = [0_u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| Error::storage(doing, error))?;
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let cipher = XChaCha20Poly1305::new(&keys.first().0.into());
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|error| Error::storage(doing, error.to_string()))?;
        let body = STANDARD.encode([&nonce[..], &sealed].concat());
        Ok(format!("{FORMAT_VERSION}:{}:{body}", keys.first().id()))
    }

    /// What was sealed for `place`; [`Error::Sealed`]: nobody can tell any more.
    pub async fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>> {
        let damaged =
            || Error::Sealed("it was sealed for something else, or is damaged; set it again".into());
        let (id, body) = parts(sealed).ok_or_else(damaged)?;
        let mut keys = self.keys().await?;
        if keys.find(id).is_none() {
            // One that another process has already sealed under a newer key.
            keys = self.newest().await?;
        }
        let key = keys.find(id).ok_or_else(|| {
            Error::Sealed(format!(
                "its key {id} is none of this deployment's; put the key back, or set it again"
            ))
        })?;
        let bytes = STANDARD.decode(body).map_err(|_| damaged())?;
        let (nonce, body) = bytes.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| damaged())?;
        let payload = Payload { msg: body, aad: place.as_bytes() };
        let cipher = XChaCha20Poly1305::new(&key.0.into());
        cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| damaged())
    }

    /// The same under the newest key; `None`: it is already.
    pub async fn renewed(&self, place: &str, sealed: &str) -> Result<Option<String>> {
        let newest = self.newest().await?.first().id();
        if parts(sealed).is_some_and(|(id, _)| id == newest) {
            return Ok(None);
        }
        let plain = self.open(place, sealed).await?;
        self.seal(place, &plain).await.map(Some)
    }
}

/// The key's id, and the body.
fn parts(sealed: &str) -> Option<(&str, &str)> {
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

    /// Keys that are replaced while others run.
    struct RotatingKeys(Mutex<Keys>);

    impl RotatingKeys {
        fn of(keys: &[u8]) -> Keys {
            let text = keys.iter().map(|key| Keys::from(Key([*key; 32])).text()).collect::<String>();
            Keys::read(&text).unwrap()
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
        assert_ne!(seal.seal("place", b"value").await.unwrap(), sealed, "each has a nonce of its own");
        assert!(!sealed.contains("value"));
        assert!(seal.open("elsewhere", &sealed).await.is_err());
        assert!(
            other.open("place", &sealed).await.unwrap_err().to_string().contains("none of this deployment's")
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
        assert_eq!(seal.renewed("place", &first).await.unwrap(), None);
        store.change(&[2, 1]);
        let second = seal.renewed("place", &first).await.unwrap().unwrap();
        assert!(second.starts_with(&format!("1:{}:", Key([2; 32]).id())), "{second}");
        assert_eq!(
            late.open("place", &second).await.unwrap(),
            b"value",
            "it looks for a key it does not know"
        );
        assert_eq!(seal.open("place", &first).await.unwrap(), b"value");
        store.change(&[2]);
        assert_eq!(seal.renewed("place", &second).await.unwrap(), None);
        assert!(seal.open("place", &first).await.is_err());
        assert_eq!(seal.open("place", &second).await.unwrap(), b"value");
    }
}
