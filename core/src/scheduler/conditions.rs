//! The conditions that a new execution starts with.

use crate::execution::transition::JobState;
use crate::ids::{ExecutionId, JobId};

/// A job that already succeeded in the retried execution.
#[derive(Debug, Clone)]
pub struct CarriedJob {
    /// The job that owns the log and the artifacts: the one that actually ran.
    pub from: JobId,
    /// Its successful attempt.
    pub attempt: u32,
    /// Number of bytes of its log.
    pub log_bytes: u64,
    /// Its state in the retried execution.
    pub state: JobState,
    /// The execution that it started.
    pub child: Option<ExecutionId>,
}

/// What must end or be given before any job of an execution runs, in addition to the jobs' needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartConditions<'a> {
    /// The execution needs an approval.
    pub needs_approval: bool,
    /// An earlier execution of its concurrency group must end first.
    pub waits_for_group: bool,
    /// Names of manual jobs that are already approved.
    pub approved: &'a [String],
}
