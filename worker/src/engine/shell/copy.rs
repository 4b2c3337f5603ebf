//! Copies of files out of and into a running container of a job.

use crate::engine::manager::DockerManager;
use bollard::{
    errors::Error as EngineError,
    query_parameters::{DownloadFromContainerOptions, UploadToContainerOptions},
};
use bytes::Bytes;
use futures_util::Stream;
use tidemill_core::execution::failure::{FailureKind, FailureReason};

impl DockerManager {
    /// Returns a tar of an absolute path in a container. Its entries begin with the path's last component.
    pub fn download_path(
        &self,
        container: &str,
        path: String,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + use<> {
        self.docker.download_from_container(container, Some(DownloadFromContainerOptions { path }))
    }

    /// Unpacks a tar in a directory of a container, given by its absolute path. The engine keeps what is in the tar within the
    /// container.
    pub async fn upload_path<S>(
        &self,
        container: &str,
        directory: String,
        tar: S,
    ) -> Result<(), FailureReason>
    where
        S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    {
        let options = UploadToContainerOptions { path: directory, ..Default::default() };
        let sent = self.docker.upload_to_container(container, Some(options), bollard::body_try_stream(tar));
        sent.await.map_err(|error| failed(&error.to_string()))
    }
}

fn failed(why: &str) -> FailureReason {
    FailureReason::new(FailureKind::EngineFailed, format!("the files could not be copied: {why}"))
}
