//! Restores artifacts and caches into workspaces, and stores those of jobs.

mod cache;
mod directory;
mod failure;
mod hashing;
pub(crate) mod pack;
pub(crate) mod reading;

pub use cache::ArtifactCache;

use self::failure::{TransferError, with_retries};
use crate::{
    client::ApiClient,
    engine::{DockerManager, WorkspaceMount, engine_failure, give_entries, is_bad_request, is_not_found},
    log::mask::SecretMask,
    workspace::{FileOwner, HostWorkspace, PermissionPolicy},
};
use bollard::errors::Error as EngineError;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use globset::GlobSet;
use hashing::HashingReader;
use pack::{BUFFER_SIZE, Packed, Packer, compile_globs, literal_prefix};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufReader, Write as _},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use tidemill_core::execution::{
    assignment::{ArtifactSource, Artifacts, Assignment},
    failure::{FailureKind, FailureReason},
};
use tidemill_core::{
    api::{ArtifactComplete, ArtifactUploadRequest, ContentChecksum},
    ids::{ArtifactId, JobId, LeaseToken},
};
use tokio::{io::AsyncWriteExt, sync::mpsc};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

/// Maximum number of files in an artifact's listing.
const MAX_LISTED: usize = 10_000;
/// Maximum number of unsent chunks of a tar.
const MAX_QUEUED_CHUNKS: usize = 16;

type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// Transfers artifacts between the server and workspaces.
#[derive(Debug, Clone)]
pub struct ArtifactTransfer {
    /// Client of the server.
    pub api: ApiClient,
    /// The engine of the workspaces.
    pub engine: Arc<DockerManager>,
    /// Cache of artifacts; `None` if the server is on this machine, where a copy would only fill the disk.
    pub cache: Option<ArtifactCache>,
}

impl ArtifactTransfer {
    /// Unpacks `artifact` into the workspace, and verifies its hash.
    pub async fn restore(
        &self,
        workspace: &WorkspaceMount,
        artifact: &ArtifactSource,
    ) -> Result<(), FailureReason> {
        let restored = with_retries(|| self.restore_once(workspace, artifact)).await;
        let what = format!("the artifact of `{}` could not be unpacked", artifact.from_job);
        restored.map_err(|error| error.into_reason(&what))
    }

    async fn restore_once(
        &self,
        workspace: &WorkspaceMount,
        artifact: &ArtifactSource,
    ) -> Result<(), TransferError> {
        if let Some(host_workspace) = self.engine.host_workspace(workspace).await {
            match self.unpack(host_workspace, workspace.owner, artifact).await? {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error.into()),
                // Only the engine can resolve the container's own links and mounts.
                Err(error) => {
                    tracing::debug!(%error, "unpacking the artifact directly failed; using the engine");
                }
            }
        }
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let download_failed = Arc::new(AtomicBool::new(false));
        let (received_hash, failed) = (hash.clone(), download_failed.clone());
        let tar = self.bytes(artifact).await?;
        let tar = tar.inspect_err(move |_| failed.store(true, Ordering::Relaxed)).inspect_ok(move |chunk| {
            if let Ok(mut hash) = received_hash.lock() {
                hash.update(chunk);
            }
        });
        let (tar, given) = match workspace.user {
            Some(ids) => {
                let (tar, task) = give_entries(tar, ids);
                (tar.boxed(), Some(task))
            }
            None => (tar.boxed(), None),
        };
        let uploaded = self.engine.upload(&workspace.container, tar).await;
        if let Some(task) = given {
            // Its hash is complete only then.
            drop(task.await);
        }
        uploaded.map_err(|error| {
            // The engine only sees a truncated tar.
            let is_transient = download_failed.load(Ordering::Relaxed);
            match error {
                error if is_transient => TransferError::Transient(error.to_string()),
                // The engine is available but rejects this tar.
                error if is_bad_request(&error) => TransferError::Other(error.to_string()),
                error => TransferError::Reason(engine_failure(
                    "the engine could not unpack it into the container",
                    &error,
                )),
            }
        })?;
        let actual = hash.lock().map(|hash| HEXLOWER.encode(&hash.clone().finalize())).unwrap_or_default();
        verify_hash(&actual, artifact)
    }

    /// Unpacks `artifact` into a workspace on this machine. The inner error is that of the workspace.
    async fn unpack(
        &self,
        host_workspace: Arc<HostWorkspace>,
        owner: FileOwner,
        artifact: &ArtifactSource,
    ) -> Result<io::Result<()>, TransferError> {
        let bytes = SyncIoBridge::new(StreamReader::new(self.bytes(artifact).await?));
        let task = blocking(move || {
            let mut bytes = HashingReader { bytes, hash: Sha256::new() };
            let reader = BufReader::with_capacity(BUFFER_SIZE, &mut bytes);
            let unpacked = host_workspace.unpack(reader, PermissionPolicy::Owned(owner));
            if unpacked.is_ok() {
                // The hash includes the bytes after the tar's end.
                io::copy(&mut bytes, &mut io::sink())?;
            }
            Ok((unpacked, HEXLOWER.encode(&bytes.hash.finalize())))
        });
        let (unpacked, actual) = task.await?;
        if unpacked.is_ok() {
            verify_hash(&actual, artifact)?;
        }
        Ok(unpacked)
    }

    /// Returns the bytes of `artifact` from the cache or the server; a download also fills the cache.
    async fn bytes(&self, artifact: &ArtifactSource) -> Result<Chunks, TransferError> {
        let Some(cache) = &self.cache else { return Ok(self.api.get(&artifact.url).await?.boxed()) };
        let (lookup, sha256) = (cache.clone(), artifact.sha256.clone());
        let file = match blocking(move || Ok(lookup.get(&sha256))).await? {
            Some(file) => file,
            None => match self.fetch(cache.clone(), artifact).await {
                Ok(file) => file,
                // Without the cache, the artifact is only downloaded.
                Err(TransferError::Io(error)) if error.kind() != io::ErrorKind::StorageFull => {
                    tracing::warn!(%error, "the artifact cache of this worker cannot be used");
                    return Ok(self.api.get(&artifact.url).await?.boxed());
                }
                Err(error) => return Err(error),
            },
        };
        Ok(ReaderStream::with_capacity(tokio::fs::File::from_std(file), BUFFER_SIZE).boxed())
    }

    async fn fetch(&self, cache: ArtifactCache, artifact: &ArtifactSource) -> Result<File, TransferError> {
        let spool_cache = cache.clone();
        let mut spool = blocking(move || spool_cache.spool()).await?;
        let mut bytes = Box::pin(self.api.get(&artifact.url).await?);
        let mut hash = Sha256::new();
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|error| TransferError::Transient(error.to_string()))?;
            hash.update(&chunk);
            // A write to the page cache does not block for long.
            spool.write_all(&chunk)?;
        }
        let actual = HEXLOWER.encode(&hash.finalize());
        verify_hash(&actual, artifact)?;
        blocking(move || cache.keep(spool, &actual)).await
    }

    /// Collects the files of `declared` from the workspace and stores them; masks secrets in file names. Returns
    /// warnings as log lines.
    pub async fn collect(
        &self,
        workspace: &WorkspaceMount,
        declared: &Artifacts,
        holder: (JobId, LeaseToken),
        mask: &SecretMask,
    ) -> Result<String, FailureReason> {
        let started = Instant::now();
        let result = with_retries(|| self.collect_once(workspace, declared, holder, mask)).await;
        tracing::debug!(took = ?started.elapsed(), "artifacts collected");
        result.map_err(|error| error.into_reason("artifacts could not be stored"))
    }

    async fn collect_once(
        &self,
        workspace: &WorkspaceMount,
        declared: &Artifacts,
        (job_id, lease): (JobId, LeaseToken),
        mask: &SecretMask,
    ) -> Result<String, TransferError> {
        let request = ArtifactUploadRequest {
            job_id,
            lease,
            file_path: declared.paths.join(", "),
            files: Vec::new(),
            expire_in_s: declared.expire_in_s,
            cache_key: None,
            sum: None,
            complete: None,
        };
        let max = self.engine.limits().artifact_bytes;
        self.send(workspace, &declared.paths, request, (mask, max)).await.map(|(_, warnings)| warnings)
    }

    /// Packs the files that match `paths`, at most `max` bytes, and stores them according to `request`, with masked
    /// names. Returns the size, or `None` if there is no file, and warnings.
    async fn send(
        &self,
        workspace: &WorkspaceMount,
        paths: &[String],
        mut request: ArtifactUploadRequest,
        (mask, max): (&SecretMask, u64),
    ) -> Result<(Option<u64>, String), TransferError> {
        request.file_path = mask.mask_text(&request.file_path);
        let (sender, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        // Packing and storing run concurrently.
        let packing = self.pack(workspace, paths, sender, max);
        let (packed, stored) = tokio::join!(packing, self.store(chunks, request));
        match (packed, stored) {
            (Ok((Some(mut packed), warnings)), Ok(Some(request))) => {
                let size = packed.size;
                packed.files.truncate(MAX_LISTED);
                for file in &mut packed.files {
                    file.path = mask.mask_text(&file.path);
                }
                self.complete(packed, request).await?;
                Ok((Some(size), warnings))
            }
            (Ok((_, warnings)), Ok(_)) => Ok((None, warnings)),
            // A closed channel means that storing failed; report that error.
            (Err(TransferError::Io(error)), Err(stored)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(stored)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Stores the files that match `paths` under a cache key, unless their hash is `known`. Returns the bytes sent, or
    /// `None` if there is no file or no change.
    pub async fn save_cache(
        &self,
        workspace: &WorkspaceMount,
        paths: &[String],
        key: &str,
        known: Option<&str>,
        (assignment, mask): (&Assignment, &SecretMask),
    ) -> Result<Option<u64>, FailureReason> {
        let saved = async {
            if let Some(known) = known
                && self.packed_hash(workspace, paths).await?.as_deref() == Some(known)
            {
                return Ok(None);
            }
            let request = ArtifactUploadRequest {
                job_id: assignment.preparation.job_id,
                lease: assignment.lease.token,
                file_path: paths.join(", "),
                files: Vec::new(),
                expire_in_s: None,
                cache_key: Some(key.to_owned()),
                sum: None,
                complete: None,
            };
            let max = self.engine.limits().cache_bytes;
            self.send(workspace, paths, request, (mask, max)).await.map(|(size, _)| size)
        };
        saved.await.map_err(|error: TransferError| error.into_reason("the cache could not be stored"))
    }

    /// Computes the hash of the tar of `paths` without sending it.
    async fn packed_hash(
        &self,
        workspace: &WorkspaceMount,
        paths: &[String],
    ) -> Result<Option<String>, TransferError> {
        let (sender, mut chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let drain = async { while chunks.recv().await.is_some() {} };
        let max = self.engine.limits().cache_bytes;
        let (packed, ()) = tokio::join!(self.pack(workspace, paths, sender, max), drain);
        Ok(packed?.0.map(|packed| packed.sha256))
    }

    async fn pack(
        &self,
        workspace: &WorkspaceMount,
        paths: &[String],
        sender: mpsc::Sender<io::Result<Bytes>>,
        max: u64,
    ) -> Result<(Option<Packed>, String), TransferError> {
        let mut result = self.pack_into(workspace, paths, sender.clone(), max).await;
        // In a workspace that was removed no file matches, which must not count as the job's result.
        let is_suspect = match &result {
            Ok((_, warnings)) => !warnings.is_empty(),
            Err(error) => matches!(error, TransferError::Io(_) | TransferError::Other(_)),
        };
        if is_suspect && self.engine.has_container(&workspace.container).await == Some(false) {
            let message = "the container with the workspace was removed; check that nothing on the worker's machine removes containers of jobs";
            result = Err(TransferError::Reason(FailureReason::new(FailureKind::EngineFailed, message)));
        }
        if result.is_err() {
            // An incomplete tar must not look complete.
            let broken = io::Error::new(io::ErrorKind::Interrupted, "the artifacts could not be packed");
            let _ = sender.send(Err(broken)).await;
        }
        result
    }

    async fn pack_into(
        &self,
        workspace: &WorkspaceMount,
        paths: &[String],
        sender: mpsc::Sender<io::Result<Bytes>>,
        max: u64,
    ) -> Result<(Option<Packed>, String), TransferError> {
        let mut warnings = String::new();
        let set = Arc::new(compile_globs(paths).map_err(|error| TransferError::Other(error.to_string()))?);
        let cache = self.cache.clone();
        let spool = match blocking(move || cache.map(|cache| cache.spool()).transpose()).await {
            Err(TransferError::Io(error)) if error.kind() != io::ErrorKind::StorageFull => {
                tracing::warn!(%error, "the artifact cache of this worker cannot be used");
                None
            }
            spool => spool?,
        };
        let mut packer = Packer::new(sender, spool).with_max_size(max);
        let host_workspace = self.engine.host_workspace(workspace).await;
        for pattern in paths {
            let before = packer.files.len();
            packer = self.pack_one(workspace, host_workspace.clone(), packer, pattern, set.clone()).await?;
            if packer.files.len() == before && !packer.has_match(pattern) {
                let _ = writeln!(warnings, "warning: artifacts: no file matches `{pattern}`");
            }
        }
        if packer.is_empty() {
            return Ok((None, warnings));
        }
        Ok((Some(blocking(move || packer.finish()).await?), warnings))
    }

    async fn pack_one(
        &self,
        workspace: &WorkspaceMount,
        host_workspace: Option<Arc<HostWorkspace>>,
        mut packer: Packer,
        pattern: &str,
        set: Arc<GlobSet>,
    ) -> Result<Packer, TransferError> {
        let prefix = literal_prefix(pattern);
        if let Some(host_workspace) = host_workspace {
            let (prefix, set) = (prefix.clone(), set.clone());
            let packed = blocking(move || {
                let is_packed = packer.add_directory(&host_workspace, &prefix, &set)?;
                Ok((packer, is_packed))
            });
            let (returned, is_packed) = packed.await?;
            if is_packed {
                return Ok(returned);
            }
            packer = returned;
        }
        let stream = self.engine.download(&workspace.container, &prefix);
        let mut stream = Box::pin(stream.map_err(io::Error::other)).peekable();
        match Pin::new(&mut stream).peek().await {
            Some(Ok(_)) => {
                let reader = SyncIoBridge::new(StreamReader::new(stream));
                blocking(move || packer.add_tar(reader, &prefix, &set).map(|()| packer)).await
            }
            Some(Err(error)) => {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<EngineError>());
                // A missing container gives the same error; `pack` checks for that.
                if cause.is_some_and(is_not_found) {
                    return Ok(packer);
                }
                let failed = cause.map_or_else(
                    || TransferError::Other(error.to_string()),
                    |cause| {
                        TransferError::Reason(engine_failure("the engine could not read the files", cause))
                    },
                );
                // Dropping the tar writes its end, which may block.
                tokio::task::spawn_blocking(move || drop(packer));
                Err(failed)
            }
            None => Ok(packer),
        }
    }

    /// Sends `chunks` to the upload URL that the server returns. Returns the request with the artifact's id, or `None`
    /// if there are no chunks.
    async fn store(
        &self,
        mut chunks: mpsc::Receiver<io::Result<Bytes>>,
        request: ArtifactUploadRequest,
    ) -> Result<Option<(ArtifactUploadRequest, ArtifactId)>, TransferError> {
        let Some(first) = chunks.recv().await else { return Ok(None) };
        let rest = stream::unfold(chunks, |mut chunks| async { Some((chunks.recv().await?, chunks)) });
        let bytes = stream::once(async { first }).chain(rest);
        if !self.api.requires_checksums() {
            let reply = self.api.upload(&request).await?;
            match reply.url {
                // Streamed while packing.
                Some(path) if path.starts_with('/') => {
                    self.api.put(&path, bytes).await?;
                    return Ok(Some((request, reply.artifact_id)));
                }
                Some(url) => {
                    let (file, _) = spool(bytes).await?;
                    self.api.put_file(&url, &reply.headers, &file).await?;
                    return Ok(Some((request, reply.artifact_id)));
                }
                None => {}
            }
        }
        // The object store requires the checksum in advance, so the bytes are spooled first.
        let (file, checksum) = spool(bytes).await?;
        let with_checksum = ArtifactUploadRequest { sum: Some(checksum), ..request.clone() };
        let reply = self.api.upload(&with_checksum).await?;
        let url =
            reply.url.ok_or_else(|| TransferError::Other("the server returned no upload URL".into()))?;
        self.api.put_file(&url, &reply.headers, &file).await?;
        Ok(Some((request, reply.artifact_id)))
    }

    async fn complete(
        &self,
        packed: Packed,
        (mut request, artifact_id): (ArtifactUploadRequest, ArtifactId),
    ) -> Result<(), TransferError> {
        let Packed { files, size, sha256, spool } = packed;
        request.files = files.into_iter().take(MAX_LISTED).collect();
        request.complete = Some(ArtifactComplete { artifact_id, size, sha256: sha256.clone() });
        self.api.upload(&request).await?;
        if let Some((cache, spool)) = self.cache.clone().zip(spool)
            && let Err(error) = blocking(move || cache.keep(spool, &sha256)).await
        {
            // The server has the artifact; the next job on this worker downloads it.
            let reason = error.into_reason("an artifact could not be cached");
            tracing::warn!(reason = %reason.message, "the artifact cache of this worker cannot be used");
        }
        Ok(())
    }
}

/// Writes all `bytes` to an unnamed file, and returns it with their size and hash.
async fn spool(bytes: impl Stream<Item = io::Result<Bytes>>) -> io::Result<(File, ContentChecksum)> {
    let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut bytes = std::pin::pin!(bytes);
    while let Some(chunk) = bytes.try_next().await? {
        hash.update(&chunk);
        size += chunk.len() as u64;
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok((file.into_std().await, ContentChecksum { size, sha256: HEXLOWER.encode(&hash.finalize()) }))
}

fn verify_hash(actual: &str, artifact: &ArtifactSource) -> Result<(), TransferError> {
    if actual == artifact.sha256 {
        return Ok(());
    }
    let message = format!(
        "the SHA-256 is {actual} instead of {}; run the job that created the artifact again",
        artifact.sha256
    );
    Err(TransferError::Other(message))
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, TransferError> {
    let result = tokio::task::spawn_blocking(work).await;
    Ok(result.map_err(|error| TransferError::Other(error.to_string()))??)
}
