//! What is removed: a job's container with its workspace, and what workers left that are no more.

use super::{DockerManager, EngineError, LABEL, LABEL_DATA, LABEL_WORKER, REMOVAL_RETRY_DELAY};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptions, ListVolumesOptions, RemoveContainerOptions,
    RemoveVolumeOptions,
};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, MutexGuard, PoisonError},
};

/// How often containers are tried to be removed.
pub(super) const MAX_REMOVAL_ROUNDS: u32 = 100;
/// How often an engine that does not answer is tried, before what it has is left until it is back.
const MAX_SILENT_ROUNDS: u32 = 20;

impl DockerManager {
    async fn remove_container(&self, id: &str) {
        let options = RemoveContainerOptions { v: true, force: true, ..Default::default() };
        let mut silent_rounds = 0;
        for _ in 0..MAX_REMOVAL_ROUNDS {
            if self.docker.remove_container(id, Some(options.clone())).await.is_ok() {
                return;
            }
            // An engine that is already removing it says so with an error: it will be gone, but is not yet.
            match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
                Ok(_) => {}
                Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => return,
                Err(_) => silent_rounds += 1,
            }
            if silent_rounds >= MAX_SILENT_ROUNDS {
                break;
            }
            tokio::time::sleep(REMOVAL_RETRY_DELAY).await;
        }
        self.lost().push(id.to_owned());
    }

    /// Removes what could not be removed while the engine was away.
    pub(super) fn remove_lost(self: &Arc<Self>) {
        let lost = std::mem::take(&mut *self.lost());
        for id in lost {
            self.remove_later(id);
        }
    }

    fn lost(&self) -> MutexGuard<'_, Vec<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a container without a workspace in the background.
    pub(super) fn remove_later(self: &Arc<Self>, id: String) {
        let engine = self.clone();
        self.removing.spawn(async move { engine.remove_container(&id).await });
    }

    pub(super) async fn remove(&self, id: &str, room: &Path) {
        self.remove_container(id).await;
        let room = room.to_owned();
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(room)).await;
    }

    /// Removes the containers that dead workers of this data directory left; says whether none is there any more.
    pub async fn remove_orphans(&self) -> bool {
        // One that the engine is already removing cannot be removed again, and is there for a while yet.
        for _ in 0..MAX_REMOVAL_ROUNDS {
            let orphans = match self.orphans().await {
                Ok(orphans) => orphans,
                Err(error) => {
                    tracing::warn!(%error, "what dead workers left cannot be listed");
                    return false;
                }
            };
            if orphans.is_empty() {
                return true;
            }
            let removals = orphans.into_iter().map(|id| async move {
                tracing::info!(container = %id, "removing what a dead worker left");
                self.remove_container(&id).await;
            });
            futures_util::future::join_all(removals).await;
            tokio::time::sleep(REMOVAL_RETRY_DELAY).await;
        }
        false
    }

    async fn orphans(&self) -> Result<Vec<String>, EngineError> {
        let wanted = vec![format!("{LABEL}=1"), format!("{LABEL_DATA}={}", self.store.label())];
        let filters = Some(HashMap::from([("label".to_owned(), wanted)]));
        let options = ListContainersOptions { all: true, filters, ..Default::default() };
        let found = self.docker.list_containers(Some(options)).await?.into_iter();
        let orphaned = found.filter(|container| {
            let worker = container.labels.as_ref().and_then(|labels| labels.get(LABEL_WORKER));
            worker.is_some_and(|worker| *worker != self.worker && !self.store.is_alive(worker))
        });
        Ok(orphaned.filter_map(|container| container.id).collect())
    }

    /// Removes the volumes of this worker, and of dead ones of its data directory, that no container uses; the engine counts
    /// a container that is being made as a user.
    ///
    /// A volume goes with its container, but for one case: an engine that was killed removes the containers that it
    /// finds at its next start, and leaves their volumes.
    pub async fn remove_unused_volumes(&self) {
        let filters = HashMap::from([
            ("label".to_owned(), vec![format!("{LABEL}=1"), format!("{LABEL_DATA}={}", self.store.label())]),
            ("dangling".to_owned(), vec!["true".to_owned()]),
        ]);
        let listed = self.docker.list_volumes(Some(ListVolumesOptions { filters: Some(filters) })).await;
        let unused = match listed {
            Ok(listed) => listed.volumes.unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "volumes that were left cannot be listed");
                return;
            }
        };
        for volume in unused {
            let worker = volume.labels.get(LABEL_WORKER);
            if worker.is_some_and(|worker| *worker == self.worker || !self.store.is_alive(worker)) {
                tracing::info!(volume = %volume.name, "removing a workspace that was left");
                // One that is gone, or in use after all, is nobody's trouble.
                let _ = self.docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
            }
        }
    }
}
