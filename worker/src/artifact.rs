//! Artifacts: laid into a workspace, and collected from one.

mod cache;
mod pack;

pub use cache::ArtifactCache;

use crate::{
    client::{ApiClient, ApiError},
    engine::{DockerManager, Workspace},
    error::no_space,
    store::hex,
    workspace::HostWorkspace,
};
use futures_util::{StreamExt, TryStreamExt};
use globset::GlobSet;
use pack::{Packed, Packer, globs, literal_prefix};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufReader, Seek, Write as _},
    pin::Pin,
    sync::Arc,
    time::Instant,
};
use tidemill_core::{
    api::{ArtifactComplete, ArtifactUploadRequest},
    assignment::{ArtifactSource, Artifacts},
    failure::{FailureKind, FailureReason},
    ids::{JobId, LeaseToken},
};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

/// Files that a listing names at most.
const MOST_LISTED: usize = 10_000;
const BUFFER: usize = 256 * 1024;

/// Moves artifacts between the server and workspaces.
#[derive(Debug, Clone)]
pub struct ArtifactMover {
    /// The server.
    pub api: ApiClient,
    /// The engine that the workspaces belong to.
    pub engine: Arc<DockerManager>,
    /// What was here before.
    pub cache: ArtifactCache,
}

impl ArtifactMover {
    /// Lays `artifact` into the workspace of `container`.
    pub async fn lay_in(
        &self,
        workspace: &Workspace,
        artifact: &ArtifactSource,
    ) -> Result<(), FailureReason> {
        let failed = |error: MoveError| {
            error.reason(&format!("the artifact of `{}` could not be laid in", artifact.from_job))
        };
        let cache = self.cache.clone();
        let sha256 = artifact.sha256.clone();
        let mut file = match blocking(move || Ok(cache.get(&sha256))).await.map_err(failed)? {
            Some(file) => file,
            None => self.fetch(artifact).await.map_err(failed)?,
        };
        if let Some(here) = self.engine.on_this_machine(workspace).await {
            let unpacked = blocking(move || {
                let laid = here.unpack(BufReader::with_capacity(BUFFER, &file));
                file.rewind()?;
                Ok((laid, file))
            });
            let (laid, back) = unpacked.await.map_err(failed)?;
            match laid {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(failed(error.into())),
                // The engine knows the container's own links and mounts, and has the last word.
                Err(error) => tracing::debug!(%error, "the engine lays the artifact in"),
            }
            file = back;
        }
        let tar = ReaderStream::with_capacity(tokio::fs::File::from_std(file), BUFFER);
        let laid = self.engine.upload(&workspace.container, tar).await;
        laid.map_err(|error| failed(MoveError::Other(error.to_string())))
    }

    /// The bytes of `artifact`, from the server, with the hash that they must have.
    async fn fetch(&self, artifact: &ArtifactSource) -> Result<File, MoveError> {
        let cache = self.cache.clone();
        let mut spool = blocking(move || cache.spool()).await?;
        let mut bytes = Box::pin(self.api.get(&artifact.url).await?);
        let mut hash = Sha256::new();
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|error| MoveError::Other(error.to_string()))?;
            hash.update(&chunk);
            // Into the page cache: as quick as another thread would be.
            spool.write_all(&chunk)?;
        }
        let got = hex(&hash.finalize());
        if got != artifact.sha256 {
            return Err(MoveError::Other(format!(
                "its bytes have the hash {got}, not {}; run the job that left it again",
                artifact.sha256
            )));
        }
        let cache = self.cache.clone();
        blocking(move || cache.keep(spool, &got)).await
    }

    /// Collects what `declared` names from the workspace and stores it. What a person should know comes back as log
    /// lines.
    pub async fn collect(
        &self,
        workspace: &Workspace,
        declared: &Artifacts,
        job_id: JobId,
        lease: LeaseToken,
    ) -> Result<String, FailureReason> {
        let stored = self.pack(workspace, declared);
        let stored = async {
            let begun = Instant::now();
            let (packer, warnings) = stored.await?;
            let packed = begun.elapsed();
            if !packer.is_empty() {
                self.store(packer, declared, job_id, lease).await?;
            }
            tracing::debug!(?packed, stored = ?begun.elapsed().saturating_sub(packed), "artifacts collected");
            Ok(warnings)
        };
        stored.await.map_err(|error: MoveError| error.reason("artifacts could not be stored"))
    }

    async fn pack(&self, workspace: &Workspace, declared: &Artifacts) -> Result<(Packer, String), MoveError> {
        let mut warnings = String::new();
        let set = Arc::new(globs(&declared.paths).map_err(|error| MoveError::Other(error.to_string()))?);
        let cache = self.cache.clone();
        let mut packer = Packer::new(blocking(move || cache.spool()).await?);
        let here = self.engine.on_this_machine(workspace).await;
        for pattern in &declared.paths {
            let before = packer.files.len();
            packer = self.pack_one(workspace, here.clone(), packer, pattern, set.clone()).await?;
            if packer.files.len() == before && !packer.covers(pattern) {
                let _ = writeln!(warnings, "warning: artifacts: no file matches `{pattern}`");
            }
        }
        Ok((packer, warnings))
    }

    async fn pack_one(
        &self,
        workspace: &Workspace,
        here: Option<Arc<HostWorkspace>>,
        mut packer: Packer,
        pattern: &str,
        set: Arc<GlobSet>,
    ) -> Result<Packer, MoveError> {
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
            Some(Err(error)) if error.to_string().contains("404") || error.to_string().contains("o such") => {
                Ok(packer)
            }
            Some(Err(error)) => Err(MoveError::Other(error.to_string())),
            None => Ok(packer),
        }
    }

    async fn store(
        &self,
        mut packer: Packer,
        declared: &Artifacts,
        job_id: JobId,
        lease: LeaseToken,
    ) -> Result<(), MoveError> {
        let files = std::mem::take(&mut packer.files);
        let cache = self.cache.clone();
        let kept = blocking(move || {
            let Packed { spool, size, sha256 } = packer.finish()?;
            Ok((cache.keep(spool, &sha256)?, size, sha256))
        });
        let (file, size, sha256) = kept.await?;
        let mut request = ArtifactUploadRequest {
            job_id,
            lease,
            file_path: declared.paths.join(", "),
            files: files.into_iter().take(MOST_LISTED).collect(),
            expire_in_s: declared.expire_in_s,
            complete: None,
        };
        let place = self.api.upload(&request).await?;
        let bytes = ReaderStream::with_capacity(tokio::fs::File::from_std(file), BUFFER);
        self.api.put(&place.url, bytes).await?;
        request.complete = Some(ArtifactComplete { artifact_id: place.artifact_id, size, sha256 });
        self.api.upload(&request).await?;
        Ok(())
    }
}

/// Why an artifact could not be moved.
enum MoveError {
    Io(io::Error),
    Other(String),
}

impl MoveError {
    fn reason(self, what: &str) -> FailureReason {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => no_space(what),
            Self::Io(error) => FailureReason::new(FailureKind::ArtifactFailed, format!("{what}: {error}")),
            Self::Other(words) => FailureReason::new(FailureKind::ArtifactFailed, format!("{what}: {words}")),
        }
    }
}

impl From<io::Error> for MoveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ApiError> for MoveError {
    fn from(error: ApiError) -> Self {
        Self::Other(error.to_string())
    }
}

/// What `work` gives, from a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, MoveError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| MoveError::Other(error.to_string()))??)
}
