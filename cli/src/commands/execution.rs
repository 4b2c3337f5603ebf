//! Commands that start, show and control executions.

pub mod approve;
pub mod artifacts;
pub mod cancel;
pub mod cost;
pub mod debug;
pub mod environments;
pub mod insights;
pub mod logs;
pub mod open;
mod protections;
pub mod report;
pub mod retry;
pub mod run;
mod run_sources;
pub mod status;
pub mod watch;
