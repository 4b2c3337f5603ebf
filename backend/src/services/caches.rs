//! CacheService: files that jobs of a repository keep for later ones. A cache is a help: whatever is missing is made again.

use super::{
    artifacts::Download,
    context::{Context, job_of},
};
use crate::{
    error::{Error, Result},
    ports::{Document, DocumentKey, NewDocument, Node, ObjectInfo},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidemill_core::{
    api::{ArtifactComplete, CacheFound, CacheLookupReply, CacheLookupRequest, path},
    assignment::ArtifactSource,
    ids::{ArtifactId, JobId, LeaseToken},
    repo::canonical,
    time::Timestamp,
};

const KIND: &str = "cache";
/// How long a cache is kept that nobody uses.
const KEPT_MS: i64 = 14 * 86_400_000;
/// A use is noted at most so often.
const NOTED_MS: u64 = 86_400_000;
/// The largest cache, in bytes.
const LARGEST: u64 = 5 << 30;
const LONGEST_KEY: usize = 400;
const MOST_KEYS: usize = 20;
const MOST_TRIES: u32 = 20;

/// Caches.
#[derive(Debug, Clone)]
pub struct CacheService {
    context: Arc<Context>,
}

/// A cache as it is recorded.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// Names the object that holds it.
    object: ArtifactId,
    size: u64,
    sha256: String,
    used_at: Timestamp,
}

impl CacheService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// The first of the keys under which something is kept for the job's repository.
    pub async fn lookup(&self, request: CacheLookupRequest) -> Result<CacheLookupReply> {
        let node = self.leased(request.job_id, request.lease).await?;
        if request.keys.len() > MOST_KEYS {
            return Err(Error::Invalid(format!("at most {MOST_KEYS} keys of a cache are looked up at once")));
        }
        for key in request.keys {
            let Some((document, stored)) = self.find(&node, &key).await? else { continue };
            self.note_use(&document, &stored).await;
            let here = || {
                let url = path::CACHE_CONTENT.replace("{jobId}", &request.job_id.to_string());
                format!("{url}?lease={}&object={}", request.lease, stored.object)
            };
            let address = self.context.stores.objects.get_address(&object(stored.object)).await?;
            let source = ArtifactSource {
                artifact_id: stored.object,
                from_job: format!("cache {key}"),
                url: address.unwrap_or_else(here),
                sha256: stored.sha256,
                size: stored.size,
            };
            return Ok(CacheLookupReply { found: Some(CacheFound { key, source }) });
        }
        Ok(CacheLookupReply { found: None })
    }

    /// The bytes of a cache of the job's repository.
    pub async fn download(
        &self,
        job: JobId,
        lease: LeaseToken,
        id: ArtifactId,
    ) -> Result<Download<ObjectInfo>> {
        self.leased(job, lease).await?;
        let gone = || Error::NotFound("this cache was replaced or removed; look it up again".into());
        let objects = &self.context.stores.objects;
        let info = objects.info(&object(id)).await?.ok_or_else(gone)?;
        Ok(Download::Here(info, objects.get(&object(id)).await?))
    }

    /// Where to put a cache's bytes, under an id that is given back with [`Self::complete`]; `None`: through the API.
    pub(super) async fn place(&self, node: &Node) -> Result<(ArtifactId, Option<String>)> {
        self.may_keep(node).await?;
        let attempt = job_of(node)?.job.attempt;
        // Each call has an object of its own: what others read is never written again.
        let id = ArtifactId(uuid::Uuid::now_v7());
        tracing::debug!(attempt, %id, "a cache is to be kept");
        Ok((id, self.context.stores.objects.put_address(&object(id)).await?))
    }

    /// Stores the bytes, for servers that presign to themselves.
    pub(super) async fn put(
        &self,
        id: ArtifactId,
        node: &Node,
        bytes: crate::ports::ByteStream,
    ) -> Result<()> {
        self.may_keep(node).await?;
        super::artifacts::put_at_most(&self.context, &object(id), bytes, LARGEST).await
    }

    /// Keeps what was put under `key`, in place of what was there.
    pub(super) async fn complete(
        &self,
        node: &Node,
        key: &str,
        complete: &ArtifactComplete,
    ) -> Result<ArtifactId> {
        self.may_keep(node).await?;
        if key.is_empty() || key.len() > LONGEST_KEY || key.contains(char::is_control) {
            return Err(Error::Invalid(format!(
                "a cache's key has 1 to {LONGEST_KEY} bytes, without control characters"
            )));
        }
        let objects = &self.context.stores.objects;
        let id = complete.artifact_id;
        let put = objects.info(&object(id)).await?;
        let put = put
            .ok_or_else(|| Error::Conflict("the cache was announced, but its bytes were never put".into()))?;
        let differs = put.sha256.is_some_and(|hash| !hash.eq_ignore_ascii_case(&complete.sha256));
        if put.size != complete.size || differs || put.size > LARGEST {
            objects.delete(&object(id)).await?;
            return Err(Error::Conflict(format!(
                "the cache arrived with {} bytes, and {} were sent; at most {LARGEST} are kept",
                put.size, complete.size
            )));
        }
        let now = self.context.now();
        let stored =
            Stored { object: id, size: put.size, sha256: complete.sha256.to_lowercase(), used_at: now };
        let value = text(&stored)?;
        for _ in 0..MOST_TRIES {
            let known = self.find(node, key).await?;
            let new = NewDocument {
                key: self.document(node, key).await?,
                value: value.clone(),
                due_at: Some(now.plus_ms(KEPT_MS)),
                expires_at: None,
            };
            let version = known.as_ref().map(|(document, _)| document.version);
            if self.context.stores.documents.put(new, version).await? {
                if let Some((_, old)) = known
                    && let Err(error) = objects.delete(&object(old.object)).await
                {
                    tracing::warn!(%error, "a cache that was replaced stays in the store");
                }
                return Ok(id);
            }
        }
        Err(Error::Conflict("the cache is kept by others at the same time".into()))
    }

    /// Removes caches that nobody used for long, at most `limit`.
    pub async fn expire(&self, limit: usize) -> Result<()> {
        let now = self.context.now();
        for document in self.context.stores.documents.due(KIND, now, limit).await? {
            let stored = read(&document)?;
            // The document goes first: an object that nothing names harms nobody, a name without an object is a miss.
            if self.context.stores.documents.delete(&document.key, Some(document.version)).await? {
                self.context.stores.objects.delete(&object(stored.object)).await?;
            }
        }
        Ok(())
    }

    async fn note_use(&self, document: &Document, stored: &Stored) {
        let now = self.context.now();
        if now.since_ms(stored.used_at) < NOTED_MS {
            return;
        }
        let used = Stored { used_at: now, sha256: stored.sha256.clone(), ..*stored };
        let Ok(value) = text(&used) else { return };
        let due_at = Some(now.plus_ms(KEPT_MS));
        let new = NewDocument { key: document.key.clone(), value, due_at, expires_at: None };
        // Whoever wrote it meanwhile used it, too.
        if let Err(error) = self.context.stores.documents.put(new, Some(document.version)).await {
            tracing::debug!(%error, "the use of a cache is not noted");
        }
    }

    async fn find(&self, node: &Node, key: &str) -> Result<Option<(Document, Stored)>> {
        let key = self.document(node, key).await?;
        let Some(document) = self.context.stores.documents.get(&key).await? else { return Ok(None) };
        let stored = read(&document)?;
        Ok(Some((document, stored)))
    }

    /// Caches are a repository's own: which it is, the record says, and never the worker.
    async fn document(&self, node: &Node, key: &str) -> Result<DocumentKey> {
        let shape = self.context.shape(node.key.execution).await?;
        Ok(DocumentKey::new(KIND, format!("{}\n{key}", canonical(&shape.spec.repo))))
    }

    /// A fork's commit could leave something that later jobs of others take for their own.
    async fn may_keep(&self, node: &Node) -> Result<()> {
        if self.context.shape(node.key.execution).await?.spec.facts.is_from_fork() {
            return Err(Error::Conflict("a job whose commit comes from a fork may not keep caches".into()));
        }
        Ok(())
    }

    async fn leased(&self, job: JobId, lease: LeaseToken) -> Result<Node> {
        let node = self.context.job(job).await?;
        if job_of(&node)?.job.holds(lease) {
            return Ok(node);
        }
        Err(Error::LeaseLost(format!("this lease on job {job} is not valid (any more): it gets no caches")))
    }
}

fn object(id: ArtifactId) -> String {
    format!("artifacts/cache/{id}")
}

fn read(document: &Document) -> Result<Stored> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a cache's record", error))
}

fn text(stored: &Stored) -> Result<String> {
    serde_json::to_string(stored).map_err(|error| Error::storage("recording a cache", error))
}
