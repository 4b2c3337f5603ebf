//! Restores artifacts and caches into workspaces, and stores those of jobs.

mod cache;
mod directory;
mod encoding;
mod failure;
mod hashing;
mod image_tar;
mod images;
pub(crate) mod pack;
pub(crate) mod reading;
mod selection;
mod storing;
mod tar_writer;

pub use cache::ArtifactCache;
pub use encoding::decoded;
pub use selection::{ArtifactLabels, Matcher, Selection};

use self::{
    encoding::{UNKNOWN_ENCODING, decoded_stream},
    failure::{TransferError, with_retries},
};
use crate::{
    client::ApiClient,
    engine::{DockerManager, WorkspaceMount, engine_failure, give_entries, is_bad_request},
    policy::Limits,
    workspace::{FileOwner, HostWorkspace, PermissionPolicy},
};
use data_encoding::HEXLOWER;
use futures_util::{StreamExt, TryStreamExt};
use hashing::HashingReader;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, BufReader, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tar_writer::{BUFFER_SIZE, Chunks};
use tidemill_core::{
    api::ArtifactEncoding,
    execution::{assignment::ArtifactSource, failure::FailureReason},
};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

/// Transfers artifacts between the server and workspaces.
#[derive(Debug, Clone)]
pub struct ArtifactTransfer {
    /// Client of the server.
    pub api: ApiClient,
    /// The engine of the workspaces; `None`: they are directories of this machine.
    pub engine: Option<Arc<DockerManager>>,
    /// The limits of a job.
    pub limits: Arc<Limits>,
    /// Cache of artifacts; `None` if the server is on this machine, where a copy would only fill the disk.
    pub cache: Option<ArtifactCache>,
}

impl ArtifactTransfer {
    /// Returns the workspace as a directory of this machine, or `None` if it is not accessible from here.
    async fn host_workspace(&self, workspace: &WorkspaceMount) -> Option<Arc<HostWorkspace>> {
        match &self.engine {
            Some(engine) => engine.host_workspace(workspace).await,
            None => workspace.opened(),
        }
    }

    /// Returns the engine, which images need.
    fn engine(&self) -> Result<&Arc<DockerManager>, TransferError> {
        self.engine
            .as_ref()
            .ok_or_else(|| TransferError::Other("the worker has no container engine".to_owned()))
    }

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
        if let Some(host_workspace) = self.host_workspace(workspace).await {
            match self.unpack(host_workspace, workspace.owner, artifact).await? {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error.into()),
                Err(error) if self.engine.is_none() => return Err(error.into()),
                // Only the engine can resolve the container's own links and mounts.
                Err(error) => {
                    tracing::debug!(%error, "unpacking the artifact directly failed; using the engine");
                }
            }
        }
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let download_failed = Arc::new(AtomicBool::new(false));
        let (received_hash, failed) = (hash.clone(), download_failed.clone());
        if artifact.encoding == ArtifactEncoding::Unknown {
            return Err(TransferError::Other(UNKNOWN_ENCODING.to_owned()));
        }
        let tar = self.bytes(artifact).await?;
        let tar = tar.inspect_err(move |_| failed.store(true, Ordering::Relaxed)).inspect_ok(move |chunk| {
            if let Ok(mut hash) = received_hash.lock() {
                hash.update(chunk);
            }
        });
        let tar = decoded_stream(tar.boxed(), artifact.encoding, artifact.unpacked_size);
        let (tar, given) = match workspace.user {
            Some(ids) => {
                let (tar, task) = give_entries(tar, ids);
                (tar.boxed(), Some(task))
            }
            None => (tar.boxed(), None),
        };
        let uploaded = self.engine()?.upload(&workspace.container, tar).await;
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
        let (encoding, unpacked_size) = (artifact.encoding, artifact.unpacked_size);
        let task = blocking(move || {
            let mut bytes = HashingReader { bytes, hash: Sha256::new() };
            let stored = BufReader::with_capacity(BUFFER_SIZE, &mut bytes);
            let mut tar = decoded(stored, encoding, unpacked_size)?;
            let unpacked = host_workspace.unpack(&mut tar, PermissionPolicy::Owned(owner));
            if unpacked.is_ok() {
                // The hash includes the bytes after the tar's end.
                io::copy(&mut tar, &mut io::sink())?;
            }
            drop(tar);
            if unpacked.is_ok() {
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
