//! Cleanup after workers whose processes have ended: containers, networks, volumes and directories.

use crate::{
    engine::DockerManager,
    error::WorkerError,
    source::{HostPolicy, SourceCache, SourceSettings},
    store::WorkerDirs,
};
use std::{path::Path, sync::Arc, time::Duration};
use tidemill_core::ids::WorkerId;

/// Time until the next cleanup if something could not be removed: a busy engine may need a while for a container.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of cleanups after a worker has ended.
const MAX_CLEANUPS: usize = 6;

/// Waits until the process of the worker `ended` of `data_dir` has ended, and removes its containers and directories.
pub async fn clean_up(
    data_dir: &Path,
    docker_host: Option<&str>,
    sources: SourceSettings,
    ended: WorkerId,
) -> Result<(), WorkerError> {
    let id = WorkerId(uuid::Uuid::now_v7()).to_string();
    let (store, lock) = WorkerDirs::open(data_dir, &id)?;
    let mut engine = DockerManager::connect(docker_host, store.clone(), id).await?;
    engine.sources = SourceCache::new(store.cache(), HostPolicy::default(), sources);
    let waiting = store.clone();
    let waited = tokio::task::spawn_blocking(move || waiting.wait_for_end(&ended.to_string())).await;
    if let Ok(Err(error)) = waited {
        tracing::debug!(%error, "the end of the worker's process could not be awaited");
    }
    let engine = Arc::new(engine);
    for _ in 0..MAX_CLEANUPS {
        if clean_up_once(engine.clone(), store.clone()).await {
            break;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    store.remove_own();
    drop(lock);
    Ok(())
}

/// Removes what ended workers of the data directory left, and prunes cached sources. Returns whether all of their containers are
/// removed.
pub(super) async fn clean_up_once(engine: Arc<DockerManager>, store: WorkerDirs) -> bool {
    // A directory is removed after the container that mounts it.
    let all_removed = engine.remove_orphans().await;
    engine.remove_unused_volumes().await;
    engine.remove_unused_networks().await;
    engine.remove_expired_builds().await;
    engine.remove_unused_images().await;
    let cleaned = tokio::task::spawn_blocking(move || {
        if all_removed {
            store.remove_ended_workers();
        }
        engine.sources.prune();
    });
    let _ = cleaned.await;
    all_removed
}
