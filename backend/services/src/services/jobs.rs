//! JobExecutionService: gives attempts to workers, takes their reports, cancels jobs, shows logs.

mod assign;
mod claim;
mod control;
mod log_bytes;
mod logs;
mod report;
mod service;

pub use log_bytes::unpack;
pub use logs::LogPart;
pub use service::JobExecutionService;
