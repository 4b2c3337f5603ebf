//! DockerManager: the connection to the container engine of one worker.

mod connection;
pub(super) mod created_container;
mod inventory;

pub use connection::EngineFailure;
pub(super) use connection::describe;
pub use inventory::local_images;

use super::{
    exits::ExitRegistry,
    images::{BuiltImages, KnownUsers, RegistrySettings},
    labels::{LABEL, LABEL_DATA, LABEL_WORKER},
    network::Isolation,
};
use crate::{
    error::WorkerError,
    policy::{JobSettings, Limits, Permissions},
    source::{HostPolicy, SourceCache, SourceSettings},
    store::WorkerDirs,
};
use bollard::{Docker, container::LogOutput, errors::Error as EngineError};
use bytes::Bytes;
use connection::{DOCKER_SOCKET, connect, default_sockets};
use futures_util::Stream;
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

/// How long a running engine may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Output of a container, as a stream of chunks.
pub type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, EngineError>> + Send>>;

/// Creates and removes the containers of one worker.
#[derive(Debug)]
pub struct DockerManager {
    /// Provides source trees.
    pub sources: SourceCache,
    /// What jobs may ask for.
    pub permissions: Permissions,
    /// What every job gets.
    pub settings: JobSettings,
    /// The worker's logins at registries.
    pub registries: RegistrySettings,
    pub(super) docker: Docker,
    pub(super) store: WorkerDirs,
    pub(super) worker: String,
    /// The engine's address, in the form of `DOCKER_HOST`.
    pub(super) address: String,
    /// Held while an image has the name under which it is pushed.
    pub(super) pushing: Arc<tokio::sync::Mutex<()>>,
    /// Held while an image is loaded that another worker built.
    pub loading: tokio::sync::Mutex<()>,
    /// Images that jobs built here.
    pub built: BuiltImages,
    /// Whether the engine runs on this machine.
    pub(super) is_local: bool,
    /// Whether workspaces are created as overlays.
    pub(super) overlay_enabled: AtomicBool,
    /// Whether the engine has created an overlay workspace with its layers.
    pub(super) overlay_verified: AtomicBool,
    /// The number of workspaces created so far, which names their directories.
    pub(super) workspaces: AtomicU64,
    /// Removals and creations in the background.
    pub(super) tasks: TaskTracker,
    /// Requests to create a container; closed when the worker ends.
    creations: TaskTracker,
    /// Whether a failure suggests that the engine is down.
    may_be_down: AtomicBool,
    limits: Limits,
    /// Files that make images trust the certificate authorities of the worker.
    pub(super) trusting: TrustingFiles,
    /// Whether the engine runs as root; found out when needed.
    pub(super) has_root: OnceCell<bool>,
    /// A path on each disk to which containers write.
    pub(super) disks: OnceCell<Vec<PathBuf>>,
    /// Containers that could not be removed while the engine was down.
    pub(super) unremoved: Mutex<Vec<String>>,
    pub(super) exits: ExitRegistry,
    /// Users of images.
    pub(super) users: KnownUsers,
    /// Ids of images whose entry point does not start the command that it is given.
    pub(super) tool_images: Mutex<HashSet<String>>,
    pub(super) isolation: OnceLock<Isolation>,
}

impl DockerManager {
    /// Connects to the engine at `host` (in the form of `DOCKER_HOST`), or at the first default socket that answers.
    pub async fn connect(host: Option<&str>, store: WorkerDirs, worker: String) -> Result<Self, WorkerError> {
        let candidates = host.map_or_else(default_sockets, |host| vec![host.to_owned()]);
        let mut first_error = None;
        for host in candidates {
            match connect(&host).await {
                Ok(docker) => {
                    // The engine can mount only directories of its own machine.
                    let is_local = host.starts_with("unix://");
                    return Ok(Self {
                        exits: ExitRegistry::follow(docker.clone(), &worker),
                        users: KnownUsers::default(),
                        tool_images: Mutex::default(),
                        isolation: OnceLock::new(),
                        docker,
                        sources: SourceCache::new(
                            store.cache(),
                            HostPolicy::default(),
                            SourceSettings::default(),
                        ),
                        registries: RegistrySettings::default(),
                        store,
                        worker,
                        is_local,
                        address: host,
                        pushing: Arc::default(),
                        loading: tokio::sync::Mutex::default(),
                        built: BuiltImages::default(),
                        overlay_enabled: AtomicBool::new(is_local),
                        overlay_verified: AtomicBool::new(false),
                        workspaces: AtomicU64::new(0),
                        tasks: TaskTracker::new(),
                        creations: TaskTracker::new(),
                        may_be_down: AtomicBool::new(false),
                        limits: Limits::default(),
                        permissions: Permissions::default(),
                        settings: JobSettings::default(),
                        trusting: TrustingFiles::default(),
                        has_root: OnceCell::new(),
                        disks: OnceCell::new(),
                        unremoved: Mutex::default(),
                    });
                }
                Err(failure) => {
                    first_error.get_or_insert(WorkerError::Engine { host, failure });
                }
            }
        }
        Err(first_error
            .unwrap_or(WorkerError::Engine { host: DOCKER_SOCKET.into(), failure: EngineFailure::NoSocket }))
    }

    /// Replaces the limits of jobs.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the limits of one job.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the engine answers.
    pub async fn is_responding(&self) -> bool {
        tokio::time::timeout(PING_TIMEOUT, self.docker.ping()).await.is_ok_and(|pong| pong.is_ok())
    }

    /// Records a failure that may have been caused by an engine that is down.
    pub fn suspect_outage(&self) {
        self.may_be_down.store(true, Ordering::Relaxed);
    }

    /// Whether the engine may be down and has not responded since.
    pub fn may_be_down(&self) -> bool {
        self.may_be_down.load(Ordering::Relaxed)
    }

    /// Whether the engine responds. After an outage, also removes what could not be removed meanwhile.
    pub async fn recover(self: &Arc<Self>) -> bool {
        if !self.is_responding().await {
            return false;
        }
        if self.may_be_down.swap(false, Ordering::Relaxed) {
            self.retry_removals();
            self.remove_unused_volumes().await;
        }
        true
    }

    /// The labels of everything that this worker creates.
    pub(super) fn labels(&self) -> HashMap<String, String> {
        HashMap::from([
            (LABEL.to_owned(), "1".to_owned()),
            (LABEL_WORKER.to_owned(), self.worker.clone()),
            (LABEL_DATA.to_owned(), self.store.label()),
        ])
    }

    /// Creates a directory of this worker that is removed when it is dropped.
    pub fn temporary_directory(&self) -> std::io::Result<tempfile::TempDir> {
        tempfile::tempdir_in(self.store.work())
    }

    /// Whether background work is unfinished, such as removals.
    pub fn is_busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Waits until all background work has ended, such as removals.
    pub async fn settle(&self) {
        self.finish_creations().await;
        self.tasks.close();
        self.tasks.wait().await;
        // The worker must not leave git processes behind.
        self.sources.wait_until_idle().await;
    }
}

/// Maximum number of images whose files are cached.
const MAX_CACHED_IMAGES: usize = 32;

/// Tars of files, by the ids of the images that they are for.
#[derive(Debug, Default)]
pub(super) struct TrustingFiles(Mutex<HashMap<String, Bytes>>);

impl TrustingFiles {
    pub(super) fn get(&self, image: &str) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(image).cloned()
    }

    pub(super) fn insert(&self, image: String, tar: Bytes) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= MAX_CACHED_IMAGES {
            cached.clear();
        }
        cached.insert(image, tar);
    }
}
