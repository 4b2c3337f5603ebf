//! Objects in an S3 bucket.

use super::{failure::failed, meter::Meter};
use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    error::SdkError,
    operation::{get_object::GetObjectOutput, head_object::HeadObjectError},
    presigning::PresigningConfig,
    primitives::ByteStream as Body,
    types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, MetadataDirective},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tidemill_core::api::ContentChecksum;
use tidemill_core::execution::cost::Usage;
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{ByteStream, ObjectInfo, Objects, UploadTarget, UploadUrl};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

/// Bytes of a part of a large object; all that a put holds in memory.
const PART_SIZE: usize = 8 << 20;
/// For how long an address is good. Only the beginning of a transfer must fall into it.
const PRESIGNED_URL_TTL: Duration = Duration::from_secs(15 * 60);
/// The most bytes that one COPY can move (Amazon S3 User Guide, copying objects).
const MAX_COPY_SIZE: u64 = 5 << 30;
/// Where an object's SHA-256 is kept: metadata of the object.
const SHA256_METADATA_KEY: &str = "sha256";

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
        let sha256 = HEXLOWER.encode(&Sha256::digest(&bytes));
        self.put_part_of_memory(key, bytes.into(), sha256).await
    }

    async fn put_part_of_memory(&self, key: &str, bytes: Bytes, sha256: String) -> Result<()> {
        self.put_one();
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .set_checksum_sha256(base64_of_hex(&sha256))
            .metadata(SHA256_METADATA_KEY, sha256)
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
    async fn put_large(
        &self,
        key: &str,
        wanted: Option<&str>,
        first: Bytes,
        mut rest: ByteStream,
    ) -> Result<ObjectInfo> {
        let doing = format!("storing object {key}");
        let aside = format!("unfinished/{}", Uuid::now_v7());
        self.put_one();
        let begun = self.client.create_multipart_upload().bucket(&self.bucket).key(&aside).send().await;
        let begun = begun.map_err(|error| failed(&doing, error))?;
        let upload = begun.upload_id().unwrap_or_default();
        let stored = self.put_parts(&aside, upload, first, &mut rest, &doing).await;
        let stored = stored.and_then(|(parts, info)| is_wanted(&info, wanted).map(|()| (parts, info)));
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
            if size > MAX_COPY_SIZE {
                return Err(Error::Invalid(format!("{doing}: it is larger than {MAX_COPY_SIZE} bytes")));
            }
            self.put_one();
            let sent = self.client.upload_part().bucket(&self.bucket).key(aside).upload_id(upload);
            let sent = sent.part_number(number).body(Body::from(bytes)).send().await;
            let tag = sent.map_err(|error| failed(doing, error))?.e_tag;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(tag).build());
            next = gather(rest).await?;
        }
        Ok((parts, ObjectInfo { size, sha256: Some(HEXLOWER.encode(&hash.finalize())) }))
    }

    async fn copy(&self, from: &str, to: &str, info: &ObjectInfo, doing: &str) -> Result<()> {
        self.put_one();
        self.client
            .copy_object()
            .bucket(&self.bucket)
            .key(to)
            .copy_source(format!("{}/{from}", self.bucket))
            .metadata_directive(MetadataDirective::Replace)
            // Of what was put in parts the store knows no sum of the whole; of a copy it makes one.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .metadata(SHA256_METADATA_KEY, info.sha256.clone().unwrap_or_default())
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
        PresigningConfig::expires_in(PRESIGNED_URL_TTL)
            .map_err(|error| Error::storage(format!("making an address of object {key}"), error))
    }
}

/// The next part of a stream; `None` at its end.
async fn gather(bytes: &mut ByteStream) -> Result<Option<Bytes>> {
    let mut part = BytesMut::new();
    while part.len() < PART_SIZE
        && let Some(next) = bytes.next().await
    {
        part.extend_from_slice(&next.map_err(|error| {
            Error::Invalid(format!("the bytes of the object broke off before their end: {error}"))
        })?);
    }
    Ok(Some(part.freeze()).filter(|part| !part.is_empty()))
}

/// Refuses an object that has another hash than the wanted one.
fn is_wanted(info: &ObjectInfo, wanted: Option<&str>) -> Result<()> {
    match (info.sha256.as_deref(), wanted) {
        (Some(got), Some(wanted)) if got != wanted => Err(Error::other_bytes(got, wanted)),
        _ => Ok(()),
    }
}

/// A SHA-256 as S3 has it.
fn base64_of_hex(sha256: &str) -> Option<String> {
    let digits = sha256.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0_u8; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(STANDARD.encode(bytes))
}

/// A SHA-256 from how S3 has it; `None`: it is of parts, and not of the whole.
fn hex_of_base64(checksum: &str) -> Option<String> {
    STANDARD.decode(checksum).ok().filter(|bytes| bytes.len() == 32).map(|bytes| HEXLOWER.encode(&bytes))
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
    async fn put_checked(
        &self,
        key: &str,
        wanted: Option<&str>,
        mut bytes: ByteStream,
    ) -> Result<ObjectInfo> {
        check(key)?;
        let first = gather(&mut bytes).await?.unwrap_or_default();
        if first.len() >= PART_SIZE {
            return self.put_large(key, wanted, first, bytes).await;
        }
        let info =
            ObjectInfo { size: first.len() as u64, sha256: Some(HEXLOWER.encode(&Sha256::digest(&first))) };
        is_wanted(&info, wanted)?;
        self.put_part_of_memory(key, first, info.sha256.clone().unwrap_or_default()).await?;
        Ok(info)
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        check(key)?;
        self.got_one();
        let head = self.client.head_object().bucket(&self.bucket).key(key);
        let sent = head.checksum_mode(ChecksumMode::Enabled).send().await;
        match sent {
            Ok(head) => {
                let size = head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
                // What the store reckoned of the bytes comes before what was said of them.
                let reckoned = head.checksum_sha256().and_then(hex_of_base64);
                let said = || head.metadata().and_then(|metadata| metadata.get(SHA256_METADATA_KEY)).cloned();
                Ok(Some(ObjectInfo { size, sha256: reckoned.or_else(said) }))
            }
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

    async fn put_place(&self, key: &str, sum: Option<&ContentChecksum>) -> Result<UploadTarget> {
        check(key)?;
        let Some(sum) = sum else { return Ok(UploadTarget::SumNeeded) };
        if sum.size > MAX_COPY_SIZE {
            return Err(Error::Invalid(format!(
                "it has {} bytes, and at most {MAX_COPY_SIZE} can be put at once",
                sum.size
            )));
        }
        let doing = format!("making an address of object {key}");
        let checksum = base64_of_hex(&sum.sha256).filter(|_| sum.is_well_formed());
        let checksum = checksum.ok_or_else(|| {
            Error::Invalid(format!("`{}` is no SHA-256: 64 hex digits in lower case are", sum.sha256))
        })?;
        // Whoever has the address makes the request; it is counted here, where it is known.
        self.put_one();
        // The header is signed: the store takes no request without it, and with it no other bytes. What is there is replaced, so that
        // something damaged does not stay; by the same bytes, as the key or its record names them.
        let put = self.client.put_object().bucket(&self.bucket).key(key).checksum_sha256(checksum);
        let address = put.presigned(Self::presigning(key)?).await.map_err(|error| failed(&doing, error))?;
        let headers = address.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(UploadTarget::At(UploadUrl { url: address.uri().to_owned(), headers }))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{S3Objects, base64_of_hex, hex_of_base64};
    use crate::meter::Meter;
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    use tidemill_core::api::ContentChecksum;
    use tidemill_services::error::Error;
    use tidemill_services::ports::{Objects, UploadTarget};

    fn objects() -> S3Objects {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .build();
        S3Objects::new(aws_sdk_s3::Client::from_conf(config), "bucket".into(), Meter::default())
    }

    #[tokio::test]
    async fn presigned_url_rejects_other_bytes() {
        let objects = objects();
        let sum = ContentChecksum { size: 3, sha256: "ab".repeat(32) };
        let UploadTarget::At(address) = objects.put_place("sources/x", Some(&sum)).await.unwrap() else {
            panic!("an address")
        };
        let checksum = base64_of_hex(&sum.sha256).unwrap();
        assert_eq!(address.headers.get("x-amz-checksum-sha256"), Some(&checksum));
        let signed = address.url.split("X-Amz-SignedHeaders=").nth(1).unwrap().split('&').next().unwrap();
        assert!(signed.contains("x-amz-checksum-sha256"), "the store refuses a request without it: {signed}");
        assert_eq!(objects.put_place("sources/x", None).await.unwrap(), UploadTarget::SumNeeded);
        for wrong in [
            ContentChecksum { size: (5 << 30) + 1, ..sum.clone() },
            ContentChecksum { sha256: "AB".repeat(32), ..sum.clone() },
            ContentChecksum { sha256: "ab".into(), ..sum },
        ] {
            let refused = objects.put_place("sources/x", Some(&wrong)).await;
            assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        }
    }

    #[test]
    fn only_full_object_checksums_are_read() {
        let sha256 = "0123456789abcdef".repeat(4);
        let base64 = base64_of_hex(&sha256).unwrap();
        assert_eq!(hex_of_base64(&base64), Some(sha256));
        for other in [format!("{base64}-3"), String::new(), "AAAA".into()] {
            assert_eq!(hex_of_base64(&other), None);
        }
    }
}
