//! Creation of the containers that jobs run in.

mod launch;
mod order;

use super::{
    container::{Container, ContainerRemains, ContainerRemoval, inode},
    failures::{creation_failure, disk_failure, is_bad_request, start_failure},
    images::ImageConfig,
    manager::DockerManager,
    workspace_mount::{WorkspaceMount, overlay_options},
};
use crate::{source::Tree, store::short_hash, workspace::FileOwner};
use bollard::{
    models::{
        ContainerCreateBody, HealthConfig, HostConfig, Mount, MountType, MountVolumeOptions,
        MountVolumeOptionsDriverConfig,
    },
    query_parameters::{AttachContainerOptions, CreateContainerOptions, StartContainerOptions},
};
use order::{ContainerOrder, StartCommand};
use std::sync::{Arc, atomic::Ordering};
use tidemill_core::execution::{
    assignment::Preparation,
    failure::{FailureKind, FailureReason},
    predefined::WORKSPACE_DIR,
};
use tokio::{sync::OnceCell, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// What the mode of a network that belongs to another container starts with.
const JOINED: &str = "container:";

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
    /// engine, or [`NetworkHolder::network`](super::NetworkHolder::network)) or gets its own. Its image, with the configuration
    /// `image`, must be present. Stops waiting for its sources once `canceled` is cancelled.
    pub async fn create_container(
        self: &Arc<Self>,
        preparation: &Preparation,
        image: &ImageConfig,
        network: Option<&str>,
        canceled: &CancellationToken,
    ) -> Result<Container, FailureReason> {
        let user = self.container_user(image, preparation.image_options.user.as_deref()).await?;
        let owner = self.file_owner(user).await;
        let tree = tokio::select! {
            tree = self.checkout(preparation, owner) => tree,
            () = canceled.cancelled() => {
                return Err(FailureReason::new(FailureKind::Canceled, "the container is not needed any more"));
            }
        };
        let tree = tree?;
        let tree = tree.map(Arc::new);
        let order = ContainerOrder { preparation, image, network, tree, user, owner };
        let mut overlay_error = None;
        if self.overlay_enabled.load(Ordering::Relaxed) {
            match self.launch(&order, true).await {
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
        let container = self.launch(&order, false).await?;
        if let Some(error) = overlay_error {
            self.disable_overlay(&error.message);
        }
        let (id, tree) = (container.id.clone(), order.tree.as_ref().map(|tree| tree.path.clone()));
        if let Err(reason) = self.upload_tree(&id, tree, user).await {
            self.dispose_later(container);
            return Err(reason);
        }
        Ok(container)
    }

    /// Returns the sources of a job, laid out for `owner`.
    pub async fn checkout(
        &self,
        preparation: &Preparation,
        owner: FileOwner,
    ) -> Result<Option<Tree>, FailureReason> {
        self.sources.checkout_for_job(preparation, owner).await
    }

    fn disable_overlay(&self, reason: &str) {
        tracing::info!(%reason, "overlay workspaces are disabled: workspaces are plain volumes and sources are copied");
        self.overlay_enabled.store(false, Ordering::Relaxed);
    }

    /// Creates and starts a container that is started with `start`. Its failure is [`FailureKind::ImageUnavailable`] if the image
    /// has no such program.
    pub(super) async fn try_create(
        self: &Arc<Self>,
        order: &ContainerOrder<'_>,
        overlay: bool,
        start: StartCommand,
    ) -> Result<Container, FailureReason> {
        let ContainerOrder { preparation, image, network, ref tree, user, owner } = *order;
        let tree = tree.as_ref();
        let number = self.workspaces.fetch_add(1, Ordering::Relaxed);
        let directory = self.store.work().join(number.to_string());
        let options = overlay_options(&directory, tree.map(|tree| tree.path.as_path()), owner, overlay)
            .map_err(|error| disk_failure("the workspace", &error))?;
        let is_overlay = options.is_some();
        let labels = self.labels();
        let upper = is_overlay.then(|| directory.join("upper"));
        // A volume of the image would hide a part of the workspace.
        let nested = match image.workspace_volumes.as_slice() {
            [] => None,
            volumes => {
                let upper = upper.as_deref().map(|upper| (upper, owner));
                Some(self.create_nested_volume(number, options.as_ref(), volumes, upper).await?)
            }
        };
        let (volume, binds) = nested.unzip();
        let driver = options.filter(|_| volume.is_none());
        let mount = Mount {
            source: volume.clone(),
            target: Some(WORKSPACE_DIR.into()),
            typ: Some(MountType::VOLUME),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                labels: Some(labels.clone()),
                driver_config: driver.map(|options| MountVolumeOptionsDriverConfig {
                    name: Some("local".into()),
                    options: Some(options),
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = &preparation.container;
        let mut host_config = self.host_config(preparation.resources, options, &preparation.origin);
        let mut mounts = vec![mount];
        mounts.append(host_config.mounts.get_or_insert_default());
        let chosen_network = options.network.clone().or_else(|| network.map(str::to_owned));
        if chosen_network.as_deref().is_some_and(|network| network.starts_with(JOINED)) {
            // They belong to the network, and so to its holder.
            (host_config.extra_hosts, host_config.dns) = (None, None);
        }
        let environment = self.environment(std::iter::empty(), true).into_iter();
        let image_options = &preparation.image_options;
        let body = ContainerCreateBody {
            image: Some(preparation.image.clone()),
            entrypoint: Some(start.entrypoint),
            cmd: Some(start.command),
            // A health check of the image would run beside the script.
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..Default::default() }),
            user: image_options.user.clone(),
            working_dir: Some("/".into()),
            labels: Some(labels),
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            env: Some(environment.map(|(name, value)| format!("{name}={value}")).collect()),
            host_config: Some(HostConfig {
                network_mode: chosen_network.or_else(|| self.network_mode()),
                mounts: Some(mounts),
                binds,
                ..host_config
            }),
            ..Default::default()
        };
        let platform = image_options
            .platform
            .clone()
            .map(|platform| CreateContainerOptions { platform, ..Default::default() });
        let created = self.create(platform, body).await;
        let remains = |id: String| ContainerRemains { id, directory, volume };
        let id = match created {
            Ok(created) => created.into_id(),
            Err(error) => {
                self.remove_remains(remains(String::new())).await;
                return Err(creation_failure(preparation, &error));
            }
        };
        let attach = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        if let Err(reason) = self.trust_certificates(&id).await {
            self.remove_remains(remains(id)).await;
            return Err(reason);
        }
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
                    owner,
                    user: user.ids(),
                    host_workspace: OnceCell::new(),
                };
                let inode = tree.and_then(|tree| inode(&tree.path));
                let remaining = Some(remains(id.clone()));
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
                let user = image_options.user.as_deref().unwrap_or(&image.user);
                let missing = if is_bad_request(&error) {
                    None
                } else {
                    Box::pin(self.missing_account(&image.id, user)).await
                };
                let reason = match missing {
                    Some(missing) => FailureReason::new(FailureKind::ImageUnavailable, missing),
                    None => start_failure(&preparation.image, &error),
                };
                self.remove_remains(remains(id)).await;
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
        preparation.image_options,
        preparation.pull_policy,
        preparation.resources,
        preparation.container,
        preparation.origin,
        preparation.source,
        preparation.checkout,
        preparation.refs
    ]);
    short_hash(&[&properties.to_string()])
}
