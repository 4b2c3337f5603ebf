//! The images that the engine of this machine has.

use super::connection::{DOCKER_SOCKET, EngineFailure, connect, default_sockets};
use crate::WorkerError;
use bollard::query_parameters::ListImagesOptions;
use std::time::Duration;

/// Timeout of the connection and of the list.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of names that are returned.
const MAX_NAMES: usize = 10_000;

/// Returns the names of the images that the engine at `host` has, or the first one that answers, such as `rust:1`.
pub async fn local_images(host: Option<&str>) -> Result<Vec<String>, WorkerError> {
    let candidates = host.map_or_else(default_sockets, |host| vec![host.to_owned()]);
    let mut first_error = None;
    for host in candidates {
        match tokio::time::timeout(TIMEOUT, list(&host)).await {
            Ok(Ok(names)) => return Ok(names),
            Ok(Err(failure)) => {
                first_error.get_or_insert(WorkerError::Engine { host, failure });
            }
            Err(_) => {
                let text = format!("no answer within {} s", TIMEOUT.as_secs());
                first_error.get_or_insert(WorkerError::Engine { host, failure: EngineFailure::Other(text) });
            }
        }
    }
    Err(first_error
        .unwrap_or(WorkerError::Engine { host: DOCKER_SOCKET.into(), failure: EngineFailure::NoSocket }))
}

async fn list(host: &str) -> Result<Vec<String>, EngineFailure> {
    let docker = connect(host).await?;
    let images = docker.list_images(None::<ListImagesOptions>).await;
    let images = images.map_err(|error| EngineFailure::from(&error))?;
    let names = images.into_iter().flat_map(|image| image.repo_tags);
    Ok(names.filter(|name| !name.contains('<')).take(MAX_NAMES).collect())
}
