//! Why a worker cannot work.

use std::path::PathBuf;
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// Why a worker could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Jobs have to be isolated, and cannot be.
    #[error("jobs cannot be isolated: {0}")]
    Isolation(String),
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
    /// The queue cannot be read.
    #[error("{0}; check --queue, and that the worker's role may receive from it")]
    Queue(String),
}

/// The reason of what could not be done for want of space on the worker's disk.
pub(crate) fn no_space(what: &str) -> FailureReason {
    let words = format!("{what}: no space is left on the worker's disk; free some there");
    FailureReason::new(FailureKind::DiskFull, words)
}
