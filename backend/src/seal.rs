//! Bytes that only this deployment can read: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under its key.

use crate::{
    error::{Error, Result},
    ports::{Key, KeyStore},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use std::{fmt, sync::Arc};
use tokio::sync::OnceCell;

const NONCE: usize = 24;
/// What sealed text begins with: the form's version.
const VERSION: &str = "1:";

/// Seals and opens.
#[derive(Clone)]
pub struct Seal {
    keys: Arc<dyn KeyStore>,
    key: Arc<OnceCell<Key>>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// Under the key of this store, which is asked for once.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyStore>) -> Self {
        Self { keys, key: Arc::default() }
    }

    async fn cipher(&self) -> Result<XChaCha20Poly1305> {
        let key = self.key.get_or_try_init(|| self.keys.key()).await?;
        Ok(XChaCha20Poly1305::new(&key.0.into()))
    }

    /// `plain` as text that only [`Self::open`] with the same `place` reads.
    pub async fn seal(&self, place: &str, plain: &[u8]) -> Result<String> {
        let doing = "sealing a secret";
        let mut nonce = [0_u8; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| Error::storage(doing, error))?;
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed = self.cipher().await?.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|error| Error::storage(doing, error.to_string()))?;
        Ok(format!("{VERSION}{}", STANDARD.encode([&nonce[..], &sealed].concat())))
    }

    /// What was sealed for `place`.
    pub async fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>> {
        let damaged = || {
            Error::storage(
                "opening a secret",
                "it was sealed under another key, or for something else, or is damaged; set it again",
            )
        };
        let text = sealed.strip_prefix(VERSION).ok_or_else(damaged)?;
        let bytes = STANDARD.decode(text).map_err(|_| damaged())?;
        let (nonce, body) = bytes.split_at_checked(NONCE).ok_or_else(damaged)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| damaged())?;
        let payload = Payload { msg: body, aad: place.as_bytes() };
        self.cipher().await?.decrypt(&XNonce::from(nonce), payload).map_err(|_| damaged())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Seal;
    use crate::{
        error::Result,
        ports::{Key, KeyStore},
    };
    use async_trait::async_trait;
    use std::sync::Arc;

    struct Fixed(u8);

    #[async_trait]
    impl KeyStore for Fixed {
        async fn key(&self) -> Result<Key> {
            Ok(Key([self.0; 32]))
        }
    }

    #[tokio::test]
    async fn what_is_sealed_opens_in_its_place_under_its_key_and_nowhere_else() {
        let (seal, other) = (Seal::new(Arc::new(Fixed(1))), Seal::new(Arc::new(Fixed(2))));
        let sealed = seal.seal("place", b"value").await.unwrap();
        assert_eq!(seal.open("place", &sealed).await.unwrap(), b"value");
        assert_ne!(seal.seal("place", b"value").await.unwrap(), sealed, "each has a nonce of its own");
        assert!(!sealed.contains("value"));
        assert!(seal.open("elsewhere", &sealed).await.is_err());
        assert!(other.open("place", &sealed).await.is_err());
        for damaged in
            ["", "1:", "1:AAAA", "2:AAAA", &sealed[..sealed.len() - 4], &sealed.replace("1:", "1:A")]
        {
            assert!(seal.open("place", damaged).await.is_err(), "{damaged}");
        }
    }
}
