//! Removal of containers with their workspaces, and of what workers left when their processes ended.

use super::{
    container::ContainerRemains,
    labels::{LABEL, LABEL_DATA, LABEL_WORKER},
    manager::DockerManager,
};
use crate::workspace::remove_tree;
use bollard::{
    errors::Error as EngineError,
    query_parameters::{
        InspectContainerOptions, ListContainersOptions, ListVolumesOptions, RemoveContainerOptions,
        RemoveVolumeOptions,
    },
};
use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

/// The pause between two attempts to remove something.
pub(super) const REMOVAL_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Attempts to remove something.
pub(super) const MAX_REMOVAL_ATTEMPTS: u32 = 100;
/// Attempts without an answer of the engine before a removal is postponed until it recovers.
const MAX_UNANSWERED_ATTEMPTS: u32 = 20;

impl DockerManager {
    async fn remove_container(&self, id: &str) {
        let options = RemoveContainerOptions { v: true, force: true, ..Default::default() };
        let mut unanswered = 0;
        for _ in 0..MAX_REMOVAL_ATTEMPTS {
            if self.docker.remove_container(id, Some(options.clone())).await.is_ok() {
                return;
            }
            // An error may also mean that the engine is already removing the container.
            match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
                Ok(_) => {}
                Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => return,
                Err(_) => unanswered += 1,
            }
            if unanswered >= MAX_UNANSWERED_ATTEMPTS {
                break;
            }
            tokio::time::sleep(REMOVAL_RETRY_DELAY).await;
        }
        self.unremoved().push(id.to_owned());
    }

    /// Removes the containers that could not be removed while the engine was down.
    pub(super) fn retry_removals(self: &Arc<Self>) {
        let unremoved = std::mem::take(&mut *self.unremoved());
        for id in unremoved {
            self.remove_later(id);
        }
    }

    fn unremoved(&self) -> MutexGuard<'_, Vec<String>> {
        self.unremoved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a container without a workspace in the background.
    pub(super) fn remove_later(self: &Arc<Self>, id: String) {
        let engine = self.clone();
        self.tasks.spawn(async move { engine.remove_container(&id).await });
    }

    /// Removes a container, its volume and the directory of its workspace's layers.
    pub(super) async fn remove_remains(&self, remains: ContainerRemains) {
        let ContainerRemains { id, directory, volume } = remains;
        if !id.is_empty() {
            self.remove_container(&id).await;
        }
        if let Some(volume) = volume
            && let Err(error) = self.docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await
        {
            // It is removed with the unused volumes, after an outage of the engine or at the next start.
            tracing::debug!(%error, volume, "a workspace volume was not removed");
        }
        let _ = tokio::task::spawn_blocking(move || remove_tree(&directory)).await;
    }

    /// Removes the containers of workers of this data directory whose processes have ended. Returns whether none is left.
    pub async fn remove_orphans(&self) -> bool {
        // A container that the engine is already removing is listed until that is done.
        for _ in 0..MAX_REMOVAL_ATTEMPTS {
            let orphans = match self.orphans().await {
                Ok(orphans) => orphans,
                Err(error) => {
                    tracing::warn!(%error, "containers of ended workers cannot be listed");
                    return false;
                }
            };
            if orphans.is_empty() {
                return true;
            }
            let removals = orphans.into_iter().map(|id| async move {
                tracing::info!(container = %id, "removing a container of a worker that has ended");
                self.remove_container(&id).await;
            });
            futures_util::future::join_all(removals).await;
            tokio::time::sleep(REMOVAL_RETRY_DELAY).await;
        }
        false
    }

    /// Returns the containers of workers whose processes have ended.
    async fn orphans(&self) -> Result<Vec<String>, EngineError> {
        let labels = vec![format!("{LABEL}=1"), format!("{LABEL_DATA}={}", self.store.label())];
        let filters = Some(HashMap::from([("label".to_owned(), labels)]));
        let options = ListContainersOptions { all: true, filters, ..Default::default() };
        let containers = self.docker.list_containers(Some(options)).await?.into_iter();
        let orphans = containers.filter(|container| {
            let worker = container.labels.as_ref().and_then(|labels| labels.get(LABEL_WORKER));
            worker.is_some_and(|worker| *worker != self.worker && !self.store.is_alive(worker))
        });
        Ok(orphans.filter_map(|container| container.id).collect())
    }

    /// Removes the unused volumes of this worker and of ended workers of its data directory. The engine counts a container that
    /// is being created as a user.
    ///
    /// A volume is removed with its container, with one exception: an engine that was killed removes the containers that it
    /// finds at its next start, but not their volumes.
    pub async fn remove_unused_volumes(&self) {
        let filters = HashMap::from([
            ("label".to_owned(), vec![format!("{LABEL}=1"), format!("{LABEL_DATA}={}", self.store.label())]),
            ("dangling".to_owned(), vec!["true".to_owned()]),
        ]);
        let listed = self.docker.list_volumes(Some(ListVolumesOptions { filters: Some(filters) })).await;
        let unused = match listed {
            Ok(listed) => listed.volumes.unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "unused volumes cannot be listed");
                return;
            }
        };
        for volume in unused {
            let worker = volume.labels.get(LABEL_WORKER);
            if worker.is_some_and(|worker| *worker == self.worker || !self.store.is_alive(worker)) {
                tracing::info!(volume = %volume.name, "removing an unused workspace volume");
                // A volume that was removed meanwhile, or is in use after all, is ignored.
                let _ = self.docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
            }
        }
    }
}
