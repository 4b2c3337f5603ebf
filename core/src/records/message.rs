//! Messages for the queue.

use super::node::NodeKey;
use crate::pipeline::labels::Labels;

/// A job id for the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedJob {
    /// The job.
    pub node: NodeKey,
    /// Milliseconds until it may be received, at most 15 minutes; a store may round them up to a second.
    pub delay_ms: u64,
    /// Labels that its receiver must have.
    pub labels: Labels,
}

impl QueuedJob {
    /// Of a job that is ready now, and that any worker may run.
    #[must_use]
    pub const fn now(node: NodeKey) -> Self {
        Self::after(node, 0)
    }

    /// Of a job that is ready in so many milliseconds, and that any worker may run.
    #[must_use]
    pub const fn after(node: NodeKey, delay_ms: u64) -> Self {
        Self { node, delay_ms, labels: Labels::new() }
    }
}
