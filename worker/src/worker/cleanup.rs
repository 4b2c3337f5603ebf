//! Removal of what jobs and dead workers left: containers, networks, volumes and directories.

use crate::{
    engine::DockerManager,
    error::WorkerError,
    source::{HostPolicy, SourceCache, SourceSettings},
    store::WorkerDirs,
};
use std::{path::Path, sync::Arc, time::Duration};
use tidemill_core::ids::WorkerId;

/// Time between two removals of leftovers.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Removes what the worker `left` of `data_dir` leaves, once its process is no more: containers and directories.
pub async fn clean_up(
    data_dir: &Path,
    docker_host: Option<&str>,
    sources: SourceSettings,
    left: WorkerId,
) -> Result<(), WorkerError> {
    let id = WorkerId(uuid::Uuid::now_v7()).to_string();
    let (store, lock) = WorkerDirs::open(data_dir, &id)?;
    let mut engine = DockerManager::connect(docker_host, store.clone(), id).await?;
    engine.sources = SourceCache::new(store.cache(), HostPolicy::default(), sources);
    let waiting = store.clone();
    let gone = tokio::task::spawn_blocking(move || waiting.wait_for_end(&left.to_string())).await;
    if let Ok(Err(error)) = gone {
        tracing::debug!(%error, "the end of the worker's process cannot be seen");
    }
    clean(Arc::new(engine), store.clone()).await;
    store.remove_own();
    drop(lock);
    Ok(())
}

/// Removes what is left, and what is not to be kept, again and again.
pub(super) async fn keep_clean(engine: Arc<DockerManager>, store: WorkerDirs) {
    loop {
        clean(engine.clone(), store.clone()).await;
        tokio::time::sleep(CLEANUP_INTERVAL).await;
    }
}

/// Removes what dead workers of the same data directory left, and of sources what is not to be kept.
async fn clean(engine: Arc<DockerManager>, store: WorkerDirs) {
    // A directory goes after the container that has it mounted.
    let gone = engine.remove_orphans().await;
    engine.remove_unused_volumes().await;
    engine.remove_unused_networks().await;
    let cleaned = tokio::task::spawn_blocking(move || {
        if gone {
            store.remove_dead();
        }
        engine.sources.prune();
    });
    let _ = cleaned.await;
}
