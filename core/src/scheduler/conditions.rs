//! What a new execution starts from.

use crate::execution::transition::JobState;
use crate::ids::JobId;

/// A job that already succeeded in the execution that is retried.
#[derive(Debug, Clone)]
pub struct CarriedJob {
    /// The job whose log and artifacts it keeps: where it really ran.
    pub from: JobId,
    /// The attempt that succeeded there.
    pub attempt: u32,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// Its state there.
    pub state: JobState,
}

/// What must come before anything of an execution runs, besides its jobs' needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartConditions<'a> {
    /// Somebody must approve it.
    pub needs_approval: bool,
    /// Another execution of its group must end.
    pub waits_for_group: bool,
    /// Names of manual jobs that are approved already.
    pub approved: &'a [String],
}
