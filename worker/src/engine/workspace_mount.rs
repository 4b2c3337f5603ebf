//! The workspace of a container: its volume, and file transfers through the engine.

use super::{
    failures::{disk_failure, engine_failure},
    images::ContainerUser,
    manager::DockerManager,
};
use crate::workspace::{FileOwner, HostWorkspace, copy_with_owner};
use bollard::{
    errors::Error as EngineError,
    models::{MountPoint, VolumeCreateRequest},
    query_parameters::{DownloadFromContainerOptions, InspectContainerOptions, UploadToContainerOptions},
};
use futures_util::Stream;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};
use tidemill_core::execution::{
    failure::{FailureKind, FailureReason},
    predefined::WORKSPACE_DIR,
};
use tokio::{sync::OnceCell, task::JoinHandle};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

/// Bytes in flight between the parts of a transfer.
const PIPE_SIZE: usize = 1 << 18;

/// The workspace of a container.
#[derive(Debug)]
pub struct WorkspaceMount {
    /// The container's id.
    pub container: String,
    /// The upper layer on this machine, to which the job writes; `None` for a plain volume.
    pub upper: Option<PathBuf>,
    /// Whether it is an overlay of the job's own layers over shared sources.
    pub(super) is_overlay: bool,
    /// The owner of files that are laid into it from this machine.
    pub owner: FileOwner,
    /// The user and group of the container's processes, for files that the engine lays into it; `None`: those of the files.
    pub user: Option<(u32, u32)>,
    /// The workspace on this machine, once looked up.
    pub(super) host_workspace: OnceCell<Option<Arc<HostWorkspace>>>,
}

impl WorkspaceMount {
    /// Creates the workspace of a job that runs without an engine: a directory of this machine whose files belong to `owner`.
    pub fn directory(directory: HostWorkspace, owner: FileOwner) -> Self {
        Self {
            container: String::new(),
            upper: None,
            is_overlay: false,
            owner,
            user: None,
            host_workspace: OnceCell::new_with(Some(Some(Arc::new(directory)))),
        }
    }

    /// Returns the workspace as a directory of this machine, if it was looked up.
    pub fn opened(&self) -> Option<Arc<HostWorkspace>> {
        self.host_workspace.get().cloned().flatten()
    }
}

impl DockerManager {
    /// Whether the engine created the first overlay workspace without its layers, as Podman 4 does.
    pub(super) async fn lacks_layers(&self, workspace: &WorkspaceMount) -> bool {
        if !workspace.is_overlay || self.overlay_verified.load(Ordering::Relaxed) {
            return false;
        }
        let lacks =
            self.volume_options(&workspace.container).await.is_some_and(|options| !options.contains_key("o"));
        self.overlay_verified.store(!lacks, Ordering::Relaxed);
        lacks
    }

    async fn volume_options(&self, container: &str) -> Option<HashMap<String, String>> {
        let name = self.workspace_mount(container).await?.name?;
        Some(self.docker.inspect_volume(&name).await.ok()?.options)
    }

    /// Returns the mount of a container's workspace.
    pub(super) async fn workspace_mount(&self, container: &str) -> Option<MountPoint> {
        let inspected =
            self.docker.inspect_container(container, None::<InspectContainerOptions>).await.ok()?;
        let mut mounts = inspected.mounts.unwrap_or_default().into_iter();
        mounts.find(|mount| mount.destination.as_deref() == Some(WORKSPACE_DIR))
    }

    /// Returns the workspace as a directory of this machine, or `None` if it is not accessible from here.
    pub async fn host_workspace(&self, workspace: &WorkspaceMount) -> Option<Arc<HostWorkspace>> {
        workspace.host_workspace.get_or_init(|| self.open_host_workspace(workspace)).await.clone()
    }

    async fn open_host_workspace(&self, workspace: &WorkspaceMount) -> Option<Arc<HostWorkspace>> {
        if !self.is_local {
            return None;
        }
        let mount = self.workspace_mount(&workspace.container).await?;
        let (path, overlay) = (PathBuf::from(mount.source?), workspace.is_overlay);
        let opened = tokio::task::spawn_blocking(move || HostWorkspace::open(&path, overlay)).await;
        opened.ok()?.map(Arc::new)
    }

    /// Unpacks a tar into the workspace. The engine rejects paths that lead out of it.
    pub async fn upload<S>(&self, container: &str, tar: S) -> Result<(), EngineError>
    where
        S: Stream<Item = Result<bytes::Bytes, std::io::Error>> + Send + 'static,
    {
        let options = UploadToContainerOptions { path: WORKSPACE_DIR.into(), ..Default::default() };
        self.docker.upload_to_container(container, Some(options), bollard::body_try_stream(tar)).await
    }

    /// Copies a source tree, or only an empty directory, into the workspace, for `user`.
    pub(super) async fn upload_tree(
        &self,
        container: &str,
        tree: Option<PathBuf>,
        user: ContainerUser,
    ) -> Result<(), FailureReason> {
        if tree.is_none() && user == ContainerUser::Root {
            return Ok(());
        }
        let (writer, reader) = tokio::io::duplex(PIPE_SIZE);
        let packing = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            let mut builder = tar::Builder::new(SyncIoBridge::new(writer));
            builder.follow_symlinks(false);
            if let Some(tree) = tree {
                builder.append_dir_all(".", &tree)?;
            } else {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(if user.ids().is_some() { 0o755 } else { 0o777 });
                header.set_size(0);
                builder.append_data(&mut header, "./", std::io::empty())?;
            }
            builder.finish()
        });
        let stream = ReaderStream::new(reader);
        let uploaded = match user.ids().or((user == ContainerUser::Root).then_some((0, 0))) {
            Some(ids) => {
                let (stream, giving) = give_entries(stream, ids);
                let uploaded = self.upload(container, stream).await;
                drop(giving.await);
                uploaded
            }
            None => self.upload(container, stream).await,
        };
        uploaded
            .map_err(|error| engine_failure("the sources could not be copied into the container", &error))?;
        match packing.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(disk_failure("the sources", &error)),
            Err(error) => Err(FailureReason::new(FailureKind::Internal, error.to_string())),
        }
    }

    /// Creates the volume of workspace `number` ahead of its container, so that the image's `volumes`, which are paths in the
    /// workspace, can be mounted from the workspace itself. Returns the volume's name and these mounts.
    ///
    /// A job finds its sources there, and its files there are collected: the mounts hide the empty volumes that the engine would
    /// create. `upper` is the upper layer, in which the paths must be directories.
    pub(super) async fn create_nested_volume(
        &self,
        number: u64,
        options: Option<&HashMap<String, String>>,
        volumes: &[PathBuf],
        upper: Option<(&Path, FileOwner)>,
    ) -> Result<(String, Vec<String>), FailureReason> {
        for (path, (upper, owner)) in
            volumes.iter().zip(std::iter::repeat(upper)).filter_map(|(path, upper)| Some((path, upper?)))
        {
            let mut directory = upper.to_owned();
            for part in path.components() {
                directory.push(part);
                let created = match std::fs::create_dir(&directory) {
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                    result => result.and_then(|()| owner.give_path(&directory)),
                };
                created.map_err(|error| disk_failure("the workspace", &error))?;
            }
        }
        let request = VolumeCreateRequest {
            name: Some(format!("tidemill-{}-{number}", uuid::Uuid::now_v7().simple())),
            driver: Some("local".into()),
            driver_opts: options.cloned(),
            labels: Some(self.labels()),
            ..Default::default()
        };
        let created = self.docker.create_volume(request).await;
        let volume = created.map_err(|error| engine_failure("the workspace could not be created", &error))?;
        let mount = |path: &PathBuf| {
            let path = path.display();
            format!("{}/{path}:{WORKSPACE_DIR}/{path}", volume.mountpoint)
        };
        Ok((volume.name.clone(), volumes.iter().map(mount).collect()))
    }

    /// Returns a tar of `path` in the workspace. Its entries begin with the path's last component.
    pub fn download(
        &self,
        container: &str,
        path: &str,
    ) -> impl Stream<Item = Result<bytes::Bytes, EngineError>> + use<> {
        let path = format!("{WORKSPACE_DIR}/{path}");
        let options = DownloadFromContainerOptions { path };
        self.docker.download_from_container(container, Some(options))
    }
}

/// Returns the options of a volume that overlays new directories over the shared tree or an empty directory; `None`: a plain
/// volume. The local driver cannot mount that with `nosuid` and `nodev`, but the files of a job in it are protected by the
/// engine's own directory, which other users cannot enter.
pub(super) fn overlay_options(
    directory: &Path,
    tree: Option<&Path>,
    owner: FileOwner,
    overlay: bool,
) -> std::io::Result<Option<HashMap<String, String>>> {
    if !overlay {
        return Ok(None);
    }
    let (empty, upper, work) = (directory.join("empty"), directory.join("upper"), directory.join("work"));
    std::fs::create_dir_all(&upper)?;
    std::fs::create_dir_all(&work)?;
    // The owner of the workspace itself is that of its upper layer.
    owner.give_path(&upper)?;
    if tree.is_none() {
        std::fs::create_dir_all(&empty)?;
    }
    let lower = tree.unwrap_or(&empty);
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    // The job's files are visible on this machine, where setuid bits and device files must have no effect.
    let layers = format!("{layers},nosuid,nodev");
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(Some(HashMap::from([option("type", "overlay"), option("device", "overlay"), option("o", &layers)])))
}

/// Gives the entries of a tar to this user and group. The task ends once the whole tar was read.
pub(crate) fn give_entries<S>(
    tar: S,
    ids: (u32, u32),
) -> (
    impl Stream<Item = Result<bytes::Bytes, std::io::Error>> + Send + 'static,
    JoinHandle<std::io::Result<()>>,
)
where
    S: Stream<Item = Result<bytes::Bytes, std::io::Error>> + Send + 'static,
{
    let (writer, reader) = tokio::io::duplex(PIPE_SIZE);
    let tar = SyncIoBridge::new(StreamReader::new(Box::pin(tar)));
    let task = tokio::task::spawn_blocking(move || {
        let mut tar = tar;
        copy_with_owner(&mut tar, SyncIoBridge::new(writer), ids)?;
        std::io::copy(&mut tar, &mut std::io::sink()).map(drop)
    });
    (ReaderStream::new(reader), task)
}
