//! Objects in memory.

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tidemill_core::api::ContentChecksum;
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{ByteStream, ObjectInfo, Objects, UploadTarget, check_object_key};

/// Objects in memory.
#[derive(Debug, Default)]
pub struct MemoryObjects(Mutex<BTreeMap<String, (Bytes, ObjectInfo)>>);

#[async_trait]
impl Objects for MemoryObjects {
    async fn put_checked(&self, key: &str, expected: Option<&str>, bytes: ByteStream) -> Result<ObjectInfo> {
        check_object_key(key)?;
        let parts: Vec<Bytes> =
            bytes.try_collect().await.map_err(|error| Error::upload_interrupted(&error))?;
        let whole: Vec<u8> = parts.concat();
        let sha256 = HEXLOWER.encode(&Sha256::digest(&whole));
        if let Some(expected) = expected.filter(|expected| *expected != sha256) {
            return Err(Error::checksum_mismatch(&sha256, expected));
        }
        let info = ObjectInfo { size: whole.len() as u64, sha256: Some(sha256) };
        let mut objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        objects.insert(key.to_owned(), (whole.into(), info.clone()));
        Ok(info)
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        check_object_key(key)?;
        let objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(objects.get(key).map(|(_, info)| info.clone()))
    }

    async fn get(&self, key: &str) -> Result<ByteStream> {
        check_object_key(key)?;
        let objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, _) = objects.get(key).ok_or_else(|| Error::object_not_found(key))?;
        let bytes = bytes.clone();
        Ok(stream::once(async move { Ok(bytes) }).boxed())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_object_key(key)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }

    async fn upload_target(&self, _: &str, _: Option<&ContentChecksum>) -> Result<UploadTarget> {
        Ok(UploadTarget::Api)
    }

    async fn download_url(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
}
