//! DockerManager: containers made, parked, stopped and removed, through the engine's API.

mod exits;
mod failures;
mod holder;
mod host_guard;
mod isolation;
mod machine;
pub mod metadata_guard;
pub(crate) mod parking;
mod removal;
mod side;
mod usage;

pub use exits::{Exit, ExitWaiter};
pub use failures::failure;
pub use holder::NetworkHolder;
pub use isolation::JobNetwork;
pub use machine::BridgeNetwork;
pub use side::{ServiceContainer, ServiceState};

use exits::ExitRegistry;
use failures::{disk, pull_failure, start_failure};
pub(crate) use failures::{is_bad_request, is_no_such_thing};
use isolation::Isolation;
use parking::ContainerCreation;

use crate::{
    client::causes,
    error::WorkerError,
    job::script::BOOT,
    limits::Limits,
    source::{HostPolicy, SourceCache, SourceSettings, Tree},
    store::{WorkerDirs, short_hash},
    workspace::HostWorkspace,
};
use bollard::{
    Docker,
    container::LogOutput,
    errors::Error as EngineError,
    models::{
        ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountPoint, MountType,
        MountVolumeOptions, MountVolumeOptionsDriverConfig,
    },
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, CreateImageOptions, InspectContainerOptions,
        KillContainerOptions, StartContainerOptions, UploadToContainerOptions,
    },
};
use futures_util::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, Shared},
};
use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tidemill_core::execution::{
    assignment::{Preparation, PullPolicy},
    failure::{FailureKind, FailureReason},
};
use tokio::{io::AsyncWrite, sync::OnceCell};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Where a job's sources are in its container.
pub use tidemill_core::execution::predefined::WORKSPACE_DIR;
/// What package managers need inside their own container, and no more.
const CAPABILITIES: [&str; 9] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
];
/// How fast what cannot be removed yet is tried again.
const REMOVAL_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long an engine may take to note that a container ended.
const EXIT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an engine that is there may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// A disk with fewer free bytes is full.
const DISK_FULL_BYTES: u64 = 1 << 20;
const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";
const LABEL: &str = "tidemill";
const LABEL_WORKER: &str = "tidemill.worker";
const LABEL_DATA: &str = "tidemill.data";

/// Makes and removes the containers of one worker.
#[derive(Debug)]
pub struct DockerManager {
    /// Where the trees of sources come from.
    pub sources: SourceCache,
    docker: Docker,
    store: WorkerDirs,
    worker: String,
    local: bool,
    overlay: AtomicBool,
    seen_overlay: AtomicBool,
    made: AtomicU64,
    removing: TaskTracker,
    doubted: AtomicBool,
    limits: Limits,
    /// Where the engine keeps what containers write.
    disks: OnceCell<Vec<PathBuf>>,
    /// Containers that could not be removed while the engine was away.
    lost: std::sync::Mutex<Vec<String>>,
    exits: ExitRegistry,
    isolation: std::sync::OnceLock<Isolation>,
}

/// Output of a container, as it comes.
pub type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, EngineError>> + Send>>;

/// A network that is being made, or is there.
pub type SharedHolder = Shared<BoxFuture<'static, Option<Arc<NetworkHolder>>>>;

/// A container that waits for its orders on stdin; it ends by itself once its `input` is gone, and is removed in the
/// background when this is dropped.
pub struct Container {
    /// Its id.
    pub id: String,
    /// What it prints.
    pub output: Option<Output>,
    /// Its stdin.
    pub input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Awaits its end.
    pub exit: Option<ExitWaiter>,
    /// What holds the network that it joined.
    pub holder: Option<Arc<NetworkHolder>>,
    /// Its workspace.
    pub workspace: WorkspaceMount,
    removal: ContainerRemoval,
}

/// What removes a container with its workspace, in the background when it is dropped.
struct ContainerRemoval {
    engine: Arc<DockerManager>,
    /// The container's id, and the directory of its workspace's own layers; `None` once it is removed.
    left: Option<(String, PathBuf)>,
    /// The sources below its workspace are in use until it is gone.
    tree: Option<Arc<Tree>>,
    /// The number of the tree's directory.
    inode: Option<u64>,
}

impl ContainerRemoval {
    async fn run(mut self) {
        if let Some((id, room)) = self.left.take() {
            self.engine.remove(&id, &room).await;
        }
    }
}

impl Drop for ContainerRemoval {
    fn drop(&mut self) {
        if let Some((id, room)) = self.left.take() {
            let (engine, tree) = (self.engine.clone(), self.tree.take());
            self.engine.removing.spawn(async move {
                engine.remove(&id, &room).await;
                drop(tree);
            });
        }
    }
}

/// The workspace of a container.
#[derive(Debug)]
pub struct WorkspaceMount {
    /// The container's id.
    pub container: String,
    /// Where what the job writes into it lies on this machine, if its sources are laid below that.
    pub upper: Option<PathBuf>,
    overlay: bool,
    here: OnceCell<Option<Arc<HostWorkspace>>>,
}

impl Container {
    /// Whether the sources are still there that lie below its workspace.
    pub fn has_sources(&self) -> bool {
        let Some(tree) = self.removal.tree.as_ref().filter(|_| self.workspace.overlay) else { return true };
        self.removal.inode.is_some() && inode(&tree.path) == self.removal.inode
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("id", &self.id).finish_non_exhaustive()
    }
}

impl DockerManager {
    /// A manager on the engine at `host` (`DOCKER_HOST`'s form), or at the first of the usual sockets that answers.
    pub async fn connect(host: Option<&str>, store: WorkerDirs, worker: String) -> Result<Self, WorkerError> {
        let candidates = host.map_or_else(usual_sockets, |host| vec![host.to_owned()]);
        let mut first = None;
        for host in candidates {
            match answering(&host).await {
                Ok(docker) => {
                    // The engine can only mount what lies on its own machine.
                    let local = host.starts_with("unix://");
                    return Ok(Self {
                        exits: ExitRegistry::follow(docker.clone(), &worker),
                        isolation: std::sync::OnceLock::new(),
                        docker,
                        sources: SourceCache::new(
                            store.cache(),
                            HostPolicy::default(),
                            SourceSettings::default(),
                        ),
                        store,
                        worker,
                        local,
                        overlay: AtomicBool::new(local),
                        seen_overlay: AtomicBool::new(false),
                        made: AtomicU64::new(0),
                        removing: TaskTracker::new(),
                        doubted: AtomicBool::new(false),
                        limits: Limits::default(),
                        disks: OnceCell::new(),
                        lost: std::sync::Mutex::default(),
                    });
                }
                Err(error) => {
                    first.get_or_insert(WorkerError::Engine { host, message: causes(&error) });
                }
            }
        }
        Err(first.unwrap_or(WorkerError::Engine { host: DOCKER_SOCKET.into(), message: "no socket".into() }))
    }

    /// The same, with other limits of jobs.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What one job may use at most.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the engine answers.
    pub async fn answers(&self) -> bool {
        tokio::time::timeout(PING_TIMEOUT, self.docker.ping()).await.is_ok_and(|pong| pong.is_ok())
    }

    /// Says that something failed which may be because the engine is gone.
    pub fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    /// Whether it is not known that the engine is there.
    pub fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// Whether the engine is there after all; then what it lost track of while it was away is removed.
    pub async fn is_back(self: &Arc<Self>) -> bool {
        if !self.answers().await {
            return false;
        }
        if self.doubted.swap(false, Ordering::Relaxed) {
            self.remove_lost();
            self.remove_unused_volumes().await;
        }
        true
    }

    /// The image is there afterwards; `progress` gets lines while it is pulled.
    pub async fn ensure_image(
        &self,
        image: &str,
        policy: PullPolicy,
        mut progress: impl FnMut(String),
    ) -> Result<(), FailureReason> {
        let present = self.has_image(image).await?;
        match policy {
            PullPolicy::IfNotPresent | PullPolicy::Never if present => return Ok(()),
            PullPolicy::Never => {
                return Err(FailureReason::new(
                    FailureKind::ImageUnavailable,
                    format!(
                        "the engine does not have the image `{image}` and `pull_policy: never` forbids to pull it; \
                         build or load it on this machine, or use `pull_policy: if-not-present`"
                    ),
                ));
            }
            PullPolicy::IfNotPresent | PullPolicy::Always => {}
        }
        progress(format!("Pulling {image}\n"));
        let named = if image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':'))
        {
            image.to_owned()
        } else {
            format!("{image}:latest")
        };
        let options = CreateImageOptions { from_image: Some(named), ..Default::default() };
        let mut pull = self.docker.create_image(Some(options), None, None);
        while let Some(step) = pull.next().await {
            let words = match step {
                Ok(info) => {
                    if let Some(error) = info.error_detail.and_then(|detail| detail.message) {
                        return Err(pull_failure(image, &EngineError::DockerStreamError { error }));
                    }
                    // Layers report many times a second: only their ends are worth a line.
                    info.status
                        .filter(|status| info.progress_detail.is_none() || status.ends_with("complete"))
                        .map(|status| info.id.map_or(format!("{status}\n"), |id| format!("{id}: {status}\n")))
                }
                Err(error) => return Err(pull_failure(image, &error)),
            };
            words.into_iter().for_each(&mut progress);
        }
        Ok(())
    }

    /// Whether the engine has the image.
    pub async fn has_image(&self, image: &str) -> Result<bool, FailureReason> {
        match self.docker.inspect_image(image).await {
            Ok(_) => Ok(true),
            // 400: no image has such a name; the pull reports why.
            Err(EngineError::DockerResponseServerError { status_code: 400 | 404, .. }) => Ok(false),
            Err(error) => Err(failure("the image could not be looked up", &error)),
        }
    }

    /// A container for `preparation`, started and waiting for its orders, in `network` (an engine's name for it, or
    /// [`NetworkHolder::network`]) or in one of its own; its image must be there. Once `canceled`, its sources are not waited for.
    pub async fn park(
        self: &Arc<Self>,
        preparation: &Preparation,
        network: Option<&str>,
        canceled: &CancellationToken,
    ) -> Result<Container, FailureReason> {
        let tree = tokio::select! {
            tree = self.sources.tree(&preparation.source) => tree,
            () = canceled.cancelled() => {
                return Err(FailureReason::new(FailureKind::Canceled, "the container is not needed any more"));
            }
        };
        let tree = tree.map_err(|error| {
            let kind = match error.failure_kind() {
                // What git says is for people: the disk itself tells whether it is full, or its directory gone.
                FailureKind::SourceUnavailable => match rustix::fs::statvfs(self.store.cache()) {
                    Err(_) => FailureKind::WorkerFailed,
                    Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_FULL_BYTES => {
                        FailureKind::DiskFull
                    }
                    Ok(_) => FailureKind::SourceUnavailable,
                },
                other => other,
            };
            FailureReason::new(kind, format!("the sources could not be had: {error}"))
        })?;
        let tree = tree.map(Arc::new);
        let mut refused = None;
        if self.overlay.load(Ordering::Relaxed) {
            match self.create(preparation, network, tree.as_ref(), true).await {
                Ok(container) => {
                    if !self.lacks_layers(&container.workspace).await {
                        return Ok(container);
                    }
                    self.no_overlay("the engine ignores what the volume was to be");
                    self.dispose_later(container);
                }
                // Of one that made such workspaces before it is a failure, and else perhaps that it cannot.
                Err(error)
                    if error.kind == FailureKind::EngineFailed
                        && !self.seen_overlay.load(Ordering::Relaxed) =>
                {
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let container = self.create(preparation, network, tree.as_ref(), false).await?;
        if let Some(error) = refused {
            self.no_overlay(&error.message);
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

    fn no_overlay(&self, reason: &str) {
        tracing::info!(%reason, "no overlay workspaces here: they are plain volumes, and sources are copied");
        self.overlay.store(false, Ordering::Relaxed);
    }

    /// Whether the engine made the first workspace without the layers that it should have had, as Podman 4 does.
    async fn lacks_layers(&self, workspace: &WorkspaceMount) -> bool {
        if !workspace.overlay || self.seen_overlay.load(Ordering::Relaxed) {
            return false;
        }
        let lacks =
            self.volume_options(&workspace.container).await.is_some_and(|options| !options.contains_key("o"));
        self.seen_overlay.store(!lacks, Ordering::Relaxed);
        lacks
    }

    async fn volume_options(&self, container: &str) -> Option<HashMap<String, String>> {
        let name = self.workspace_mount(container).await?.name?;
        Some(self.docker.inspect_volume(&name).await.ok()?.options)
    }

    async fn workspace_mount(&self, container: &str) -> Option<MountPoint> {
        let seen = self.docker.inspect_container(container, None::<InspectContainerOptions>).await.ok()?;
        let mut mounts = seen.mounts.unwrap_or_default().into_iter();
        mounts.find(|mount| mount.destination.as_deref() == Some(WORKSPACE_DIR))
    }

    async fn create(
        self: &Arc<Self>,
        preparation: &Preparation,
        network: Option<&str>,
        tree: Option<&Arc<Tree>>,
        overlay: bool,
    ) -> Result<Container, FailureReason> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let room = self.store.work().join(number.to_string());
        let options = overlay_options(&room, tree.map(|tree| tree.path.as_path()), overlay)
            .map_err(|error| disk("the workspace", &error))?;
        let layered = options.is_some();
        let labels = self.labels();
        let upper = layered.then(|| room.join("upper"));
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
            entrypoint: Some(vec!["sh".into(), "-c".into(), BOOT.into()]),
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
        let made = self.docker.create_container(None::<CreateContainerOptions>, body).await;
        let id = made.map_err(|error| failure("the container could not be made", &error))?.id;
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
                let workspace =
                    WorkspaceMount { container: id.clone(), upper, overlay: layered, here: OnceCell::new() };
                let inode = tree.and_then(|tree| inode(&tree.path));
                let left = Some((id.clone(), room));
                let removal = ContainerRemoval { engine: self.clone(), left, tree: tree.cloned(), inode };
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
                self.remove(&id, &room).await;
                Err(reason)
            }
        }
    }

    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([
            (LABEL.to_owned(), "1".to_owned()),
            (LABEL_WORKER.to_owned(), self.worker.clone()),
            (LABEL_DATA.to_owned(), self.store.label()),
        ])
    }

    /// A workspace as a directory of this machine, if it is one.
    pub async fn on_this_machine(&self, workspace: &WorkspaceMount) -> Option<Arc<HostWorkspace>> {
        workspace.here.get_or_init(|| self.find(workspace)).await.clone()
    }

    async fn find(&self, workspace: &WorkspaceMount) -> Option<Arc<HostWorkspace>> {
        if !self.local {
            return None;
        }
        let mount = self.workspace_mount(&workspace.container).await?;
        let (path, overlay) = (PathBuf::from(mount.source?), workspace.overlay);
        let opened = tokio::task::spawn_blocking(move || HostWorkspace::open(&path, overlay)).await;
        opened.ok()?.map(Arc::new)
    }

    /// Lays a tar into the workspace; the engine refuses paths that lead out of it.
    pub async fn upload<S>(&self, container: &str, tar: S) -> Result<(), EngineError>
    where
        S: Stream<Item = Result<bytes::Bytes, std::io::Error>> + Send + 'static,
    {
        let options = UploadToContainerOptions { path: WORKSPACE_DIR.into(), ..Default::default() };
        self.docker.upload_to_container(container, Some(options), bollard::body_try_stream(tar)).await
    }

    async fn upload_tree(&self, container: &str, tree: PathBuf) -> Result<(), FailureReason> {
        let (writer, reader) = tokio::io::duplex(1 << 18);
        let packing = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            let mut builder = tar::Builder::new(tokio_util::io::SyncIoBridge::new(writer));
            builder.follow_symlinks(false);
            builder.append_dir_all(".", &tree)?;
            builder.finish()
        });
        let sent = self.upload(container, tokio_util::io::ReaderStream::new(reader)).await;
        sent.map_err(|error| failure("the sources could not be copied into the container", &error))?;
        match packing.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(disk("the sources", &error)),
            Err(error) => Err(FailureReason::new(FailureKind::Internal, error.to_string())),
        }
    }

    /// The tar that the engine makes of `path` below the workspace; its entries begin with the path's last part.
    pub fn download(
        &self,
        container: &str,
        path: &str,
    ) -> impl Stream<Item = Result<bytes::Bytes, EngineError>> + use<> {
        let path = format!("{WORKSPACE_DIR}/{path}");
        let options = bollard::query_parameters::DownloadFromContainerOptions { path };
        self.docker.download_from_container(container, Some(options))
    }

    /// Sends a signal to the container's first process.
    pub async fn signal(&self, container: &str, signal: &str) -> Result<(), EngineError> {
        self.docker.kill_container(container, Some(KillContainerOptions { signal: signal.to_owned() })).await
    }

    /// Removes a container with its workspace; nobody needs to wait for it.
    pub async fn dispose(container: Container) {
        let Container { input, output, workspace, holder, removal, .. } = container;
        // An open directory would hold the mount.
        drop((workspace, input, output));
        removal.run().await;
        drop(holder);
    }

    /// Removes a container in the background.
    pub fn dispose_later(self: &Arc<Self>, container: Container) {
        self.removing.spawn(Self::dispose(container));
    }

    /// Removes a container that is still being made, once it is; nothing that it would wait for is waited for.
    pub fn dispose_once_made(self: &Arc<Self>, parking: ContainerCreation) {
        let mut parking = parking;
        parking.cancel();
        self.removing.spawn(async move {
            if let Ok(container) = parking.made().await {
                Self::dispose(container).await;
            }
        });
    }

    /// A network for jobs to join, made in the background; `None` when it could not be made.
    pub fn hold_network_later(self: &Arc<Self>, image: &str) -> SharedHolder {
        let (engine, image) = (self.clone(), image.to_owned());
        let making = self.removing.spawn(async move {
            let made = engine.hold_network(&image).await;
            made.inspect_err(|reason| tracing::info!(reason = %reason.message, "no network is kept"))
                .ok()
                .map(Arc::new)
        });
        let holding = async move { making.await.ok().flatten() }.boxed().shared();
        // Polled to its end, so that whoever looks sees that it is made.
        self.removing.spawn(holding.clone().map(drop));
        holding
    }

    /// Whether something is still being removed.
    pub fn is_busy(&self) -> bool {
        !self.removing.is_empty()
    }

    /// Waits until all that is being removed is gone, and the work for what is not needed is over.
    pub async fn settle(&self) {
        self.removing.close();
        self.removing.wait().await;
        // A process that ends must not leave git processes behind.
        self.sources.settle().await;
    }
}

async fn answering(host: &str) -> Result<Docker, EngineError> {
    Docker::connect_with_host(host)?.negotiate_version().await
}

/// Where an engine may listen: Docker's socket, its rootless one, and Podman's Docker-compatible ones.
fn usual_sockets() -> Vec<String> {
    let runtime = std::env::var("XDG_RUNTIME_DIR").ok().map(PathBuf::from);
    let own = ["docker.sock", "podman/podman.sock"];
    let own = runtime.iter().flat_map(|home| own.map(|name| home.join(name)));
    let others = own.chain([PathBuf::from("/run/podman/podman.sock")]).filter(|path| path.exists());
    let others = others.map(|path| format!("unix://{}", path.display()));
    std::iter::once(DOCKER_SOCKET.to_owned()).chain(others).collect()
}

/// Options of the volume that lays fresh directories over the shared tree, or over nothing; `None`: a plain volume, which
/// the local driver cannot mount with `nosuid` and `nodev`: what a job leaves in one is behind the engine's own directory,
/// which is closed to others.
fn overlay_options(
    room: &Path,
    tree: Option<&Path>,
    overlay: bool,
) -> std::io::Result<Option<HashMap<String, String>>> {
    if !overlay {
        return Ok(None);
    }
    let (empty, upper, work) = (room.join("empty"), room.join("upper"), room.join("work"));
    std::fs::create_dir_all(&upper)?;
    std::fs::create_dir_all(&work)?;
    if tree.is_none() {
        std::fs::create_dir_all(&empty)?;
    }
    let lower = tree.unwrap_or(&empty);
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    // What a job leaves there is seen from outside, where a file's own rights and devices must count for nothing.
    let layers = format!("{layers},nosuid,nodev");
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(Some(HashMap::from([option("type", "overlay"), option("device", "overlay"), option("o", &layers)])))
}

/// The number of a directory, which no other one has while it is there.
fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|found| found.ino())
}

/// What makes two jobs able to use the same kind of parked container.
#[must_use]
pub fn shape(preparation: &Preparation) -> String {
    let described = serde_json::json!([
        preparation.image,
        preparation.pull_policy,
        preparation.resources,
        preparation.source
    ]);
    short_hash(&[&described.to_string()])
}
