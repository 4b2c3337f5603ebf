//! Stores caches, files that jobs of a repository keep for later jobs. A missing cache never fails a job.

use super::download::{Download, put_bounded};
use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    ports::{ByteStream, Document, DocumentKey, NewDocument, Node, ObjectInfo, UploadTarget},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidemill_core::execution::assignment::ArtifactSource;
use tidemill_core::ids::digest::sha256_hex;
use tidemill_core::repository::canonical_name;
use tidemill_core::{
    api::{
        ArtifactComplete, ArtifactEncoding, CacheHit, CacheLookupReply, CacheLookupRequest, ContentChecksum,
        path,
    },
    ids::{ArtifactId, JobId, LeaseToken},
    time::Timestamp,
};

const DOCUMENT_KIND: &str = "cache";
const DAY_MS: i64 = 86_400_000;
/// Minimum time between two recorded uses.
const TOUCH_INTERVAL_MS: u64 = 86_400_000;
/// Maximum size of a cache, in bytes.
const MAX_SIZE: u64 = 5 << 30;
const MAX_KEY_LEN: usize = 400;
const MAX_KEYS: usize = 20;
const MAX_ATTEMPTS: u32 = 20;

/// Service for caches.
#[derive(Debug, Clone)]
pub struct CacheService {
    context: Arc<Context>,
}

/// The stored record of a cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CacheRecord {
    /// Id of the object with its bytes, among those of the job that uploaded it.
    object: ArtifactId,
    /// The job that uploaded it.
    by: JobId,
    /// The object that this one replaced: a repeated completion of that one has succeeded before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<ArtifactId>,
    size: u64,
    sha256: String,
    used_at: Timestamp,
}

impl CacheService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Returns the cache of the first key that has one in the job's repository.
    pub async fn lookup(&self, request: CacheLookupRequest) -> Result<CacheLookupReply> {
        let node = self.leased_node(request.job_id, request.lease).await?;
        if request.keys.len() > MAX_KEYS {
            return Err(Error::Invalid(format!("a lookup has at most {MAX_KEYS} cache keys")));
        }
        for key in request.keys {
            let Some((document, stored)) = self.find(&node, &key).await? else { continue };
            self.note_use(&document, &stored).await;
            let here = || {
                let url = path::CACHE_CONTENT.replace("{jobId}", &request.job_id.to_string());
                let (lease, object) = (request.lease, stored.object);
                format!("{url}?lease={lease}&object={object}&key={}", encode_key(&key))
            };
            let object = self.object(&node, &key, stored.by, stored.object).await?;
            let address = self.context.stores.objects.download_url(&object).await?;
            let source = ArtifactSource {
                artifact_id: stored.object,
                from_job: format!("cache {key}"),
                url: address.unwrap_or_else(here),
                sha256: stored.sha256,
                size: stored.size,
                encoding: ArtifactEncoding::Identity,
                unpacked_size: 0,
                image: None,
            };
            return Ok(CacheLookupReply { found: Some(CacheHit { key, source }) });
        }
        Ok(CacheLookupReply { found: None })
    }

    /// Returns the bytes of the cache under this key in the job's repository, if they are in this object.
    pub async fn download(
        &self,
        job: JobId,
        lease: LeaseToken,
        (key, id): (&str, ArtifactId),
    ) -> Result<Download<ObjectInfo>> {
        let node = self.leased_node(job, lease).await?;
        let gone = || Error::NotFound("the cache was replaced or removed; look it up again".into());
        // The record of the repository decides, whatever object the request names.
        let key = key_from_query(key)?;
        let found = self.find(&node, &key).await?;
        let (_, stored) = found.filter(|(_, stored)| stored.object == id).ok_or_else(gone)?;
        let object = self.object(&node, &key, stored.by, id).await?;
        let objects = &self.context.stores.objects;
        let info = objects.info(&object).await?.ok_or_else(gone)?;
        match objects.get(&object).await {
            Err(Error::NotFound(_)) => Err(gone()),
            got => Ok(Download::Stream(info, got?)),
        }
    }

    /// Returns where to upload the bytes of a cache under `key`, and the id to pass to [`Self::complete`].
    pub(crate) async fn upload_target(
        &self,
        node: &Node,
        key: &str,
        sum: Option<&ContentChecksum>,
    ) -> Result<(ArtifactId, UploadTarget)> {
        self.check_may_store(node).await?;
        // Each call gets its own object: an object that jobs may be reading is never overwritten.
        let id = ArtifactId(uuid::Uuid::now_v7());
        if sum.is_some_and(|sum| sum.size > MAX_SIZE) {
            return Err(Error::Invalid(format!("a cache has at most {MAX_SIZE} bytes")));
        }
        let object = self.own_object(node, key, id).await?;
        Ok((id, self.context.stores.objects.upload_target(&object, sum).await?))
    }

    /// Stores the bytes of a cache, for servers whose upload URLs lead to themselves.
    pub(crate) async fn put(
        &self,
        (key, id): (&str, ArtifactId),
        node: &Node,
        bytes: ByteStream,
    ) -> Result<()> {
        self.check_may_store(node).await?;
        let object = self.own_object(node, &key_from_query(key)?, id).await?;
        put_bounded(&self.context, &object, bytes, MAX_SIZE).await
    }

    /// Records the uploaded cache under `key`, and replaces an earlier one. Idempotent.
    pub(crate) async fn complete(
        &self,
        node: &Node,
        key: &str,
        complete: &ArtifactComplete,
    ) -> Result<ArtifactId> {
        self.check_may_store(node).await?;
        let (objects, id) = (&self.context.stores.objects, complete.artifact_id);
        let by = job_of_node(node)?;
        let object = self.own_object(node, key, id).await?;
        if let Some((_, existing)) = self.find(node, key).await?
            && is_completed(&existing, by, complete)?
        {
            return Ok(id);
        }
        let uploaded = objects.info(&object).await?;
        let uploaded = uploaded.ok_or_else(|| {
            Error::Conflict("the cache was announced, but its bytes were not uploaded".into())
        })?;
        let differs = uploaded.sha256.is_some_and(|hash| !hash.eq_ignore_ascii_case(&complete.sha256));
        if uploaded.size != complete.size || differs || uploaded.size > MAX_SIZE {
            // No record refers to it, and only this job can have uploaded it.
            objects.delete(&object).await?;
            return Err(Error::Conflict(format!(
                "the cache has {} bytes instead of {}, another hash, or more than {MAX_SIZE} bytes",
                uploaded.size, complete.size
            )));
        }
        let now = self.context.now();
        let due_at = Some(now.plus_ms(self.retention_ms(&self.repo(node).await?).await?));
        for _ in 0..MAX_ATTEMPTS {
            let existing = self.find(node, key).await?;
            if let Some((_, existing)) = &existing
                && is_completed(existing, by, complete)?
            {
                return Ok(id);
            }
            let stored = CacheRecord {
                object: id,
                by,
                replaced: existing.as_ref().map(|(_, old)| old.object),
                size: uploaded.size,
                sha256: complete.sha256.to_lowercase(),
                used_at: now,
            };
            let new = NewDocument {
                key: self.document(node, key).await?,
                value: to_json(&stored)?,
                due_at,
                expires_at: None,
            };
            let version = existing.as_ref().map(|(document, _)| document.version);
            if self.context.stores.documents.put(new, version).await? {
                if let Some((_, old)) = existing {
                    let object = self.object(node, key, old.by, old.object).await?;
                    if let Err(error) = objects.delete(&object).await {
                        tracing::warn!(%error, "cannot delete the object of a replaced cache");
                    }
                }
                return Ok(id);
            }
        }
        Err(Error::Conflict("other jobs are writing the cache at the same time".into()))
    }

    /// Removes at most `limit` unused caches, and returns their number. One that cannot be removed is retried with backoff and does not
    /// delay others.
    pub async fn expire(&self, limit: usize) -> Result<usize> {
        let now = self.context.now();
        let mut number = 0;
        for document in self.context.stores.documents.due(DOCUMENT_KIND, now, limit).await? {
            let name = format!("cache {}", document.key.name);
            match self.remove(&document).await {
                Ok(()) => {
                    self.context.backoff.succeeded(&name);
                    number += 1;
                }
                Err(error) => {
                    let retry_at = self.context.backoff.failed(&name, now);
                    tracing::warn!(cache = ?document.key.name, %error, %retry_at, "cannot remove a cache; it is retried later");
                    self.context.postpone(&document, retry_at).await;
                }
            }
        }
        Ok(number)
    }

    /// Removes up to `limit` caches, those first whose retention ends first, as they were not used for the longest time. Returns their
    /// number. One that cannot be removed stays as it is, and does not keep the others.
    pub(crate) async fn evict(&self, limit: usize) -> Result<usize> {
        let end_of_time = Timestamp(i64::MAX);
        let mut number = 0;
        for document in self.context.stores.documents.due(DOCUMENT_KIND, end_of_time, limit).await? {
            match self.remove(&document).await {
                Ok(()) => number += 1,
                Err(error) => {
                    tracing::warn!(cache = ?document.key.name, %error, "cannot remove a cache to free space");
                }
            }
        }
        Ok(number)
    }

    /// Returns how long an unused cache of a repository is kept.
    async fn retention_ms(&self, repo: &str) -> Result<i64> {
        Ok(self.context.cache_days(repo).await? * DAY_MS)
    }

    async fn remove(&self, document: &Document) -> Result<()> {
        let stored = read(document)?;
        let (repo, key) = document.key.name.split_once('\n').unwrap_or_default();
        // The record is deleted last, so that no object is left without a record. A record without an object is a cache miss.
        self.context.stores.objects.delete(&object_key(repo, key, stored.by, stored.object)).await?;
        self.context.stores.documents.delete(&document.key, Some(document.version)).await.map(drop)
    }

    async fn note_use(&self, document: &Document, stored: &CacheRecord) {
        let now = self.context.now();
        if now.since_ms(stored.used_at) < TOUCH_INTERVAL_MS {
            return;
        }
        let used = CacheRecord { used_at: now, ..stored.clone() };
        let repo = document.key.name.split_once('\n').unwrap_or_default().0;
        let (Ok(value), Ok(retention_ms)) = (to_json(&used), self.retention_ms(repo).await) else { return };
        let due_at = Some(now.plus_ms(retention_ms));
        let new = NewDocument { key: document.key.clone(), value, due_at, expires_at: None };
        // On a conflict, another job used the cache at the same time.
        if let Err(error) = self.context.stores.documents.put(new, Some(document.version)).await {
            tracing::debug!(%error, "cannot record the use of a cache");
        }
    }

    async fn find(&self, node: &Node, key: &str) -> Result<Option<(Document, CacheRecord)>> {
        let key = self.document(node, key).await?;
        let Some(document) = self.context.stores.documents.get(&key).await? else { return Ok(None) };
        let stored = read(&document)?;
        Ok(Some((document, stored)))
    }

    /// Returns the key of the cache's document. The repository comes from the records, never from the worker.
    async fn document(&self, node: &Node, key: &str) -> Result<DocumentKey> {
        check(key)?;
        Ok(DocumentKey::new(DOCUMENT_KIND, format!("{}\n{key}", self.repo(node).await?)))
    }

    /// Returns the key of the object `id` of a job. It contains the hashes of repository and cache key, so no job can reach an object of
    /// another repository or another cache key.
    async fn object(&self, node: &Node, key: &str, by: JobId, id: ArtifactId) -> Result<String> {
        check(key)?;
        Ok(object_key(&self.repo(node).await?, key, by, id))
    }

    /// Returns the key of an object of the job of `node`.
    async fn own_object(&self, node: &Node, key: &str, id: ArtifactId) -> Result<String> {
        self.object(node, key, job_of_node(node)?, id).await
    }

    async fn repo(&self, node: &Node) -> Result<String> {
        let execution = self.context.cached_execution(node.key.execution).await?;
        // A line break separates the parts of a document name.
        Ok(canonical_name(&execution.spec.repo).replace('\n', " "))
    }

    /// Returns an error for jobs of a fork, whose caches could poison later jobs of the repository.
    async fn check_may_store(&self, node: &Node) -> Result<()> {
        if self.context.cached_execution(node.key.execution).await?.spec.facts.is_from_fork() {
            return Err(Error::Conflict("a job of a fork may not store caches".into()));
        }
        Ok(())
    }

    async fn leased_node(&self, job: JobId, lease: LeaseToken) -> Result<Node> {
        let node = self.context.job(job).await?;
        if job_of(&node)?.job.is_leased_to(lease) {
            return Ok(node);
        }
        Err(Error::LeaseLost(format!("the lease of job {job} is not valid; it cannot use caches")))
    }
}

/// Whether the recorded cache is the one to complete, or has replaced it.
fn is_completed(existing: &CacheRecord, by: JobId, complete: &ArtifactComplete) -> Result<bool> {
    if existing.replaced == Some(complete.artifact_id) {
        return Ok(true);
    }
    if existing.object != complete.artifact_id || existing.by != by {
        return Ok(false);
    }
    if existing.size == complete.size && existing.sha256.eq_ignore_ascii_case(&complete.sha256) {
        return Ok(true);
    }
    Err(Error::Conflict("the cache is complete with other bytes; announce a new one".into()))
}

fn job_of_node(node: &Node) -> Result<JobId> {
    node.spec.job.ok_or_else(|| Error::NotFound("only jobs have caches".into()))
}

fn check(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > MAX_KEY_LEN || key.contains(char::is_control) {
        return Err(Error::Invalid(format!(
            "a cache's key has 1 to {MAX_KEY_LEN} bytes, without control characters"
        )));
    }
    Ok(())
}

/// Encodes a key for a URL.
pub(crate) fn encode_key(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

fn key_from_query(text: &str) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|_| text.len() <= 2 * MAX_KEY_LEN);
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| Error::Invalid("`key` is not a valid cache key; use the URL from the lookup".into()))
}

fn object_key(repo: &str, key: &str, by: JobId, id: ArtifactId) -> String {
    format!("artifacts/cache/{}/{}/{by}/{id}", sha256_hex(repo.as_bytes()), sha256_hex(key.as_bytes()))
}

fn read(document: &Document) -> Result<CacheRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a cache's record", error))
}

fn to_json(stored: &CacheRecord) -> Result<String> {
    serde_json::to_string(stored).map_err(|error| Error::storage("recording a cache", error))
}
