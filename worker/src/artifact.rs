//! Artifacts and caches: unpacked into a workspace, and collected from one.

mod cache;
mod failure;
pub(crate) mod pack;
pub(crate) mod reading;

pub use cache::ArtifactCache;

use self::failure::{TransferError, with_retries};
use crate::{
    client::ApiClient,
    engine::{DockerManager, WorkspaceMount, failure, is_bad_request, is_no_such_thing},
    log::mask::SecretMask,
    workspace::{HostWorkspace, PermissionPolicy},
};
use bollard::errors::Error as EngineError;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use globset::GlobSet;
use pack::{BUFFER_SIZE, Packed, Packer, globs, literal_prefix};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufReader, Read, Write as _},
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

/// Files in an artifact's listing.
const MAX_LISTED: usize = 10_000;
/// Unsent chunks of a tar.
const MAX_QUEUED_CHUNKS: usize = 16;

type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// Moves artifacts between the server and workspaces.
#[derive(Debug, Clone)]
pub struct ArtifactTransfer {
    /// The server.
    pub api: ApiClient,
    /// The engine that the workspaces belong to.
    pub engine: Arc<DockerManager>,
    /// Artifacts of earlier jobs; `None` if the server is on this machine, where a copy would only fill the disk.
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
        restored.map_err(|error| error.reason(&what))
    }

    async fn restore_once(
        &self,
        workspace: &WorkspaceMount,
        artifact: &ArtifactSource,
    ) -> Result<(), TransferError> {
        if let Some(here) = self.engine.on_this_machine(workspace).await {
            match self.unpack(here, artifact).await? {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error.into()),
                // Only the engine knows the container's own links and mounts.
                Err(error) => tracing::debug!(%error, "the artifact is unpacked through the engine"),
            }
        }
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let broke_off = Arc::new(AtomicBool::new(false));
        let (seen, broke) = (hash.clone(), broke_off.clone());
        let tar = self.bytes(artifact).await?;
        let tar = tar.inspect_err(move |_| broke.store(true, Ordering::Relaxed)).inspect_ok(move |chunk| {
            if let Ok(mut hash) = seen.lock() {
                hash.update(chunk);
            }
        });
        let uploaded = self.engine.upload(&workspace.container, tar).await;
        uploaded.map_err(|error| {
            // The engine only sees a truncated tar.
            let passing = broke_off.load(Ordering::Relaxed);
            match error {
                error if passing => TransferError::Transient(error.to_string()),
                // The engine works, but rejects this tar.
                error if is_bad_request(&error) => TransferError::Other(error.to_string()),
                error => TransferError::Reason(failure("the container did not take it", &error)),
            }
        })?;
        let got = hash.lock().map(|hash| HEXLOWER.encode(&hash.clone().finalize())).unwrap_or_default();
        verify_hash(&got, artifact)
    }

    /// Unpacks `artifact` in a workspace of this machine; the inner error is that of the workspace.
    async fn unpack(
        &self,
        here: Arc<HostWorkspace>,
        artifact: &ArtifactSource,
    ) -> Result<io::Result<()>, TransferError> {
        let bytes = SyncIoBridge::new(StreamReader::new(self.bytes(artifact).await?));
        let unpacking = blocking(move || {
            let mut bytes = HashingReader { bytes, hash: Sha256::new() };
            let laid =
                here.unpack(BufReader::with_capacity(BUFFER_SIZE, &mut bytes), PermissionPolicy::Everything);
            if laid.is_ok() {
                // Bytes after the tar's end count for the hash.
                io::copy(&mut bytes, &mut io::sink())?;
            }
            Ok((laid, HEXLOWER.encode(&bytes.hash.finalize())))
        });
        let (laid, got) = unpacking.await?;
        if laid.is_ok() {
            verify_hash(&got, artifact)?;
        }
        Ok(laid)
    }

    /// The bytes of `artifact`: from the cache, from the server into the cache, or just from the server.
    async fn bytes(&self, artifact: &ArtifactSource) -> Result<Chunks, TransferError> {
        let Some(cache) = &self.cache else { return Ok(self.api.get(&artifact.url).await?.boxed()) };
        let (known, sha256) = (cache.clone(), artifact.sha256.clone());
        let file = match blocking(move || Ok(known.get(&sha256))).await? {
            Some(file) => file,
            None => match self.fetch(cache.clone(), artifact).await {
                Ok(file) => file,
                // A removed or damaged cache only costs a download.
                Err(TransferError::Io(error)) if error.kind() != io::ErrorKind::StorageFull => {
                    tracing::warn!(%error, "the worker's cache of artifacts cannot be used");
                    return Ok(self.api.get(&artifact.url).await?.boxed());
                }
                Err(error) => return Err(error),
            },
        };
        Ok(ReaderStream::with_capacity(tokio::fs::File::from_std(file), BUFFER_SIZE).boxed())
    }

    async fn fetch(&self, cache: ArtifactCache, artifact: &ArtifactSource) -> Result<File, TransferError> {
        let spooling = cache.clone();
        let mut spool = blocking(move || spooling.spool()).await?;
        let mut bytes = Box::pin(self.api.get(&artifact.url).await?);
        let mut hash = Sha256::new();
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|error| TransferError::Transient(error.to_string()))?;
            hash.update(&chunk);
            // A write to the page cache does not block for long.
            spool.write_all(&chunk)?;
        }
        let got = HEXLOWER.encode(&hash.finalize());
        verify_hash(&got, artifact)?;
        blocking(move || cache.keep(spool, &got)).await
    }

    /// Collects the files that `declared` names from the workspace and stores them; secrets in file names are masked. Returns
    /// warnings as log lines.
    pub async fn collect(
        &self,
        workspace: &WorkspaceMount,
        declared: &Artifacts,
        holder: (JobId, LeaseToken),
        mask: &SecretMask,
    ) -> Result<String, FailureReason> {
        let begun = Instant::now();
        let done = with_retries(|| self.collect_once(workspace, declared, holder, mask)).await;
        tracing::debug!(took = ?begun.elapsed(), "artifacts collected");
        done.map_err(|error| error.reason("artifacts could not be stored"))
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

    /// Packs the files that `paths` name, at most `max` bytes, and stores them as `request` says, with masked names. Returns the
    /// size (`None`: no file) and warnings.
    async fn send(
        &self,
        workspace: &WorkspaceMount,
        paths: &[String],
        mut request: ArtifactUploadRequest,
        (mask, max): (&SecretMask, u64),
    ) -> Result<(Option<u64>, String), TransferError> {
        request.file_path = mask.text(&request.file_path);
        let (sender, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        // Storing begins while packing.
        let packing = self.pack(workspace, paths, sender, max);
        let (packed, stored) = tokio::join!(packing, self.store(chunks, request));
        match (packed, stored) {
            (Ok((Some(mut packed), warnings)), Ok(Some(request))) => {
                let size = packed.size;
                packed.files.truncate(MAX_LISTED);
                for file in &mut packed.files {
                    file.path = mask.text(&file.path);
                }
                self.complete(packed, request).await?;
                Ok((Some(size), warnings))
            }
            (Ok((_, warnings)), Ok(_)) => Ok((None, warnings)),
            // A closed channel means that storing failed, whose error says why.
            (Err(TransferError::Io(error)), Err(stored)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(stored)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Saves the files that `paths` name under a cache's key, unless their hash is `known`. Returns the bytes sent; `None`: no
    /// file, or no change.
    pub async fn save_cache(
        &self,
        workspace: &WorkspaceMount,
        paths: &[String],
        key: &str,
        known: Option<&str>,
        (assignment, mask): (&Assignment, &SecretMask),
    ) -> Result<Option<u64>, FailureReason> {
        let kept = async {
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
        kept.await.map_err(|error: TransferError| error.reason("the cache could not be stored"))
    }

    /// The hash of the tar of `paths`, without sending it.
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
        // In a workspace that is gone nothing matches: that is no result of the job.
        let is_suspect = match &result {
            Ok((_, warnings)) => !warnings.is_empty(),
            Err(error) => matches!(error, TransferError::Io(_) | TransferError::Other(_)),
        };
        if is_suspect && self.engine.has_container(&workspace.container).await == Some(false) {
            let words = "the container, and its workspace with it, went away; see that nobody removes it";
            result = Err(TransferError::Reason(FailureReason::new(FailureKind::EngineFailed, words)));
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
        let set = Arc::new(globs(paths).map_err(|error| TransferError::Other(error.to_string()))?);
        let cache = self.cache.clone();
        let spool = match blocking(move || cache.map(|cache| cache.spool()).transpose()).await {
            Err(TransferError::Io(error)) if error.kind() != io::ErrorKind::StorageFull => {
                tracing::warn!(%error, "the worker's cache of artifacts cannot be used");
                None
            }
            spool => spool?,
        };
        let mut packer = Packer::new(sender, spool).at_most(max);
        let here = self.engine.on_this_machine(workspace).await;
        for pattern in paths {
            let before = packer.files.len();
            packer = self.pack_one(workspace, here.clone(), packer, pattern, set.clone()).await?;
            if packer.files.len() == before && !packer.covers(pattern) {
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
        here: Option<Arc<HostWorkspace>>,
        mut packer: Packer,
        pattern: &str,
        set: Arc<GlobSet>,
    ) -> Result<Packer, TransferError> {
        let prefix = literal_prefix(pattern);
        if let Some(here) = here {
            let (prefix, set) = (prefix.clone(), set.clone());
            let packed = blocking(move || {
                let done = packer.add_from(&here, &prefix, &set)?;
                Ok((packer, done))
            });
            let (back, done) = packed.await?;
            if done {
                return Ok(back);
            }
            packer = back;
        }
        let stream = self.engine.download(&workspace.container, &prefix);
        let mut stream = Box::pin(stream.map_err(io::Error::other)).peekable();
        match Pin::new(&mut stream).peek().await {
            Some(Ok(_)) => {
                let reader = SyncIoBridge::new(StreamReader::new(stream));
                blocking(move || packer.add_tar(reader, &prefix, &set).map(|()| packer)).await
            }
            Some(Err(error)) => {
                let said = error.get_ref().and_then(|cause| cause.downcast_ref::<EngineError>());
                // A missing container gives the same error; `pack` checks for that.
                if said.is_some_and(is_no_such_thing) {
                    return Ok(packer);
                }
                let failed = said.map_or_else(
                    || TransferError::Other(error.to_string()),
                    |said| TransferError::Reason(failure("the engine did not give the files", said)),
                );
                // A tar that is dropped writes its end, which may block.
                tokio::task::spawn_blocking(move || drop(packer));
                Err(failed)
            }
            None => Ok(packer),
        }
    }

    /// Sends `chunks` to the address that the server gives; `None`: there were none. Returns the request with the artifact's
    /// id.
    async fn store(
        &self,
        mut chunks: mpsc::Receiver<io::Result<Bytes>>,
        request: ArtifactUploadRequest,
    ) -> Result<Option<(ArtifactUploadRequest, ArtifactId)>, TransferError> {
        let Some(first) = chunks.recv().await else { return Ok(None) };
        let rest = stream::unfold(chunks, |mut chunks| async { Some((chunks.recv().await?, chunks)) });
        let bytes = stream::once(async { first }).chain(rest);
        if !self.api.announces_sums() {
            let place = self.api.upload(&request).await?;
            match place.url {
                // Streamed while packing.
                Some(path) if path.starts_with('/') => {
                    self.api.put(&path, bytes).await?;
                    return Ok(Some((request, place.artifact_id)));
                }
                Some(url) => {
                    let (file, _) = spool(bytes).await?;
                    self.api.put_file(&url, &place.headers, &file).await?;
                    return Ok(Some((request, place.artifact_id)));
                }
                None => {}
            }
        }
        // The store accepts only bytes whose sum was announced, so they are spooled first.
        let (file, sum) = spool(bytes).await?;
        let announced = ArtifactUploadRequest { sum: Some(sum), ..request.clone() };
        let place = self.api.upload(&announced).await?;
        let url = place.url.ok_or_else(|| TransferError::Other("the server says no place for it".into()))?;
        self.api.put_file(&url, &place.headers, &file).await?;
        Ok(Some((request, place.artifact_id)))
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
            // The server has it; another job here downloads it.
            let reason = error.reason("an artifact is not kept in the worker's cache");
            tracing::warn!(reason = %reason.message, "the worker's cache of artifacts cannot be used");
        }
        Ok(())
    }
}

/// All of `bytes` in an unnamed file, with their size and hash.
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

fn verify_hash(got: &str, artifact: &ArtifactSource) -> Result<(), TransferError> {
    if got == artifact.sha256 {
        return Ok(());
    }
    let words =
        format!("its bytes have the hash {got}, not {}; run the job that left it again", artifact.sha256);
    Err(TransferError::Other(words))
}

/// A reader that hashes what is read.
struct HashingReader<R> {
    bytes: R,
    hash: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// The result of `work`, run on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, TransferError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| TransferError::Other(error.to_string()))??)
}
