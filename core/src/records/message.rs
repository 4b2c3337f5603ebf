//! Messages of the queue.

use super::node::NodeKey;
use crate::pipeline::labels::Labels;

/// A message that offers a job to workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedJob {
    /// The job.
    pub node: NodeKey,
    /// Milliseconds until it may be received, at most 15 minutes; a queue may round up to a second.
    pub delay_ms: u64,
    /// Labels that its receiver must have.
    pub labels: Labels,
}

impl QueuedJob {
    /// Creates the message of a job that is ready now and that any worker may run.
    #[must_use]
    pub const fn immediate(node: NodeKey) -> Self {
        Self::delayed(node, 0)
    }

    /// Creates the message of a job that is ready in `delay_ms` milliseconds and that any worker may run.
    #[must_use]
    pub const fn delayed(node: NodeKey, delay_ms: u64) -> Self {
        Self { node, delay_ms, labels: Labels::new() }
    }
}
