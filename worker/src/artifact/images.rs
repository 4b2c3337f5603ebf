//! Stores images that a job built, for the jobs that run in them.

use super::{
    ArtifactTransfer, blocking,
    encoding::{UNKNOWN_ENCODING, decoded, decoded_stream},
    failure::{TransferError, with_retries},
    image_tar::check_image_tar,
    pack::Packed,
    tar_writer::{BUFFER_SIZE, MAX_QUEUED_CHUNKS, TarWriter},
    verify_hash,
};
use crate::{engine::engine_failure, policy::SizeLimitExceeded};
use bollard::errors::Error as EngineError;
use data_encoding::HEXLOWER;
use futures_util::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, Seek as _, Write as _};
use tidemill_core::{
    api::{ArtifactEncoding, ArtifactUploadRequest},
    execution::{
        assignment::ArtifactSource,
        failure::{FailureKind, FailureReason},
    },
    ids::{JobId, LeaseToken},
};
use tokio::sync::mpsc;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

/// How long the server keeps an image, in seconds.
const RETENTION_S: u64 = 7 * 24 * 60 * 60;

impl ArtifactTransfer {
    /// Stores the image with this id, compressed where that helps. Returns its stored size in bytes.
    pub async fn store_image(&self, id: &str, holder: (JobId, LeaseToken)) -> Result<u64, FailureReason> {
        let what = "the image could not be stored for the jobs that run in it";
        let stored = with_retries(|| self.store_image_once(id, holder)).await;
        stored.map_err(|error| match error {
            TransferError::TooLarge(limit) => {
                let message = format!(
                    "{what}: {limit}; let the job `push` it to a registry, or use a worker with a higher limit of `artifacts`"
                );
                FailureReason::new(FailureKind::ArtifactLimit, message)
            }
            error => error.into_reason(what),
        })
    }

    async fn store_image_once(
        &self,
        id: &str,
        (job_id, lease): (JobId, LeaseToken),
    ) -> Result<u64, TransferError> {
        let request = ArtifactUploadRequest {
            job_id,
            lease,
            file_path: format!("image {id}"),
            name: None,
            expose_as: None,
            files: Vec::new(),
            expire_in_s: Some(RETENTION_S),
            cache_key: None,
            image: Some(id.to_owned()),
            sum: None,
            complete: None,
        };
        let (sender, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let mut writer = TarWriter::new(sender.clone(), None);
        writer.set_max_size(self.limits.artifact_bytes);
        writer.enable_compression();
        let tar = self.engine()?.export_image(id).map_err(io::Error::other);
        let mut tar = SyncIoBridge::new(StreamReader::new(Box::pin(tar)));
        let packing = async {
            let packed = blocking(move || {
                io::copy(&mut tar, &mut writer)?;
                writer.finish()
            });
            let packed = packed.await;
            if packed.is_err() {
                // An incomplete tar must not look complete.
                let _ = sender.send(Err(io::ErrorKind::Interrupted.into())).await;
            }
            drop(sender);
            packed
        };
        match tokio::join!(packing, self.store(chunks, request)) {
            (Ok(sent), Ok(Some(request))) => {
                let size = sent.size;
                self.complete(Packed { files: Vec::new(), sent }, request).await?;
                Ok(size)
            }
            (Ok(_), Ok(None)) => Err(TransferError::Other("the engine exported nothing".to_owned())),
            // A closed channel means that storing failed; report that error.
            (Err(TransferError::Io(error)), Err(stored)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(stored)
            }
            (Err(TransferError::Io(error)), _) => Err(of_export(error)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Loads the image `id`, which is stored as `artifact`, into the engine, after its hash was verified and it was
    /// found to give no names to images.
    pub async fn load_image(&self, id: &str, artifact: &ArtifactSource) -> Result<(), FailureReason> {
        let loaded = with_retries(|| self.load_image_once(id, artifact)).await;
        let what = format!("the image that `{}` built could not be loaded", artifact.from_job);
        loaded.map_err(|error| error.into_reason(&what))
    }

    async fn load_image_once(&self, id: &str, artifact: &ArtifactSource) -> Result<(), TransferError> {
        if artifact.encoding == ArtifactEncoding::Unknown {
            return Err(TransferError::Other(UNKNOWN_ENCODING.to_owned()));
        }
        // The worker that stored it may have had another limit, and its record is not this worker's own.
        let max = self.limits.artifact_bytes;
        if artifact.size.max(artifact.unpacked_size) > max {
            return Err(TransferError::TooLarge(SizeLimitExceeded { max }));
        }
        let directory = self.engine()?.temporary_directory()?;
        let mut file = tempfile::tempfile_in(directory.path())?;
        let mut bytes = Box::pin(self.api.get(&artifact.url).await?);
        let (mut hash, mut size) = (Sha256::new(), 0);
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|error| TransferError::Transient(error.to_string()))?;
            hash.update(&chunk);
            size += chunk.len() as u64;
            if size > artifact.size {
                return Err(TransferError::Other(format!("it has more than {} bytes", artifact.size)));
            }
            // A write to the page cache does not block for long.
            file.write_all(&chunk)?;
        }
        verify_hash(&HEXLOWER.encode(&hash.finalize()), artifact)?;
        let (encoding, unpacked_size) = (artifact.encoding, artifact.unpacked_size);
        let checking = blocking(move || {
            file.rewind()?;
            check_image_tar(decoded(BufReader::new(&file), encoding, unpacked_size)?)?;
            file.rewind()?;
            Ok(file)
        });
        let file = checking.await?;
        let stored = ReaderStream::with_capacity(tokio::fs::File::from_std(file), BUFFER_SIZE);
        let tar = decoded_stream(stored.boxed(), artifact.encoding, artifact.unpacked_size);
        self.engine()?.load_image(id, tar).await.map_err(TransferError::Reason)
    }
}

/// Returns why an image could not be exported.
fn of_export(error: io::Error) -> TransferError {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<EngineError>()) {
        Some(cause) => TransferError::Reason(engine_failure("the engine could not export it", cause)),
        None => error.into(),
    }
}
