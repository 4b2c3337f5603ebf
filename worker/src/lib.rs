//! The worker: asks the server for jobs, runs each in a container of its own, and reports.
//!
//! It speaks the HTTP API only; the embedded server's own worker does so too.

mod admission;
pub mod artifact;
mod caches;
pub mod capacity;
pub mod client;
pub mod dispatch;
pub mod engine;
mod error;
mod executor;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod host_guard;
pub mod job_source;
mod junit;
pub mod limits;
pub mod markers;
pub mod mask;
pub mod metadata_guard;
pub mod notices;
pub mod orders;
mod parking;
mod pump;
pub mod report;
mod running;
mod services;
mod slot;
pub mod source;
pub mod store;
mod test_reports;
mod worker;
pub mod workspace;

pub use error::WorkerError;
pub use worker::{Client, Worker, WorkerConfig, WorkerHandle, clean_up, run};
