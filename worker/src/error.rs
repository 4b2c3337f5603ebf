//! Errors of a worker.

use crate::engine::{EngineFailure, GuardError};
use std::path::PathBuf;
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// An error that prevents a worker from starting, or stops it.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Jobs must be isolated, but cannot be.
    #[error("jobs cannot be isolated: {0}")]
    Isolation(GuardError),
    /// Jobs cannot run as plain processes here.
    #[error("jobs cannot run as plain processes: {0}")]
    Processes(String),
    /// The container engine does not answer.
    #[error("no container engine answers at {host}: {failure}")]
    Engine {
        /// The address that was tried.
        host: String,
        /// The reason.
        failure: EngineFailure,
    },
    /// The data directory cannot be used.
    #[error("the worker's data directory {} cannot be used: {message}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// The error.
        message: String,
    },
    /// The server rejects this worker.
    #[error("the server rejects this worker: {0}; check its address, token and version")]
    Rejected(String),
    /// A task of the worker panicked.
    #[error("the worker ended by a defect of its own: {0}; restart it, and report the defect with its log")]
    Panicked(String),
    /// The queue cannot be read.
    #[error("{0}; check --queue, and that the worker's role is allowed to receive messages from it")]
    Queue(String),
}

/// Returns the failure of an operation for which the worker's disk has no space left.
pub(crate) fn disk_full_failure(context: &str) -> FailureReason {
    let message = format!("{context}: no space is left on the worker's disk; free some there");
    FailureReason::new(FailureKind::DiskFull, message)
}
