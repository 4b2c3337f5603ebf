//! The worker: asks the server for jobs, runs each in a container of its own, and reports.
//!
//! It speaks the HTTP API only; the embedded server's own worker does so too.

pub mod artifact;
pub mod client;
pub mod engine;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod job;
pub mod limits;
mod log;
pub mod notices;
mod queue;
pub mod source;
pub mod store;
mod test_reports;
mod worker;
pub mod workspace;

pub use error::WorkerError;
pub use job::{dispatch, reporter, script};
pub use log::{markers, mask};
pub use queue::{capacity, job_source};
pub use worker::{Client, Worker, WorkerConfig, WorkerHandle, clean_up, run};
