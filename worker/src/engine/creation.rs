//! Creation of the containers that jobs run in.

use super::{
    container::{Container, ContainerRemoval, inode},
    failures::{disk_failure, engine_failure, start_failure},
    manager::DockerManager,
    resources::CAPABILITIES,
    workspace_mount::{WorkspaceMount, overlay_options},
};
use crate::{source::Tree, store::short_hash};
use bollard::{
    models::{
        ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
        MountVolumeOptionsDriverConfig,
    },
    query_parameters::{AttachContainerOptions, CreateContainerOptions, StartContainerOptions},
};
use std::sync::{Arc, atomic::Ordering};
use tidemill_core::execution::{
    assignment::Preparation,
    failure::{FailureKind, FailureReason},
    predefined::WORKSPACE_DIR,
};
use tokio::{sync::OnceCell, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Runs as the first process of a job's container; see the file.
const BOOT_SCRIPT: &str = concat!(include_str!("script_files.sh"), include_str!("boot.sh"));
/// A disk with fewer free bytes counts as full.
const DISK_FULL_BYTES: u64 = 1 << 20;

/// A container that is being created in the background.
#[derive(Debug)]
pub struct ContainerCreation {
    task: JoinHandle<Result<Container, FailureReason>>,
    canceled: CancellationToken,
}

impl ContainerCreation {
    /// Runs `create` in a task, so that its container is not lost when its caller stops waiting. The token is cancelled when
    /// the container is not needed.
    pub fn start<F>(create: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<Container, FailureReason>> + Send + 'static,
    {
        let canceled = CancellationToken::new();
        Self { task: tokio::spawn(create(canceled.clone())), canceled }
    }

    /// Cancels the creation. Its result must still be awaited, as the container may exist.
    pub fn cancel(&self) {
        self.canceled.cancel();
    }

    /// Waits for the container.
    pub async fn wait(&mut self) -> Result<Container, FailureReason> {
        let created = (&mut self.task).await;
        created.unwrap_or_else(|error| Err(FailureReason::new(FailureKind::Internal, error.to_string())))
    }
}

impl DockerManager {
    /// Creates and starts a container for `preparation`, which waits for its script on stdin. It joins `network` (a name of the
    /// engine, or [`NetworkHolder::network`](super::NetworkHolder::network)) or gets its own. Its image must be present. Stops
    /// waiting for its sources once `canceled` is cancelled.
    pub async fn create_container(
        self: &Arc<Self>,
        preparation: &Preparation,
        network: Option<&str>,
        canceled: &CancellationToken,
    ) -> Result<Container, FailureReason> {
        let tree = tokio::select! {
            tree = self.sources.checkout(&preparation.source, &preparation.checkout, &preparation.refs) => tree,
            () = canceled.cancelled() => {
                return Err(FailureReason::new(FailureKind::Canceled, "the container is not needed any more"));
            }
        };
        let tree = tree.map_err(|error| {
            let kind = match error.failure_kind() {
                // The message of git is not parsed: whether the disk is full or its directory is gone is read from the disk.
                FailureKind::SourceUnavailable => match rustix::fs::statvfs(self.store.cache()) {
                    Err(_) => FailureKind::WorkerFailed,
                    Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_FULL_BYTES => {
                        FailureKind::DiskFull
                    }
                    Ok(_) => FailureKind::SourceUnavailable,
                },
                other => other,
            };
            FailureReason::new(kind, format!("the sources could not be fetched: {error}"))
        })?;
        let tree = tree.map(Arc::new);
        let mut overlay_error = None;
        if self.overlay_enabled.load(Ordering::Relaxed) {
            match self.try_create(preparation, network, tree.as_ref(), true).await {
                Ok(container) => {
                    if !self.lacks_layers(&container.workspace).await {
                        return Ok(container);
                    }
                    self.disable_overlay("the engine ignores the volume's mount options");
                    self.dispose_later(container);
                }
                // An engine that never created an overlay workspace may not support them; otherwise it is a failure.
                Err(error)
                    if error.kind == FailureKind::EngineFailed
                        && !self.overlay_verified.load(Ordering::Relaxed) =>
                {
                    overlay_error = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let container = self.try_create(preparation, network, tree.as_ref(), false).await?;
        if let Some(error) = overlay_error {
            self.disable_overlay(&error.message);
        }
        if let Some(tree) = tree {
            let id = container.id.clone();
            if let Err(reason) = self.upload_tree(&id, tree.path.clone()).await {
                self.dispose_later(container);
                return Err(reason);
            }
        }
        Ok(container)
    }

    fn disable_overlay(&self, reason: &str) {
        tracing::info!(%reason, "overlay workspaces are disabled: workspaces are plain volumes and sources are copied");
        self.overlay_enabled.store(false, Ordering::Relaxed);
    }

    async fn try_create(
        self: &Arc<Self>,
        preparation: &Preparation,
        network: Option<&str>,
        tree: Option<&Arc<Tree>>,
        overlay: bool,
    ) -> Result<Container, FailureReason> {
        let number = self.workspaces.fetch_add(1, Ordering::Relaxed);
        let directory = self.store.work().join(number.to_string());
        let options = overlay_options(&directory, tree.map(|tree| tree.path.as_path()), overlay)
            .map_err(|error| disk_failure("the workspace", &error))?;
        let is_overlay = options.is_some();
        let labels = self.labels();
        let upper = is_overlay.then(|| directory.join("upper"));
        let mount = Mount {
            target: Some(WORKSPACE_DIR.into()),
            typ: Some(MountType::VOLUME),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                labels: Some(labels.clone()),
                driver_config: options.map(|options| MountVolumeOptionsDriverConfig {
                    name: Some("local".into()),
                    options: Some(options),
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let body = ContainerCreateBody {
            image: Some(preparation.image.clone()),
            entrypoint: Some(vec!["sh".into(), "-c".into(), BOOT_SCRIPT.into()]),
            cmd: Some(Vec::new()),
            working_dir: Some("/".into()),
            labels: Some(labels),
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(HostConfig {
                log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
                network_mode: network.map(str::to_owned).or_else(|| self.network_mode()),
                mounts: Some(vec![mount]),
                security_opt: Some(vec!["no-new-privileges".into()]),
                cap_drop: Some(vec!["ALL".into()]),
                cap_add: Some(CAPABILITIES.iter().map(|name| (*name).to_owned()).collect()),
                ..self.host_limits(preparation.resources)
            }),
            ..Default::default()
        };
        let created = self.docker.create_container(None::<CreateContainerOptions>, body).await;
        let id = created.map_err(|error| engine_failure("the container could not be created", &error))?.id;
        let attach = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let exit = self.exits.watch(&id);
        let started = async {
            let streams = self.docker.attach_container(&id, Some(attach)).await?;
            self.docker.start_container(&id, None::<StartContainerOptions>).await?;
            Ok(streams)
        };
        match started.await {
            Ok(streams) => {
                let workspace = WorkspaceMount {
                    container: id.clone(),
                    upper,
                    is_overlay,
                    host_workspace: OnceCell::new(),
                };
                let inode = tree.and_then(|tree| inode(&tree.path));
                let remaining = Some((id.clone(), directory));
                let removal =
                    ContainerRemoval { engine: self.clone(), remaining, tree: tree.cloned(), inode };
                Ok(Container {
                    id,
                    output: Some(streams.output),
                    input: Some(streams.input),
                    exit: Some(exit),
                    holder: None,
                    workspace,
                    removal,
                })
            }
            Err(error) => {
                let reason = start_failure(&preparation.image, &error);
                self.remove_with_workspace(&id, &directory).await;
                Err(reason)
            }
        }
    }

    /// Cancels the creation of a container, and removes the container in the background if it is created all the same.
    pub fn dispose_when_created(self: &Arc<Self>, creation: ContainerCreation) {
        let mut creation = creation;
        creation.cancel();
        self.tasks.spawn(async move {
            if let Ok(container) = creation.wait().await {
                Self::dispose(container).await;
            }
        });
    }
}

/// Returns a key that is equal for jobs that can run in the same standby container.
#[must_use]
pub fn container_key(preparation: &Preparation) -> String {
    let properties = serde_json::json!([
        preparation.image,
        preparation.pull_policy,
        preparation.resources,
        preparation.source,
        preparation.checkout,
        preparation.refs
    ]);
    short_hash(&[&properties.to_string()])
}
