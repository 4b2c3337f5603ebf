//! A job's container, and its removal.

use super::{
    exits::ExitWaiter,
    failures::is_not_found,
    manager::{DockerManager, Output},
    network::NetworkHolder,
    workspace_mount::WorkspaceMount,
};
use crate::source::Tree;
use bollard::{
    errors::Error as EngineError,
    query_parameters::{InspectContainerOptions, KillContainerOptions},
};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};
use tokio::io::AsyncWrite;

/// A container that waits for its script on stdin. It exits by itself once its `input` is closed, and is removed in the
/// background when this is dropped.
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its stdout and stderr.
    pub output: Option<Output>,
    /// Its stdin.
    pub input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Awaits its exit.
    pub exit: Option<ExitWaiter>,
    /// The holder of the network that it joined, if it joined one.
    pub holder: Option<Arc<NetworkHolder>>,
    /// Its workspace.
    pub workspace: WorkspaceMount,
    pub(super) removal: ContainerRemoval,
}

/// Removes a container with its workspace, in the background when it is dropped.
pub(super) struct ContainerRemoval {
    pub(super) engine: Arc<DockerManager>,
    /// What remains of it; `None` once that is removed.
    pub(super) remaining: Option<ContainerRemains>,
    /// The lower layer of its workspace, in use until the container is removed.
    pub(super) tree: Option<Arc<Tree>>,
    /// The inode of the tree's directory.
    pub(super) inode: Option<u64>,
}

/// What remains of a container until it is removed.
#[derive(Debug)]
pub(super) struct ContainerRemains {
    /// Its id; empty if it could not be created.
    pub id: String,
    /// The directory of its workspace's own layers.
    pub directory: PathBuf,
    /// The volume of its workspace, if the engine does not remove it with the container.
    pub volume: Option<String>,
}

impl ContainerRemoval {
    async fn run(mut self) {
        if let Some(remains) = self.remaining.take() {
            self.engine.remove_remains(remains).await;
        }
    }
}

impl Drop for ContainerRemoval {
    fn drop(&mut self) {
        if let Some(remains) = self.remaining.take() {
            let (engine, tree) = (self.engine.clone(), self.tree.take());
            self.engine.tasks.spawn(async move {
                engine.remove_remains(remains).await;
                drop(tree);
            });
        }
    }
}

impl Container {
    /// Returns its engine.
    pub const fn engine(&self) -> &Arc<DockerManager> {
        &self.removal.engine
    }

    /// Returns the directory of its sources on this machine; `None` if it has none.
    pub fn sources(&self) -> Option<&Path> {
        self.removal.tree.as_ref().map(|tree| tree.path.as_path())
    }

    /// Whether the sources in the lower layer of its workspace still exist.
    pub fn has_sources(&self) -> bool {
        let Some(tree) = self.removal.tree.as_ref().filter(|_| self.workspace.is_overlay) else {
            return true;
        };
        self.removal.inode.is_some() && inode(&tree.path) == self.removal.inode
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("id", &self.id).finish_non_exhaustive()
    }
}

impl DockerManager {
    /// Sends a signal to the container's first process.
    pub async fn signal(&self, container: &str, signal: &str) -> Result<(), EngineError> {
        self.docker.kill_container(container, Some(KillContainerOptions { signal: signal.to_owned() })).await
    }

    /// Removes a container with its workspace.
    pub async fn dispose(container: Container) {
        let Container { input, output, workspace, holder, removal, .. } = container;
        // An open directory would keep the mount busy.
        drop((workspace, input, output));
        removal.run().await;
        drop(holder);
    }

    /// Removes a container in the background.
    pub fn dispose_later(self: &Arc<Self>, container: Container) {
        self.tasks.spawn(Self::dispose(container));
    }

    /// Whether the engine has a container with this id; `None` if the engine fails to answer.
    pub(crate) async fn has_container(&self, container: &str) -> Option<bool> {
        match self.docker.inspect_container(container, None::<InspectContainerOptions>).await {
            Ok(_) => Some(true),
            Err(error) if is_not_found(&error) => Some(false),
            Err(_) => None,
        }
    }
}

/// Returns the inode of a directory, which identifies it while it exists.
pub(super) fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}
