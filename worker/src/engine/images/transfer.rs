//! Images as tars: exported from the engine, and loaded into it.

use super::build::BUILT_NAME;
use crate::engine::{failures::engine_failure, manager::DockerManager};
use bollard::{errors::Error as EngineError, query_parameters::ImportImageOptions};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use std::{io, time::Duration};
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// How long the engine may take before it replies: it writes a whole image to its disk before.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30 * 60);

impl DockerManager {
    /// Returns the image with this id as a tar that another engine can load. The tar has no names.
    pub fn export_image(&self, id: &str) -> impl Stream<Item = Result<Bytes, EngineError>> + use<> {
        self.docker.clone().with_timeout(TRANSFER_TIMEOUT).export_image(id)
    }

    /// Loads the image with this id from a tar. It is removed with the images that this engine built.
    pub async fn load_image<T>(&self, id: &str, tar: T) -> Result<(), FailureReason>
    where
        T: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let docker = self.docker.clone().with_timeout(TRANSFER_TIMEOUT);
        let options = ImportImageOptions { quiet: true, ..Default::default() };
        let reports = docker.import_image_stream(options, tar, None);
        let loaded = reports.try_for_each(|_| std::future::ready(Ok(()))).await;
        loaded.map_err(|error| engine_failure("the image could not be loaded", &error))?;
        if self.inspect_image(id).await?.is_none_or(|config| config.id != id) {
            let message = format!(
                "the engine loaded the image `{id}` under another id, as it stores images in another way than the engine that built \
                 it; let the job that builds the image `push` it"
            );
            return Err(FailureReason::new(FailureKind::ImageUnavailable, message));
        }
        self.tag(id, BUILT_NAME, &uuid::Uuid::now_v7().simple().to_string()).await
    }
}
