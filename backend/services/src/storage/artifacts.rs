//! ArtifactService: takes what jobs leave, and gives it back.

use super::{
    caches::{CacheService, in_query},
    download::{Download, put_at_most, too_large},
};
use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    ports::{ArtifactRecord, ByteStream, Commit, Node, UploadTarget, UploadUrl, Write},
};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::{
    api::{ArtifactComplete, ArtifactList, ArtifactUploadReply, ArtifactUploadRequest, ArtifactView, path},
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken},
    plan::PlannedJob,
};

/// Files listed of one artifact; more are stored, but not listed.
const MAX_LISTED_FILES: usize = 10_000;
const MAX_ATTEMPTS: u32 = 100;

/// Artifacts.
#[derive(Debug, Clone)]
pub struct ArtifactService {
    context: Arc<Context>,
    caches: CacheService,
}

impl ArtifactService {
    pub(crate) fn new(context: Arc<Context>, caches: CacheService) -> Self {
        Self { context, caches }
    }

    /// First call: where to put the bytes. Second call, with `complete`: the artifact is recorded, durably. Both only
    /// for who holds the job's lease.
    pub async fn upload(&self, request: ArtifactUploadRequest) -> Result<ArtifactUploadReply> {
        let node = self.leased(request.job_id, request.lease).await?;
        if request.sum.as_ref().is_some_and(|sum| !sum.is_well_formed()) {
            return Err(Error::Invalid("a SHA-256 has 64 hex digits in lower case".into()));
        }
        let sum = request.sum.as_ref();
        let (artifact_id, place) = match (request.complete.clone(), request.cache_key.as_deref()) {
            (None, Some(key)) => self.caches.place(&node, key, sum).await?,
            (None, None) => {
                let id = own_id(&node)?;
                let place = self.context.stores.objects.put_place(&key(request.job_id, id), sum).await?;
                (id, place)
            }
            (Some(complete), cache_key) => {
                let artifact_id = match cache_key {
                    Some(key) => self.caches.complete(&node, key, &complete).await?,
                    None => self.complete(request.clone(), complete, node).await?,
                };
                return Ok(reply(artifact_id, None, BTreeMap::new()));
            }
        };
        Ok(match place {
            UploadTarget::Api => {
                let url = path::ARTIFACT_CONTENT.replace("{artifactId}", &artifact_id.to_string());
                let cache = request.cache_key.as_deref().map(|key| format!("&cache={}", in_query(key)));
                let cache = cache.unwrap_or_default();
                let url = format!("{url}?job={}&lease={}{cache}", request.job_id, request.lease);
                reply(artifact_id, Some(url), BTreeMap::new())
            }
            UploadTarget::SumNeeded => reply(artifact_id, None, BTreeMap::new()),
            UploadTarget::At(UploadUrl { url, headers }) => reply(artifact_id, Some(url), headers),
        })
    }

    async fn complete(
        &self,
        request: ArtifactUploadRequest,
        complete: ArtifactComplete,
        mut node: Node,
    ) -> Result<ArtifactId> {
        let id = own_id(&node)?;
        if complete.artifact_id != id {
            return Err(not_own(complete.artifact_id));
        }
        let stored = self.context.stores.objects.info(&key(request.job_id, id)).await?;
        let stored = stored.ok_or_else(|| {
            Error::Conflict(format!("artifact {id} was announced, but its bytes were never put"))
        })?;
        let max = self.context.settings.max_artifact_bytes;
        if stored.size > max {
            // What was put straight into the store is seen only now.
            self.context.stores.objects.delete(&key(request.job_id, id)).await?;
            return Err(too_large(max));
        }
        // A store that cannot tell the hash is believed; who fetches the artifact checks it against the record's.
        let sha256 = stored.sha256.unwrap_or_else(|| complete.sha256.to_lowercase());
        if stored.size != complete.size || !sha256.eq_ignore_ascii_case(&complete.sha256) {
            return Err(Error::Conflict(format!(
                "artifact {id} arrived with {} bytes and hash {sha256}, not the {} bytes and {} that were sent: put it again",
                stored.size, complete.size, complete.sha256
            )));
        }
        let now = self.context.now();
        let mut files = request.files;
        files.truncate(MAX_LISTED_FILES);
        let expires_at = request
            .expire_in_s
            .map(|s| now.plus_ms(i64::try_from(s.saturating_mul(1000)).unwrap_or(i64::MAX)));
        let record = ArtifactRecord {
            id,
            execution: node.key.execution,
            ix: node.key.ix,
            job: request.job_id,
            attempt: job_of(&node)?.job.attempt,
            job_name: node.spec.name.clone(),
            file_path: request.file_path,
            uploaded_at: now,
            size: stored.size,
            sha256,
            encoding: "identity".into(),
            files,
            expires_at,
        };
        for _ in 0..MAX_ATTEMPTS {
            // Conditional on the node as it was when the lease was seen valid.
            let same = Write::SetDue { key: node.key, if_version: node.version, due_at: node.due_at };
            let put = Write::PutArtifact(Box::new(record.clone()));
            if let Commit::Done(_) = self.context.stores.records.commit(vec![same, put]).await? {
                return Ok(id);
            }
            node = self.leased(request.job_id, request.lease).await?;
        }
        Err(Error::Conflict(format!("job {} changes too fast; try again", request.job_id)))
    }

    /// Stores an artifact's bytes, for servers that presign to themselves.
    pub async fn put(
        &self,
        id: ArtifactId,
        (job, lease): (JobId, LeaseToken),
        cache_key: Option<&str>,
        bytes: ByteStream,
    ) -> Result<()> {
        let node = self.leased(job, lease).await?;
        if let Some(cache_key) = cache_key {
            return self.caches.put((cache_key, id), &node, bytes).await;
        }
        if id != own_id(&node)? {
            return Err(not_own(id));
        }
        let max = self.context.settings.max_artifact_bytes;
        put_at_most(&self.context, &key(job, id), bytes, max).await
    }

    /// Artifacts of an execution, those of jobs that it took over from the execution it retries among them.
    pub async fn list(&self, execution: ExecutionId) -> Result<ArtifactList> {
        let found = self.context.execution(execution).await?;
        let records = &self.context.stores.records;
        let mut artifacts: Vec<(u32, ArtifactRecord)> =
            records.artifacts(execution).await?.into_iter().map(|record| (record.ix, record)).collect();
        for (ix, from) in found.spec.carried {
            artifacts.extend(records.artifacts_of(from).await?.into_iter().map(|record| (ix, record)));
        }
        artifacts.sort_by_key(|(ix, record)| (*ix, record.uploaded_at));
        Ok(ArtifactList { artifacts: artifacts.into_iter().map(|(_, record)| view(record)).collect() })
    }

    /// The repository of an artifact's execution.
    pub async fn repo(&self, id: ArtifactId) -> Result<String> {
        let record = self.context.stores.records.artifact(id).await?.ok_or_else(|| gone(id))?;
        Ok(self.context.cached_execution(record.execution).await?.spec.repo.clone())
    }

    /// Refuses an artifact to who does not hold the lease of a job of the same repository: an execution also reads what the one
    /// that it retries left.
    pub async fn must_be_for(&self, id: ArtifactId, job: JobId, lease: LeaseToken) -> Result<()> {
        let node = self.leased(job, lease).await?;
        let own = self.context.cached_execution(node.key.execution).await?;
        if self.repo(id).await? == own.spec.repo { Ok(()) } else { Err(gone(id)) }
    }

    /// An artifact, and where its bytes are.
    pub async fn download(&self, id: ArtifactId) -> Result<Download<ArtifactView>> {
        let record = self.context.stores.records.artifact(id).await?.ok_or_else(|| gone(id))?;
        if let Some(address) = self.context.stores.objects.get_address(&key(record.job, id)).await? {
            return Ok(Download::Elsewhere(address));
        }
        let bytes =
            self.context.stores.objects.get(&key(record.job, id)).await.map_err(|error| match error {
                Error::NotFound(_) => gone(id),
                other => other,
            })?;
        Ok(Download::Here(view(record), bytes))
    }

    /// Removes artifacts whose time is over, at most `limit`, and gives their number. One that cannot be removed is tried again later,
    /// each time after a longer pause, and does not keep others.
    pub async fn expire(&self, limit: usize) -> Result<usize> {
        let now = self.context.now();
        let mut number = 0;
        for record in self.context.stores.records.expired_artifacts(now, limit).await? {
            let name = format!("artifact {}", record.id);
            match self.remove(&record).await {
                Ok(()) => {
                    self.context.backoff.succeeded(&name);
                    number += 1;
                }
                Err(error) => {
                    let retry_at = self.context.backoff.failed(&name, now);
                    tracing::warn!(artifact = %record.id, %error, %retry_at, "an artifact cannot be removed");
                    let later = ArtifactRecord { expires_at: Some(retry_at), ..record };
                    let put = Write::PutArtifact(Box::new(later));
                    if let Err(error) = self.context.stores.records.commit(vec![put]).await {
                        tracing::warn!(%error, "it stays due; the next sweep tries again");
                    }
                }
            }
        }
        Ok(number)
    }

    async fn remove(&self, record: &ArtifactRecord) -> Result<()> {
        // The record goes last: should this die between the two, the sweep comes back to it.
        self.context.stores.objects.delete(&key(record.job, record.id)).await?;
        self.context.stores.records.commit(vec![Write::DeleteArtifact(record.id)]).await.map(drop)
    }

    async fn leased(&self, job: JobId, lease: LeaseToken) -> Result<Node> {
        let node = self.context.job(job).await?;
        if job_of(&node)?.job.holds(lease) {
            return Ok(node);
        }
        Err(Error::LeaseLost(format!(
            "this lease on job {job} is not valid (any more): its artifacts are refused"
        )))
    }
}

/// Whether what a job left, if it declares artifacts, is there for another execution to take over.
pub(crate) async fn carried_artifact_is_there(
    context: &Context,
    planned: &PlannedJob,
    job: JobId,
) -> Result<bool> {
    let leaves_none = planned.artifacts.as_ref().is_none_or(|artifacts| artifacts.paths.is_empty());
    Ok(leaves_none || !context.stores.records.artifacts_of(job).await?.is_empty())
}

/// The artifact of a job's attempt.
fn own_id(node: &Node) -> Result<ArtifactId> {
    Ok(ArtifactId::of(node.key.execution, node.key.ix, job_of(node)?.job.attempt, 0))
}

fn not_own(id: ArtifactId) -> Error {
    Error::Conflict(format!("artifact {id} is not this attempt's; announce it, and use the id of the reply"))
}

fn reply(
    artifact_id: ArtifactId,
    url: Option<String>,
    headers: BTreeMap<String, String>,
) -> ArtifactUploadReply {
    ArtifactUploadReply { artifact_id, url, headers, encoding: "identity".into() }
}

fn gone(id: ArtifactId) -> Error {
    Error::NotFound(format!("there is no artifact {id}; perhaps its `expire_in` is over"))
}

fn key(job: JobId, artifact: ArtifactId) -> String {
    format!("artifacts/{job}/{artifact}")
}

/// An artifact as the API shows it.
fn view(record: ArtifactRecord) -> ArtifactView {
    ArtifactView {
        id: record.id,
        job_execution_id: record.job,
        job_name: record.job_name,
        file_path: record.file_path,
        uploaded_at: record.uploaded_at,
        size: record.size,
        sha256: record.sha256,
        encoding: record.encoding,
        files: record.files,
        expires_at: record.expires_at,
    }
}
