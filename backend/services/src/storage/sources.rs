//! Stores uploaded sources, which workers cannot fetch from a git server, and serves them to workers.

use super::download::Download;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{ByteStream, Document, DocumentKey, NewDocument, ObjectInfo, UploadTarget, UploadUrl},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tidemill_core::execution::upload::UploadId;
use tidemill_core::{
    api::{ContentChecksum, SourceUploadReply, SourceUploadRequest, path},
    time::Timestamp,
};

/// Kind of the documents that record the last use of an upload.
const DOCUMENT_KIND: &str = "upload";
const DAY_MS: i64 = 86_400_000;
/// Minimum time between two recorded uses.
const TOUCH_INTERVAL_MS: u64 = 86_400_000;
const MAX_ATTEMPTS: u32 = 20;

/// Maximum size of an upload: the limit of object stores for one PUT.
const MAX_SIZE: u64 = 5 << 30;

/// Service for uploaded sources. An upload is named by the SHA-256 of its bytes, so existing ones are correct and are not sent again.
#[derive(Debug, Clone)]
pub struct SourceService {
    context: Arc<Context>,
}

/// The stored record of an upload.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct UploadRecord {
    used_at: Timestamp,
    /// Whether it is being removed; a client must send it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removing: bool,
}

impl SourceService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Returns where to send an upload, or no URL if it exists already.
    pub async fn upload(&self, request: SourceUploadRequest) -> Result<SourceUploadReply> {
        let key = key(&request.upload)?;
        if let Some(size) = request.size.filter(|size| *size > MAX_SIZE) {
            return Err(too_large(Some(size)));
        }
        if self.is_there(&request.upload, &key, request.size).await?
            && self.note_use(&request.upload, true).await?
        {
            return Ok(SourceUploadReply { url: None, headers: BTreeMap::new() });
        }
        let here = SourceUploadReply {
            url: Some(path::SOURCE_CONTENT.replace("{uploadId}", &request.upload)),
            headers: BTreeMap::new(),
        };
        // Only a client that is about to send the upload gives its size; no others get a presigned URL.
        let Some(size) = request.size else { return Ok(here) };
        self.record(&request.upload).await?;
        let sum = ContentChecksum { size, sha256: parse(&request.upload)?.content().to_owned() };
        match self.context.stores.objects.upload_target(&key, Some(&sum)).await? {
            UploadTarget::Url(UploadUrl { url, headers }) => {
                Ok(SourceUploadReply { url: Some(url), headers })
            }
            UploadTarget::Api | UploadTarget::ChecksumRequired => Ok(here),
        }
    }

    /// Whether the store has the bytes of an upload. An object with another hash or size was damaged or written past the API; the next
    /// upload replaces it.
    async fn is_there(&self, upload: &str, key: &str, size: Option<u64>) -> Result<bool> {
        let upload = parse(upload)?;
        let info = self.context.stores.objects.info(key).await?;
        Ok(info.is_some_and(|info| {
            info.sha256.as_deref() == Some(upload.content()) && size.is_none_or(|size| size == info.size)
        }))
    }

    /// Stores the bytes of an upload, for servers whose upload URLs lead to themselves. The SHA-256 of the bytes must match the name.
    pub async fn put(&self, upload: &str, mut bytes: ByteStream) -> Result<()> {
        let key = key(upload)?;
        // An upload is never empty: a missing body must not pass as one.
        let first = bytes.next().await.transpose().map_err(|error| Error::io("receiving sources", error))?;
        let first = first.filter(|chunk| !chunk.is_empty());
        let first = first
            .ok_or_else(|| Error::Invalid("the sources are empty; send the bytes of the upload".into()))?;
        let mut bytes = stream::once(std::future::ready(Ok(first))).chain(bytes);
        let objects = &self.context.stores.objects;
        if self.is_there(upload, &key, None).await? && self.note_use(upload, true).await? {
            // Reads the body to its end, so that a client that repeats an upload after a lost reply gets a proper reply.
            while bytes.next().await.is_some_and(|chunk| chunk.is_ok()) {}
            return Ok(());
        }
        // Recorded before the bytes, so that no bytes exist without a record of their use.
        self.record(upload).await?;
        let over = Arc::new(AtomicBool::new(false));
        let exceeded = over.clone();
        let mut size = 0_u64;
        let limited = bytes.and_then(move |chunk| {
            size += chunk.len() as u64;
            let fits = size <= MAX_SIZE;
            if !fits {
                exceeded.store(true, Ordering::Relaxed);
            }
            std::future::ready(if fits {
                Ok(chunk)
            } else {
                Err(io::Error::other("the upload is too large"))
            })
        });
        match objects.put_checked(&key, Some(parse(upload)?.content()), limited.boxed()).await {
            Err(_) if over.load(Ordering::Relaxed) => Err(too_large(None)),
            stored => stored.map(drop),
        }
    }

    /// Returns the bytes of an upload, or where they are.
    pub async fn download(&self, upload: &str) -> Result<Download<ObjectInfo>> {
        let gone = || {
            Error::NotFound(format!(
                "there is no upload {upload}; it may have been removed, start the run again"
            ))
        };
        let download = self.find(&key(upload)?, gone).await?;
        if let Err(error) = self.note_use(upload, false).await {
            tracing::warn!(upload, %error, "cannot record the use of an upload");
        }
        Ok(download)
    }

    /// Removes at most `limit` unused uploads, and returns their number. One that cannot be removed is retried with backoff and does not
    /// delay others.
    pub async fn expire(&self, limit: usize) -> Result<usize> {
        let now = self.context.now();
        let mut number = 0;
        for document in self.context.stores.documents.due(DOCUMENT_KIND, now, limit).await? {
            let name = format!("upload {}", document.key.name);
            match self.remove(&document).await {
                Ok(removed) => {
                    self.context.backoff.succeeded(&name);
                    number += usize::from(removed);
                }
                Err(error) => {
                    let retry_at = self.context.backoff.failed(&name, now);
                    tracing::warn!(upload = document.key.name, %error, %retry_at, "cannot remove an upload; it is retried later");
                    self.context.postpone_if_due(&document.key, now, retry_at).await;
                }
            }
        }
        Ok(number)
    }

    /// Removes an upload. Returns false if it was used since its record was read.
    async fn remove(&self, document: &Document) -> Result<bool> {
        let documents = &self.context.stores.documents;
        // Marked first, so that a client that announces the upload meanwhile sends it again.
        let stored = UploadRecord { used_at: self.context.now(), removing: true };
        if !self.write(&document.key.name, stored, Some(document.version)).await? {
            return Ok(false);
        }
        self.context.stores.objects.delete(&key(&document.key.name)?).await?;
        let Some(marked) = documents.get(&document.key).await? else { return Ok(true) };
        if read(&marked)?.removing {
            documents.delete(&marked.key, Some(marked.version)).await?;
        }
        Ok(true)
    }

    /// Records that an upload is used, at most once a day. With `must_record`, it retries until the record is written or current. Returns
    /// false if the upload is being removed.
    async fn note_use(&self, upload: &str, must_record: bool) -> Result<bool> {
        let now = self.context.now();
        for _ in 0..MAX_ATTEMPTS {
            let existing = self.context.stores.documents.get(&document_key(upload)).await?;
            let stored = existing.as_ref().map(read).transpose()?;
            match stored {
                Some(UploadRecord { removing: true, .. }) => return Ok(false),
                Some(UploadRecord { used_at, .. }) if now.since_ms(used_at) < TOUCH_INTERVAL_MS => {
                    return Ok(true);
                }
                _ => {}
            }
            let used = UploadRecord { used_at: now, removing: false };
            let recorded = self.write(upload, used, existing.map(|existing| existing.version)).await?;
            if recorded || !must_record {
                return Ok(true);
            }
        }
        Err(Error::Conflict("other clients are using the upload at the same time; try again".into()))
    }

    /// Records that a client is about to send an upload.
    async fn record(&self, upload: &str) -> Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            let existing = self.context.stores.documents.get(&document_key(upload)).await?;
            let stored = UploadRecord { used_at: self.context.now(), removing: false };
            if self.write(upload, stored, existing.map(|existing| existing.version)).await? {
                return Ok(());
            }
        }
        Err(Error::Conflict("other clients are sending the upload at the same time; try again".into()))
    }

    async fn write(&self, upload: &str, stored: UploadRecord, if_version: Option<u64>) -> Result<bool> {
        let value =
            serde_json::to_string(&stored).map_err(|error| Error::storage("recording an upload", error))?;
        // An upload that is being removed stays due until it is removed.
        let retention_ms = if stored.removing { 0 } else { self.context.upload_days().await? * DAY_MS };
        let due_at = Some(stored.used_at.plus_ms(retention_ms));
        let new = NewDocument { key: document_key(upload), value, due_at, expires_at: None };
        self.context.stores.documents.put(new, if_version).await
    }

    /// Returns the `tidemill` program with this SHA-256, which a deployment stores for its workers, or where it is.
    pub async fn program(&self, sha256: &str) -> Result<Download<ObjectInfo>> {
        let gone =
            || Error::NotFound(format!("there is no program {sha256} in this deployment; deploy again"));
        if sha256.len() != 64 || !sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(gone());
        }
        self.find(&format!("programs/{sha256}"), gone).await
    }

    async fn find(&self, key: &str, gone: impl Fn() -> Error) -> Result<Download<ObjectInfo>> {
        let objects = &self.context.stores.objects;
        let info = objects.info(key).await?.ok_or_else(&gone)?;
        if let Some(address) = objects.download_url(key).await? {
            return Ok(Download::Redirect(address));
        }
        match objects.get(key).await {
            Err(Error::NotFound(_)) => Err(gone()),
            got => Ok(Download::Stream(info, got?)),
        }
    }
}

fn document_key(upload: &str) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, upload)
}

fn read(document: &Document) -> Result<UploadRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading an upload's record", error))
}

fn key(upload: &str) -> Result<String> {
    Ok(format!("sources/{}", parse(upload)?))
}

fn parse(upload: &str) -> Result<UploadId> {
    upload.parse().map_err(|error| Error::Invalid(format!("`{upload}`: {error}")))
}

fn too_large(size: Option<u64>) -> Error {
    let actual = size.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
    Error::Invalid(format!(
        "the sources are too large{actual}: an upload has at most {MAX_SIZE} bytes; list files that no job needs in .gitignore, \
         or push and run with --repo"
    ))
}
