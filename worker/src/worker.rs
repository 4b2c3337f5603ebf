//! A worker: its configuration and set-up, its running handle, its reports that it is there, and the cleanup after it.

mod backend;
mod cleanup;
mod handle;
mod metrics;
pub mod notices;
mod presence;
mod setup;
mod slot;

pub use cleanup::clean_up;
pub use handle::{WorkerHandle, WorkerStop, run};
pub use setup::{EndCondition, ExecutorKind, ServerConnection, Worker, WorkerConfig};
