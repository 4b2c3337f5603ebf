//! Artifacts in a directory of this machine, without a container.

use super::{ArtifactTransfer, TransferError, failure::with_retries};
use crate::workspace::{FileOwner, HostWorkspace};
use std::sync::Arc;
use tidemill_core::execution::{assignment::ArtifactSource, failure::FailureReason};

impl ArtifactTransfer {
    /// Unpacks `artifact` into `directory`, and verifies its hash.
    pub async fn restore_into(
        &self,
        directory: &Arc<HostWorkspace>,
        artifact: &ArtifactSource,
    ) -> Result<(), FailureReason> {
        let restored = with_retries(async || {
            let unpacked = self.unpack(directory.clone(), FileOwner::Worker, artifact).await?;
            unpacked.map_err(TransferError::from)
        });
        let what = format!("the artifact of `{}` could not be unpacked", artifact.from_job);
        restored.await.map_err(|error| error.into_reason(&what))
    }
}
