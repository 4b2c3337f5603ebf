//! The executor of jobs in containers, with the handles that its phases use.

use crate::{
    artifact::ArtifactTransfer,
    client::ApiClient,
    engine::{ContainerPool, DockerManager},
    job::debug::Debugger,
};
use std::sync::Arc;

/// Runs attempts in containers, for one worker.
#[derive(Debug, Clone)]
pub struct JobExecutor {
    /// The server.
    pub api: ApiClient,
    /// The container engine.
    pub engine: Arc<DockerManager>,
    /// Containers and networks prepared for the next jobs.
    pub pool: Arc<ContainerPool>,
    /// Transfers artifacts and caches.
    pub artifacts: ArtifactTransfer,
    /// Whether this is the only worker, so that no other one would take a job that it gives back.
    pub is_only_worker: bool,
    /// Holds jobs for shells in their containers.
    pub debugger: Option<Arc<dyn Debugger>>,
}
