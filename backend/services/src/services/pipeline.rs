//! PipelineExecutionService: starts executions, shows, cancels and retries them.

mod cancel;
mod create;
mod group;
mod hold;
mod identity;
mod planned;
mod retry;
mod service;
mod spec;
mod start;

pub(super) use create::CreateOptions;
pub(super) use planned::PlannedRun;
pub use service::{PipelineExecutionService, Seen};
pub use start::InternalStart;
pub(super) use start::StartLimits;
