//! Stores artifacts and caches of jobs.

use super::{
    ArtifactTransfer, blocking,
    failure::{TransferError, with_retries},
    pack::{Packed, Packer, literal_prefix},
    selection::{ArtifactLabels, Matcher, Selection},
    tar_writer::{MAX_QUEUED_CHUNKS, SentTar},
};
use crate::{
    engine::{WorkspaceMount, engine_failure, is_not_found},
    log::mask::SecretMask,
    workspace::HostWorkspace,
};
use bollard::errors::Error as EngineError;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::{fmt::Write as _, fs::File, io, pin::Pin, sync::Arc, time::Instant};
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
};
use tidemill_core::{
    api::{ArtifactComplete, ArtifactUploadRequest, ContentChecksum},
    ids::{ArtifactId, JobId, LeaseToken},
    pipeline::MAX_ARTIFACT_LABEL_LEN,
};
use tokio::{io::AsyncWriteExt, sync::mpsc};
use tokio_util::io::{StreamReader, SyncIoBridge};

/// Maximum number of files in an artifact's listing.
const MAX_LISTED: usize = 10_000;

impl ArtifactTransfer {
    /// Collects the files of `selection` from the workspace and stores them, compressed where that helps; masks secrets in
    /// names. Returns warnings as log lines.
    pub async fn collect(
        &self,
        workspace: &WorkspaceMount,
        selection: &Selection,
        labels: &ArtifactLabels,
        holder: (JobId, LeaseToken),
        mask: &SecretMask,
    ) -> Result<String, FailureReason> {
        let started = Instant::now();
        let result = with_retries(|| self.collect_once(workspace, selection, labels, holder, mask)).await;
        tracing::debug!(took = ?started.elapsed(), "artifacts collected");
        result.map_err(|error| error.into_reason("artifacts could not be stored"))
    }

    async fn collect_once(
        &self,
        workspace: &WorkspaceMount,
        selection: &Selection,
        labels: &ArtifactLabels,
        (job_id, lease): (JobId, LeaseToken),
        mask: &SecretMask,
    ) -> Result<String, TransferError> {
        let untracked = selection.untracked.then_some("untracked files");
        let paths: Vec<&str> = selection.paths.iter().map(String::as_str).chain(untracked).collect();
        let label = |label: &Option<String>| label.as_deref().map(|text| masked_label(mask, text));
        let request = ArtifactUploadRequest {
            job_id,
            lease,
            file_path: paths.join(", "),
            name: label(&labels.name),
            expose_as: label(&labels.expose_as),
            files: Vec::new(),
            expire_in_s: labels.expire_in_s,
            cache_key: None,
            image: None,
            sum: None,
            complete: None,
        };
        let max = self.limits.artifact_bytes;
        self.send(workspace, selection, request, (mask, max)).await.map(|(_, warnings)| warnings)
    }

    /// Packs the files of `selection`, at most `max` bytes, and stores them according to `request`, with masked
    /// names. Returns the size, or `None` if there is no file, and warnings.
    async fn send(
        &self,
        workspace: &WorkspaceMount,
        selection: &Selection,
        mut request: ArtifactUploadRequest,
        (mask, max): (&SecretMask, u64),
    ) -> Result<(Option<u64>, String), TransferError> {
        request.file_path = mask.mask_text(&request.file_path);
        let (sender, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        // Packing and storing run concurrently.
        // A cache is compared by the hash of its tar.
        let compress = request.cache_key.is_none();
        let packing = self.pack(workspace, selection, sender, (max, compress));
        let (packed, stored) = tokio::join!(packing, self.store(chunks, request));
        match (packed, stored) {
            (Ok((Some(mut packed), warnings)), Ok(Some(request))) => {
                let size = packed.sent.size;
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
        let selection = Selection::from(paths);
        let saved = async {
            if let Some(known) = known
                && self.packed_hash(workspace, &selection).await?.as_deref() == Some(known)
            {
                return Ok(None);
            }
            let request = ArtifactUploadRequest {
                job_id: assignment.preparation.job_id,
                lease: assignment.lease.token,
                file_path: paths.join(", "),
                name: None,
                expose_as: None,
                files: Vec::new(),
                expire_in_s: None,
                cache_key: Some(key.to_owned()),
                image: None,
                sum: None,
                complete: None,
            };
            let max = self.limits.cache_bytes;
            self.send(workspace, &selection, request, (mask, max)).await.map(|(size, _)| size)
        };
        saved.await.map_err(|error: TransferError| error.into_reason("the cache could not be stored"))
    }

    /// Computes the hash of the tar of `selection` without sending it.
    async fn packed_hash(
        &self,
        workspace: &WorkspaceMount,
        selection: &Selection,
    ) -> Result<Option<String>, TransferError> {
        let (sender, mut chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let drain = async { while chunks.recv().await.is_some() {} };
        let max = self.limits.cache_bytes;
        let (packed, ()) = tokio::join!(self.pack(workspace, selection, sender, (max, false)), drain);
        Ok(packed?.0.map(|packed| packed.sent.sha256))
    }

    /// Packs the files of `selection`, at most the given number of bytes, compressed if requested and where that helps.
    pub(super) async fn pack(
        &self,
        workspace: &WorkspaceMount,
        selection: &Selection,
        sender: mpsc::Sender<io::Result<Bytes>>,
        limits: (u64, bool),
    ) -> Result<(Option<Packed>, String), TransferError> {
        let mut result = self.pack_into(workspace, selection, sender.clone(), limits).await;
        // In a workspace that was removed no file matches, which must not count as the job's result.
        let is_suspect = match &result {
            Ok((_, warnings)) => !warnings.is_empty(),
            Err(error) => matches!(error, TransferError::Io(_) | TransferError::Other(_)),
        };
        if let Some(engine) = self.engine.as_ref().filter(|_| is_suspect) {
            let message = match engine.has_container(&workspace.container).await {
                Some(true) => None,
                Some(false) => Some(
                    "the container with the workspace was removed; check that nothing on the worker's machine removes containers \
                     of jobs",
                ),
                None => Some(
                    "the engine does not answer, so the files cannot be looked up; check that it is running",
                ),
            };
            if let Some(message) = message {
                result = Err(TransferError::Reason(FailureReason::new(FailureKind::EngineFailed, message)));
            }
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
        selection: &Selection,
        sender: mpsc::Sender<io::Result<Bytes>>,
        (max, compress): (u64, bool),
    ) -> Result<(Option<Packed>, String), TransferError> {
        let mut warnings = String::new();
        let matcher =
            Matcher::of_paths(selection).map_err(|error| TransferError::Other(error.to_string()))?;
        let matcher = Arc::new(matcher);
        let cache = self.cache.clone();
        let spool = match blocking(move || cache.map(|cache| cache.spool()).transpose()).await {
            Err(TransferError::Io(error)) if error.kind() != io::ErrorKind::StorageFull => {
                tracing::warn!(%error, "the artifact cache of this worker cannot be used");
                None
            }
            spool => spool?,
        };
        let mut packer = Packer::new(sender, spool).with_max_size(max).with_compression(compress);
        let host_workspace = self.host_workspace(workspace).await;
        for pattern in &selection.paths {
            let before = packer.files.len();
            let matcher = matcher.clone();
            packer = self.pack_one(workspace, host_workspace.clone(), packer, pattern, matcher).await?;
            if packer.files.len() == before && !packer.has_match(pattern) {
                let _ = writeln!(warnings, "warning: artifacts: no file matches `{pattern}`");
            }
        }
        if selection.untracked {
            let untracked = selection.clone();
            let matcher = blocking(move || Matcher::of_untracked(&untracked)).await?;
            let before = packer.files.len();
            packer = self.pack_one(workspace, host_workspace, packer, "", Arc::new(matcher)).await?;
            if packer.files.len() == before && selection.paths.is_empty() {
                warnings.push_str("warning: artifacts: no file is untracked\n");
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
        matcher: Arc<Matcher>,
    ) -> Result<Packer, TransferError> {
        let prefix = literal_prefix(pattern);
        if let Some(host_workspace) = host_workspace {
            let (prefix, matcher) = (prefix.clone(), matcher.clone());
            let packed = blocking(move || {
                let is_packed = packer.add_directory(&host_workspace, &prefix, &matcher)?;
                Ok((packer, is_packed))
            });
            let (returned, is_packed) = packed.await?;
            if is_packed {
                return Ok(returned);
            }
            packer = returned;
        }
        // A directory that cannot be entered without following a link that leads out of it has no files of the job.
        let Some(engine) = &self.engine else { return Ok(packer) };
        let stream = engine.download(&workspace.container, &prefix);
        let mut stream = Box::pin(stream.map_err(io::Error::other)).peekable();
        match Pin::new(&mut stream).peek().await {
            Some(Ok(_)) => {
                let reader = SyncIoBridge::new(StreamReader::new(stream));
                blocking(move || packer.add_tar(reader, &prefix, &matcher).map(|()| packer)).await
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
    pub(super) async fn store(
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

    pub(super) async fn complete(
        &self,
        packed: Packed,
        (mut request, artifact_id): (ArtifactUploadRequest, ArtifactId),
    ) -> Result<(), TransferError> {
        let Packed { files, sent } = packed;
        let SentTar { size, sha256, spool, encoding, unpacked_size } = sent;
        request.files = files.into_iter().take(MAX_LISTED).collect();
        request.complete =
            Some(ArtifactComplete { artifact_id, size, sha256: sha256.clone(), encoding, unpacked_size });
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

/// Returns a text to show with its secrets masked, on one line and not too long.
fn masked_label(mask: &SecretMask, text: &str) -> String {
    let mut masked = mask.mask_text(text).replace(tidemill_core::text::is_control, " ");
    let mut end = masked.len().min(MAX_ARTIFACT_LABEL_LEN);
    while !masked.is_char_boundary(end) {
        end -= 1;
    }
    masked.truncate(end);
    masked
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
