//! A key that everybody knows, for simulations.

use crate::{
    error::Result,
    ports::{Key, KeyStore, Keys},
};
use async_trait::async_trait;

/// A key of zeros.
#[derive(Debug)]
pub struct MemoryKeys;

#[async_trait]
impl KeyStore for MemoryKeys {
    async fn keys(&self) -> Result<Keys> {
        Ok(Key([0; 32]).into())
    }
}
