//! What a container may use, and what it has on the disk.

use super::DockerManager;
use crate::limits::disk_usage;
use bollard::{
    models::{HostConfig, ResourcesUlimits},
    query_parameters::InspectContainerOptions,
};
use std::path::PathBuf;
use tidemill_core::execution::assignment::Resources;

/// The kernel ends processes of jobs before the worker's and the engine's, should the machine run out of memory.
const OOM_SCORE: i64 = 500;

impl DockerManager {
    /// The limits of a container of a job that asks for `resources`.
    pub(super) fn host_limits(&self, resources: Resources) -> HostConfig {
        let limits = &self.limits;
        let resources = limits.of(resources);
        let number = |value: u64| i64::try_from(value).ok();
        let memory = resources.memory_bytes.and_then(number);
        #[allow(clippy::cast_possible_truncation, reason = "a number of processors is small")]
        let nano_cpus = resources.cpus.map(|cpus| (cpus * 1e9) as i64);
        let limit = |name: &str, value: i64| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(value),
            hard: Some(value),
        };
        // Where a core is put is the machine's choice: it may be outside of the container.
        let mut ulimits = vec![limit("core", 0)];
        if limits.open_files > 0 {
            ulimits.push(limit("nofile", i64::from(limits.open_files)));
        }
        HostConfig {
            pids_limit: Some(i64::from(limits.pids)),
            memory,
            memory_swap: memory,
            nano_cpus,
            shm_size: number(limits.shm_bytes),
            ulimits: Some(ulimits),
            oom_score_adj: Some(OOM_SCORE),
            ..Default::default()
        }
    }

    /// Places on the disks of this machine on which containers and their workspaces are; none when the engine is elsewhere.
    pub(crate) async fn disks(&self) -> Vec<PathBuf> {
        let find = async {
            if !self.local {
                return Vec::new();
            }
            let root = self.docker.info().await.ok().and_then(|info| info.docker_root_dir);
            let mut disks: Vec<(u64, PathBuf)> = Vec::new();
            for path in root.map(PathBuf::from).into_iter().chain([self.store.work()]) {
                let Ok(found) = rustix::fs::stat(&path) else { continue };
                if !disks.iter().any(|(device, _)| *device == found.st_dev) {
                    disks.push((found.st_dev, path));
                }
            }
            disks.into_iter().map(|(_, path)| path).collect()
        };
        self.disks.get_or_init(|| find).await.clone()
    }

    /// The bytes that a container wrote outside of its workspace, as the engine counts them.
    pub(crate) async fn written_bytes(&self, container: &str) -> Option<u64> {
        let options = InspectContainerOptions { size: true };
        let seen = self.docker.inspect_container(container, Some(options)).await.ok()?;
        u64::try_from(seen.size_rw?).ok()
    }

    /// The bytes of a workspace that is a plain volume, if it can be seen from here; not more than a little over `most` are
    /// counted.
    pub(crate) async fn volume_bytes(&self, container: &str, most: u64) -> u64 {
        if !self.local {
            return 0;
        }
        let mount = self.workspace_mount(container).await;
        let Some(path) = mount.and_then(|mount| mount.source).map(PathBuf::from) else { return 0 };
        let measuring = tokio::task::spawn_blocking(move || disk_usage(&path, most));
        measuring.await.ok().and_then(Result::ok).unwrap_or(0)
    }

    /// Whether the engine has a container of this id; `None` when it does not say.
    pub(crate) async fn has_container(&self, container: &str) -> Option<bool> {
        match self.docker.inspect_container(container, None::<InspectContainerOptions>).await {
            Ok(_) => Some(true),
            Err(error) if super::is_no_such_thing(&error) => Some(false),
            Err(_) => None,
        }
    }
}
