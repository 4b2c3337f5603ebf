//! A fixed encryption key, for simulations.

use async_trait::async_trait;
use tidemill_services::error::Result;
use tidemill_services::ports::{Key, KeyStore, Keys};

/// A key store with one key of zeros.
#[derive(Debug)]
pub struct MemoryKeys;

#[async_trait]
impl KeyStore for MemoryKeys {
    async fn keys(&self) -> Result<Keys> {
        Ok(Key([0; 32]).into())
    }
}
