//! Objects in an S3 bucket.

use super::{keys::hex, meter::Meter, table::failed};
use crate::{
    error::{Error, Result},
    ports::{ByteStream, ObjectInfo, Objects},
};
use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    error::SdkError,
    operation::{get_object::GetObjectOutput, head_object::HeadObjectError},
    presigning::PresigningConfig,
    primitives::ByteStream as Body,
    types::{CompletedMultipartUpload, CompletedPart, MetadataDirective},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tidemill_core::cost::Usage;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

/// Bytes of a part of a large object; all that a put holds in memory.
const PART: usize = 8 << 20;
/// For how long an address is good. Only the beginning of a transfer must fall into it.
const ADDRESS: Duration = Duration::from_secs(15 * 60);
/// The most bytes that one COPY can move (Amazon S3 User Guide, copying objects).
const MOST_COPY: u64 = 5 << 30;
/// Where an object's SHA-256 is kept: metadata of the object.
const SHA256: &str = "sha256";

/// Objects in a bucket.
#[derive(Debug, Clone)]
pub struct S3Objects {
    client: Client,
    bucket: String,
    meter: Meter,
}

impl S3Objects {
    pub(super) const fn new(client: Client, bucket: String, meter: Meter) -> Self {
        Self { client, bucket, meter }
    }

    fn put_one(&self) {
        self.meter.count(Usage { object_puts: 1, ..Usage::default() });
    }

    fn got_one(&self) {
        self.meter.count(Usage { object_gets: 1, ..Usage::default() });
    }

    /// Stores bytes that are all at hand.
    pub async fn put_whole(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let sha256 = hex(&Sha256::digest(&bytes));
        self.put_part_of_memory(key, bytes.into(), sha256).await
    }

    async fn put_part_of_memory(&self, key: &str, bytes: Bytes, sha256: String) -> Result<()> {
        self.put_one();
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .metadata(SHA256, sha256)
            .body(Body::from(bytes))
            .send()
            .await
            .map_err(|error| failed(&format!("storing object {key}"), error))?;
        Ok(())
    }

    /// The bytes of an object that fits into memory.
    pub async fn get_whole(&self, key: &str) -> Result<Vec<u8>> {
        let reply = self.open(key).await?;
        let bytes = reply.body.collect().await;
        let bytes = bytes.map_err(|error| Error::storage(format!("reading object {key}"), error))?;
        Ok(bytes.to_vec())
    }

    async fn open(&self, key: &str) -> Result<GetObjectOutput> {
        self.got_one();
        let sent = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        sent.map_err(|error| match error.as_service_error() {
            Some(kind) if kind.is_no_such_key() => Error::NotFound(format!("there is no object {key}")),
            _ => failed(&format!("reading object {key}"), error),
        })
    }

    /// Stores a large stream beside its place first, since its hash is known only at its end, then moves it there.
    async fn put_large(&self, key: &str, first: Bytes, mut rest: ByteStream) -> Result<ObjectInfo> {
        let doing = format!("storing object {key}");
        let aside = format!("unfinished/{}", Uuid::now_v7());
        self.put_one();
        let begun = self.client.create_multipart_upload().bucket(&self.bucket).key(&aside).send().await;
        let begun = begun.map_err(|error| failed(&doing, error))?;
        let upload = begun.upload_id().unwrap_or_default();
        let stored = self.put_parts(&aside, upload, first, &mut rest, &doing).await;
        let (parts, info) = match stored {
            Ok(stored) => stored,
            Err(error) => {
                let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&aside);
                if let Err(error) = abort.upload_id(upload).send().await {
                    tracing::debug!(error = %failed(&doing, error), "the bucket's rule removes the parts");
                }
                return Err(error);
            }
        };
        self.put_one();
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(&aside);
        complete
            .upload_id(upload)
            .multipart_upload(all)
            .send()
            .await
            .map_err(|error| failed(&doing, error))?;
        let moved = self.copy(&aside, key, &info, &doing).await;
        self.remove(&aside).await?;
        moved.map(|()| info)
    }

    async fn put_parts(
        &self,
        aside: &str,
        upload: &str,
        first: Bytes,
        rest: &mut ByteStream,
        doing: &str,
    ) -> Result<(Vec<CompletedPart>, ObjectInfo)> {
        let mut hash = Sha256::new();
        let mut size = 0;
        let mut parts = Vec::new();
        let mut next = Some(first);
        for number in 1.. {
            let Some(bytes) = next.take() else { break };
            hash.update(&bytes);
            size += bytes.len() as u64;
            if size > MOST_COPY {
                return Err(Error::Invalid(format!("{doing}: it is larger than {MOST_COPY} bytes")));
            }
            self.put_one();
            let sent = self.client.upload_part().bucket(&self.bucket).key(aside).upload_id(upload);
            let sent = sent.part_number(number).body(Body::from(bytes)).send().await;
            let tag = sent.map_err(|error| failed(doing, error))?.e_tag;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(tag).build());
            next = gather(rest).await?;
        }
        Ok((parts, ObjectInfo { size, sha256: Some(hex(&hash.finalize())) }))
    }

    async fn copy(&self, from: &str, to: &str, info: &ObjectInfo, doing: &str) -> Result<()> {
        self.put_one();
        self.client
            .copy_object()
            .bucket(&self.bucket)
            .key(to)
            .copy_source(format!("{}/{from}", self.bucket))
            .metadata_directive(MetadataDirective::Replace)
            .metadata(SHA256, info.sha256.clone().unwrap_or_default())
            .send()
            .await
            .map_err(|error| failed(doing, error))?;
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<()> {
        // Deletes are free of charge.
        let sent = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        sent.map(drop).map_err(|error| failed(&format!("removing object {key}"), error))
    }

    fn presigning(key: &str) -> Result<PresigningConfig> {
        PresigningConfig::expires_in(ADDRESS)
            .map_err(|error| Error::storage(format!("making an address of object {key}"), error))
    }
}

/// The next part of a stream; `None` at its end.
async fn gather(bytes: &mut ByteStream) -> Result<Option<Bytes>> {
    let mut part = BytesMut::new();
    while part.len() < PART
        && let Some(next) = bytes.next().await
    {
        part.extend_from_slice(&next.map_err(|error| {
            Error::Invalid(format!("the bytes of the object broke off before their end: {error}"))
        })?);
    }
    Ok(Some(part.freeze()).filter(|part| !part.is_empty()))
}

/// Only keys of the port's alphabet.
fn check(key: &str) -> Result<()> {
    let good = |part: &str| {
        (1..=200).contains(&part.len())
            && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    if key.len() <= 1000 && key.split('/').all(good) {
        return Ok(());
    }
    Err(Error::Invalid(format!("`{key}` is no object key: parts of a-z, 0-9 and -, joined by /")))
}

#[async_trait]
impl Objects for S3Objects {
    async fn put(&self, key: &str, mut bytes: ByteStream) -> Result<ObjectInfo> {
        check(key)?;
        let first = gather(&mut bytes).await?.unwrap_or_default();
        if first.len() >= PART {
            return self.put_large(key, first, bytes).await;
        }
        let info = ObjectInfo { size: first.len() as u64, sha256: Some(hex(&Sha256::digest(&first))) };
        self.put_part_of_memory(key, first, info.sha256.clone().unwrap_or_default()).await?;
        Ok(info)
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        check(key)?;
        self.got_one();
        let sent = self.client.head_object().bucket(&self.bucket).key(key).send().await;
        match sent {
            Ok(head) => Ok(Some(ObjectInfo {
                size: head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
                sha256: head.metadata().and_then(|metadata| metadata.get(SHA256)).cloned(),
            })),
            Err(SdkError::ServiceError(error)) if matches!(error.err(), HeadObjectError::NotFound(_)) => {
                Ok(None)
            }
            Err(error) => Err(failed(&format!("looking for object {key}"), error)),
        }
    }

    async fn get(&self, key: &str) -> Result<ByteStream> {
        check(key)?;
        let reply = self.open(key).await?;
        Ok(ReaderStream::new(reply.body.into_async_read()).boxed())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check(key)?;
        self.remove(key).await
    }

    async fn put_address(&self, key: &str) -> Result<Option<String>> {
        check(key)?;
        // Whoever has the address makes the request; it is counted here, where it is known.
        self.put_one();
        let put = self.client.put_object().bucket(&self.bucket).key(key);
        let address = put.presigned(Self::presigning(key)?).await;
        let address =
            address.map_err(|error| failed(&format!("making an address of object {key}"), error))?;
        Ok(Some(address.uri().to_owned()))
    }

    async fn get_address(&self, key: &str) -> Result<Option<String>> {
        check(key)?;
        self.got_one();
        let get = self.client.get_object().bucket(&self.bucket).key(key);
        let address = get.presigned(Self::presigning(key)?).await;
        let address =
            address.map_err(|error| failed(&format!("making an address of object {key}"), error))?;
        Ok(Some(address.uri().to_owned()))
    }
}
