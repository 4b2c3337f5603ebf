//! The executor of jobs in containers: what it needs for its phases.

use crate::{
    artifact::ArtifactTransfer,
    client::ApiClient,
    engine::{DockerManager, parking::ContainerPool},
};
use std::sync::Arc;

/// Runs attempts in containers, for one worker.
#[derive(Debug, Clone)]
pub struct JobExecutor {
    /// The server.
    pub api: ApiClient,
    /// The engine.
    pub engine: Arc<DockerManager>,
    /// Containers and networks that are kept for the next jobs.
    pub lot: Arc<ContainerPool>,
    /// Moves artifacts and caches.
    pub artifacts: ArtifactTransfer,
    /// Whether no other worker would take a job that this one gives back.
    pub alone: bool,
}
