//! The key under which what must be readable again, and by nobody else, is stored.

use crate::error::Result;
use async_trait::async_trait;
use std::fmt;

/// A key of 256 bits. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Keeps a deployment's key apart from what is stored under it.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The key; made at the first call, and the same ever after, for every process.
    async fn key(&self) -> Result<Key>;
}
