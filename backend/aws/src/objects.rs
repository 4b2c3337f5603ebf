//! Objects in an S3 bucket.

use super::{failure::storage_error, meter::Meter};
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
use tidemill_services::ports::{ByteStream, ObjectInfo, Objects, UploadTarget, UploadUrl, check_object_key};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

/// Size of a part of a large object; an upload holds one part in memory.
const PART_SIZE: usize = 8 << 20;
/// Lifetime of a presigned URL. A transfer must only start within it.
const PRESIGNED_URL_TTL: Duration = Duration::from_secs(15 * 60);
/// Maximum bytes of one COPY (Amazon S3 User Guide, copying objects).
const MAX_COPY_SIZE: u64 = 5 << 30;
/// The metadata key of an object's SHA-256.
const SHA256_METADATA_KEY: &str = "sha256";

/// Objects in an S3 bucket.
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

    /// Opens a bucket for a command that has nothing else of a deployment.
    #[must_use]
    pub fn of_bucket(sdk: &aws_config::SdkConfig, bucket: &str) -> Self {
        // An emulator has no host name for each bucket.
        let s3 =
            aws_sdk_s3::config::Builder::from(sdk).force_path_style(sdk.endpoint_url().is_some()).build();
        Self::new(Client::from_conf(s3), bucket.to_owned(), Meter::default())
    }

    fn count_put(&self) {
        self.meter.count(Usage { object_puts: 1, ..Usage::default() });
    }

    fn count_get(&self) {
        self.meter.count(Usage { object_gets: 1, ..Usage::default() });
    }

    /// Stores bytes that are in memory.
    pub async fn put_whole(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let sha256 = HEXLOWER.encode(&Sha256::digest(&bytes));
        self.put_bytes(key, bytes.into(), sha256).await
    }

    async fn put_bytes(&self, key: &str, bytes: Bytes, sha256: String) -> Result<()> {
        self.count_put();
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .set_checksum_sha256(base64_of_hex(&sha256))
            .metadata(SHA256_METADATA_KEY, sha256)
            .body(Body::from(bytes))
            .send()
            .await
            .map_err(|error| storage_error(&format!("storing object {key}"), error))?;
        Ok(())
    }

    /// Returns the bytes of an object that fits into memory.
    pub async fn get_whole(&self, key: &str) -> Result<Vec<u8>> {
        let reply = self.open(key).await?;
        let bytes = reply.body.collect().await;
        let bytes = bytes.map_err(|error| Error::storage(format!("reading object {key}"), error))?;
        Ok(bytes.to_vec())
    }

    async fn open(&self, key: &str) -> Result<GetObjectOutput> {
        self.count_get();
        let sent = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        sent.map_err(|error| match error.as_service_error() {
            Some(kind) if kind.is_no_such_key() => Error::object_not_found(key),
            _ => storage_error(&format!("reading object {key}"), error),
        })
    }

    /// Uploads a large stream to a temporary key, because its hash is known only at its end, and then copies it to `key`.
    async fn put_large(
        &self,
        key: &str,
        expected: Option<&str>,
        first: Bytes,
        mut rest: ByteStream,
    ) -> Result<ObjectInfo> {
        let doing = format!("storing object {key}");
        let temporary = format!("unfinished/{}", Uuid::now_v7());
        self.count_put();
        let created = self.client.create_multipart_upload().bucket(&self.bucket).key(&temporary).send().await;
        let created = created.map_err(|error| storage_error(&doing, error))?;
        let upload = created.upload_id().unwrap_or_default();
        let stored = self.put_parts(&temporary, upload, first, &mut rest, &doing).await;
        let stored = stored.and_then(|(parts, info)| check_sha256(&info, expected).map(|()| (parts, info)));
        let (parts, info) = match stored {
            Ok(stored) => stored,
            Err(error) => {
                let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&temporary);
                if let Err(error) = abort.upload_id(upload).send().await {
                    tracing::debug!(error = %storage_error(&doing, error), "cannot abort the upload; the bucket's lifecycle rule removes its parts");
                }
                return Err(error);
            }
        };
        self.count_put();
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(&temporary);
        complete
            .upload_id(upload)
            .multipart_upload(all)
            .send()
            .await
            .map_err(|error| storage_error(&doing, error))?;
        let copied = self.copy(&temporary, key, &info, &doing).await;
        self.remove(&temporary).await?;
        copied.map(|()| info)
    }

    async fn put_parts(
        &self,
        temporary: &str,
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
                return Err(Error::Invalid(format!(
                    "{doing}: it is larger than the limit of {MAX_COPY_SIZE} bytes"
                )));
            }
            self.count_put();
            let sent = self.client.upload_part().bucket(&self.bucket).key(temporary).upload_id(upload);
            let sent = sent.part_number(number).body(Body::from(bytes)).send().await;
            let tag = sent.map_err(|error| storage_error(doing, error))?.e_tag;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(tag).build());
            next = read_part(rest).await?;
        }
        Ok((parts, ObjectInfo { size, sha256: Some(HEXLOWER.encode(&hash.finalize())) }))
    }

    async fn copy(&self, from: &str, to: &str, info: &ObjectInfo, doing: &str) -> Result<()> {
        self.count_put();
        self.client
            .copy_object()
            .bucket(&self.bucket)
            .key(to)
            .copy_source(format!("{}/{from}", self.bucket))
            .metadata_directive(MetadataDirective::Replace)
            // S3 has no checksum of the whole object after a multipart upload, but computes one for a copy.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .metadata(SHA256_METADATA_KEY, info.sha256.clone().unwrap_or_default())
            .send()
            .await
            .map_err(|error| storage_error(doing, error))?;
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<()> {
        // Deletes are free of charge.
        let sent = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        sent.map(drop).map_err(|error| storage_error(&format!("removing object {key}"), error))
    }

    fn presigning(key: &str) -> Result<PresigningConfig> {
        PresigningConfig::expires_in(PRESIGNED_URL_TTL)
            .map_err(|error| Error::storage(format!("creating a presigned URL for object {key}"), error))
    }
}

/// Reads the next part of a stream; `None` at its end.
async fn read_part(bytes: &mut ByteStream) -> Result<Option<Bytes>> {
    let mut part = BytesMut::new();
    while part.len() < PART_SIZE
        && let Some(next) = bytes.next().await
    {
        part.extend_from_slice(&next.map_err(|error| Error::upload_interrupted(&error))?);
    }
    Ok(Some(part.freeze()).filter(|part| !part.is_empty()))
}

/// Returns an error if the object's hash is not the expected one.
fn check_sha256(info: &ObjectInfo, expected: Option<&str>) -> Result<()> {
    match (info.sha256.as_deref(), expected) {
        (Some(actual), Some(expected)) if actual != expected => {
            Err(Error::checksum_mismatch(actual, expected))
        }
        _ => Ok(()),
    }
}

/// Converts a SHA-256 from hex to the base64 form of S3.
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

/// Converts a SHA-256 from the base64 form of S3 to hex; `None`: it is a checksum of parts, not of the whole object.
fn hex_of_base64(checksum: &str) -> Option<String> {
    STANDARD.decode(checksum).ok().filter(|bytes| bytes.len() == 32).map(|bytes| HEXLOWER.encode(&bytes))
}

#[async_trait]
impl Objects for S3Objects {
    async fn put_checked(
        &self,
        key: &str,
        expected: Option<&str>,
        mut bytes: ByteStream,
    ) -> Result<ObjectInfo> {
        check_object_key(key)?;
        let first = read_part(&mut bytes).await?.unwrap_or_default();
        if first.len() >= PART_SIZE {
            return self.put_large(key, expected, first, bytes).await;
        }
        let info =
            ObjectInfo { size: first.len() as u64, sha256: Some(HEXLOWER.encode(&Sha256::digest(&first))) };
        check_sha256(&info, expected)?;
        self.put_bytes(key, first, info.sha256.clone().unwrap_or_default()).await?;
        Ok(info)
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>> {
        check_object_key(key)?;
        self.count_get();
        let head = self.client.head_object().bucket(&self.bucket).key(key);
        let sent = head.checksum_mode(ChecksumMode::Enabled).send().await;
        match sent {
            Ok(head) => {
                let size = head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
                // The checksum that S3 computed takes precedence over the metadata.
                let computed = head.checksum_sha256().and_then(hex_of_base64);
                let from_metadata =
                    || head.metadata().and_then(|metadata| metadata.get(SHA256_METADATA_KEY)).cloned();
                Ok(Some(ObjectInfo { size, sha256: computed.or_else(from_metadata) }))
            }
            Err(SdkError::ServiceError(error)) if matches!(error.err(), HeadObjectError::NotFound(_)) => {
                Ok(None)
            }
            Err(error) => Err(storage_error(&format!("reading the metadata of object {key}"), error)),
        }
    }

    async fn get(&self, key: &str) -> Result<ByteStream> {
        check_object_key(key)?;
        let reply = self.open(key).await?;
        Ok(ReaderStream::new(reply.body.into_async_read()).boxed())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_object_key(key)?;
        self.remove(key).await
    }

    async fn upload_target(&self, key: &str, sum: Option<&ContentChecksum>) -> Result<UploadTarget> {
        check_object_key(key)?;
        let Some(sum) = sum else { return Ok(UploadTarget::ChecksumRequired) };
        if sum.size > MAX_COPY_SIZE {
            return Err(Error::Invalid(format!(
                "the object has {} bytes, more than the limit of {MAX_COPY_SIZE} bytes",
                sum.size
            )));
        }
        let doing = format!("creating a presigned URL for object {key}");
        let checksum = base64_of_hex(&sum.sha256).filter(|_| sum.is_well_formed());
        let checksum = checksum.ok_or_else(|| {
            Error::Invalid(format!("invalid SHA-256 `{}`: use 64 lowercase hex digits", sum.sha256))
        })?;
        // The client sends the request; it is counted here, because the server does not see it.
        self.count_put();
        // The checksum header is signed: S3 rejects a request without it, and other bytes with it. An existing object is replaced, so
        // that a damaged one does not stay; the key or its record names the hash, so the bytes are the same.
        let put = self.client.put_object().bucket(&self.bucket).key(key).checksum_sha256(checksum);
        let request =
            put.presigned(Self::presigning(key)?).await.map_err(|error| storage_error(&doing, error))?;
        let headers = request.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(UploadTarget::Url(UploadUrl { url: request.uri().to_owned(), headers }))
    }

    async fn download_url(&self, key: &str) -> Result<Option<String>> {
        check_object_key(key)?;
        self.count_get();
        let get = self.client.get_object().bucket(&self.bucket).key(key);
        let request = get.presigned(Self::presigning(key)?).await;
        let request = request
            .map_err(|error| storage_error(&format!("creating a presigned URL for object {key}"), error))?;
        Ok(Some(request.uri().to_owned()))
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
        let UploadTarget::Url(address) = objects.upload_target("sources/x", Some(&sum)).await.unwrap() else {
            panic!("no upload URL")
        };
        let checksum = base64_of_hex(&sum.sha256).unwrap();
        assert_eq!(address.headers.get("x-amz-checksum-sha256"), Some(&checksum));
        let signed = address.url.split("X-Amz-SignedHeaders=").nth(1).unwrap().split('&').next().unwrap();
        assert!(signed.contains("x-amz-checksum-sha256"), "S3 must reject a request without it: {signed}");
        assert_eq!(objects.upload_target("sources/x", None).await.unwrap(), UploadTarget::ChecksumRequired);
        for wrong in [
            ContentChecksum { size: (5 << 30) + 1, ..sum.clone() },
            ContentChecksum { sha256: "AB".repeat(32), ..sum.clone() },
            ContentChecksum { sha256: "ab".into(), ..sum },
        ] {
            let result = objects.upload_target("sources/x", Some(&wrong)).await;
            assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
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
