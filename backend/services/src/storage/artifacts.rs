//! Stores and serves artifacts of jobs.

use super::{
    caches::{CacheService, encode_key},
    download::{Download, put_bounded, too_large},
    file_access::FileAccess,
};
use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    ports::{ArtifactRecord, ByteStream, Commit, Node, UploadTarget, UploadUrl, Write},
};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::{
    api::{
        ArtifactComplete, ArtifactList, ArtifactUploadReply, ArtifactUploadRequest, ArtifactView,
        is_image_id, path,
    },
    execution::assignment::Artifacts,
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken},
    plan::PlannedJob,
};

/// Maximum number of listed files of one artifact; further files are stored, but not listed.
pub(super) const MAX_LISTED_FILES: usize = 10_000;
const MAX_ATTEMPTS: u32 = 100;

/// Service for artifacts.
#[derive(Debug, Clone)]
pub struct ArtifactService {
    pub(super) context: Arc<Context>,
    caches: CacheService,
    pub(super) files: FileAccess,
}

impl ArtifactService {
    pub(crate) fn new(context: Arc<Context>, caches: CacheService, files: FileAccess) -> Self {
        Self { context, caches, files }
    }

    /// The first call returns where to upload the bytes. The second one, with `complete`, records the artifact durably. Both require the
    /// lease of the job.
    pub async fn upload(&self, request: ArtifactUploadRequest) -> Result<ArtifactUploadReply> {
        let node = self.leased_node(request.job_id, request.lease).await?;
        if request.sum.as_ref().is_some_and(|sum| !sum.is_well_formed()) {
            return Err(Error::Invalid("a SHA-256 must be 64 lower-case hex digits".into()));
        }
        if let Some(image) = &request.image
            && (request.cache_key.is_some() || !is_image_id(image))
        {
            return Err(Error::Invalid(
                "an image is named by its id, as in `sha256:..`, and is no cache".into(),
            ));
        }
        let sum = request.sum.as_ref();
        let (artifact_id, target) = match (request.complete.clone(), request.cache_key.as_deref()) {
            (None, Some(key)) => self.caches.upload_target(&node, key, sum).await?,
            (None, None) => {
                let id = own_id(&node, request.image.is_some())?;
                let target = self.context.stores.objects.upload_target(&key(request.job_id, id), sum).await?;
                (id, target)
            }
            (Some(complete), cache_key) => {
                let artifact_id = match cache_key {
                    Some(key) => self.caches.complete(&node, key, &complete).await?,
                    None => self.complete(request.clone(), complete, node).await?,
                };
                return Ok(reply(artifact_id, None, BTreeMap::new()));
            }
        };
        Ok(match target {
            UploadTarget::Api => {
                let url = path::ARTIFACT_CONTENT.replace("{artifactId}", &artifact_id.to_string());
                let cache = request.cache_key.as_deref().map(|key| format!("&cache={}", encode_key(key)));
                let cache = cache.unwrap_or_default();
                let url = format!("{url}?job={}&lease={}{cache}", request.job_id, request.lease);
                reply(artifact_id, Some(url), BTreeMap::new())
            }
            UploadTarget::ChecksumRequired => reply(artifact_id, None, BTreeMap::new()),
            UploadTarget::Url(UploadUrl { url, headers }) => reply(artifact_id, Some(url), headers),
        })
    }

    async fn complete(
        &self,
        request: ArtifactUploadRequest,
        complete: ArtifactComplete,
        mut node: Node,
    ) -> Result<ArtifactId> {
        let id = own_id(&node, request.image.is_some())?;
        if complete.artifact_id != id {
            return Err(not_of_attempt(complete.artifact_id));
        }
        let stored = self.context.stores.objects.info(&key(request.job_id, id)).await?;
        let stored = stored.ok_or_else(|| {
            Error::Conflict(format!("artifact {id} was announced, but its bytes were not uploaded"))
        })?;
        let max = self.context.settings.max_artifact_bytes;
        if stored.size > max {
            // The size of an upload to the store is known only now.
            self.context.stores.objects.delete(&key(request.job_id, id)).await?;
            return Err(too_large(max));
        }
        // If the store does not know the hash, the announced one is recorded; a download checks the bytes against it.
        let sha256 = stored.sha256.unwrap_or_else(|| complete.sha256.to_lowercase());
        if stored.size != complete.size || !sha256.eq_ignore_ascii_case(&complete.sha256) {
            return Err(Error::Conflict(format!(
                "artifact {id} has {} bytes and hash {sha256} instead of {} bytes and {}; upload it again",
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
            name: request.name,
            expose_as: request.expose_as,
            encoding: complete.encoding,
            unpacked_size: complete.unpacked_size,
            image: request.image,
            files,
            expires_at,
        };
        for _ in 0..MAX_ATTEMPTS {
            // Conditional on the version of the node for which the lease was valid.
            let same = Write::SetDue { key: node.key, if_version: node.version, due_at: node.due_at };
            let put = Write::PutArtifact(Box::new(record.clone()));
            if let Commit::Done(_) = self.context.stores.records.commit(vec![same, put]).await? {
                return Ok(id);
            }
            node = self.leased_node(request.job_id, request.lease).await?;
        }
        Err(Error::Conflict(format!("job {} changes too fast; try again", request.job_id)))
    }

    /// Stores the bytes of an artifact, for servers whose upload URLs lead to themselves.
    pub async fn put(
        &self,
        id: ArtifactId,
        (job, lease): (JobId, LeaseToken),
        cache_key: Option<&str>,
        bytes: ByteStream,
    ) -> Result<()> {
        let node = self.leased_node(job, lease).await?;
        if let Some(cache_key) = cache_key {
            return self.caches.put((cache_key, id), &node, bytes).await;
        }
        if id != own_id(&node, false)? && id != own_id(&node, true)? {
            return Err(not_of_attempt(id));
        }
        let max = self.context.settings.max_artifact_bytes;
        put_bounded(&self.context, &key(job, id), bytes, max).await
    }

    /// Returns the artifacts of an execution, including those of carried-over jobs, without images.
    pub async fn list(&self, execution: ExecutionId) -> Result<ArtifactList> {
        let records = self.records(execution).await?;
        Ok(ArtifactList { artifacts: records.into_iter().map(|(_, record)| view(record)).collect() })
    }

    /// Returns the records of the artifacts of an execution, with the index of the job, in the order of the jobs.
    pub(super) async fn records(&self, execution: ExecutionId) -> Result<Vec<(u32, ArtifactRecord)>> {
        let found = self.context.execution(execution).await?;
        let records = &self.context.stores.records;
        let mut artifacts: Vec<(u32, ArtifactRecord)> =
            records.artifacts(execution).await?.into_iter().map(|record| (record.ix, record)).collect();
        for (ix, from) in found.spec.carried {
            artifacts.extend(records.artifacts_of(from).await?.into_iter().map(|record| (ix, record)));
        }
        artifacts.retain(|(_, record)| record.image.is_none());
        artifacts.sort_by_key(|(ix, record)| (*ix, record.uploaded_at));
        Ok(artifacts)
    }

    /// Returns the repository of an artifact's execution.
    pub async fn repo(&self, id: ArtifactId) -> Result<String> {
        let record = self.context.stores.records.artifact(id).await?.ok_or_else(|| not_found(id))?;
        Ok(self.context.cached_execution(record.execution).await?.spec.repo.clone())
    }

    /// Returns an error unless `lease` is the lease of a job of the same repository. An execution also reads artifacts of the execution
    /// that it retries.
    pub async fn check_lease(&self, id: ArtifactId, job: JobId, lease: LeaseToken) -> Result<()> {
        let node = self.leased_node(job, lease).await?;
        let own = self.context.cached_execution(node.key.execution).await?;
        if self.repo(id).await? == own.spec.repo { Ok(()) } else { Err(not_found(id)) }
    }

    /// Returns an artifact with its bytes, or where they are.
    pub async fn download(&self, id: ArtifactId) -> Result<Download<ArtifactView>> {
        let record = self.context.stores.records.artifact(id).await?.ok_or_else(|| not_found(id))?;
        if let Some(address) = self.context.stores.objects.download_url(&key(record.job, id)).await? {
            return Ok(Download::Redirect(address));
        }
        let bytes =
            self.context.stores.objects.get(&key(record.job, id)).await.map_err(|error| match error {
                Error::NotFound(_) => not_found(id),
                other => other,
            })?;
        Ok(Download::Stream(view(record), bytes))
    }

    /// Removes at most `limit` expired artifacts, and returns their number. One that cannot be removed is retried with backoff and does
    /// not delay others.
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
                    tracing::warn!(artifact = %record.id, %error, %retry_at, "cannot remove an artifact; it is retried later");
                    let later = ArtifactRecord { expires_at: Some(retry_at), ..record };
                    let put = Write::PutArtifact(Box::new(later));
                    if let Err(error) = self.context.stores.records.commit(vec![put]).await {
                        tracing::warn!(%error, "cannot postpone the removal; the next sweep retries it");
                    }
                }
            }
        }
        Ok(number)
    }

    /// Removes an artifact.
    pub(super) async fn remove(&self, record: &ArtifactRecord) -> Result<()> {
        // The record is deleted last: after a crash between the two, the sweep finds it again.
        self.context.stores.objects.delete(&key(record.job, record.id)).await?;
        self.context.stores.records.commit(vec![Write::DeleteArtifact(record.id)]).await.map(drop)
    }

    async fn leased_node(&self, job: JobId, lease: LeaseToken) -> Result<Node> {
        let node = self.context.job(job).await?;
        if job_of(&node)?.job.is_leased_to(lease) {
            return Ok(node);
        }
        Err(Error::LeaseLost(format!("the lease of job {job} is not valid; its artifacts are rejected")))
    }
}

/// Whether the artifacts that a job declares, if any, exist, and its image if other jobs need it, so that another execution can carry
/// the job over.
pub(crate) async fn has_carried_artifacts(
    context: &Context,
    planned: &PlannedJob,
    shares_image: bool,
    job: JobId,
) -> Result<bool> {
    if !needs_artifacts(planned, shares_image) {
        return Ok(true);
    }
    let stores_files = stores_files(planned);
    let records = context.stores.records.artifacts_of(job).await?;
    let has = |is_image: bool| records.iter().any(|record| record.image.is_some() == is_image);
    Ok((!stores_files || has(false)) && (!shares_image || has(true)))
}

/// Whether a job that is carried over has artifacts.
pub(crate) fn needs_artifacts(planned: &PlannedJob, shares_image: bool) -> bool {
    shares_image || stores_files(planned)
}

fn stores_files(planned: &PlannedJob) -> bool {
    planned.artifacts.as_ref().is_some_and(Artifacts::stores_files)
}

/// Returns the id of the artifact of the current attempt, or of its image.
fn own_id(node: &Node, is_image: bool) -> Result<ArtifactId> {
    Ok(ArtifactId::of(node.key.execution, node.key.ix, job_of(node)?.job.attempt, u32::from(is_image)))
}

fn not_of_attempt(id: ArtifactId) -> Error {
    Error::Conflict(format!(
        "artifact {id} does not belong to this attempt; announce the artifact, and use the id of the reply"
    ))
}

fn reply(
    artifact_id: ArtifactId,
    url: Option<String>,
    headers: BTreeMap<String, String>,
) -> ArtifactUploadReply {
    ArtifactUploadReply { artifact_id, url, headers }
}

pub(super) fn not_found(id: ArtifactId) -> Error {
    Error::NotFound(format!("there is no artifact {id}; it may have expired (`expire_in`)"))
}

pub(super) fn key(job: JobId, artifact: ArtifactId) -> String {
    format!("artifacts/{job}/{artifact}")
}

/// Converts a record for the API.
fn view(record: ArtifactRecord) -> ArtifactView {
    ArtifactView {
        id: record.id,
        job_execution_id: record.job,
        job_name: record.job_name,
        file_path: record.file_path,
        uploaded_at: record.uploaded_at,
        size: record.size,
        sha256: record.sha256,
        name: record.name,
        expose_as: record.expose_as,
        encoding: record.encoding,
        unpacked_size: record.unpacked_size,
        files: record.files,
        expires_at: record.expires_at,
    }
}
