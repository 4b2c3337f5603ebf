//! SourceService: takes sources that workers cannot fetch by themselves, and gives them to workers.

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

/// Kind of the documents that say when an upload was used.
const DOCUMENT_KIND: &str = "upload";
/// How long an upload is kept that nobody uses: longer than an execution waits for an approval.
const RETENTION_MS: i64 = 35 * 86_400_000;
/// A use is noted at most so often.
const TOUCH_INTERVAL_MS: u64 = 86_400_000;
const MAX_ATTEMPTS: u32 = 20;

/// The largest upload: what an object store takes in one PUT.
const MAX_SIZE: u64 = 5 << 30;

/// Uploaded sources. An upload is named by the SHA-256 of its bytes, so that one that is there is right and is not sent again.
#[derive(Debug, Clone)]
pub struct SourceService {
    context: Arc<Context>,
}

/// What is recorded of an upload.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct UploadRecord {
    used_at: Timestamp,
    /// Whether it is being removed, so that it must be sent again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removing: bool,
}

impl SourceService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Where to put an upload, unless it is there already.
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
        // Only who is about to send it says how large it is; an address is made for no one else.
        let Some(size) = request.size else { return Ok(here) };
        self.record(&request.upload).await?;
        let sum = ContentChecksum { size, sha256: parse(&request.upload)?.content().to_owned() };
        match self.context.stores.objects.put_place(&key, Some(&sum)).await? {
            UploadTarget::At(UploadUrl { url, headers }) => Ok(SourceUploadReply { url: Some(url), headers }),
            UploadTarget::Api | UploadTarget::SumNeeded => Ok(here),
        }
    }

    /// Whether the bytes of an upload are there, as far as the store can tell: what has another sum than its name says, or another
    /// size, was damaged, or put past the API, and is replaced by who sends it next.
    async fn is_there(&self, upload: &str, key: &str, size: Option<u64>) -> Result<bool> {
        let upload = parse(upload)?;
        let info = self.context.stores.objects.info(key).await?;
        Ok(info.is_some_and(|info| {
            info.sha256.as_deref() == Some(upload.content()) && size.is_none_or(|size| size == info.size)
        }))
    }

    /// Stores an upload's bytes, for servers that presign to themselves: those that its name is the SHA-256 of, and no others.
    pub async fn put(&self, upload: &str, mut bytes: ByteStream) -> Result<()> {
        let key = key(upload)?;
        // What is named by its content is never nothing: a body that did not arrive must not stand for it.
        let first = bytes.next().await.transpose().map_err(|error| Error::io("receiving sources", error))?;
        let first = first.filter(|chunk| !chunk.is_empty());
        let first =
            first.ok_or_else(|| Error::Invalid("sources of no bytes; send what is to be stored".into()))?;
        let mut bytes = stream::once(std::future::ready(Ok(first))).chain(bytes);
        let objects = &self.context.stores.objects;
        if self.is_there(upload, &key, None).await? && self.note_use(upload, true).await? {
            // Read to its end: a caller whose first try was stored, but not answered, sees that this one is, too.
            while bytes.next().await.is_some_and(|chunk| chunk.is_ok()) {}
            return Ok(());
        }
        // Before the bytes, so that none are kept of which nobody knows when they were used.
        self.record(upload).await?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let mut size = 0_u64;
        let limited = bytes.and_then(move |chunk| {
            size += chunk.len() as u64;
            let fits = size <= MAX_SIZE;
            if !fits {
                seen.store(true, Ordering::Relaxed);
            }
            std::future::ready(if fits { Ok(chunk) } else { Err(io::Error::other("it is too large")) })
        });
        match objects.put_checked(&key, Some(parse(upload)?.content()), limited.boxed()).await {
            Err(_) if over.load(Ordering::Relaxed) => Err(too_large(None)),
            stored => stored.map(drop),
        }
    }

    /// Where an upload's bytes are.
    pub async fn download(&self, upload: &str) -> Result<Download<ObjectInfo>> {
        let gone = || Error::NotFound(format!("there is no upload {upload} (any more); start the run again"));
        let found = self.find(&key(upload)?, gone).await?;
        if let Err(error) = self.note_use(upload, false).await {
            tracing::warn!(upload, %error, "the use of an upload is not noted");
        }
        Ok(found)
    }

    /// Removes uploads that nobody used for long, at most `limit`, and gives their number. One that cannot be removed is tried again
    /// later, each time after a longer pause, and does not keep others.
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
                    tracing::warn!(upload = document.key.name, %error, %retry_at, "an upload cannot be removed");
                    self.context.put_off_again(&document.key, now, retry_at).await;
                }
            }
        }
        Ok(number)
    }

    /// Removes an upload as its record was read; false: it is used again.
    async fn remove(&self, document: &Document) -> Result<bool> {
        let documents = &self.context.stores.documents;
        // Said first, so that who asks for it meanwhile sends it again, and is not told that it is there.
        let stored = UploadRecord { used_at: self.context.now(), removing: true };
        if !self.write(&document.key.name, stored, Some(document.version)).await? {
            return Ok(false);
        }
        self.context.stores.objects.delete(&key(&document.key.name)?).await?;
        let Some(said) = documents.get(&document.key).await? else { return Ok(true) };
        if read(&said)?.removing {
            documents.delete(&said.key, Some(said.version)).await?;
        }
        Ok(true)
    }

    /// Notes that an upload is used, at most once a day, or each time that somebody must know that it stays (`is_asked`). False: it is
    /// being removed.
    async fn note_use(&self, upload: &str, is_asked: bool) -> Result<bool> {
        let now = self.context.now();
        for _ in 0..MAX_ATTEMPTS {
            let known = self.context.stores.documents.get(&document_key(upload)).await?;
            let stored = known.as_ref().map(read).transpose()?;
            match stored {
                Some(UploadRecord { removing: true, .. }) => return Ok(false),
                Some(UploadRecord { used_at, .. }) if now.since_ms(used_at) < TOUCH_INTERVAL_MS => {
                    return Ok(true);
                }
                _ => {}
            }
            let used = UploadRecord { used_at: now, removing: false };
            let noted = self.write(upload, used, known.map(|known| known.version)).await?;
            if noted || !is_asked {
                return Ok(true);
            }
        }
        Err(Error::Conflict("the upload is used by others at the same time; try again".into()))
    }

    /// Records that an upload is about to be sent.
    async fn record(&self, upload: &str) -> Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            let known = self.context.stores.documents.get(&document_key(upload)).await?;
            let stored = UploadRecord { used_at: self.context.now(), removing: false };
            if self.write(upload, stored, known.map(|known| known.version)).await? {
                return Ok(());
            }
        }
        Err(Error::Conflict("the upload is sent by others at the same time; try again".into()))
    }

    async fn write(&self, upload: &str, stored: UploadRecord, if_version: Option<u64>) -> Result<bool> {
        let value =
            serde_json::to_string(&stored).map_err(|error| Error::storage("recording an upload", error))?;
        // One that is being removed is due until it is gone.
        let kept_ms = if stored.removing { 0 } else { RETENTION_MS };
        let due_at = Some(stored.used_at.plus_ms(kept_ms));
        let new = NewDocument { key: document_key(upload), value, due_at, expires_at: None };
        self.context.stores.documents.put(new, if_version).await
    }

    /// Where the `tidemill` program of this SHA-256 is, which a deployment keeps for its workers.
    pub async fn program(&self, sha256: &str) -> Result<Download<ObjectInfo>> {
        let gone = || Error::NotFound(format!("there is no program {sha256} here; deploy again"));
        if sha256.len() != 64 || !sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(gone());
        }
        self.find(&format!("programs/{sha256}"), gone).await
    }

    async fn find(&self, key: &str, gone: impl Fn() -> Error) -> Result<Download<ObjectInfo>> {
        let objects = &self.context.stores.objects;
        let info = objects.info(key).await?.ok_or_else(&gone)?;
        if let Some(address) = objects.get_address(key).await? {
            return Ok(Download::Elsewhere(address));
        }
        match objects.get(key).await {
            Err(Error::NotFound(_)) => Err(gone()),
            got => Ok(Download::Here(info, got?)),
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
    let had = size.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
    Error::Invalid(format!(
        "the sources are too large{had}: an upload has at most {MAX_SIZE} bytes; list what no job needs in .gitignore, or \
         push and run with --repo"
    ))
}
