//! Gives attempts to workers, takes their reports, cancels jobs, and serves logs.

mod assign;
mod claim;
mod control;
pub(crate) mod log_bytes;
pub(crate) mod log_times;
pub(crate) mod logs;
mod report;
pub(crate) mod service;
mod shells;
