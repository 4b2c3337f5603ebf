//! The keys port: encryption keys of secrets.

use crate::error::Result;
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::fmt;

/// A 256-bit key. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Generates a key.
    pub fn random() -> std::result::Result<Self, getrandom::Error> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).map(|()| Self(key))
    }

    /// Returns an id of 8 hex digits, which does not reveal the key.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = Sha256::new().chain_update(b"tidemill key\0").chain_update(self.0).finalize();
        HEXLOWER.encode(&hash[..4])
    }
}

/// Why a text has no keys. None of them is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// A line, counted from 1, is not base64.
    #[error("line {0} is not base64")]
    NotBase64(usize),
    /// A line is not a key of 32 bytes.
    #[error("line {line} has {bytes} bytes, not 32")]
    Length {
        /// The line, from 1.
        line: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// There are only empty lines and comments.
    #[error("it contains no key")]
    Empty,
}

/// Keys of a deployment, at least one: the first seals, and all open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    first: Key,
    older: Vec<Key>,
}

impl From<Key> for Keys {
    fn from(first: Key) -> Self {
        Self { first, older: Vec::new() }
    }
}

impl Keys {
    /// Parses keys: base64 of one key on each line. Empty lines and lines that start with `#` are skipped.
    pub fn parse(text: &str) -> std::result::Result<Self, KeysError> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut keys = lines.map(|(at, line)| {
            let bytes = STANDARD.decode(line).map_err(|_| KeysError::NotBase64(at + 1))?;
            let key = <[u8; 32]>::try_from(bytes);
            key.map(Key).map_err(|bytes| KeysError::Length { line: at + 1, bytes: bytes.len() })
        });
        let first = keys.next().ok_or(KeysError::Empty)??;
        Ok(Self { first, older: keys.collect::<std::result::Result<_, _>>()? })
    }

    /// Formats the keys for [`Self::read`].
    #[must_use]
    pub fn to_text(&self) -> String {
        let keys = std::iter::once(&self.first).chain(&self.older);
        keys.fold(String::new(), |text, key| text + &STANDARD.encode(key.0) + "\n")
    }

    /// Returns the key that seals.
    #[must_use]
    pub const fn sealing_key(&self) -> &Key {
        &self.first
    }

    /// Returns the key with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.first).chain(&self.older).find(|key| key.id() == id)
    }
}

/// Stores the keys of a deployment, apart from the data sealed under them. Only people change them.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Returns the keys. The first call creates one; every process gets the same keys.
    async fn keys(&self) -> Result<Keys>;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Key, Keys};

    #[test]
    fn first_key_line_seals() {
        let (new, old) = (Key([1; 32]), Key([2; 32]));
        let text = format!(
            "# new\n{}\n\n  {}",
            Keys::from(new.clone()).to_text(),
            Keys::from(old.clone()).to_text()
        );
        let keys = Keys::parse(&text).unwrap();
        assert_eq!((keys.sealing_key(), keys.find(&old.id())), (&new, Some(&old)));
        assert_eq!((keys.find(&new.id()), keys.find("00000000")), (Some(&new), None));
        assert_eq!(Keys::parse(&keys.to_text()).unwrap(), keys);
        for (text, wrong) in [
            ("", "it contains no key"),
            ("# AAAA\n", "it contains no key"),
            ("AAAA", "line 1 has 3 bytes, not 32"),
            ("\n?secret?", "line 2 is not base64"),
        ] {
            assert_eq!(Keys::parse(text).unwrap_err().to_string(), wrong);
        }
    }
}
