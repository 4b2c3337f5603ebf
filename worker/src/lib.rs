//! The worker: requests jobs from the server, runs each in its own container, and reports.
//!
//! It uses the HTTP API only, also as the worker of an embedded server.

pub mod artifact;
pub mod client;
pub mod engine;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod job;

mod log;
pub mod policy;
mod process;
mod queue;
pub mod source;
pub mod store;
mod test_reports;
mod worker;
pub mod workspace;

pub use engine::{EngineFailure, RegistrySettings, Shell};
pub use error::WorkerError;
pub use job::{debug, dispatcher, reporter, script};
pub use log::{markers, mask};
pub use process::{CgroupSettings, ProcessSettings, supervise};
pub use queue::{capacity, job_source};
pub use worker::{
    EndCondition, ExecutorKind, ServerConnection, Worker, WorkerConfig, WorkerHandle, WorkerStop, clean_up,
    notices, run,
};
