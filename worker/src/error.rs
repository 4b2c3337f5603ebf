//! Why a worker cannot work.

use std::path::PathBuf;

/// Why a worker could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The container engine does not answer.
    #[error(
        "no container engine answers at {host}: {message}; start Docker or Podman, or set DOCKER_HOST to where it listens"
    )]
    Engine {
        /// Where it was looked for.
        host: String,
        /// How it failed.
        message: String,
    },
    /// The data directory cannot be used.
    #[error("the worker's directory {} cannot be used: {message}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The server refuses this worker.
    #[error("the server refuses this worker: {0}; check its address and token")]
    Refused(String),
}
